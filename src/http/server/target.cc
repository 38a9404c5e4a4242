#include "http/server/target.h"

#include "base/text.h"

namespace lambdo::http {

static Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return fail(Code::invalid_argument, "the path has a % that two hexadecimal digits do not follow");
    }
    const int byte = high << 4 | low;
    if (byte < 0x20 || byte == 0x7f) {
      return fail(Code::invalid_argument, "the path has an escaped NUL or control character");
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  if (!is_utf8(out)) return fail(Code::invalid_argument, "the path is not UTF-8 once decoded");
  return out;
}

/// RFC 3986, 5.2.4, but refusing what would climb above the root in place of ignoring it.
static Result<std::string> remove_dot_segments(std::string_view path) {
  std::string out;
  size_t begin = 0;
  while (begin < path.size()) {
    ++begin;  // the slash
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    const bool last = end == path.size();
    begin = end;
    if (segment == "..") {
      if (out.empty()) return fail(Code::invalid_argument, "the path climbs above the root");
      out.resize(out.rfind('/'));
    } else if (!segment.empty() && segment != ".") {
      out += '/';
      out += segment;
      continue;
    }
    if (last) out += '/';
  }
  return out;
}

/// What follows scheme and authority, or all of it where there are none.
static std::string_view strip_authority(std::string_view text) {
  const size_t scheme_end = text.find("://");
  if (text.starts_with('/') || scheme_end == std::string_view::npos) return text;
  const size_t authority_end = text.find_first_of("/?", scheme_end + 3);
  return authority_end == std::string_view::npos ? std::string_view() : text.substr(authority_end);
}

Result<Target> parse_target(Method method, std::string_view text) {
  if (text == "*") {
    if (method == Method::options) return Target{"*", ""};
    return fail(Code::invalid_argument, "the target * is for OPTIONS only");
  }
  if (text.find('#') != std::string_view::npos) {
    return fail(Code::invalid_argument, "the target has a fragment (#)");
  }
  text = strip_authority(text);
  Target target;
  const size_t question = text.find('?');
  std::string_view path = text.substr(0, question);
  if (question != std::string_view::npos) target.query = text.substr(question + 1);
  if (path.empty()) path = "/";
  if (!path.starts_with('/'))
    return fail(Code::invalid_argument, "the target is not a path that starts with /");
  target.path = path.find('%') == std::string_view::npos ? std::string(path) : TRY(percent_decode(path));
  if (target.path.contains("//") || target.path.contains("/.")) {
    target.path = TRY(remove_dot_segments(target.path));
  }
  return target;
}

}  // namespace lambdo::http
