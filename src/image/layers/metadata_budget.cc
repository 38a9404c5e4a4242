#include "image/layers/metadata_budget.h"

#include <string>

namespace lambdo::image {

namespace {

constexpr const char* kRemedy = "; build it with fewer files, or with less in its lower layers";

}  // namespace

Result<> MetadataBudget::take_entry() {
  if (entries_.fetch_add(1, std::memory_order_relaxed) < limits_.entries) return {};
  return fail(Code::image_too_large,
              "the image's layers have more than " + std::to_string(limits_.entries) + " entries" + kRemedy);
}

Result<> MetadataBudget::take(size_t bytes) {
  // What one call takes is small beside the limit, and few calls follow one that failed: no overflow.
  if (bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= limits_.bytes) return {};
  return fail(Code::image_too_large, "the names, links and attributes of the image's files need more than " +
                                         std::to_string(limits_.bytes) + " bytes of memory" + kRemedy);
}

MetadataBudget::Share::~Share() {
  budget_->entries_.fetch_sub(entries_, std::memory_order_relaxed);
  budget_->bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
}

Result<> MetadataBudget::Share::take_entry(size_t bytes) {
  ++entries_;
  TRY(budget_->take_entry());
  return take(bytes);
}

Result<> MetadataBudget::Share::take(size_t bytes) {
  bytes_ += bytes;
  return budget_->take(bytes);
}

}  // namespace lambdo::image
