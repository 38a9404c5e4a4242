// What comes out of our layers, tree and writer, against `umoci unpack` of the same image, entry by entry.
#include <sys/stat.h>

#include <ctime>
#include <random>

#include "base/syscalls.h"
#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

constexpr int64_t kOldest = 1'000'000'000;
constexpr int64_t kNewest = 1'600'000'000;

bool can_compare() {
  if (is_root() && run({"umoci", "--version"}) == 0) return true;
  MESSAGE("SKIPPED: comparing with umoci needs it, and root");
  return false;
}

/// The time in a line of a description.
int64_t time_of(const std::string& line) {
  return std::stoll(line.substr(line.find('@') + 1));
}

/// umoci leaves the present time on folders that no layer has, and on those that a whiteout emptied; ours are
/// of 1970 and of their layer. What is of the archive itself must be the same.
void forget_times_of_umocis_own(Description& ours, Description& theirs) {
  for (auto& [path, line] : theirs) {
    if (!line.starts_with('d') || time_of(line) <= kNewest) continue;
    line = without_time(line);
    if (const auto mine = ours.find(path); mine != ours.end()) mine->second = without_time(mine->second);
  }
}

struct Compared {
  bool ours_failed = false;
  bool theirs_failed = false;
  std::string difference;
  std::string message;
  std::string log;
};

Compared compare(const std::vector<std::string>& archives) {
  Workshop workshop;
  write_oci_layout(workshop.path() + "/oci", archives);
  Compared result;
  auto unpacked = workshop.unpack(archives);
  result.ours_failed = !unpacked;
  if (!unpacked) result.message = unpacked.error().message;
  const std::string log = workshop.path() + "/log";
  result.theirs_failed =
      run({"umoci", "unpack", "--image", workshop.path() + "/oci:t", workshop.path() + "/bundle"}, log) != 0;
  result.log = sys::read_file(log).value();
  if (result.ours_failed || result.theirs_failed) return result;
  Description ours = describe(workshop.path() + "/rootfs");
  Description theirs = describe(workshop.path() + "/bundle/rootfs");
  forget_times_of_umocis_own(ours, theirs);
  result.difference = difference(ours, theirs);
  return result;
}

void check_same(const std::vector<std::vector<TarEntry>>& layers) {
  std::vector<std::string> archives;
  for (const auto& entries : layers) archives.push_back(tar(entries));
  const Compared compared = compare(archives);
  INFO(compared.message);
  INFO(compared.log);
  CHECK_FALSE(compared.ours_failed);
  CHECK_FALSE(compared.theirs_failed);
  CHECK(compared.difference == "");
}

std::string capability() {
  // VFS_CAP_REVISION_2, effective, CAP_NET_RAW permitted (linux/capability.h).
  std::string value(20, '\0');
  value[0] = 1;
  value[3] = 2;
  value[5] = 0x20;
  return value;
}

}  // namespace

TEST_CASE("one layer with every kind of entry is what umoci makes of it") {
  if (!can_compare()) return;
  TarEntry precise = file("precise", "x");
  precise.pax = {{"mtime", "1500000000.123456789"}};
  TarEntry old = file("before-1970", "x");
  old.pax = {{"mtime", "-1000"}};
  TarEntry capable = file("capable", "#!", 0755);
  capable.pax = {{"SCHILY.xattr.security.capability", capability()},
                 {"SCHILY.xattr.user.key", "value\n\x01"}};
  TarEntry tagged = folder("tagged");
  tagged.pax = {{"SCHILY.xattr.user.folder", "yes"}};
  check_same({{
      folder("./", 0755),
      folder("dir/", 01777),
      file("dir/file", "hello"),
      file("dir/empty", ""),
      file("setuid", "s", 04755),
      file("setgid", "s", 02711),
      {.name = "owned", .content = "o", .mode = 06750, .uid = 1000, .gid = 2000},
      {.name = "owned-dir", .type = '5', .mode = 02750, .uid = 65534, .gid = 65534},
      file("secret", "s", 0),
      symlink("absolute", "/etc/passwd"),
      symlink("dir/dangling", "../nowhere/at/all"),
      {.name = "owned-link", .type = '2', .link = "x", .mode = 0777, .uid = 5, .gid = 6},
      hard_link("linked", "dir/file"),
      hard_link("link-to-symlink", "absolute"),
      {.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3},
      {.name = "disk", .type = '4', .mode = 0660, .gid = 6, .major = 259, .minor = 70000},
      {.name = "pipe", .type = '6', .mode = 0622},
      hard_link("null2", "null"),
      precise,
      old,
      capable,
      tagged,
      file("a name with spaces and \xc3\xa4\xf0\x9f\x90\x99", "utf-8"),
      file("not-utf-8-\xff\xfe", "bytes"),
      file(std::string(50, 'd') + "/" + std::string(200, 'l'), "long"),
      symlink("long-target", std::string(300, 't')),
      file("big", std::string(1 << 20, 'b')),
  }});
}

TEST_CASE("layers over one another are what umoci makes of them") {
  if (!can_compare()) return;
  const std::vector<TarEntry> base = {
      folder("etc"),
      file("etc/hosts", "root"),
      file("etc/group", "root"),
      folder("usr"),
      folder("usr/lib"),
      file("usr/lib/a", "a"),
      file("usr/lib/b", "b"),
      symlink("lib", "usr/lib"),
      symlink("abs", "/usr"),
      folder("deep"),
      folder("deep/er"),
      file("deep/er/x", "x"),
      hard_link("usr/lib/hard", "usr/lib/a"),
  };
  struct Case {
    const char* name;
    std::vector<TarEntry> upper;
  };
  TarEntry changed = folder("etc", 0700);
  changed.mtime = 1'400'000'000;
  changed.uid = 7;
  const std::vector<Case> cases = {
      {"a whiteout of a file", {file("etc/.wh.hosts", "")}},
      {"a whiteout of a folder", {file(".wh.deep", "")}},
      {"a whiteout of a symlink leaves its target", {file(".wh.lib", "")}},
      {"a whiteout of nothing", {file("etc/.wh.nothing", ""), file("none/.wh.x", "")}},
      {"a whiteout through a symlink", {file("lib/.wh.a", "")}},
      {"an opaque folder", {folder("deep"), file("deep/.wh..wh..opq", ""), file("deep/new", "n")}},
      {"an opaque folder after its new content",
       {folder("deep"), file("deep/new", "n"), file("deep/.wh..wh..opq", "")}},
      {"an opaque folder with a new folder over an old one",
       {folder("deep"), folder("deep/er"), file("deep/er/y", "y"), file("deep/.wh..wh..opq", "")}},
      {"an opaque symlink to a folder", {file("lib/.wh..wh..opq", "")}},
      {"a whiteout does not hit its own layer", {file("etc/hosts", "new"), file("etc/.wh.hosts", "")}},
      {"a whiteout before the same name", {file("etc/.wh.hosts", ""), file("etc/hosts", "new")}},
      {"a file for a folder", {file("deep", "now a file")}},
      {"a folder for a file", {folder("etc/hosts"), file("etc/hosts/in", "x")}},
      {"a symlink for a folder", {symlink("deep", "etc")}},
      {"a folder for a symlink", {folder("lib"), file("lib/own", "x")}},
      {"a file in a folder that is a symlink", {file("lib/c", "c"), file("abs/lib/d", "d")}},
      {"a symlink for a folder, then a file in it", {symlink("deep", "etc"), file("deep/through", "x")}},
      {"a folder's new owner, mode and time", {changed}},
      {"a hard link to a lower layer's file", {hard_link("etc/same", "usr/lib/b")}},
      {"a hard link through a symlink", {hard_link("etc/same", "lib/b")}},
      {"one of two hard links replaced", {file("usr/lib/hard", "other")}},
      {"one of two hard links gone", {file("usr/lib/.wh.a", "")}},
      {"a device for a file", {{.name = "etc/hosts", .type = '3', .mode = 0600, .major = 1, .minor = 5}}},
      {"folders that no layer has", {file("new/folders/file", "x")}},
      {"a dangling symlink as a folder", {symlink("gone", "not/yet"), file("gone/file", "x")}},
      {"dots in a symlink's target", {symlink("dots", "../../../usr/./lib/.."), file("dots/file", "x")}},
      {"the root's own metadata", {folder("./", 0711)}},
      {"an empty layer", {}},
  };
  for (const Case& each : cases) {
    SUBCASE(each.name) {
      check_same({base, each.upper});
    }
  }
}

TEST_CASE("what umoci refuses is refused") {
  if (!can_compare()) return;
  const std::vector<std::vector<TarEntry>> cases = {
      {file("f"), file("f/below")},
      {hard_link("a", "missing")},
      {folder("d"), hard_link("a", "d")},
      {file("a"), hard_link("a", "a")},
      {symlink("x", "y"), symlink("y", "x"), file("x/file")},
      {symlink(".", "/etc")},
  };
  for (const auto& entries : cases) {
    CAPTURE(entries.back().name);
    const Compared compared = compare({tar(entries)});
    CHECK(compared.ours_failed);
    CHECK(compared.theirs_failed);
  }
}

namespace {

/// Layers at random from few names, so that they meet each other often.
class RandomLayers {
 public:
  explicit RandomLayers(unsigned seed) : random_(seed) {}

  std::vector<TarEntry> layer() {
    std::vector<TarEntry> entries;
    const size_t count = below(12) + 1;
    for (size_t i = 0; i < count; ++i) entries.push_back(entry());
    return entries;
  }

 private:
  size_t below(size_t bound) { return std::uniform_int_distribution<size_t>(0, bound - 1)(random_); }

  /// Mostly in folders whose names files rarely have: else nearly all images would be impossible.
  std::string name() {
    std::string path;
    for (size_t depth = below(3); depth > 0; --depth) path += below(2) == 0 ? "a/" : "b/";
    return path + std::string(1, "abcdecde"[below(8)]);
  }

  TarEntry entry() {
    TarEntry result = {.name = name(),
                       .mode = static_cast<uint32_t>(below(010000)) | 0700U,
                       .uid = static_cast<uint32_t>(below(3)),
                       .gid = static_cast<uint32_t>(below(3)),
                       .mtime = kOldest + static_cast<int64_t>(below(kNewest - kOldest))};
    switch (below(12)) {
      case 0:
        if (files_.empty()) break;
        result.type = '1';
        result.link = files_[below(files_.size())];
        break;
      case 1:
        result.type = '2';
        result.link = (below(2) == 0 ? "/" : "../") + name();
        break;
      case 2:
        result.type = '6';
        break;
      case 3:
      case 4: {
        const size_t slash = result.name.rfind('/');
        result.name.insert(slash == std::string::npos ? 0 : slash + 1, ".wh.");
        break;
      }
      case 5:
        result.name += "/.wh..wh..opq";
        break;
      case 6:
      case 7:
      case 8:
        result.name = below(2) == 0 ? "a" : "b/a";
        result.type = '5';
        // New folders in a set-gid one get a group that is not the image's.
        result.mode &= ~02000U;
        break;
      default:
        result.content = std::string(below(3) * 300, 'x');
        files_.push_back(result.name);
        break;
    }
    return result;
  }

  std::vector<std::string> files_;
  std::mt19937 random_;
};

}  // namespace

TEST_CASE("layers at random are what umoci makes of them") {
  if (!can_compare()) return;
  const char* rounds_text = std::getenv("LAMBDO_TEST_ROUNDS");
  const unsigned rounds = rounds_text == nullptr ? 60 : static_cast<unsigned>(std::atoi(rounds_text));
  size_t both_worked = 0;
  for (unsigned seed = 1; seed <= rounds; ++seed) {
    RandomLayers random(seed);
    const std::vector<std::string> archives = {tar(random.layer()), tar(random.layer()), tar(random.layer())};
    const Compared compared = compare(archives);
    CAPTURE(seed);
    INFO(compared.message);
    INFO(compared.log);
    CHECK(compared.ours_failed == compared.theirs_failed);
    CHECK(compared.difference == "");
    both_worked += !compared.ours_failed && !compared.theirs_failed ? 1 : 0;
  }
  MESSAGE(both_worked << " of " << rounds << " images were possible");
  CHECK(both_worked * 4 > rounds);
}

}  // namespace lambdo::image
