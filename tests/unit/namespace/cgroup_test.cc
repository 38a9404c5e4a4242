#include "namespace/cgroup.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/syscalls.h"
#include "namespace/cgroup_files.h"
#include "sandbox_fixture.h"
#include "test.h"

namespace lambdo::namespaces {

TEST_CASE("cgroup mounts are recognised, whatever stands around them") {
  const char* const mountinfo =
      "22 1 0:20 / /proc rw,relatime shared:5 - proc proc rw\n"
      "30 22 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n"
      "31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "32 22 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "garbage - \n\n";
  const std::vector<CgroupMount> mounts = parse_cgroup_mounts(mountinfo);
  REQUIRE(mounts.size() == 3);
  CHECK(mounts[0] == CgroupMount{.mount_point = "/sys/fs/cgroup/unified", .v2 = true});
  CHECK(mounts[1] == CgroupMount{.mount_point = "/sys/fs/cgroup/memory", .controllers = {"rw", "memory"}});
  CHECK(mounts[2].controllers == std::vector<std::string>{"rw", "cpu", "cpuacct"});
}

TEST_CASE("numbers are found by their whole key") {
  const char* const content = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\nlast x";
  CHECK(keyed_number(content, "oom_kill") == 3);
  CHECK(keyed_number(content, "under_oom") == 1);
  CHECK(keyed_number(content, "oom") == std::nullopt);
  CHECK(keyed_number(content, "last") == std::nullopt);
}

TEST_CASE("a group is made with limits, changed in both directions, killed and removed") {
  if (!is_root("cgroup groups")) return;
  std::vector<std::string> warnings;
  const std::string tree_name = "lambdo-unit-" + std::to_string(::getpid());
  Result<CgroupTree> tree = CgroupTree::open(tree_name, warnings);
  REQUIRE(tree);
  CHECK(warnings.empty());
  REQUIRE(tree->version() != 0);
  Result<Cgroup> group = tree->create("one", {.memory_mb = 64, .processes = 10, .cpu_percent = 50});
  REQUIRE_MESSAGE(group, group.error().message);
  CHECK(group->set_limits({.memory_mb = 128, .processes = 20}));
  CHECK(group->set_limits({.memory_mb = 32, .processes = 5}));
  CHECK_FALSE(tree->create("one", {.memory_mb = 64, .processes = 10}));

  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (const Fd& file : group->open_v1_task_files().value_or(std::vector<Fd>())) {
      if (::write(file.get(), "0", 1) != 1) ::_exit(1);
    }
    while (true) ::pause();
  }
  if (tree->version() == 1) {
    REQUIRE(eventually([&] { return group->processes() == std::vector<pid_t>{child}; }, 2000));
    CHECK_FALSE(group->remove());
    CHECK(group->kill_all() == 1);
  } else {
    ::kill(child, SIGKILL);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(eventually([&] { return group->remove().has_value(); }, 2000));
  CHECK(group->remove());
  tree->remove();
  const std::string mountinfo = sys::read_file("/proc/self/mountinfo").value_or("");
  for (const CgroupMount& mount : parse_cgroup_mounts(mountinfo)) {
    CHECK_FALSE(sys::exists(mount.mount_point + "/" + tree_name));
  }
}

TEST_CASE("what an earlier instance left is killed and removed, and nothing beside it") {
  if (!is_root("cgroup leftovers")) return;
  std::vector<std::string> warnings;
  const std::string name = "lambdo-unit-" + std::to_string(::getpid());
  Result<CgroupTree> earlier = CgroupTree::open(name, warnings);
  Result<CgroupTree> neighbour = CgroupTree::open(name + "-neighbour", warnings);
  REQUIRE(earlier);
  REQUIRE(neighbour);
  REQUIRE(earlier->create("left", {.memory_mb = 64, .processes = 10}));
  const Result<Cgroup> kept = neighbour->create("kept", {.memory_mb = 64, .processes = 10});
  REQUIRE(kept);

  Result<CgroupTree> next = CgroupTree::open(name, warnings);
  REQUIRE(next);
  CHECK(next->remove_leftovers(2000));
  CHECK(next->create("left", {.memory_mb = 64, .processes = 10}));
  CHECK(next->remove_leftovers(2000));
  next->remove();
  CHECK_FALSE(neighbour->create("kept", {.memory_mb = 64, .processes = 10}));
  CHECK(kept->remove());
  neighbour->remove();
}

}  // namespace lambdo::namespaces
