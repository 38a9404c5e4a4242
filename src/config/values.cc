#include "config/values.h"

#include <net/if.h>

#include <algorithm>
#include <array>

#include "base/ip.h"
#include "base/text.h"

namespace lambdo::config {

void read_path(YamlMap& map, std::string_view key, std::string& target) {
  const auto value = map.find(key);
  const auto text = value ? value->text() : std::nullopt;
  if (!text) return;
  if (text->empty()) return value->error("is empty; write a path, or remove the key");
  target = *text;
}

void read_address(YamlMap& map, std::string_view key, std::string& target) {
  const auto value = map.find(key);
  const auto text = value ? value->text() : std::nullopt;
  if (!text) return;
  if (*text == "localhost") {
    target = "127.0.0.1";
  } else if (IpAddress::parse(*text)) {
    target = *text;
  } else {
    value->error(quoted(*text) + " is not an IP address; write one such as 127.0.0.1, 0.0.0.0 or ::1");
  }
}

void read_bridge_address(YamlMap& map, std::string_view key, std::string& target) {
  const auto value = map.find(key);
  const auto text = value ? value->text() : std::nullopt;
  if (!text) return;
  const size_t slash = text->find('/');
  const auto prefix =
      slash == std::string::npos ? std::nullopt : parse_uint(std::string_view(*text).substr(slash + 1));
  if (!prefix || *prefix < 1 || *prefix > 30 || !Ipv4Address::parse(text->substr(0, slash))) {
    return value->error(quoted(*text) +
                        " is not an IPv4 address with a prefix length; write one such as 192.168.10.1/24");
  }
  target = *text;
}

void read_interface_name(YamlMap& map, std::string_view key, std::string& target) {
  const auto value = map.find(key);
  const auto text = value ? value->text() : std::nullopt;
  if (!text) return;
  const bool allowed =
      std::ranges::all_of(*text, [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':'; });
  if (text->empty() || text->size() >= IFNAMSIZ || !allowed || *text == "." || *text == "..") {
    return value->error(quoted(*text) +
                        " is not a network interface's name; write 1 to 15 letters and digits");
  }
  target = *text;
}

bool is_language_word(std::string_view text) {
  static constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+#-";
  return !text.empty() && text.size() <= 64 && text.find_first_not_of(kAllowed) == std::string_view::npos;
}

static bool is_identifier(std::string_view text) {
  static constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  return !text.empty() && text.find_first_not_of(kAllowed) == std::string_view::npos;
}

std::optional<std::string> normal_command(const YamlValue& value, std::string_view command) {
  static constexpr std::array<std::string_view, 2> kPlaceholders = {"filename", "args"};
  std::string out;
  for (size_t at = 0; at < command.size();) {
    const size_t open = command.find("{{", at);
    const size_t close = open == std::string_view::npos ? open : command.find("}}", open + 2);
    if (close == std::string_view::npos) {
      out += command.substr(at);
      break;
    }
    const std::string_view name = trimmed(command.substr(open + 2, close - open - 2), " ");
    if (!is_identifier(name)) {
      out += command.substr(
          at, open + 1 - at);  // one brace: the next may open a placeholder, as in {{{filename}}
      at = open + 1;
      continue;
    }
    const auto same_name = [&](std::string_view known) { return equals_ignoring_case(known, name); };
    const auto known = std::ranges::find_if(kPlaceholders, same_name);
    if (known == kPlaceholders.end()) {
      value.error("unknown placeholder " + quoted(command.substr(open, close + 2 - open)) +
                  "; write {{filename}} or {{args}}");
      return std::nullopt;
    }
    out.append(command.substr(at, open - at)).append("{{").append(*known).append("}}");
    at = close + 2;
  }
  return out;
}

}  // namespace lambdo::config
