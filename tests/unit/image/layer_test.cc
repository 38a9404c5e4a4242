#include "image/layers/layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "base/syscalls.h"
#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

namespace types = registry::media_type;

Code code_of(const Result<Layer>& layer) {
  return layer ? Code::internal : layer.error().code;
}

const Entry* find(const Layer& layer, std::string_view path) {
  for (const Entry& entry : layer.entries()) {
    if (entry.path == path) return &entry;
  }
  return nullptr;
}

std::string content_of(const Workshop& workshop, Content content) {
  char text[64];
  std::snprintf(text, sizeof text, "/spool0/%x/%x", content.folder, content.number);
  return sys::read_file(workshop.path() + text).value();
}

std::vector<TarEntry> some_entries() {
  return {folder("d"),
          file("d/one", std::string(1300, '1')),
          symlink("l", "d/one"),
          hard_link("h", "d/one"),
          file("two", std::string(512, '2')),
          file("empty", "")};
}

}  // namespace

TEST_CASE("a layer is read in all its compressions, with its digest") {
  const std::string archive = tar(some_entries());
  const auto diff_id = registry::Digest::of(archive);
  const std::pair<std::string, std::string_view> blobs[] = {{archive, types::kOciLayer},
                                                            {gzip(archive), types::kDockerLayerGzip},
                                                            {zstd(archive), types::kOciLayerZstd},
                                                            {zstd(archive), types::kDockerLayerZstd}};
  for (const auto& [blob, type] : blobs) {
    for (const size_t piece_bytes : {size_t{1}, size_t{1000}, size_t{1} << 20}) {
      CAPTURE(type);
      CAPTURE(piece_bytes);
      Workshop workshop;
      const auto layer = read_layer(
          {.read = read_blob(blob, piece_bytes), .media_type = std::string(type), .diff_id = diff_id},
          workshop.spool(), {}, workshop.stop);
      REQUIRE(layer);
      CHECK(layer->diff_id() == diff_id);
      CHECK(layer->unpacked_bytes() == archive.size());
      REQUIRE(layer->entries().size() == 6);
      CHECK(content_of(workshop, find(*layer, "d/one")->content) == std::string(1300, '1'));
      CHECK(find(*layer, "h")->kind == EntryKind::hard_link);
      CHECK(find(*layer, "h")->target == "d/one");
      CHECK(find(*layer, "l")->target == "d/one");
      CHECK_FALSE(find(*layer, "empty")->content.exists());
    }
  }
}

TEST_CASE("a layer that is whole and not what the image's configuration says is refused") {
  Workshop workshop;
  const std::string archive = tar(some_entries());
  const auto layer = read_layer({.read = read_blob(archive),
                                 .media_type = std::string(types::kOciLayer),
                                 .diff_id = registry::Digest::of("x")},
                                workshop.spool(), {}, workshop.stop);
  CHECK(code_of(layer) == Code::digest_mismatch);
}

TEST_CASE("manifests of Docker's may have layers of zstd") {
  const auto part = [](std::string_view type) {
    return R"({"mediaType":")" + std::string(type) + R"(","size":7,"digest":")" +
           registry::Digest::of("x").text() + "\"}";
  };
  const auto manifest = registry::parse_manifest(
      R"({"schemaVersion":2,"mediaType":")" + std::string(types::kDockerManifest) + R"(","config":)" +
          part(types::kDockerConfig) + R"(,"layers":[)" + part(types::kDockerLayerZstd) + "]}",
      types::kDockerManifest);
  REQUIRE_MESSAGE(manifest, manifest.error().message);
  const auto& layers = std::get<registry::Manifest>(*manifest).layers;
  REQUIRE(layers.size() == 1);
  CHECK(layers[0].media_type == "application/vnd.docker.image.rootfs.diff.tar.zstd");
  CHECK(layer_compression(layers[0].media_type) == LayerCompression::zstd);
}

TEST_CASE("bytes behind the archive's end count in its digest") {
  Workshop workshop;
  const std::string archive = tar(some_entries()) + std::string(1 << 20, '\0') + "junk";
  LayerSource source = {.read = read_blob(archive),
                        .media_type = std::string(types::kOciLayer),
                        .diff_id = registry::Digest::of(archive)};
  const auto layer = read_layer(std::move(source), workshop.spool(), {}, workshop.stop);
  REQUIRE(layer);
  CHECK(layer->unpacked_bytes() == archive.size());
}

TEST_CASE("an archive without its end is only good where its digest is known") {
  const std::string archive = tar(some_entries(), false);
  Workshop workshop;
  CHECK(code_of(workshop.read(archive)) == Code::layer_invalid);
  LayerSource source = {.read = read_blob(archive),
                        .media_type = std::string(types::kOciLayer),
                        .diff_id = registry::Digest::of(archive)};
  CHECK(read_layer(std::move(source), workshop.spool(), {}, workshop.stop));
}

TEST_CASE("a layer that was cut off is refused, wherever it was cut") {
  std::vector<TarEntry> entries = some_entries();
  entries[1].pax = {{"SCHILY.xattr.user.x", "y"}};
  const std::string archive = tar(entries);
  const auto diff_id = registry::Digest::of(archive);
  Workshop workshop;
  const auto check = [&](std::string_view blob, std::string_view type) {
    LayerSource source = {.read = read_blob(blob), .media_type = std::string(type), .diff_id = diff_id};
    const auto layer = read_layer(std::move(source), workshop.spool(), {}, workshop.stop);
    REQUIRE_FALSE(layer);
    INFO(layer.error().message);
    CHECK((layer.error().code == Code::layer_invalid ||
           (blob.size() < 4 && layer.error().code == Code::media_type_unsupported)));
  };
  SUBCASE("plain") {
    // The last block of zeros may be missing: that is a digest's matter.
    for (size_t end = 0; end + 512 < archive.size(); end += end % 512 == 1 ? 511 : 1) {
      CAPTURE(end);
      check(std::string_view(archive).substr(0, end), types::kOciLayer);
    }
  }
  SUBCASE("gzip") {
    const std::string blob = gzip(archive);
    for (size_t end = 0; end < blob.size(); ++end)
      check(std::string_view(blob).substr(0, end), types::kOciLayerGzip);
  }
  SUBCASE("zstd") {
    const std::string blob = zstd(archive);
    for (size_t end = 0; end < blob.size(); ++end)
      check(std::string_view(blob).substr(0, end), types::kOciLayerZstd);
  }
  SUBCASE("a gzip'd part of the archive") {
    for (size_t end = 512; end + 512 < archive.size(); end += 512) {
      CAPTURE(end);
      check(gzip(std::string_view(archive).substr(0, end)), types::kOciLayerGzip);
    }
  }
}

TEST_CASE("damaged headers and contents are refused") {
  Workshop workshop;
  std::string archive = tar(some_entries());
  CHECK(code_of(workshop.read(std::string(4096, 'x'))) == Code::layer_invalid);
  archive[512 + 150] = '9';  // the second header's checksum
  CHECK(code_of(workshop.read(archive)) == Code::layer_invalid);
}

TEST_CASE("whiteouts are told from names that only look like them") {
  Workshop workshop;
  const auto layer = workshop.read(tar(
      {file("a/.wh.b", ""), file("a/.wh..wh..opq", ""), file(".wh..wh..opq", ""), file(".wh..wh.aufs", ""),
       file(".wh..wh.plnk/1.2", ""), file(".whatever", ""), file("a.wh.b", ""), folder(".wh.gone")}));
  REQUIRE(layer);
  std::string text;
  for (const Entry& entry : layer->entries()) {
    text += entry.kind == EntryKind::whiteout ? "whiteout "
            : entry.kind == EntryKind::opaque ? "opaque "
                                              : "other ";
    text += std::string(entry.path) + "\n";
  }
  CHECK(text == "whiteout a/b\nopaque a\nopaque \nother .whatever\nother a.wh.b\nwhiteout gone\n");
  for (const char* name : {".wh.", "a/.wh.", ".wh..", ".wh...", ".wh.x/y", "a/.wh.x/y"}) {
    CAPTURE(name);
    CHECK(code_of(workshop.read(tar({file(name)}))) == Code::layer_invalid);
  }
}

TEST_CASE("names that lead out are refused by name, in entries and in hard links") {
  Workshop workshop;
  for (const char* name : {"/etc/passwd", "../x", "a/../../x", "a/..", "..", "./../x"}) {
    CAPTURE(name);
    for (const TarEntry& entry :
         {file(name), folder(name), symlink(name, "x"), file(std::string(name) + "/.wh.x")}) {
      const auto layer = workshop.read(tar({entry}));
      REQUIRE(code_of(layer) == Code::path_escape);
      CHECK(layer.error().message.contains(name));
    }
  }
  for (const char* target : {"../x", "a/../../etc/passwd", "/../x", ".."}) {
    CAPTURE(target);
    CHECK(code_of(workshop.read(tar({hard_link("x", target)}))) == Code::path_escape);
  }
}

TEST_CASE("entries that make no sense are refused") {
  Workshop workshop;
  const std::vector<std::pair<const char*, TarEntry>> cases = {
      {"no name", file("")},
      {"a part of a name of 256 bytes", file(std::string(256, 'x'))},
      {"a symlink to nothing", symlink("x", "")},
      {"a hard link to the root", hard_link("x", "./")},
      {"the root as a file", file("./")},
      {"the root as a symlink", symlink(".", "/etc")},
      {"a major number of 13 bits", {.name = "x", .type = '3', .major = 4096, .minor = 0}},
      {"a minor number of 21 bits", {.name = "x", .type = '4', .major = 1, .minor = 1 << 20}},
      {"an owner of 33 bits", {.name = "x", .pax = {{"uid", "4294967296"}}}},
      {"the owner that chown leaves as it is", {.name = "x", .pax = {{"gid", "4294967295"}}}},
  };
  for (const auto& [what, entry] : cases) {
    CAPTURE(what);
    CHECK(code_of(workshop.read(tar({entry}))) == Code::layer_invalid);
  }
}

TEST_CASE("limits end in a clear refusal") {
  Workshop workshop;
  const auto code_with = [&](const LayerLimits& limits, const std::vector<TarEntry>& entries) {
    return code_of(workshop.read(gzip(tar(entries)), types::kOciLayerGzip, limits));
  };
  CHECK(code_with({.unpacked_bytes = 4096}, {file("a", std::string(8000, 'a'))}) == Code::image_too_large);
  CHECK(code_with({.file_bytes = 999}, {file("a", std::string(1000, 'a'))}) == Code::image_too_large);
  CHECK(code_with({.path_bytes = 300}, {file(std::string(200, 'a') + "/" + std::string(200, 'b'))}) ==
        Code::image_too_large);
  CHECK(code_with({.path_bytes = 300}, {symlink("a", std::string(301, 'b'))}) == Code::image_too_large);
  CHECK(code_with({}, {symlink("a", std::string(4096, 'b'))}) == Code::image_too_large);
  TarEntry tagged = file("x");
  tagged.pax = {{"SCHILY.xattr.user.a", std::string(600, 'a')},
                {"SCHILY.xattr.user.b", std::string(600, 'b')}};
  CHECK(code_with({.xattr_bytes = 1000}, {tagged}) == Code::image_too_large);
  CHECK(code_with({.xattrs = 1}, {tagged}) == Code::image_too_large);
  workshop.new_spool({.bytes = 1500});
  CHECK(code_with({}, {file("a", std::string(1000, 'a')), file("b", std::string(1000, 'b'))}) ==
        Code::image_too_large);
  workshop.new_spool({.files = 1});
  CHECK(code_with({}, {file("a"), file("b")}) == Code::image_too_large);
}

TEST_CASE("a bomb costs no more than its limit") {
  // 64 MiB of zeros in 64 KiB.
  const std::string blob = gzip(tar({file("zeros", std::string(64 << 20, '\0'))}));
  Workshop workshop;
  const auto layer = workshop.read(blob, types::kOciLayerGzip, {.unpacked_bytes = 1 << 20});
  CHECK(code_of(layer) == Code::image_too_large);
  // A sparse file says in a few bytes that it is huge (GNU tar, format 1.0).
  TarEntry sparse = file("huge", std::string("1\n8796093022208\n0\n") + std::string(495, '\0'));
  sparse.pax = {{"GNU.sparse.major", "1"},
                {"GNU.sparse.minor", "0"},
                {"GNU.sparse.name", "huge"},
                {"GNU.sparse.realsize", "8796093022208"}};
  const auto huge = workshop.read(tar({sparse}));
  REQUIRE(code_of(huge) == Code::image_too_large);
  CHECK(huge.error().message.contains("huge"));
}

TEST_CASE("an entry's header is bounded, with all that belongs to it") {
  Workshop workshop;
  // The map of a sparse file (GNU tar, format 1.0): libarchive makes a list of it.
  const auto sparse_of = [](size_t pieces) {
    std::string map = std::to_string(pieces) + "\n";
    for (size_t i = 0; i < pieces; ++i) map += "0\n0\n";
    map.resize((map.size() + 511) / 512 * 512, '\0');
    TarEntry sparse = file("sparse", map);
    sparse.pax = {{"GNU.sparse.major", "1"},
                  {"GNU.sparse.minor", "0"},
                  {"GNU.sparse.name", "sparse"},
                  {"GNU.sparse.realsize", "0"}};
    return tar({file("large", std::string(4 << 20, 'x')), sparse});
  };
  CHECK(workshop.read(sparse_of(100'000)));
  const auto refused = workshop.read(sparse_of(1'000'000));
  REQUIRE(code_of(refused) == Code::image_too_large);
  CHECK_MESSAGE(refused.error().message.contains("header"), refused.error().message);
  // A content that nobody reads is no header.
  CHECK(workshop.read(tar({file(".wh.file", std::string(4 << 20, 'x')), file("last")})));
}

TEST_CASE("attributes are kept where guests may have them, others counted") {
  TarEntry tagged = file("x");
  tagged.pax = {{"SCHILY.xattr.user.b", "2"},
                {"SCHILY.xattr.trusted.overlay.opaque", "y"},
                {"SCHILY.xattr.security.selinux", "s"},
                {"SCHILY.xattr.user.a", "1"},
                {"SCHILY.xattr.security.capability", "c"}};
  Workshop workshop;
  workshop.new_spool({});
  TarEntry tagged_folder = tagged;
  tagged_folder.type = '5';
  tagged_folder.content.clear();
  const auto layer = workshop.read(tar({tagged_folder}));
  REQUIRE(layer);
  CHECK(layer->skipped_xattrs() == 2);
  std::string text;
  for (const Xattr& xattr : layer->entries()[0].xattrs)
    text += std::string(xattr.name) + "=" + std::string(xattr.value) + " ";
  CHECK(text == "security.capability=c user.a=1 user.b=2 ");
}

TEST_CASE("a layer can be stopped while it is read") {
  Workshop workshop;
  SUBCASE("before") {
    workshop.stop = true;
    CHECK(code_of(workshop.read(tar(some_entries()))) == Code::cancelled);
  }
  SUBCASE("while the blob goes on and on") {
    const std::string start = tar({file("a")}, false);
    const std::string member = tar({file("b", std::string(50'000, 'b'))}, false);
    size_t calls = 0;
    const auto endless = [&](std::span<std::byte> to) -> Result<size_t> {
      if (++calls == 100) workshop.stop = true;
      const std::string_view from = calls == 1 ? start : member;
      REQUIRE(from.size() <= to.size());
      std::memcpy(to.data(), from.data(), from.size());
      return from.size();
    };
    const auto layer =
        read_layer({.read = endless, .media_type = std::string(types::kOciLayer), .diff_id = {}},
                   workshop.spool(), {}, workshop.stop);
    CHECK(code_of(layer) == Code::cancelled);
  }
}

TEST_CASE("layers are read at the same time into one spool") {
  Workshop workshop;
  constexpr int kThreads = 4;
  std::vector<std::string> archives;
  for (int i = 0; i < kThreads; ++i) {
    std::vector<TarEntry> entries;
    for (int j = 0; j < 100; ++j)
      entries.push_back(file("f" + std::to_string(j), std::to_string(i * 1000 + j)));
    archives.push_back(tar(entries));
  }
  std::vector<Result<Layer>> layers(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] { layers[i] = workshop.read(archives[i]); });
  }
  for (int i = 0; i < kThreads; ++i) {
    REQUIRE(layers[i]);
    for (int j = 0; j < 100; ++j) {
      const std::string name = "f" + std::to_string(j);
      CHECK(content_of(workshop, find(*layers[i], name)->content) == std::to_string(i * 1000 + j));
    }
  }
}

TEST_CASE("a spool leaves nothing behind") {
  Workshop workshop;
  REQUIRE(workshop.read(tar(some_entries())));
  const std::string path = workshop.path() + "/spool0";
  CHECK(sys::exists(path));
  workshop.new_spool({});
  CHECK_FALSE(sys::exists(path));
}

}  // namespace lambdo::image
