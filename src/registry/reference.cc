#include "registry/reference.h"

#include <algorithm>

#include "base/text.h"

namespace lambdo::registry {

namespace {

constexpr std::string_view kOfficialPrefix = "library/";
constexpr size_t kMaxTextLength = 1024;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_letter_or_digit(char c) {
  return is_digit(c) || is_lower(c) || is_upper(c);
}
bool has_upper(std::string_view text) {
  return std::ranges::any_of(text, is_upper);
}

/// The text as an error shows it: bounded, and with nothing that a terminal would act on.
std::string shown(std::string_view text) {
  constexpr size_t kMaxShown = 160;
  std::string out(text.substr(0, kMaxShown));
  for (char& c : out) {
    if (c < ' ' || c == 0x7f) c = '?';
  }
  return text.size() > kMaxShown ? "'" + out + "...'" : "'" + out + "'";
}

std::unexpected<Error> wrong(std::string problem) {
  return fail(Code::invalid_argument, std::move(problem));
}

Result<> check_port(std::string_view port) {
  const auto number = parse_uint(port);
  if (!number || *number == 0 || *number > 65535) {
    return wrong("the port " + shown(port) + " must be a number from 1 to 65535");
  }
  return {};
}

Result<> check_domain_name(std::string_view name) {
  for (std::string_view rest = name;;) {
    const size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (label.empty()) return wrong("the host " + shown(name) + " has an empty part");
    if (label.front() == '-' || label.back() == '-') {
      return wrong("in the host " + shown(name) + " the part " + shown(label) +
                   " must start and end with a letter or digit");
    }
    if (!std::ranges::all_of(label, [](char c) { return c == '-' || is_letter_or_digit(c); })) {
      return wrong("the host " + shown(name) + " may only have letters, digits, '-' and '.'");
    }
    if (dot == std::string_view::npos) return {};
    rest.remove_prefix(dot + 1);
  }
}

/// host [":" port]
Result<> check_host(std::string_view text) {
  if (text.size() > Reference::kMaxHostLength) {
    return wrong("the host is longer than " + std::to_string(Reference::kMaxHostLength) + " characters");
  }
  std::string_view port;
  std::string_view name = text;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong("the bracket of the IPv6 address is not closed");
    const std::string_view address = text.substr(1, end - 1);
    const auto allowed = [](char c) {
      return c == ':' || is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    };
    if (address.empty() || !std::ranges::all_of(address, allowed)) {
      return wrong("the IPv6 address " + shown(address) + " may only have hexadecimal digits and ':'");
    }
    port = text.substr(end + 1);
    if (!port.empty() && port.front() != ':') {
      return wrong("after the IPv6 address only ':' and a port may follow");
    }
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    name = text.substr(0, colon);
    port = text.substr(colon);
    TRY(check_domain_name(name));
  }
  if (!port.empty()) TRY(check_port(port.substr(1)));
  return {};
}

/// What joins the parts of a component: one '.', one or two '_', or any number of '-'.
bool is_separator(std::string_view text) {
  return text == "." || text == "_" || text == "__" || text.find_first_not_of('-') == std::string_view::npos;
}

Result<> check_component(std::string_view component) {
  const auto in_part = [](char c) { return is_lower(c) || is_digit(c); };
  if (component.empty()) return wrong("the repository's name has an empty component");
  for (const char c : component) {
    if (!in_part(c) && c != '.' && c != '_' && c != '-') {
      return wrong("the component " + shown(component) +
                   " of the repository's name may only have a-z, 0-9, " + "'.', '_' and '-'");
    }
  }
  if (!in_part(component.front()) || !in_part(component.back())) {
    return wrong("the component " + shown(component) +
                 " of the repository's name must start and end with a letter or digit");
  }
  for (auto at = component.begin(); at != component.end();) {
    at = std::find_if_not(at, component.end(), in_part);
    const auto end = std::find_if(at, component.end(), in_part);
    if (at != end && !is_separator({at, end})) {
      return wrong("in the component " + shown(component) + " of the repository's name " + shown({at, end}) +
                   " is no separator; these are '.', '_', '__' and any number of '-'");
    }
    at = end;
  }
  return {};
}

Result<> check_repository(std::string_view repository) {
  if (repository.empty()) return wrong("the repository's name is missing");
  if (has_upper(repository)) {
    return wrong("the repository's name " + shown(repository) + " must be in lower case");
  }
  if (repository.size() > Reference::kMaxRepositoryLength) {
    return wrong("the repository's name is longer than " + std::to_string(Reference::kMaxRepositoryLength) +
                 " characters");
  }
  for (std::string_view rest = repository;;) {
    const size_t slash = rest.find('/');
    TRY(check_component(rest.substr(0, slash)));
    if (slash == std::string_view::npos) return {};
    rest.remove_prefix(slash + 1);
  }
}

Result<> check_tag(std::string_view tag) {
  if (tag.empty()) return wrong("the tag after ':' is missing");
  if (tag.size() > Reference::kMaxTagLength) {
    return wrong("the tag is longer than " + std::to_string(Reference::kMaxTagLength) + " characters");
  }
  const auto allowed = [](char c) { return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-'; };
  if (!std::ranges::all_of(tag, allowed)) {
    return wrong("the tag " + shown(tag) + " may only have letters, digits, '_', '.' and '-'");
  }
  if (tag.front() == '.' || tag.front() == '-') {
    return wrong("the tag " + shown(tag) + " must start with a letter, digit or '_'");
  }
  return {};
}

/// Whether what stands before the first '/' is a host, or the first component of a name at docker.io.
bool names_host(std::string_view first) {
  return first == "localhost" || first.find_first_of(".:") != std::string_view::npos || has_upper(first);
}

Result<Reference> parse_parts(std::string_view text) {
  Reference reference;
  const size_t at = text.find('@');
  if (at != std::string_view::npos) {
    const auto digest = Digest::parse(text.substr(at + 1));
    if (!digest) return wrong("the digest after '@': " + digest.error().message);
    reference.digest = *digest;
    text = text.substr(0, at);
  }
  const size_t slash = text.find('/');
  std::string_view rest = text;
  if (slash != std::string_view::npos && names_host(text.substr(0, slash))) {
    reference.host = text.substr(0, slash);
    rest.remove_prefix(slash + 1);
    TRY(check_host(reference.host));
    // What Docker's own registry was called before.
    if (reference.host == "index.docker.io") reference.host = Reference::kDefaultHost;
  }
  const size_t colon = rest.find(':');
  if (colon != std::string_view::npos) {
    reference.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  if (reference.host == Reference::kDefaultHost && !rest.empty() && !rest.contains('/')) {
    reference.repository = kOfficialPrefix;
  }
  reference.repository += rest;
  TRY(check_repository(reference.repository));
  if (colon != std::string_view::npos) TRY(check_tag(reference.tag));
  if (reference.tag.empty() && !reference.digest) reference.tag = Reference::kDefaultTag;
  return reference;
}

bool is_identifier(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of(kHexDigits) == std::string_view::npos;
}

}  // namespace

Result<Reference> Reference::parse(std::string_view text) {
  if (text.empty()) return wrong("an image's name must not be empty");
  if (text.size() > kMaxTextLength) {
    return wrong("an image's name of " + std::to_string(text.size()) + " characters is too long");
  }
  // Docker takes these for the ids of local images, so no registry can have them.
  if (is_identifier(text)) {
    return wrong("image " + shown(text) + ": 64 hexadecimal digits are an id, not a name; a digest is " +
                 "written NAME@sha256:...");
  }
  auto reference = parse_parts(text);
  if (!reference) return std::unexpected(std::move(reference).error().with_context("image " + shown(text)));
  return reference;
}

static std::string with_suffix(std::string name, const Reference& reference) {
  if (!reference.tag.empty()) name += ":" + reference.tag;
  if (reference.digest) name += "@" + reference.digest->text();
  return name;
}

std::string Reference::text() const {
  return with_suffix(host + "/" + repository, *this);
}

std::string Reference::familiar() const {
  if (host != kDefaultHost) return text();
  std::string_view name = repository;
  if (name.starts_with(kOfficialPrefix) && !name.substr(kOfficialPrefix.size()).contains('/')) {
    name.remove_prefix(kOfficialPrefix.size());
  } else if (names_host(name.substr(0, name.find('/')))) {
    // Without the host this component would be taken for one.
    return text();
  }
  return with_suffix(std::string(name), *this);
}

}  // namespace lambdo::registry
