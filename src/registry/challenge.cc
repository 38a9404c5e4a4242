#include "registry/challenge.h"

#include <algorithm>

#include "base/text.h"

namespace lambdo::registry {

namespace {

constexpr size_t kMaxChallenges = 16;
constexpr size_t kMaxParameters = 32;

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
/// RFC 9110, 5.6.2: tchar.
bool is_token_char(char c) {
  return is_alphanumeric(c) || (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").contains(c));
}
/// RFC 9110, 11.2: token68, without the '=' at its end.
bool is_token68_char(char c) {
  return is_alphanumeric(c) || (c != '\0' && std::string_view("-._~+/").contains(c));
}

class Parser {
 public:
  explicit Parser(std::string_view field) : rest_(field), whole_len_(field.size()) {}

  Result<std::vector<Challenge>> parse() {
    std::vector<Challenge> challenges;
    for (skip_separators(); !rest_.empty(); skip_separators()) {
      if (challenges.size() == kMaxChallenges) return wrong("too many challenges");
      challenges.push_back(TRY(challenge()));
    }
    return challenges;
  }

 private:
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view problem) const {
    return fail(Code::registry_failed, "WWW-Authenticate is malformed at byte " +
                                           std::to_string(whole_len_ - rest_.size()) + ": " +
                                           std::string(problem));
  }

  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size())); }
  /// A list may have empty elements (RFC 9110, 5.6.1.2).
  void skip_separators() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t,"), rest_.size())); }
  template <typename Allowed>
  std::string_view take_while(Allowed allowed) {
    const auto end = std::ranges::find_if_not(rest_, allowed);
    const auto len = static_cast<size_t>(end - rest_.begin());
    const std::string_view taken = rest_.substr(0, len);
    rest_.remove_prefix(len);
    return taken;
  }

  Result<Challenge> challenge() {
    Challenge challenge;
    challenge.scheme = to_lower(take_while(is_token_char));
    if (challenge.scheme.empty()) return wrong("the name of a scheme is missing");
    if (!rest_.empty() && !std::string_view(" \t,").contains(rest_.front())) {
      return wrong("a scheme ends with a space or a comma");
    }
    skip_space();
    if (take_token68(challenge)) return challenge;
    while (!rest_.empty()) {
      const std::string_view before = rest_;
      skip_separators();
      if (!TRY(take_parameter(challenge))) {
        // A name without '=': the next challenge's scheme.
        rest_ = before;
        break;
      }
      skip_space();
      if (!rest_.empty() && rest_.front() != ',') return wrong("a comma is missing");
    }
    return challenge;
  }

  /// Only where it is all of what stands before the next comma is it no parameter.
  bool take_token68(Challenge& challenge) {
    const std::string_view before = rest_;
    const std::string_view text = take_while(is_token68_char);
    const std::string_view padding = take_while([](char c) { return c == '='; });
    skip_space();
    if (text.empty() || (!rest_.empty() && rest_.front() != ',')) {
      rest_ = before;
      return false;
    }
    challenge.token68 = std::string(text) + std::string(padding);
    return true;
  }

  /// False where no parameter stands here; what was read then is the caller's to give back.
  Result<bool> take_parameter(Challenge& challenge) {
    const std::string_view name = take_while(is_token_char);
    skip_space();
    if (!rest_.starts_with('=')) {
      if (name.empty() && !rest_.empty()) return wrong("the name of a parameter is missing");
      return false;
    }
    if (name.empty()) return wrong("the name of a parameter is missing");
    rest_.remove_prefix(1);
    skip_space();
    std::string value;
    if (rest_.starts_with('"')) {
      value = TRY(quoted_string());
    } else {
      value = take_while(is_token_char);
      if (value.empty()) return wrong("the value of a parameter is missing");
    }
    std::string key = to_lower(name);
    if (challenge.parameter(key)) return wrong("a parameter is there twice");
    if (challenge.parameters.size() == kMaxParameters) return wrong("too many parameters");
    challenge.parameters.emplace_back(std::move(key), std::move(value));
    return true;
  }

  /// RFC 9110, 5.6.4.
  Result<std::string> quoted_string() {
    std::string value;
    for (rest_.remove_prefix(1); !rest_.empty(); rest_.remove_prefix(1)) {
      if (rest_.front() == '"') {
        rest_.remove_prefix(1);
        return value;
      }
      if (rest_.front() == '\\') rest_.remove_prefix(1);
      if (rest_.empty()) break;
      const auto byte = static_cast<unsigned char>(rest_.front());
      if ((byte < ' ' && byte != '\t') || byte == 0x7f) return wrong("a control character");
      value += rest_.front();
    }
    return wrong("a quoted text is not closed");
  }

  std::string_view rest_;
  size_t whole_len_;
};

}  // namespace

std::optional<std::string_view> Challenge::parameter(std::string_view name) const {
  const auto found = std::ranges::find(parameters, name, &std::pair<std::string, std::string>::first);
  if (found == parameters.end()) return std::nullopt;
  return found->second;
}

Result<std::vector<Challenge>> parse_challenges(std::string_view field) {
  return Parser(field).parse();
}

}  // namespace lambdo::registry
