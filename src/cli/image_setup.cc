#include "cli/image_setup.h"

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "cli/interrupt.h"
#include "cli/remedy.h"
#include "cli/terminal_text.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "registry/platform.h"

namespace lambdo::cli {

Result<Config> image_config(const ImageSettings& settings) {
  Config config;
  if (!settings.config_path.empty()) {
    config = TRY(load_config(settings.config_path));
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

int report_image_error(const char* command, const ImageSettings& settings, const Error& error) {
  std::string text = std::string("lambdo ") + command + ": " + std::string(code_name(error.code)) + ": " +
                     terminal_text(error.message) + "\n";
  if (const std::string what_to_do = remedy(error); !what_to_do.empty()) text += "  -> " + what_to_do + "\n";
  std::fputs(text.c_str(), stderr);
  if (settings.json) {
    JsonWriter json;
    json.begin_object().key("error").begin_object();
    json.field("code", code_name(error.code)).field("message", error.message);
    json.field("remedy", remedy(error)).end_object().end_object();
    (void)print(json.take() + "\n");
  }
  return kExitFailure;
}

namespace {

reactor::Task<Result<>> work_and_close(reactor::Reactor& reactor, ImageServices& services,
                                       Interrupt& interrupt, const ImageWork& work, Leftovers leftovers) {
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

Result<> run(const Config& config, Interrupt& interrupt, const ImageWork& work, Leftovers leftovers) {
  auto reactor = TRY(reactor::Reactor::create());
  auto services = TRY(ImageServices::create(*reactor, {config.store_folder(), config.registries, {}}));
  return reactor->run(work_and_close(*reactor, *services, interrupt, work, leftovers));
}

}  // namespace

int run_image_work(const char* command, const ImageSettings& settings, const Config& config,
                   const ImageWork& work, Leftovers leftovers) {
  log::configure(log::Level::warning, config.log.format);
  auto interrupt = Interrupt::create();
  if (!interrupt) return report_image_error(command, settings, interrupt.error());
  const Result<> done = run(config, *interrupt, work, leftovers);
  if (done) return kExitOk;
  if (interrupt->signal()) {
    std::fprintf(stderr, "lambdo %s: interrupted\n", command);
    return *interrupt->signal() == SIGINT ? kExitInterrupted : 128 + *interrupt->signal();
  }
  return report_image_error(command, settings, done.error());
}

}  // namespace lambdo::cli
