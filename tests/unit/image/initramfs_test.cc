#include "image/writers/initramfs.h"

#include <fcntl.h>
#include <lz4.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <set>

#include "base/syscalls.h"
#include "image/layers/decompressor.h"
#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

struct CpioEntry {
  std::string path;
  uint32_t inode = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t links = 0;
  uint32_t mtime = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  std::string content;
};

/// A reader as strict as the kernel's (init/initramfs.c), with the trailer as the last entry.
std::vector<CpioEntry> parse(const std::string& archive) {
  std::vector<CpioEntry> entries;
  size_t at = 0;
  const auto align = [&] { at = (at + 3) / 4 * 4; };
  while (entries.empty() || entries.back().path != "TRAILER!!!") {
    REQUIRE(archive.size() >= at + 110);
    REQUIRE(archive.compare(at, 6, "070701") == 0);
    uint32_t fields[13] = {};
    for (size_t i = 0; i < 13; ++i) {
      const char* begin = archive.data() + at + 6 + i * 8;
      REQUIRE(std::from_chars(begin, begin + 8, fields[i], 16).ptr == begin + 8);
    }
    at += 110;
    const uint32_t name_bytes = fields[11];
    REQUIRE((name_bytes > 1 && archive[at + name_bytes - 1] == '\0'));
    entries.push_back({.path = archive.substr(at, name_bytes - 1),
                       .inode = fields[0],
                       .mode = fields[1],
                       .uid = fields[2],
                       .links = fields[4],
                       .mtime = fields[5],
                       .major = fields[9],
                       .minor = fields[10]});
    at += name_bytes;
    align();
    entries.back().content = archive.substr(at, fields[6]);
    REQUIRE(entries.back().content.size() == fields[6]);
    at += fields[6];
    align();
  }
  CHECK(at == archive.size());
  return entries;
}

struct Written {
  std::string bytes;
  InitramfsReport report;
};

Result<Written> write(Workshop& workshop, const Tree& tree, const InitramfsOptions& options = {}) {
  const std::string path = workshop.path() + "/initramfs";
  const Fd fd = TRY(sys::open(path, O_RDWR | O_CREAT | O_TRUNC, 0644));
  Written written;
  written.report = TRY(write_initramfs(tree, workshop.spool(), options, fd.get(), workshop.stop));
  written.bytes = TRY(sys::read_file(path, size_t{1} << 30));
  CHECK(written.report.written_bytes == written.bytes.size());
  return written;
}

std::vector<TarEntry> all_kinds() {
  return {
      folder("./", 0755),
      folder("dir", 01777),
      file("dir/file", std::string(300'001, 'f')),
      hard_link("another", "dir/file"),
      hard_link("dir/third", "dir/file"),
      file("dir-first", "sorted by parts, not by bytes"),
      file("empty", ""),
      hard_link("empty2", "empty"),
      file("setuid", "s", 04755),
      {.name = "owned", .content = "o", .mode = 0640, .uid = 1000, .gid = 2000},
      symlink("link", "dir/file"),
      hard_link("link2", "link"),
      {.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3},
      hard_link("null2", "null"),
      {.name = "disk", .type = '4', .mode = 0660, .gid = 6, .major = 259, .minor = 70000},
      {.name = "pipe", .type = '6', .mode = 0622},
      file("\xc3\xa4 \xff", "name"),
  };
}

Fd host_file(const Workshop& workshop, const std::string& content) {
  static int count = 0;
  Fd fd =
      sys::open(workshop.path() + "/host" + std::to_string(count++), O_RDWR | O_CREAT | O_EXCL, 0600).value();
  REQUIRE(sys::write_all(fd.get(), content));
  return fd;
}

std::string unlz4_legacy(const std::string& blob) {
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 4; i-- > 0;) value = value << 8U | static_cast<unsigned char>(blob[at + i]);
    return value;
  };
  REQUIRE(number(0) == 0x184c2102);
  std::string all;
  std::string block(8 << 20, '\0');
  for (size_t at = 4; at < blob.size();) {
    const uint32_t len_bytes = number(at);
    at += 4;
    REQUIRE(len_bytes <= blob.size() - at);
    const int count = ::LZ4_decompress_safe(&blob[at], block.data(), static_cast<int>(len_bytes),
                                            static_cast<int>(block.size()));
    REQUIRE(count > 0);
    all.append(block, 0, static_cast<size_t>(count));
    at += len_bytes;
  }
  return all;
}

std::string unpacked(ArchiveCompression compression, const std::string& blob) {
  if (compression == ArchiveCompression::none) return blob;
  if (compression == ArchiveCompression::lz4) return unlz4_legacy(blob);
  auto decompressor = Decompressor::create(
      compression == ArchiveCompression::gzip ? LayerCompression::gzip : LayerCompression::zstd,
      read_blob(blob));
  REQUIRE(decompressor);
  std::string all;
  std::string piece(1 << 20, '\0');
  while (true) {
    const auto count = (*decompressor)->read(std::as_writable_bytes(std::span(piece)));
    REQUIRE(count);
    if (*count == 0) return all;
    all.append(piece, 0, *count);
  }
}

}  // namespace

TEST_CASE("cpio makes of an archive what is in the tree") {
  if (!is_root() || run({"cpio", "--version"}) != 0) {
    MESSAGE("SKIPPED: comparing with cpio needs it, and root");
    return;
  }
  Workshop workshop;
  const auto tree = workshop.merge({tar(all_kinds())});
  REQUIRE(tree);
  const auto written = write(workshop, *tree);
  REQUIRE(written);
  REQUIRE(sys::mkdir(workshop.path() + "/cpio", 0755));
  const std::string script =
      "cd \"$1\" && cpio --extract --make-directories --preserve-modification-time --quiet < ../initramfs";
  REQUIRE(run({"sh", "-c", script, "sh", workshop.path() + "/cpio"}, workshop.path() + "/log") == 0);
  REQUIRE(workshop.write(*tree, "rootfs"));
  Description ours = describe(workshop.path() + "/rootfs");
  Description theirs = describe(workshop.path() + "/cpio");
  ours.erase(".");
  theirs.erase(".");
  // Names of one symlink are symlinks of their own in an initramfs.
  for (const char* path : {"link", "link2"}) ours[path].resize(ours[path].find(" ="));
  // cpio sets no times of symlinks, and those of folders before what is in them.
  for (Description* lines : {&ours, &theirs}) {
    for (auto& [path, line] : *lines) {
      if (line.starts_with('d') || line.starts_with('l')) line = without_time(line);
    }
  }
  CHECK(difference(ours, theirs) == "");
}

TEST_CASE("entries are sorted, folders before what is in them, and numbered in this order") {
  Workshop workshop;
  const auto tree = workshop.merge({tar(all_kinds())});
  REQUIRE(tree);
  const auto written = write(workshop, *tree);
  REQUIRE(written);
  const auto entries = parse(written->bytes);
  CHECK(written->report.entries == entries.size() - 1);
  CHECK(written->report.entries == tree->size() - 1);
  CHECK(written->report.archive_bytes == written->bytes.size());
  std::string order;
  uint32_t largest = 0;
  for (const CpioEntry& entry : entries) {
    order += entry.path + " ";
    CHECK(entry.mtime == (entry.path == "TRAILER!!!" ? 0 : 1'500'000'000));
    CHECK(entry.inode <= largest + 1);
    largest = std::max(largest, entry.inode);
  }
  CHECK(order ==
        "another dir dir/file dir/third dir-first disk empty empty2 link link2 null null2 owned pipe setuid "
        "\xc3\xa4 \xff TRAILER!!! ");
}

TEST_CASE("hard links have one number, their count, and the content with the last name") {
  Workshop workshop;
  const auto tree = workshop.merge({tar(all_kinds())});
  REQUIRE(tree);
  const auto entries = parse(write(workshop, *tree).value().bytes);
  std::vector<const CpioEntry*> names;
  std::set<uint32_t> other_inodes;
  for (const CpioEntry& entry : entries) {
    if (entry.path == "another" || entry.path == "dir/file" || entry.path == "dir/third") {
      names.push_back(&entry);
    } else if (!entry.path.starts_with("null") && !entry.path.starts_with("empty")) {
      CHECK(other_inodes.insert(entry.inode).second);
    }
  }
  REQUIRE(names.size() == 3);
  for (const CpioEntry* entry : names) {
    CHECK(entry->links == 3);
    CHECK(entry->inode == names[0]->inode);
    CHECK_FALSE(other_inodes.contains(entry->inode));
  }
  CHECK(names[0]->content.empty());
  CHECK(names[1]->content.empty());
  CHECK(names[2]->content == std::string(300'001, 'f'));
}

TEST_CASE("two builds are bit-identical in every compression") {
  const std::vector<TarEntry> entries = all_kinds();
  const std::vector<std::string> one_way = {tar(entries)};
  // The same files, but another order and other layers.
  const std::vector<std::string> another_way = {
      tar({entries.begin() + 5, entries.begin() + 9}), tar({file("gone"), entries[1], file("owned")}),
      tar({entries.begin() + 9, entries.end()}), tar({entries.begin(), entries.begin() + 5}),
      tar({file(".wh.gone", "")})};
  std::string plain;
  for (const auto compression : {ArchiveCompression::none, ArchiveCompression::gzip, ArchiveCompression::lz4,
                                 ArchiveCompression::zstd}) {
    std::vector<std::string> results;
    for (const auto& archives : {one_way, another_way, one_way}) {
      Workshop workshop;
      const auto tree = workshop.merge(archives);
      REQUIRE(tree);
      const Fd init = host_file(workshop, std::string(2'000'000, 'i'));
      auto written =
          write(workshop, *tree, {.compression = compression, .first = {{.name = "init", .fd = init.get()}}});
      REQUIRE(written);
      results.push_back(std::move(written->bytes));
    }
    CHECK((results[0] == results[1]));
    CHECK((results[0] == results[2]));
    if (compression == ArchiveCompression::none) plain = results[0];
    CHECK((unpacked(compression, results[0]) == plain));
  }
}

TEST_CASE("files that are added take the place of the image's own") {
  Workshop workshop;
  const auto tree =
      workshop.merge({tar({file("init", "the image's"), folder("agent"), file("agent/evil", "x"),
                           symlink("config.yaml", "/etc/passwd"), hard_link("init2", "init"), folder("sub"),
                           file("sub/init", "stays")})});
  REQUIRE(tree);
  const Fd init = host_file(workshop, "our init");
  const Fd agent = host_file(workshop, "our agent");
  const Fd config = host_file(workshop, "");
  const auto written = write(workshop, *tree,
                             {.first = {{.name = "init", .fd = init.get()}},
                              .last = {{.name = "agent", .mode = 0700, .fd = agent.get()},
                                       {.name = "config.yaml", .mode = 0644, .fd = config.get()}}});
  REQUIRE(written);
  std::string text;
  std::set<uint32_t> inodes;
  for (const CpioEntry& entry : parse(written->bytes)) {
    char mode[16];
    std::snprintf(mode, sizeof mode, "%o", entry.mode);
    text += entry.path + " " + mode + " x" + std::to_string(entry.links) + " " + entry.content + "\n";
    CHECK(inodes.insert(entry.inode).second);
  }
  CHECK(text ==
        "init 100755 x1 our init\n"
        "init2 100644 x1 the image's\n"
        "sub 40755 x2 \n"
        "sub/init 100644 x1 stays\n"
        "agent 100700 x1 our agent\n"
        "config.yaml 100644 x1 \n"
        "TRAILER!!! 0 x1 \n");
}

TEST_CASE("times are the image's within what the format knows, or none") {
  Workshop workshop;
  TarEntry early = file("early");
  early.pax = {{"mtime", "-5"}};
  TarEntry late = file("late");
  late.pax = {{"mtime", "99999999999"}};
  const auto tree = workshop.merge({tar({early, late, file("usual")})});
  REQUIRE(tree);
  const auto kept = parse(write(workshop, *tree).value().bytes);
  CHECK(kept[0].mtime == 0);
  CHECK(kept[1].mtime == 0xffffffff);
  CHECK(kept[2].mtime == 1'500'000'000);
  for (const CpioEntry& entry : parse(write(workshop, *tree, {.keeps_mtime = false}).value().bytes))
    CHECK(entry.mtime == 0);
}

TEST_CASE("files of 4 GiB are refused by name, holes and all") {
  Workshop workshop;
  std::string map = "0\n";
  map.resize(512, '\0');
  TarEntry sparse = file("dir/huge", map);
  sparse.pax = {{"GNU.sparse.major", "1"},
                {"GNU.sparse.minor", "0"},
                {"GNU.sparse.name", "dir/huge"},
                {"GNU.sparse.realsize", "4294967296"}};
  const auto tree = workshop.merge({tar({sparse})});
  REQUIRE(tree);
  const auto written = write(workshop, *tree);
  REQUIRE_FALSE(written);
  CHECK(written.error().code == Code::image_too_large);
  CHECK(written.error().message.contains("'dir/huge'"));
}

TEST_CASE("files to add need names of their own and must be files") {
  Workshop workshop;
  const Tree tree;
  const Fd good = host_file(workshop, "x");
  const Fd folder = sys::open(workshop.path(), O_RDONLY | O_DIRECTORY).value();
  for (const char* name : {"", ".", "..", "a/b", "/init"}) {
    CAPTURE(name);
    CHECK(write(workshop, tree, {.first = {{.name = name, .fd = good.get()}}}).error().code ==
          Code::invalid_argument);
  }
  CHECK(write(workshop, tree,
              {.first = {{.name = "a", .fd = good.get()}}, .last = {{.name = "a", .fd = good.get()}}})
            .error()
            .code == Code::invalid_argument);
  CHECK(write(workshop, tree, {.first = {{.name = "a", .fd = folder.get()}}}).error().code ==
        Code::invalid_argument);
  CHECK(write(workshop, tree, {.first = {{.name = "a", .fd = -1}}}).error().code == Code::io);
}

TEST_CASE("writing an initramfs can be stopped, and a full disk is an error") {
  Workshop workshop;
  const auto tree = workshop.merge({tar({file("a", std::string(1 << 20, 'a'))})});
  REQUIRE(tree);
  const Fd full = sys::open("/dev/full", O_WRONLY).value();
  CHECK(write_initramfs(*tree, workshop.spool(), {}, full.get(), workshop.stop).error().code ==
        Code::resource_exhausted);
  workshop.stop = true;
  CHECK(write(workshop, *tree).error().code == Code::cancelled);
}

TEST_CASE("an image of nothing is an archive of nothing") {
  Workshop workshop;
  for (const auto compression : {ArchiveCompression::none, ArchiveCompression::gzip, ArchiveCompression::lz4,
                                 ArchiveCompression::zstd}) {
    const auto written = write(workshop, Tree(), {.compression = compression});
    REQUIRE(written);
    CHECK(parse(unpacked(compression, written->bytes)).size() == 1);
  }
}

}  // namespace lambdo::image
