#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>

#include "base/json.h"
#include "base/log_output.h"

namespace lambdo::log {

static constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v";
static constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})";

static Format g_format = Format::text;

namespace {

/// Formats lines, and keeps count of those that found no room.
class Sink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void direct_to(int fd) {
    const std::lock_guard lock(mutex_);
    output_.emplace(fd);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (dropped_ > 0 && tell_dropped(message)) dropped_ = 0;
    if (dropped_ > 0 || !put(message)) ++dropped_;
  }
  void flush_() override {}

  bool tell_dropped(const spdlog::details::log_msg& message) {
    const std::string count = std::to_string(dropped_);
    const std::string text = g_format == Format::json
                                 ? R"("message":"log lines were dropped, nobody read them","lines":)" + count
                                 : "log lines were dropped, nobody read them lines=" + count;
    return put({message.time, {}, message.logger_name, spdlog::level::warn, text});
  }
  bool put(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    return output_->put({line.data(), line.size()});
  }

  std::optional<Output> output_{STDERR_FILENO};
  uint64_t dropped_ = 0;
};

const std::shared_ptr<Sink>& sink() {
  static const auto instance = std::make_shared<Sink>();
  return instance;
}

}  // namespace

static spdlog::logger& logger() {
  static const auto instance = [] {
    auto created = std::make_shared<spdlog::logger>("lambdo", sink());
    created->set_pattern(kTextPattern);
    return created;
  }();
  return *instance;
}

static spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

void configure(Level level, Format format) {
  g_format = format;
  logger().set_level(spdlog_level(level));
  logger().set_pattern(format == Format::json ? kJsonPattern : kTextPattern);
}

void direct_to(int fd) {
  sink()->direct_to(fd);
}

static void write(Level level, std::string_view message, Fields fields) {
  if (!logger().should_log(spdlog_level(level))) return;
  const bool json = g_format == Format::json;
  std::string line;
  if (json) {
    line += "\"message\":";
    append_json_string(line, message);
  } else {
    line += message;
  }
  for (const Field& field : fields) {
    line += json ? ",\"" : " ";
    line += field.key;
    line += json ? "\":" : "=";
    if (field.quoted) {
      append_json_string(line, field.value);
    } else {
      line += field.value;
    }
  }
  logger().log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

void debug(std::string_view message, Fields fields) {
  write(Level::debug, message, fields);
}
void info(std::string_view message, Fields fields) {
  write(Level::info, message, fields);
}
void warning(std::string_view message, Fields fields) {
  write(Level::warning, message, fields);
}
void error(std::string_view message, Fields fields) {
  write(Level::error, message, fields);
}

}  // namespace lambdo::log
