#include "image/writers/rootfs.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/syscalls.h"
#include "image/writers/initramfs.h"
#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

void put_file(const std::string& path, const std::string& content) {
  const auto fd = sys::open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
  REQUIRE(fd);
  REQUIRE(sys::write_all(fd->get(), content));
}

/// Something of the host's that no image may touch, and all around the target.
class Guard {
 public:
  Guard() : path_(workshop_.path() + "/guard") {
    REQUIRE(sys::mkdirs(path_ + "/folder", 0755));
    put_file(path_ + "/file", "the host's");
    put_file(path_ + "/folder/file", "the host's too");
    before_ = describe(path_);
  }

  Workshop& workshop() { return workshop_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  void check() {
    CHECK(difference(describe(path_), before_) == "");
    CHECK(sys::list_directory(workshop_.path()).value() ==
          std::vector<std::string>{"guard", "rootfs", "spool0"});
  }

 private:
  Workshop workshop_;
  std::string path_;
  Description before_;
};

std::string line_of(const Description& description, const std::string& path) {
  const auto found = description.find(path);
  return found == description.end() ? "nothing" : found->second;
}

bool become_nobody() {
  constexpr uid_t kNobody = 65534;
  return ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
}

/// As a server that was started by root is.
bool give_up_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  return ::syscall(SYS_capset, &header, sets) == 0;
}

/// Runs `work` in a child process that has given up its privileges; its status.
template <typename Drop, typename Work>
int without_privileges(Drop drop, Work work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(drop() ? work() : 100);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("no image reaches out of its folder") {
  Guard guard;
  const std::string& out = guard.path();
  const std::string up = "../../../../../../../.." + out;
  struct Case {
    const char* name;
    std::vector<TarEntry> lower;
    std::vector<TarEntry> upper;
  };
  const std::vector<Case> cases = {
      {"a file through an absolute symlink",
       {symlink("x", out)},
       {file("x/file", "evil"), file("x/new", "evil")}},
      {"a file through a relative symlink",
       {symlink("x", up)},
       {file("x/file", "evil"), file("x/new", "evil")}},
      {"both in one layer", {symlink("x", out), file("x/file", "evil")}, {}},
      {"a symlink in a symlink's folder",
       {symlink("x", "/"), symlink("y", "x" + out), file("y/file", "evil")},
       {}},
      {"a symlink as the last part", {symlink("x", out + "/file")}, {file("x", "evil")}},
      {"a folder over a symlink", {symlink("x", out)}, {folder("x", 0777), file("x/file", "evil")}},
      {"a folder's metadata through a symlink", {symlink("x", out)}, {folder("x/folder", 0777)}},
      {"a whiteout through a symlink",
       {symlink("x", out)},
       {file("x/.wh.file", ""), file("x/.wh.folder", "")}},
      {"an opaque folder through a symlink", {symlink("x", out)}, {file("x/.wh..wh..opq", "")}},
      {"a whiteout of a symlink", {symlink("x", out)}, {file(".wh.x", "")}},
      {"a device through a symlink",
       {symlink("x", out)},
       {{.name = "x/null", .type = '3', .major = 1, .minor = 3}}},
      {"a symlink to the root of the host",
       {symlink("x", "/proc/self/root" + out), file("x/file", "evil")},
       {}},
      {"a magic link", {symlink("x", "/proc/self/cwd"), file("x/evil", "evil")}, {}},
      {"a hard link to a symlink", {symlink("x", out + "/file"), hard_link("y", "x")}, {file("y", "evil")}},
      {"file, folder and file again", {file("x", "1")}, {folder("x"), symlink("x/y", out), file("x", "2")}},
  };
  for (const Case& each : cases) {
    SUBCASE(each.name) {
      const auto report = guard.workshop().unpack({tar(each.lower), tar(each.upper)});
      INFO((report ? std::string() : report.error().message));
      CHECK(report);
      guard.check();
    }
  }
}

TEST_CASE("hard links to the host's files are refused") {
  Guard guard;
  for (const std::string& target : {guard.path() + "/file", ".." + guard.path() + "/file"}) {
    const auto report = guard.workshop().unpack({tar({hard_link("x", target)})});
    REQUIRE_FALSE(report);
    CHECK(report.error().code == Code::path_escape);
  }
  const auto through = guard.workshop().unpack({tar({symlink("x", guard.path()), hard_link("y", "x/file")})});
  REQUIRE_FALSE(through);
  CHECK(through.error().code == Code::layer_invalid);
  REQUIRE(sys::mkdir(guard.workshop().path() + "/rootfs", 0700));
  guard.check();
}

TEST_CASE("folders that no layer has are root's, 0755 and of the year 1970") {
  Workshop workshop;
  REQUIRE(workshop.unpack({tar({file("a/b/c")})}));
  const Description found = describe(workshop.path() + "/rootfs");
  const std::string owner = is_root() ? "0:0" : std::to_string(::getuid()) + ":" + std::to_string(::getgid());
  CHECK(line_of(found, "a") == "d 0755 " + owner + " @0.000000000");
  CHECK(line_of(found, "a/b") == line_of(found, "a"));
  CHECK(line_of(found, ".") == line_of(found, "a"));
}

TEST_CASE("sparse files keep their size and holes") {
  Workshop workshop;
  // GNU tar's format 1.0: a map of pieces, then the pieces. Two of 512 bytes in 10 MiB.
  std::string map = "2\n0\n512\n5242880\n512\n";
  map.resize(512, '\0');
  TarEntry sparse = file("sparse", map + std::string(512, 'a') + std::string(512, 'b'));
  sparse.pax = {{"GNU.sparse.major", "1"},
                {"GNU.sparse.minor", "0"},
                {"GNU.sparse.name", "sparse"},
                {"GNU.sparse.realsize", "10485760"}};
  REQUIRE(workshop.unpack({tar({sparse})}));
  const std::string path = workshop.path() + "/rootfs/sparse";
  std::string expected(10 << 20, '\0');
  expected.replace(0, 512, 512, 'a').replace(5 << 20, 512, 512, 'b');
  CHECK((sys::read_file(path, 64 << 20).value() == expected));
  struct stat status = {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK(status.st_blocks < 1000);
}

TEST_CASE("a folder of mode 0 gets its content first") {
  Workshop workshop;
  REQUIRE(workshop.unpack({tar({folder("shut", 0), folder("shut/in", 0), file("shut/in/file")})}));
  const Description found = describe(workshop.path() + "/rootfs");
  CHECK(line_of(found, "shut").starts_with("d 0000 "));
  CHECK(line_of(found, "shut").contains(" @1500000000."));
  CHECK(line_of(found, "shut/in/file") != "nothing");
}

TEST_CASE("an image is unpacked only where nothing is") {
  struct Leftover {
    const char* name;
    const char* line;
  };
  for (const Leftover& leftover : {Leftover{"file", "echo foreign > rootfs/file"},
                                   {"other", "echo foreign > rootfs/other"},
                                   {"folder", "mkdir rootfs/folder && echo foreign > rootfs/folder/file"},
                                   {"folder", "ln -s ../outside rootfs/folder"},
                                   {".hidden", "mkfifo rootfs/.hidden"}}) {
    CAPTURE(leftover.line);
    Workshop workshop;
    const std::string there = "cd " + workshop.path() + " && ";
    REQUIRE(run({"sh", "-c", there + "mkdir rootfs outside && " + leftover.line}) == 0);
    const Description before = describe(workshop.path() + "/rootfs");
    const auto tree = workshop.merge({tar({file("file"), folder("folder"), file("folder/file")})});
    REQUIRE(tree);
    const auto target = sys::open(workshop.path() + "/rootfs", O_RDONLY | O_DIRECTORY);
    const auto report = write_rootfs(*tree, workshop.spool(), target->get(), workshop.stop);
    REQUIRE_FALSE(report);
    CHECK(report.error().code == Code::store_invalid);
    CHECK_MESSAGE(report.error().message.contains("'" + std::string(leftover.name) + "'"),
                  report.error().message);
    CHECK(difference(describe(workshop.path() + "/rootfs"), before) == "");
    CHECK(sys::list_directory(workshop.path() + "/outside").value().empty());
  }
}

/// Without doctest's checks, for a process that is about to end.
static bool apply_layer(const std::string& archive, Spool& spool, Tree& tree) {
  const std::atomic<bool> stop = false;
  const auto layer = read_layer(
      {.read = read_blob(archive), .media_type = std::string(registry::media_type::kOciLayer), .diff_id = {}},
      spool, {}, stop);
  return layer && tree.apply(*layer, stop);
}

TEST_CASE("files that nobody may read are read without privileges, and have their modes in the end") {
  if (!is_root()) {
    MESSAGE("SKIPPED: needs root, to have something to give up");
    return;
  }
  const std::string place = "/tmp/lambdo-image-modes-" + std::to_string(::getpid());
  std::vector<TarEntry> entries;
  for (const uint32_t mode : {0000U, 0200U, 0111U, 0004U, 0400U, 0444U, 0640U, 04711U, 07777U})
    entries.push_back(file(std::to_string(mode), "content of " + std::to_string(mode), mode));
  const std::string archive = tar(entries);
  const auto work = [&] {
    const std::atomic<bool> stop = false;
    const auto spool = Spool::create(place + "/spool");
    if (!spool) return 1;
    Tree tree;
    if (!apply_layer(archive, **spool, tree)) return 2;
    for (const TarEntry& entry : entries) {
      if (tree.read(**spool, tree.find(entry.name), 100) != entry.content) return 3;
    }
    const auto initramfs = sys::open(place + "/initramfs", O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (!write_initramfs(tree, **spool, {}, initramfs->get(), stop)) return 4;
    if (!sys::mkdir(place + "/rootfs", 0700)) return 5;
    const auto target = sys::open(place + "/rootfs", O_RDONLY | O_DIRECTORY);
    return write_rootfs(tree, **spool, target->get(), stop) ? 0 : 6;
  };
  for (const bool is_nobody : {true, false}) {
    CAPTURE(is_nobody);
    REQUIRE(sys::mkdir(place, 0777));
    REQUIRE(::chmod(place.c_str(), 0777) == 0);
    CHECK((is_nobody ? without_privileges(become_nobody, work)
                     : without_privileges(give_up_capabilities, work)) == 0);
    const Description found = describe(place + "/rootfs");
    const std::string archived = sys::read_file(place + "/initramfs", 1 << 20).value();
    for (const TarEntry& entry : entries) {
      // All are root's: set-id bits are left out where that owner cannot be set.
      const uint32_t mode = is_nobody ? entry.mode & 01777U : entry.mode;
      char text[16];
      std::snprintf(text, sizeof text, "- %04o ", mode);
      CHECK_MESSAGE(line_of(found, entry.name).starts_with(text), line_of(found, entry.name));
      CHECK(line_of(found, entry.name).contains(" @1500000000."));
      CHECK(line_of(found, entry.name).contains(registry::Digest::of(entry.content).short_hex()));
      std::snprintf(text, sizeof text, "%08x", S_IFREG | entry.mode);
      CHECK(archived.contains(text));
      CHECK(archived.contains(entry.content));
    }
    CHECK(remove_tree(place));
  }
}

TEST_CASE("writing can be stopped, and never goes into a folder that has something") {
  Workshop workshop;
  const auto tree = workshop.merge({tar({file("a"), file("b")})});
  REQUIRE(tree);
  REQUIRE(sys::mkdir(workshop.path() + "/full", 0700));
  put_file(workshop.path() + "/full/a", "mine");
  const auto target = sys::open(workshop.path() + "/full", O_RDONLY | O_DIRECTORY);
  const auto report = write_rootfs(*tree, workshop.spool(), target->get(), workshop.stop);
  CHECK_FALSE(report);
  CHECK(sys::read_file(workshop.path() + "/full/a") == "mine");
  workshop.stop = true;
  CHECK(workshop.write(*tree, "stopped").error().code == Code::cancelled);
}

TEST_CASE("without privileges all is the process's own, and nothing of it set-id") {
  if (!is_root()) {
    MESSAGE("SKIPPED: needs root, to have something to give up");
    return;
  }
  const std::string place = "/tmp/lambdo-image-nobody-" + std::to_string(::getpid());
  REQUIRE(sys::mkdir(place, 0777));
  REQUIRE(::chmod(place.c_str(), 0777) == 0);
  const std::string archive = tar({{.name = "suid", .content = "x", .mode = 06755, .uid = 0, .gid = 0},
                                   {.name = "own", .content = "x", .mode = 04755, .uid = 65534, .gid = 65534},
                                   {.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3},
                                   hard_link("null2", "null"),
                                   {.name = "pipe", .type = '6'},
                                   {.name = "shut", .type = '5', .mode = 0},
                                   file("shut/file")});
  const int status = without_privileges(become_nobody, [&] {
    const std::atomic<bool> stop = false;
    const auto spool = Spool::create(place + "/spool");
    if (!spool) return 1;
    Tree tree;
    if (!apply_layer(archive, **spool, tree) || !sys::mkdir(place + "/rootfs", 0700)) return 2;
    const auto target = sys::open(place + "/rootfs", O_RDONLY | O_DIRECTORY);
    const auto report = write_rootfs(tree, **spool, target->get(), stop);
    if (!report) return 3;
    return report->skipped_devices == 1 && report->skipped_owners > 0 ? 0 : 4;
  });
  CHECK(status == 0);
  const Description found = describe(place + "/rootfs", Times::none);
  CHECK(line_of(found, "suid").starts_with("- 0755 65534:65534 "));
  CHECK(line_of(found, "own").starts_with("- 4755 65534:65534 "));
  CHECK(line_of(found, "null") == "nothing");
  CHECK(line_of(found, "null2") == "nothing");
  CHECK(line_of(found, "shut") == "d 0000 65534:65534");
  CHECK(line_of(found, "shut/file") != "nothing");
  CHECK(remove_tree(place));
}

}  // namespace lambdo::image
