#include "doctor/doctor.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "config/agent_program.h"
#include "doctor/guest_kernel_check.h"
#include "doctor/machine_checks.h"
#include "doctor/sandbox_checks.h"
#include "doctor/uring_check.h"

namespace lambdo::doctor {

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

/// What guests with a network need of the machine. IPv6 only where a configuration gives it to guests.
static void examine_forwarding(const config::Config* config, Examination& examination) {
  const bool needed = config != nullptr && config->gives_access();
  const auto add = [&](const char* path, IpVersion version) {
    examination.findings.push_back(forwarding_finding(path, version, needed));
    if (examination.findings.back().grade == Grade::failure) examination.network_usable = false;
  };
  add("/proc/sys/net/ipv4/ip_forward", IpVersion::v4);
  if (config != nullptr && config->network.ipv6) {
    add("/proc/sys/net/ipv6/conf/all/forwarding", IpVersion::v6);
  }
}

static Finding agent_finding(const config::Config* config) {
  const auto agent = config::find_agent(config != nullptr ? config->agent.path : "");
  if (agent) return {Grade::ok, "agent", *agent, ""};
  return {Grade::failure, "agent", agent.error().message,
          "put the lambdo-agent of the same build beside lambdo-server, or set agent.path to where it is"};
}

Examination examine_machine(const config::Config* config) {
  Examination examination;
  if (config != nullptr) examination.engine = config->vmm.engine;
  auto add = [&](Finding finding) { examination.findings.push_back(std::move(finding)); };
  add(kernel_finding(kernel_release()));
  const Finding uring = uring_finding();
  examination.reactor_usable = uring.grade != Grade::failure;
  add(uring);
  const auto probe = kvm::probe_kvm();
  examination.kvm_usable = probe && probe->usable();
  add(kvm_finding(probe));
  if (examination.engine != config::EngineChoice::namespaces) {
    const Finding guest_kernel = guest_kernel_finding(config);
    examination.guest_kernel_usable = guest_kernel.grade == Grade::ok;
    add(guest_kernel);
  }
  const Finding bubblewrap = bubblewrap_finding();
  examination.namespace_usable = bubblewrap.grade != Grade::failure;
  add(bubblewrap);
  add(user_namespace_finding(read_user_namespace_settings()));
  add(cgroup_finding(read_cgroup_layout()));
  const Finding agent = agent_finding(config);
  examination.agent_found = agent.grade == Grade::ok;
  add(agent);
  add(tun_finding("/dev/net/tun"));
  examine_forwarding(config, examination);
  add(memory_finding());
  add(open_files_finding());
  return examination;
}

std::string usable_engine(const Examination& examination) {
  if (!examination.reactor_usable) return "";
  const bool kvm = examination.kvm_usable && examination.guest_kernel_usable;
  if (kvm && examination.engine != config::EngineChoice::namespaces) return "kvm";
  return examination.namespace_usable && examination.engine != config::EngineChoice::kvm ? "namespace" : "";
}

static std::string why_not_kvm(const Examination& examination) {
  return examination.kvm_usable ? "no usable guest kernel is configured" : "KVM is not usable here";
}

static std::string engine_verdict(const Examination& examination) {
  const std::string engine = usable_engine(examination);
  const bool is_named = examination.engine != config::EngineChoice::automatic;
  const std::string taken = is_named ? "The configuration's engine is " : "Engine auto takes ";
  if (engine == "kvm") return taken + "kvm: each run gets a microVM of its own.";
  if (engine == "namespace") {
    return taken + "namespace (bubblewrap), weaker isolation than a microVM" +
           (is_named ? "." : ": " + why_not_kvm(examination) + ".");
  }
  constexpr const char* kNext = ". Follow the remedies above, then run lambdo doctor again.";
  if (!examination.reactor_usable)
    return std::string("No engine can run here: io_uring is not usable") + kNext;
  if (!is_named) return std::string("No engine can run here: neither KVM nor bubblewrap is usable") + kNext;
  return "The configuration's engine cannot run here: " +
         (examination.engine == config::EngineChoice::kvm ? why_not_kvm(examination)
                                                          : "bubblewrap is not usable") +
         kNext;
}

static std::string verdict(const Examination& examination) {
  std::string text = engine_verdict(examination);
  const std::string but = " A server does not start with this configuration, though: ";
  if (!examination.agent_found) return text + but + "the guest agent is missing.";
  if (examination.network_usable) return text;
  return text + but + "guests with a network need this machine to forward packets.";
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
  const std::string engine = usable_engine(examination);
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

}  // namespace lambdo::doctor
