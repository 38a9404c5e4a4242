#include "image/store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/syscalls.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

Name name_of(const std::string& reference, const Digest& manifest) {
  return {.reference = reference, .manifest = manifest, .platform = {}, .source = "test", .updated_s = 7};
}

void flip_byte(const std::string& path) {
  const auto fd = sys::open(path, O_RDWR);
  REQUIRE(fd);
  char byte = 0;
  REQUIRE(::pread(fd->get(), &byte, 1, 3) == 1);
  byte ^= 1;
  REQUIRE(::pwrite(fd->get(), &byte, 1, 3) == 1);
}

}  // namespace

TEST_CASE("a blob is there when it is committed, and not before") {
  const StoreFolder folder;
  const auto store = folder.open();
  const Descriptor blob = descriptor_of("some content");
  CHECK_FALSE(store->has_blob(blob));
  {
    auto writer = store->new_blob(BlobWriter::Check::here);
    REQUIRE(writer);
    REQUIRE(writer->write(std::as_bytes(std::span(std::string_view("some ")))));
    CHECK(writer->size_bytes() == 5);
    CHECK_FALSE(store->has_blob(blob));
    REQUIRE(writer->write(std::as_bytes(std::span(std::string_view("content")))));
    CHECK(writer->commit(blob));
  }
  CHECK(store->has_blob(blob));
  CHECK(*store->read_blob(blob.digest, 100) == "some content");
  CHECK(store->verify_blob(blob, nullptr));
  CHECK(store->open_blob(blob));
  CHECK(folder.files("blobs/sha256") == std::vector{blob.digest.hex()});
}

TEST_CASE("a blob that is not what it should be leaves nothing") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string content = "some content";
  const auto wrong = store->put_blob(content, Digest::of("other content"));
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == Code::digest_mismatch);
  for (const uint64_t size : {uint64_t{11}, uint64_t{13}}) {
    auto writer = store->new_blob(BlobWriter::Check::by_caller);
    REQUIRE(writer);
    REQUIRE(writer->write(std::as_bytes(std::span(content))));
    Descriptor blob = descriptor_of(content);
    blob.size_bytes = size;
    CHECK(writer->commit(blob).error().code == Code::size_mismatch);
  }
  CHECK(folder.files("blobs/sha256").empty());
  CHECK(folder.files("tmp/" + folder.files("tmp").at(0)).empty());
}

TEST_CASE("a damaged blob is found when it is read, moved away, and can be put again") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string content(1 << 20, 'x');
  const Descriptor blob = descriptor_of(content);
  const std::string path = folder.path() + "/blobs/sha256/" + blob.digest.hex();
  const auto put = [&] { REQUIRE(store->put_blob(content, blob.digest)); };

  put();
  flip_byte(path);
  CHECK(store->has_blob(blob));
  const auto read = store->read_blob(blob.digest, 2 << 20);
  REQUIRE_FALSE(read);
  CHECK(read.error().code == Code::store_invalid);
  CHECK_FALSE(store->has_blob(blob));
  CHECK(folder.files("damaged") == std::vector{blob.digest.hex()});

  put();
  flip_byte(path);
  CHECK(store->verify_blob(blob, nullptr).error().code == Code::store_invalid);
  CHECK_FALSE(store->has_blob(blob));

  put();
  REQUIRE(::truncate(path.c_str(), 100) == 0);
  CHECK_FALSE(store->has_blob(blob));
  CHECK(store->open_blob(blob).error().code == Code::store_invalid);
  CHECK(store->open_blob(blob).error().code == Code::not_found);

  put();
  CHECK(store->verify_blob(blob, nullptr));
  CHECK(store->read_blob(blob.digest, 100).error().code == Code::image_too_large);
  const std::atomic<bool> stop = true;
  CHECK(store->verify_blob(blob, &stop).error().code == Code::cancelled);
}

TEST_CASE("a symbolic link in the place of a blob is not followed") {
  const StoreFolder folder;
  const auto store = folder.open();
  write_file(folder.around() + "/secret", "secret");
  const Descriptor blob = descriptor_of("secret");
  REQUIRE(::symlink((folder.around() + "/secret").c_str(),
                    (folder.path() + "/blobs/sha256/" + blob.digest.hex()).c_str()) == 0);
  CHECK_FALSE(store->has_blob(blob));
  CHECK_FALSE(store->open_blob(blob));
  CHECK_FALSE(store->read_blob(blob.digest, 100));
}

TEST_CASE("names lead to manifests until they are changed or removed") {
  const StoreFolder folder;
  const auto store = folder.open();
  CHECK_FALSE(store->find_name("docker.io/library/a:1")->has_value());
  REQUIRE(store->set_name(name_of("docker.io/library/b:1", Digest::of("b"))));
  REQUIRE(store->set_name(name_of("docker.io/library/a:1", Digest::of("a"))));
  REQUIRE(store->set_name(name_of("docker.io/library/a:1", Digest::of("new a"))));
  const auto found = store->find_name("docker.io/library/a:1");
  REQUIRE((found && *found));
  CHECK((*found)->manifest == Digest::of("new a"));
  CHECK((*found)->source == "test");
  CHECK((*found)->updated_s == 7);
  CHECK((*found)->platform.text() == "linux/amd64");
  const auto names = folder.open()->names();
  REQUIRE((names && names->size() == 2));
  CHECK((*names)[0].reference == "docker.io/library/a:1");
  CHECK((*names)[1].reference == "docker.io/library/b:1");
  CHECK(store->remove_name("docker.io/library/a:1"));
  CHECK(store->remove_name("docker.io/library/a:1").error().code == Code::not_found);
  CHECK_FALSE(store->find_name("docker.io/library/a:1")->has_value());
}

TEST_CASE("a damaged name counts as none, and stays until prune or a good one takes its place") {
  const StoreFolder folder;
  const auto store = folder.open();
  REQUIRE(store->set_name(name_of("a:1", Digest::of("a"))));
  REQUIRE(store->set_name(name_of("b:1", Digest::of("b"))));
  const std::string path = folder.path() + "/names/";
  write_file(path + Digest::of("a:1").hex(), R"({"reference":"a:1","manifest":"sha256:zz"})");
  write_file(path + Digest::of("c:1").hex(), "");
  write_file(path + Digest::of("d:1").hex(), std::string(100'000, ' '));
  // A whole one, under another's file name.
  write_file(path + Digest::of("e:1").hex(), *sys::read_file(path + Digest::of("b:1").hex()));
  const auto names = store->names();
  REQUIRE(names);
  REQUIRE(names->size() == 1);
  CHECK((*names)[0].reference == "b:1");
  // Whoever only reads removes nothing: a good one may be put into its place at the same moment.
  CHECK_FALSE(store->find_name("a:1")->has_value());
  CHECK(folder.files("names").size() == 5);
  REQUIRE(store->set_name(name_of("a:1", Digest::of("a"))));
  CHECK((*store->find_name("a:1"))->manifest == Digest::of("a"));
  REQUIRE(store->prune());
  CHECK(folder.files("names").size() == 2);
}

TEST_CASE("a name that is too long is refused with what is allowed") {
  const StoreFolder folder;
  const auto store = folder.open();
  CHECK(store->set_name(name_of(std::string(1024, 'n'), Digest::of("a"))));
  const auto set = store->set_name(name_of(std::string(1025, 'n'), Digest::of("a")));
  REQUIRE_FALSE(set);
  CHECK(set.error().code == Code::invalid_argument);
  CHECK_MESSAGE(set.error().message.contains("1025 bytes"), set.error().message);
}

TEST_CASE("a store is its owner's alone") {
  const StoreFolder folder;
  {
    const auto store = folder.open();
  }
  struct stat status{};
  REQUIRE(::stat(folder.path().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
  const auto opened = Store::open(folder.path());
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::permission_denied);
  CHECK(Store::open("relative/folder").error().code == Code::invalid_argument);
}

TEST_CASE("a store of another version is left alone") {
  const StoreFolder folder;
  {
    const auto store = folder.open();
  }
  write_file(folder.path() + "/version", "lambdo image store 99\n");
  const auto opened = Store::open(folder.path());
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::unavailable);
}

TEST_CASE("places are taken once, whole, and what came second goes away") {
  const StoreFolder folder;
  const auto store = folder.open();
  const Digest manifest = Digest::of("manifest");
  CHECK_FALSE(store->find_rootfs(manifest));
  CHECK_FALSE(store->find_initramfs(manifest, "key"));
  for (const char* content : {"first", "second"}) {
    auto made = store->make_temporary_folder();
    REQUIRE(made);
    REQUIRE(sys::mkdir(made->path() + "/rootfs", 0755));
    write_file(made->path() + "/rootfs/file", content);
    const auto kept = store->keep_rootfs(std::move(*made), manifest, 5);
    REQUIRE(kept);
    CHECK(*sys::read_file(*kept + "/file") == "first");
    auto file = store->new_initramfs();
    REQUIRE(file);
    REQUIRE(sys::write_all(file->fd(), content));
    const auto archive = store->keep_initramfs(std::move(*file), manifest, "key");
    REQUIRE(archive);
    CHECK(*sys::read_file(*archive) == "first");
  }
  CHECK(store->find_rootfs(manifest) == folder.path() + "/rootfs/" + manifest.hex() + "/rootfs");
  CHECK(store->find_initramfs(manifest, "key"));
  CHECK_FALSE(store->find_initramfs(manifest, "other"));
  CHECK(folder.files("tmp/" + folder.files("tmp").at(0)).empty());
}

TEST_CASE("temporary files end with their store") {
  const StoreFolder folder;
  {
    const auto store = folder.open();
    auto made = store->make_temporary_folder();
    REQUIRE(made);
    write_file(made->path() + "/file", "x");
    made->forget();
    CHECK(folder.files("tmp").size() == 1);
  }
  CHECK(folder.files("tmp").empty());
  CHECK(folder.files("locks").empty());
}
