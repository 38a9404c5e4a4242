#include "image/stored_name.h"

#include <stdlib.h>

#include <memory>
#include <string>

#include "image/store/temporary.h"
#include "test.h"

namespace lambdo::image {

namespace {

using image::Digest;

/// A store with two names of one image and one of another, whose digests begin with the same digit.
class NamedStore {
 public:
  NamedStore() {
    char text[] = "/tmp/lambdo-names-XXXXXX";
    folder_ = ::mkdtemp(text);
    auto opened = image::Store::open(folder_ + "/images");
    REQUIRE(opened);
    store_ = *std::move(opened);
  }
  ~NamedStore() {
    store_.reset();
    CHECK(image::remove_tree(folder_));
  }
  NamedStore(const NamedStore&) = delete;
  NamedStore& operator=(const NamedStore&) = delete;

  void add(const std::string& reference, const std::string& digits) {
    const auto digest = Digest::parse("sha256:" + digits + std::string(64 - digits.size(), '0'));
    REQUIRE(digest);
    REQUIRE(store_->set_name(
        {.reference = reference, .manifest = *digest, .platform = {}, .source = {}, .updated_s = 1}));
  }
  image::Store& operator*() { return *store_; }

 private:
  std::string folder_;
  std::unique_ptr<image::Store> store_;
};

}  // namespace

TEST_CASE("an image is found by its name, as people write it, by its digest and by its beginning") {
  NamedStore store;
  store.add("docker.io/library/a:1", "aaaaaa1");
  store.add("docker.io/library/b:1", "bbbbbb1");
  for (const char* text : {"docker.io/library/a:1", "a:1", "aaaaaa", "sha256:aaaaaa1"}) {
    const auto image = find_image(*store, text);
    REQUIRE_MESSAGE(image, text);
    CHECK(image->reference == "docker.io/library/a:1");
    CHECK(find_only_name(*store, text)->reference == "docker.io/library/a:1");
  }
  for (const char* text : {"c:1", "aaaaa", "cccccc"}) {
    CHECK(find_image(*store, text).error().code == Code::not_found);
    CHECK(find_only_name(*store, text).error().code == Code::not_found);
  }
}

TEST_CASE("a digest that several names share is an image, but no name, and the names are listed") {
  NamedStore store;
  store.add("docker.io/library/a:1", "abcdef1");
  store.add("docker.io/library/a:2", "abcdef1");
  CHECK(find_image(*store, "abcdef")->manifest.hex().starts_with("abcdef1"));
  const auto name = find_only_name(*store, "abcdef");
  REQUIRE_FALSE(name);
  CHECK(name.error().code == Code::invalid_argument);
  for (const char* part : {"abcdef", "docker.io/library/a:1", "docker.io/library/a:2", "write the name"}) {
    CHECK_MESSAGE(name.error().message.contains(part), name.error().message);
  }
  CHECK(find_only_name(*store, "a:2")->reference == "docker.io/library/a:2");
}

TEST_CASE("the beginning of several digests is refused with all that it may be") {
  NamedStore store;
  store.add("docker.io/library/a:1", "abcdef1");
  store.add("docker.io/library/b:1", "abcdef2");
  for (const auto& found : {find_image(*store, "abcdef"), find_only_name(*store, "abcdef")}) {
    REQUIRE_FALSE(found);
    CHECK(found.error().code == Code::invalid_argument);
    for (const char* part : {"a:1 (sha256:abcdef1", "b:1 (sha256:abcdef2"}) {
      CHECK_MESSAGE(found.error().message.contains(part), found.error().message);
    }
  }
  CHECK(find_image(*store, "abcdef2")->reference == "docker.io/library/b:1");
}

}  // namespace lambdo::image
