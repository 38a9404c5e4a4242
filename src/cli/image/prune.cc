#include "cli/image/image.h"
#include "cli/image/output.h"
#include "image/stop_flag.h"

namespace lambdo::cli {

namespace {

constexpr const char* kFooter =
    R"(Removes what no name leads to. What a running server or pull uses stays.

Examples:
  lambdo image prune --config lambdo.yaml)";

Result<> prune(const ImageCommandWork& work, const std::atomic<bool>& stop) {
  constexpr int kWaitMs = 10'000;
  const auto report = TRY(work.services.store().prune(kWaitMs, &stop));
  return print(work.options.settings.json ? prune_json(report) : prune_text(report));
}

reactor::Task<Result<bool>> run(const ImageCommandWork& work) {
  const image::StopFlag stop(work.token);
  CO_TRY(co_await work.services.pool().run([&] { return prune(work, stop.flag()); }));
  co_return true;
}

}  // namespace

constexpr ImageVerb kImagePrune = {.name = "prune",
                                   .description = "Free the space of what is not needed",
                                   .footer = kFooter,
                                   .leftovers = Leftovers::all,
                                   .run = run};

}  // namespace lambdo::cli
