#include "engine/language.h"

namespace lambdo::engine {

std::string_view LanguageState::name() const {
  switch (phase) {
    case Phase::waiting:
      return "waiting";
    case Phase::fetching:
      return "fetching";
    case Phase::importing:
      return "importing";
    case Phase::unpacking:
      return "unpacking";
    case Phase::failed:
      return "failed";
    case Phase::ready:
      return "ready";
  }
  return "";
}

std::string LanguageState::sentence() const {
  constexpr uint64_t kMegabyte = 1'000'000;
  switch (phase) {
    case Phase::waiting:
      return "its image is about to be opened";
    case Phase::fetching:
      if (total_bytes == 0) return "its image is being fetched";
      return "its image is being fetched (" + std::to_string(done_bytes * 100 / total_bytes) + "% of " +
             std::to_string((total_bytes + kMegabyte - 1) / kMegabyte) + " MB)";
    case Phase::importing:
      return "its image is being imported";
    case Phase::unpacking:
      return "its image is being unpacked";
    case Phase::failed:
      return "its image could not be made ready: " + problem;
    case Phase::ready:
      return "it is ready";
  }
  return "";
}

}  // namespace lambdo::engine
