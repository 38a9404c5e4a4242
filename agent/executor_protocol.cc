#include "agent/executor_protocol.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/syscalls.h"

namespace lambdo::agent {

struct JobHeader {
  JobLimits limits;
  uint32_t environment_count;
  uint32_t step_count;
  uint32_t text_bytes;
  std::array<uint32_t, kMaxSteps> argument_counts;
};

/// Room for the descriptors of all steps; the kernel takes at most 253 in a message (SCM_MAX_FD).
struct alignas(cmsghdr) Ancillary {
  char bytes[CMSG_SPACE(sizeof(int) * 2 * kMaxSteps)];
};

static Result<> append(std::string& text, const std::string& part) {
  if (part.find('\0') != std::string::npos) {
    return fail(Code::invalid_argument, "a command, argument or environment variable holds a NUL");
  }
  if (text.size() + part.size() >= kMaxJobBytes) {
    return fail(Code::invalid_argument, "commands, arguments and environment together exceed " +
                                            std::to_string(kMaxJobBytes) + " bytes");
  }
  text.append(part.c_str(), part.size() + 1);
  return {};
}

Result<> send_job(int socket, const Job& job, const std::vector<StepOutputs>& outputs) {
  if (job.steps.size() > kMaxSteps) {
    return fail(Code::invalid_argument, "more than " + std::to_string(kMaxSteps) + " steps");
  }
  JobHeader header{};
  header.limits = job.limits;
  header.environment_count = static_cast<uint32_t>(job.environment.size());
  header.step_count = static_cast<uint32_t>(job.steps.size());
  std::string text;
  for (const std::string& variable : job.environment) TRY(append(text, variable));
  for (size_t i = 0; i < job.steps.size(); ++i) {
    for (const std::string& argument : job.steps[i]) TRY(append(text, argument));
    header.argument_counts[i] = static_cast<uint32_t>(job.steps[i].size());
  }
  header.text_bytes = static_cast<uint32_t>(text.size());

  std::vector<int> fds;
  for (const StepOutputs& output : outputs) {
    fds.insert(fds.end(), {output.standard_output.get(), output.standard_error.get()});
  }
  Ancillary ancillary{};
  iovec part{&header, sizeof header};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = ancillary.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    *control = {
        .cmsg_len = CMSG_LEN(fds.size() * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    std::memcpy(CMSG_DATA(control), fds.data(), fds.size() * sizeof(int));
  }
  // The header is far smaller than an empty socket's buffer, so it goes whole.
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) return fail_errno("sendmsg to the executor");
  return sys::write_all(socket, text);
}

static Result<> receive_exactly(int socket, char* data, size_t len_bytes) {
  while (len_bytes > 0) {
    const ssize_t count = ::recv(socket, data, len_bytes, MSG_WAITALL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("recv");
    if (count == 0) return fail(Code::closed, "the other side is gone");
    data += count;
    len_bytes -= static_cast<size_t>(count);
  }
  return {};
}

static Result<std::vector<StepOutputs>> take_outputs(msghdr& message, size_t step_count) {
  std::vector<StepOutputs> outputs;
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::vector<int> fds(count);
    std::memcpy(fds.data(), CMSG_DATA(control), count * sizeof(int));
    for (size_t i = 0; i + 1 < count; i += 2) outputs.push_back({Fd(fds[i]), Fd(fds[i + 1])});
  }
  if (outputs.size() != step_count)
    return fail(Code::resource_exhausted, "descriptors of the steps are missing");
  return outputs;
}

/// Takes `count` strings from `text` at `offset`.
static Result<std::vector<char*>> take_strings(std::vector<char>& text, size_t& offset, size_t count) {
  std::vector<char*> strings;
  strings.reserve(count + 1);
  for (size_t i = 0; i < count; ++i) {
    if (offset >= text.size()) return fail(Code::internal, "the job ends early");
    strings.push_back(text.data() + offset);
    offset += std::strlen(text.data() + offset) + 1;
  }
  strings.push_back(nullptr);
  return strings;
}

Result<ReceivedJob> receive_job(int socket) {
  JobHeader header{};
  Ancillary ancillary{};
  iovec part{&header, sizeof header};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = ancillary.bytes;
  message.msg_controllen = sizeof ancillary.bytes;
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return fail_errno("recvmsg");
  if (count != sizeof header) return fail(Code::closed, "the agent's server process is gone");
  if (header.step_count > kMaxSteps || header.text_bytes > kMaxJobBytes) {
    return fail(Code::internal, "the job exceeds its bounds");
  }
  ReceivedJob job{.limits = header.limits};
  job.outputs = TRY(take_outputs(message, header.step_count));
  job.text.resize(header.text_bytes);
  TRY(receive_exactly(socket, job.text.data(), job.text.size()));
  size_t offset = 0;
  job.environment = TRY(take_strings(job.text, offset, header.environment_count));
  for (size_t i = 0; i < header.step_count; ++i) {
    job.steps.push_back(TRY(take_strings(job.text, offset, header.argument_counts[i])));
  }
  return job;
}

Result<> send_step_end(int socket, const StepEnd& end) {
  if (::send(socket, &end, sizeof end, MSG_NOSIGNAL) < 0)
    return fail_errno("send to the agent's server process");
  return {};
}

Result<StepEnd> receive_step_end(int socket) {
  StepEnd end;
  TRY(receive_exactly(socket, reinterpret_cast<char*>(&end), sizeof end));
  return end;
}

}  // namespace lambdo::agent
