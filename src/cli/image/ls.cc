#include <string>

#include "cli/image/image.h"
#include "cli/image/output.h"
#include "image/stop_flag.h"

namespace lambdo::cli {

namespace {

constexpr const char* kFooter = R"(Examples:
  lambdo image ls
  lambdo image ls --json | jq -r '.images[].name')";

Result<> list(const ImageCommandWork& work, const std::atomic<bool>& stop) {
  const auto listing = TRY(work.services.store().list(&stop));
  const std::string& folder = work.services.store().folder();
  return print(work.options.settings.json ? listing_json(listing, folder) : listing_text(listing, folder));
}

reactor::Task<Result<bool>> run(const ImageCommandWork& work) {
  const image::StopFlag stop(work.token);
  CO_TRY(co_await work.services.pool().run([&] { return list(work, stop.flag()); }));
  co_return true;
}

}  // namespace

constexpr ImageVerb kImageLs = {
    .name = "ls", .description = "List the images of the store", .footer = kFooter, .run = run};

}  // namespace lambdo::cli
