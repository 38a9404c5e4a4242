#include "agent/step_cgroup.h"

#include <fcntl.h>

#include <string_view>

#include "base/syscalls.h"
#include "base/text.h"

namespace lambdo::agent {

static Result<> write_if_there(const std::string& path, std::string_view content) {
  const Result<> written = sys::write_file(path, content);
  if (!written && written.error().code != Code::not_found) return written;
  return {};
}

Result<StepCgroup> StepCgroup::create(const std::string& root) {
  // One by one: a controller that the kernel lacks must not take the others with it.
  for (const char* controller : {"+memory", "+pids"}) {
    (void)sys::write_file(root + "/cgroup.subtree_control", controller);
  }
  std::string path = root + "/lambdo-steps";
  TRY(sys::mkdirs(path, 0755));
  Fd processes = TRY(sys::open(path + "/cgroup.procs", O_WRONLY));
  return StepCgroup(std::move(path), std::move(processes));
}

Result<> StepCgroup::limit(uint64_t memory_bytes, uint64_t processes) const {
  if (memory_bytes > 0) {
    TRY(write_if_there(path_ + "/memory.max", std::to_string(memory_bytes)));
    TRY(write_if_there(path_ + "/memory.swap.max", "0"));
  }
  if (processes > 0) TRY(write_if_there(path_ + "/pids.max", std::to_string(processes)));
  return {};
}

uint64_t StepCgroup::oom_kills() const {
  static constexpr std::string_view kKey = "oom_kill ";
  const Result<std::string> events = sys::read_file(path_ + "/memory.events");
  if (!events) return 0;
  for (size_t begin = 0; begin < events->size();) {
    const size_t end = std::min(events->find('\n', begin), events->size());
    const std::string_view line = std::string_view(*events).substr(begin, end - begin);
    if (line.starts_with(kKey)) return parse_uint(line.substr(kKey.size())).value_or(0);
    begin = end + 1;
  }
  return 0;
}

}  // namespace lambdo::agent
