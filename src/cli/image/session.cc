#include "cli/image/session.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <limits>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "cli/command_error.h"
#include "cli/exit_codes.h"
#include "cli/terminal_text.h"
#include "reactor/interrupt.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "registry/platform.h"

namespace lambdo::cli {

Result<config::Config> image_config(const ImageSettings& settings) {
  config::Config config;
  if (!settings.config_path.empty()) {
    config = TRY(config::load_config(settings.config_path));
    for (const std::string& warning : config.warnings)
      std::fprintf(stderr, "warning: %s\n", terminal_text(warning).c_str());
  }
  if (!settings.store.empty()) config.images.store = settings.store;
  if (!settings.ca_file.empty()) config.registries.ca_file = settings.ca_file;
  for (const std::string& host : settings.plain_http_hosts) config.registries.hosts[host].plain_http = true;
  if (!settings.platform.empty()) {
    auto platform = registry::parse_platform(settings.platform);
    if (!platform) return std::unexpected(std::move(platform).error().with_context("--platform"));
    config.registries.platform = *std::move(platform);
  }
  return config;
}

Result<> print(const std::string& text) {
  return sys::write_all(STDOUT_FILENO, text);
}

void tell_image_error(const ImageCommand& command, const Error& error) {
  print_error(command.name, std::string(code_name(error.code)) + ": " + error.message,
              remedy(error, command.store));
}

void write_image_error(JsonWriter& json, const ImageCommand& command, const Error& error) {
  json.field("code", code_name(error.code)).field("message", error.message);
  json.field("remedy", remedy(error, command.store));
}

int report_image_error(const ImageCommand& command, const Error& error) {
  tell_image_error(command, error);
  if (command.settings.json) {
    JsonWriter json;
    json.begin_object().key("error").begin_object();
    write_image_error(json, command, error);
    (void)print(json.end_object().end_object().take() + "\n");
  }
  return kExitFailure;
}

namespace {

reactor::Task<Result<>> work_and_close(reactor::Reactor& reactor, image::ImageServices& services,
                                       reactor::Interrupt& interrupt, const ImageWork& work,
                                       Leftovers leftovers) {
  constexpr int64_t kLongerNs = 1'000'000'000;
  interrupt.start(reactor);
  reactor::Deadline limit(reactor, std::numeric_limits<int64_t>::max(), interrupt.token());
  reactor::Scope cleaning(reactor, limit.token());
  cleaning.spawn(services.remove_leftovers(cleaning.token()));
  Result<> done = co_await work(services, interrupt.token());
  if (leftovers == Leftovers::briefly) limit.set(reactor.now_ns() + kLongerNs);
  co_await cleaning.join();
  co_await services.close();
  co_await interrupt.stop();
  co_return done;
}

Result<> run(const config::Config& config, reactor::Interrupt& interrupt, const ImageWork& work,
             Leftovers leftovers) {
  auto reactor = TRY(reactor::Reactor::create());
  auto services = TRY(image::ImageServices::create(*reactor, {config.store_folder(), config.registries, {}}));
  return reactor->run(work_and_close(*reactor, *services, interrupt, work, leftovers));
}

}  // namespace

int run_image_work(const ImageCommand& command, const config::Config& config, const ImageWork& work,
                   Leftovers leftovers) {
  log::configure(log::Level::warning, config.log.format);
  auto interrupt = reactor::Interrupt::create();
  if (!interrupt) return report_image_error(command, interrupt.error());
  const Result<> done = run(config, *interrupt, work, leftovers);
  if (done) return kExitOk;
  if (interrupt->signal()) {
    print_error(command.name, "interrupted");
    return interrupt->exit_code();
  }
  return report_image_error(command, done.error());
}

}  // namespace lambdo::cli
