#include "registry/dates.h"

#include <chrono>

#include "base/text.h"

namespace lambdo::registry {

namespace {

/// Takes a date apart from its front; `good` stays true while all was as expected.
class DateReader {
 public:
  explicit DateReader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return good_ && rest_.empty(); }
  [[nodiscard]] char front() const { return rest_.empty() ? '\0' : rest_.front(); }

  int number(size_t digits) {
    const auto value = parse_uint(rest_.substr(0, digits));
    if (!value || rest_.size() < digits) {
      good_ = false;
      return 0;
    }
    rest_.remove_prefix(digits);
    return static_cast<int>(*value);
  }
  void skip(std::string_view expected) {
    good_ = good_ && rest_.starts_with(expected);
    if (good_) rest_.remove_prefix(expected.size());
  }
  void skip_any(size_t count) {
    good_ = good_ && rest_.size() >= count;
    if (good_) rest_.remove_prefix(count);
  }
  unsigned month_name() {
    constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const size_t at = rest_.size() < 3 ? std::string_view::npos : kMonths.find(rest_.substr(0, 3));
    if (at == std::string_view::npos || at % 3 != 0) {
      good_ = false;
      return 0;
    }
    rest_.remove_prefix(3);
    return static_cast<unsigned>(at / 3 + 1);
  }
  void skip_fraction() {
    if (front() != '.') return;
    rest_.remove_prefix(1);
    const size_t end = rest_.find_first_not_of("0123456789");
    skip_any(end == std::string_view::npos ? rest_.size() : end);
  }

 private:
  std::string_view rest_;
  bool good_ = true;
};

struct Fields {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int64_t hour = 0;
  int64_t minute = 0;
  int64_t second = 0;
};

std::optional<int64_t> seconds_of(const Fields& fields) {
  const std::chrono::year_month_day date(std::chrono::year(fields.year), std::chrono::month(fields.month),
                                         std::chrono::day(fields.day));
  // 60 is a leap second.
  if (!date.ok() || fields.hour > 23 || fields.minute > 59 || fields.second > 60) return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86'400 + fields.hour * 3'600 + fields.minute * 60 + fields.second;
}

void read_time(DateReader& reader, Fields& fields) {
  fields.hour = reader.number(2);
  reader.skip(":");
  fields.minute = reader.number(2);
  reader.skip(":");
  fields.second = reader.number(2);
}

}  // namespace

std::optional<int64_t> parse_http_date(std::string_view text) {
  DateReader reader(text);
  Fields fields;
  reader.skip_any(3);
  reader.skip(", ");
  fields.day = static_cast<unsigned>(reader.number(2));
  reader.skip(" ");
  fields.month = reader.month_name();
  reader.skip(" ");
  fields.year = reader.number(4);
  reader.skip(" ");
  read_time(reader, fields);
  reader.skip(" GMT");
  if (!reader.at_end()) return std::nullopt;
  return seconds_of(fields);
}

std::optional<int64_t> parse_internet_date(std::string_view text) {
  DateReader reader(text);
  Fields fields;
  fields.year = reader.number(4);
  reader.skip("-");
  fields.month = static_cast<unsigned>(reader.number(2));
  reader.skip("-");
  fields.day = static_cast<unsigned>(reader.number(2));
  if (reader.front() != 'T' && reader.front() != 't' && reader.front() != ' ') return std::nullopt;
  reader.skip_any(1);
  read_time(reader, fields);
  reader.skip_fraction();
  int64_t offset_s = 0;
  const char sign = reader.front();
  reader.skip_any(1);
  if (sign == '+' || sign == '-') {
    offset_s = int64_t{reader.number(2)} * 3'600;
    reader.skip(":");
    offset_s += int64_t{reader.number(2)} * 60;
    if (sign == '-') offset_s = -offset_s;
  } else if (sign != 'Z' && sign != 'z') {
    return std::nullopt;
  }
  if (!reader.at_end()) return std::nullopt;
  const auto seconds = seconds_of(fields);
  if (!seconds) return std::nullopt;
  return *seconds - offset_s;
}

}  // namespace lambdo::registry
