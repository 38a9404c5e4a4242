#include "cli/doctor.h"

#include <algorithm>
#include <cstdio>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/guest_kernel_check.h"
#include "cli/machine_checks.h"
#include "cli/sandbox_checks.h"
#include "cli/uring_check.h"

namespace lambdo::cli {

static std::string_view grade_name(Grade grade) {
  switch (grade) {
    case Grade::ok:
      return "ok";
    case Grade::warning:
      return "warn";
    case Grade::failure:
      return "FAIL";
  }
  return "";
}

/// A configuration that cannot be read is told where its guest kernel is looked at.
static bool gives_ipv6(const std::string& config_path) {
  if (config_path.empty()) return false;
  const auto config = load_config(config_path);
  return config && config->network.ipv6;
}

Examination examine_machine(const std::string& config_path) {
  Examination examination;
  auto add = [&](Finding finding) { examination.findings.push_back(std::move(finding)); };
  add(kernel_finding(kernel_release()));
  const Finding uring = uring_finding();
  examination.reactor_usable = uring.grade != Grade::failure;
  add(uring);
  const auto probe = kvm::probe_kvm();
  examination.kvm_usable = probe && probe->usable();
  add(kvm_finding(probe));
  const Finding guest_kernel = guest_kernel_finding(config_path);
  examination.guest_kernel_usable = guest_kernel.grade == Grade::ok;
  add(guest_kernel);
  const Finding bubblewrap = bubblewrap_finding();
  examination.namespace_usable = bubblewrap.grade != Grade::failure;
  add(bubblewrap);
  add(user_namespace_finding(read_user_namespace_settings()));
  add(cgroup_finding(read_cgroup_layout()));
  add(tun_finding("/dev/net/tun"));
  add(forwarding_finding("/proc/sys/net/ipv4/ip_forward"));
  if (gives_ipv6(config_path)) add(forwarding_finding("/proc/sys/net/ipv6/conf/all/forwarding", true));
  add(memory_finding());
  add(open_files_finding());
  return examination;
}

std::string automatic_engine(const Examination& examination) {
  if (!examination.reactor_usable) return "";
  if (examination.kvm_usable && examination.guest_kernel_usable) return "kvm";
  return examination.namespace_usable ? "namespace" : "";
}

static std::string verdict(const Examination& examination) {
  const std::string engine = automatic_engine(examination);
  if (engine == "kvm") return "Engine auto takes kvm: each run gets a microVM of its own.";
  if (engine == "namespace") {
    const std::string why =
        examination.kvm_usable ? "no usable guest kernel is configured" : "KVM is not usable here";
    return "Engine auto takes namespace (bubblewrap), weaker isolation than a microVM: " + why + ".";
  }
  const std::string why =
      examination.reactor_usable ? "neither KVM nor bubblewrap is usable" : "io_uring is not usable";
  return "No engine can run here: " + why + ". Follow the remedies above, then run lambdo doctor again.";
}

std::string format_text(const Examination& examination) {
  size_t width = 0;
  for (const Finding& finding : examination.findings) width = std::max(width, finding.name.size());
  std::string text;
  for (const Finding& finding : examination.findings) {
    std::string grade(grade_name(finding.grade));
    grade.resize(6, ' ');
    std::string name = finding.name;
    name.resize(width + 2, ' ');
    text.append(grade).append(name).append(finding.finding).append("\n");
    if (!finding.remedy.empty())
      text.append(grade.size() + name.size(), ' ').append("-> " + finding.remedy + "\n");
  }
  return text + "\n" + verdict(examination) + "\n";
}

std::string format_json(const Examination& examination) {
  JsonWriter json;
  json.begin_object().key("engine");
  const std::string engine = automatic_engine(examination);
  if (engine.empty()) {
    json.null();
  } else {
    json.value(engine);
  }
  json.field("verdict", verdict(examination)).key("findings").begin_array();
  for (const Finding& finding : examination.findings) {
    json.begin_object();
    json.field("grade", grade_name(finding.grade))
        .field("name", finding.name)
        .field("finding", finding.finding);
    if (!finding.remedy.empty()) json.field("remedy", finding.remedy);
    json.end_object();
  }
  json.end_array().end_object();
  return json.take() + "\n";
}

int doctor(const DoctorOptions& options) {
  const Examination examination = examine_machine(options.config_path);
  std::fputs((options.json ? format_json(examination) : format_text(examination)).c_str(), stdout);
  return automatic_engine(examination).empty() ? kExitFailure : kExitOk;
}

}  // namespace lambdo::cli
