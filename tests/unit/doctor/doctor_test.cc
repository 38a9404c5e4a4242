#include "doctor/doctor.h"
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "doctor/machine_checks.h"
#include "doctor/sandbox_checks.h"
#include "doctor/uring_check.h"

#include "test.h"

namespace lambdo::doctor {

static Examination example() {
  return {.findings = {{Grade::ok, "kernel", "Linux 6.1", ""},
                       {Grade::warning, "kvm", "absent \"here\"", "load it"},
                       {Grade::failure, "bubblewrap", "missing", "install it"}},
          .reactor_usable = true,
          .kvm_usable = false,
          .namespace_usable = false};
}

TEST_CASE("the report lines up, with the remedy below what is not ok and the verdict at the end") {
  Examination examination = example();
  CHECK_EQ(format_text(examination),
           "ok    kernel      Linux 6.1\n"
           "warn  kvm         absent \"here\"\n"
           "                  -> load it\n"
           "FAIL  bubblewrap  missing\n"
           "                  -> install it\n"
           "\n"
           "No engine can run here: neither KVM nor bubblewrap is usable. Follow the remedies above, then "
           "run lambdo "
           "doctor again.\n");
  examination.findings.resize(1);
  examination.namespace_usable = true;
  CHECK_EQ(
      format_text(examination),
      "ok    kernel  Linux 6.1\n"
      "\n"
      "Engine auto takes namespace (bubblewrap), weaker isolation than a microVM: KVM is not usable here.\n");
}

TEST_CASE("JSON says the same") {
  Examination examination = example();
  examination.findings.erase(examination.findings.begin() + 2);
  CHECK_EQ(
      format_json(examination),
      R"({"engine":null,"verdict":"No engine can run here: neither KVM nor bubblewrap is usable. Follow the )"
      R"(remedies above, then run lambdo doctor again.","findings":[)"
      R"({"grade":"ok","name":"kernel","finding":"Linux 6.1"},)"
      R"({"grade":"warn","name":"kvm","finding":"absent \"here\"","remedy":"load it"}]})"
      "\n");
  examination.namespace_usable = true;
  CHECK(format_json(examination).starts_with(R"({"engine":"namespace",)"));
}

TEST_CASE("the automatic engine is kvm where it can be, else namespace, and none without io_uring") {
  struct Row {
    bool reactor, kvm, bubblewrap, guest_kernel;
    std::string engine;
  };
  const std::vector<Row> rows = {
      {true, true, true, true, "kvm"},        {true, true, false, true, "kvm"},
      {true, true, true, false, "namespace"}, {true, true, false, false, ""},
      {true, false, true, true, "namespace"}, {true, false, false, true, ""},
      {false, true, true, true, ""},
  };
  for (const Row& row : rows) {
    const Examination examination{.reactor_usable = row.reactor,
                                  .kvm_usable = row.kvm,
                                  .guest_kernel_usable = row.guest_kernel,
                                  .namespace_usable = row.bubblewrap};
    CHECK_EQ(usable_engine(examination), row.engine);
  }
}

TEST_CASE("an engine that a configuration names is that one or none, and the verdict says so") {
  Examination examination{.reactor_usable = true, .guest_kernel_usable = true, .namespace_usable = true};
  examination.engine = config::EngineChoice::kvm;
  CHECK_EQ(usable_engine(examination), "");
  CHECK(format_text(examination)
            .contains("The configuration's engine cannot run here: KVM is not usable here. Follow"));
  examination.kvm_usable = true;
  CHECK_EQ(usable_engine(examination), "kvm");
  CHECK(format_text(examination).contains("The configuration's engine is kvm: each run"));
  examination.engine = config::EngineChoice::namespaces;
  CHECK_EQ(usable_engine(examination), "namespace");
  CHECK(format_text(examination).contains("The configuration's engine is namespace (bubblewrap)"));
  examination.network_usable = false;
  CHECK(format_text(examination).contains("A server does not start with this configuration, though"));
  examination.namespace_usable = false;
  CHECK_EQ(usable_engine(examination), "");
  CHECK(format_text(examination).contains("cannot run here: bubblewrap is not usable"));
}

TEST_CASE("kernels before 6.1 fail") {
  CHECK_EQ(kernel_finding("6.1.0-18-amd64").grade, Grade::ok);
  CHECK_EQ(kernel_finding("6.18.44-fc-v669").grade, Grade::ok);
  CHECK_EQ(kernel_finding("10.0-rc1").grade, Grade::ok);
  CHECK_EQ(kernel_finding("6.0.19").grade, Grade::failure);
  CHECK_EQ(kernel_finding("5.15.0").grade, Grade::failure);
  CHECK_EQ(kernel_finding("mystery").grade, Grade::warning);
  CHECK_EQ(kernel_finding("").grade, Grade::warning);
}

TEST_CASE("user namespaces are judged by the switches that this kernel and user have") {
  struct Row {
    UserNamespaceSettings settings;
    Grade grade;
    std::string finding;
  };
  const std::vector<Row> rows = {
      {{}, Grade::failure, "this kernel has none"},
      {{.max_user_namespaces = 0, .is_root = true}, Grade::failure, "switched off"},
      {{.max_user_namespaces = 5, .unprivileged_clone = 0, .apparmor_restrict = 1, .is_root = true},
       Grade::ok,
       "up to 5"},
      {{.max_user_namespaces = 5, .unprivileged_clone = 0}, Grade::failure, "not for unprivileged users"},
      {{.max_user_namespaces = 5, .apparmor_restrict = 1}, Grade::warning, "up to 5, restricted by AppArmor"},
      {{.max_user_namespaces = 5, .unprivileged_clone = 1},
       Grade::ok,
       "up to 5, also for unprivileged users"},
  };
  for (const Row& row : rows) {
    const Finding finding = user_namespace_finding(row.settings);
    CHECK_EQ(finding.finding, row.finding);
    CHECK_EQ(finding.grade, row.grade);
    CHECK_EQ(finding.remedy.empty(), row.grade == Grade::ok);
  }
}

TEST_CASE("cgroups of either version are found in the mount table") {
  const CgroupLayout v1 = parse_cgroup_layout(
      "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\ncgroup /sys/fs/cgroup/memory cgroup "
      "rw,memory 0 0\n"
      "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 "
      "0\nbroken\n",
      "3:cpu:/\n0::/\n");
  CHECK_EQ(v1.v2_path, "/sys/fs/cgroup/unified");
  CHECK_EQ(v1.v1_mounts.at("cpu"), "/sys/fs/cgroup/cpu,cpuacct");
  CHECK_EQ(cgroup_finding(v1).finding, "v1 at /sys/fs/cgroup/cpu,cpuacct, with memory, pids and cpu");
  CHECK_EQ(cgroup_finding(v1).grade, Grade::ok);

  CgroupLayout v2 =
      parse_cgroup_layout("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "0::/system.slice/lambdo.service\n");
  CHECK_EQ(v2.v2_path, "/sys/fs/cgroup/system.slice/lambdo.service");
  CHECK_EQ(cgroup_finding(v2).finding,
           "controllers not available: memory, pids, cpu (/sys/fs/cgroup/system.slice/lambdo.service)");
  v2.v2_controllers = {"cpuset", "cpu", "io", "memory", "pids"};
  CHECK_EQ(cgroup_finding(v2).grade, Grade::ok);
  v2.v2_controllers.pop_back();
  CHECK_EQ(cgroup_finding(v2).grade, Grade::warning);
  v2.v2_controllers.emplace_back("pids");
  v2.not_writable = {v2.v2_path};
  CHECK_EQ(cgroup_finding(v2).grade, Grade::warning);

  CHECK_EQ(cgroup_finding({}).finding, "controllers not available: memory, pids, cpu (no v2 hierarchy)");
}

TEST_CASE("a ring that the kernel refuses is explained by the switch or by the error") {
  CHECK(uring_refused_finding(EPERM, 2).remedy.contains("io_uring_disabled=0"));
  CHECK(uring_refused_finding(EPERM, 1).finding.contains("unprivileged"));
  CHECK(uring_refused_finding(EPERM, 0).remedy.contains("seccomp"));
  CHECK(uring_refused_finding(EINVAL, 0).remedy.contains("6.1"));
  CHECK_EQ(uring_refused_finding(ENOMEM, 0).grade, Grade::failure);
}

TEST_CASE("this machine's io_uring has what the server needs") {
  const Finding finding = uring_finding();
  MESSAGE(finding.finding);
  CHECK_NE(finding.grade, Grade::failure);
}

TEST_CASE("KVM's finding follows from the probe, and one that fails is no more than a warning") {
  CHECK_EQ(kvm_finding(fail(Code::io, "KVM_CREATE_VM: busy")).finding, "KVM_CREATE_VM: busy");
  CHECK_EQ(kvm_finding(fail(Code::io, "KVM_CREATE_VM: busy")).grade, Grade::warning);
  CHECK_EQ(kvm_finding(kvm::ProbeReport{.status = kvm::ProbeStatus::usable}).grade, Grade::ok);
  CHECK_EQ(kvm_finding(kvm::report_of_open_error(ENOENT, "/dev/kvm")).grade, Grade::warning);
}

TEST_CASE("a machine that does not forward packets is told what guests with a network need") {
  const std::string file =
      std::filesystem::temp_directory_path() / ("lambdo-forward-" + std::to_string(::getpid()));
  for (const IpVersion version : {IpVersion::v4, IpVersion::v6}) {
    for (const bool needed : {false, true}) {
      const bool ipv6 = version == IpVersion::v6;
      CAPTURE(ipv6);
      CAPTURE(needed);
      const Grade missing = needed ? Grade::failure : Grade::warning;
      const std::string setting = ipv6 ? "net.ipv6.conf.all.forwarding" : "net.ipv4.ip_forward";
      std::ofstream(file) << "0\n";
      Finding finding = forwarding_finding(file, version, needed);
      CHECK_EQ(finding.grade, missing);
      CHECK_EQ(finding.finding, setting + " is 0");
      CHECK(finding.remedy.contains("sysctl -w " + setting + "=1"));
      CHECK_EQ(finding.remedy.contains("this configuration"), needed);
      CHECK_EQ(finding.remedy.contains("accept_ra=2"), ipv6);
      std::ofstream(file) << "1\n";
      finding = forwarding_finding(file, version, needed);
      CHECK_EQ(finding.grade, Grade::ok);
      CHECK(finding.finding.contains(ipv6 ? "IPv6" : "IPv4"));
      std::filesystem::remove(file);
      finding = forwarding_finding(file, version, needed);
      CHECK_EQ(finding.grade, missing);
      CHECK_EQ(finding.remedy.contains("a kernel with IPv6"), ipv6);
    }
  }
}

TEST_CASE("a missing TUN device is a warning with its path") {
  const Finding finding = tun_finding("/nonexistent/tun");
  CHECK_EQ(finding.grade, Grade::warning);
  CHECK_EQ(finding.finding, "open /nonexistent/tun: No such file or directory");
}

TEST_CASE("programs are found on the path, run with a time limit, and leave no descriptor") {
  const auto before = sys::list_directory("/proc/self/fd").value().size();
  CHECK_EQ(find_program("sh", "/nonexistent::/bin"), "/bin/sh");
  CHECK_EQ(find_program("no-such-program", "/bin:/usr/bin"), "");
  const ProgramResult result = run_program({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, 5000).value();
  CHECK_EQ(result.output, "out\nerr\n");
  CHECK_EQ(result.exit_code, 3);
  CHECK_EQ(run_program({"/bin/sh", "-c", "kill -9 $$"}, 5000).value().exit_code, 137);
  CHECK_EQ(run_program({"/bin/sh", "-c", "head -c 100000 /dev/zero"}, 5000).value().output.size(), 4096);
  CHECK_EQ(run_program({"/bin/sleep", "600"}, 50).error().code, Code::timeout);
  CHECK_EQ(run_program({"/nonexistent/program"}, 50).error().code, Code::not_found);
  CHECK_EQ(sys::list_directory("/proc/self/fd").value().size(), before);
}

TEST_CASE("every finding of this machine that is not ok has a remedy") {
  const Examination examination = examine_machine();
  CHECK_EQ(examination.findings.size(), 12);
  for (const Finding& finding : examination.findings) {
    CAPTURE(finding.name);
    CHECK_FALSE(finding.finding.empty());
    CHECK_EQ(finding.remedy.empty(), finding.grade == Grade::ok);
  }
}

}  // namespace lambdo::doctor
