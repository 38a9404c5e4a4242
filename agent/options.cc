#include "agent/options.h"

#include <climits>

#include "base/text.h"

namespace lambdo::agent {

static constexpr size_t kMaxHostnameBytes = 64;  // HOST_NAME_MAX
static constexpr uint64_t kMaxDiskMb = 1 << 20;

const char* const kUsage =
    "Usage: lambdo-agent --fd N [--workspace DIR]\n"
    "\n"
    "Runs inside a Lambdo guest: writes a run's files, runs its steps and reports what they did.\n"
    "\n"
    "  --fd N              serve LambdoAgentService (gRPC) on descriptor N, a connected Unix stream socket\n"
    "  --workspace DIR     where files are written and steps start (default /workspace)\n"
    "  --help              print this text\n"
    "\n"
    "As a machine's init, with a file `config` beside it, it reads its flags from there, one argument a "
    "line:\n"
    "\n"
    "  --register-port N   vsock port of the host's LambdoApiService (default 50051), or unix:PATH\n"
    "  --listen-port N     vsock port to serve LambdoAgentService on (default 50051), or unix:PATH\n"
    "  --token TEXT        what the host knows the guest by (default: the end of the folder's name, from '-' "
    "on)\n"
    "  --hostname NAME     the machine's name (default lambdo)\n"
    "  --disk-mb N         size of the workspace and of each temporary folder, in MiB (default 64)\n"
    "  --user UID:GID      who the steps run as (default 1000:1000)\n"
    "  --environment N=V   a variable of the steps; may be given several times\n"
    "  --hand-over PATH    load the modules and set up the network of the kernel's `ip=`, then become this "
    "program\n"
    "  --ip VALUE          with it: a network instead of the kernel's `ip=`, written the same way\n";

static Result<uint64_t> number(std::string_view flag, std::string_view value, uint64_t min, uint64_t max,
                               std::string_view what) {
  const auto parsed = parse_uint(value);
  if (parsed && *parsed >= min && *parsed <= max) return *parsed;
  return fail(Code::invalid_argument,
              std::string(flag) + " must be " + std::string(what) + ", not " + std::string(value));
}

static Result<Address> address(std::string_view flag, std::string_view value) {
  auto parsed = parse_address(value);
  if (!parsed) return std::unexpected(std::move(parsed).error().with_context(flag));
  return parsed;
}

/// "1000:1000"; root is none that steps may have.
static Result<StepUser> step_user(std::string_view flag, std::string_view value) {
  constexpr uint64_t kMaxId = 0xffff'fffe;  // the next one means none
  const size_t colon = value.find(':');
  const auto uid = parse_uint(value.substr(0, colon));
  const auto gid = colon == std::string_view::npos ? std::nullopt : parse_uint(value.substr(colon + 1));
  const auto is_id = [](std::optional<uint64_t> id) { return id && *id > 0 && *id <= kMaxId; };
  if (is_id(uid) && is_id(gid)) return StepUser{static_cast<unsigned>(*uid), static_cast<unsigned>(*gid)};
  return fail(Code::invalid_argument,
              std::string(flag) + " must be two numbers from 1 on, UID:GID, not " + std::string(value));
}

static Result<> set_option(Options& options, std::string_view flag, std::string_view value) {
  if (flag == "--workspace") {
    options.workspace = value;
  } else if (flag == "--fd") {
    options.fd = static_cast<int>(TRY(number(flag, value, 3, INT_MAX, "a descriptor from 3 on")));
  } else if (flag == "--register-port") {
    options.register_at = TRY(address(flag, value));
  } else if (flag == "--listen-port") {
    options.listen_at = TRY(address(flag, value));
  } else if (flag == "--token") {
    options.token = value;
  } else if (flag == "--hostname") {
    if (value.size() > kMaxHostnameBytes) {
      return fail(Code::invalid_argument, "--hostname is longer than 64 bytes");
    }
    options.hostname = value;
  } else if (flag == "--disk-mb") {
    options.disk_mb = TRY(number(flag, value, 1, kMaxDiskMb, "a number of MiB"));
  } else if (flag == "--user") {
    options.user = TRY(step_user(flag, value));
  } else if (flag == "--hand-over") {
    if (!value.starts_with('/')) {
      return fail(Code::invalid_argument, "--hand-over must be an absolute path, not " + std::string(value));
    }
    options.hand_over = value;
  } else if (flag == "--ip") {
    options.ip = value;
  } else if (flag == "--environment") {
    if (value.find('=') == 0 || value.find('=') == std::string_view::npos) {
      return fail(Code::invalid_argument, "--environment must be NAME=value, not " + std::string(value));
    }
    options.environment.emplace_back(value);
  } else {
    return fail(Code::invalid_argument, "unknown argument " + std::string(flag) + "; see --help");
  }
  return {};
}

static Result<Options> parse(std::span<const std::string_view> arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const size_t equals = argument.find('=');
    const std::string_view flag = argument.substr(0, equals);
    if (flag == "--help" || flag == "-h") {
      options.help = true;
      return options;
    }
    std::string_view value;
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    }
    if (value.empty()) return fail(Code::invalid_argument, std::string(flag) + " needs a value; see --help");
    TRY(set_option(options, flag, value));
  }
  return options;
}

Result<Options> parse_options(std::span<char* const> arguments) {
  const std::vector<std::string_view> views(arguments.begin(), arguments.end());
  return parse(views);
}

Result<Options> parse_options_file(std::string_view text) {
  std::vector<std::string_view> arguments;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) arguments.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parse(arguments);
}

}  // namespace lambdo::agent
