#include "http/client/redirects.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "http/client/dialer.h"

namespace lambdo::http {

namespace {

constexpr std::array kStatuses = {301, 302, 303, 307, 308};
constexpr std::array kSecrets = {"Authorization", "Cookie", "Proxy-Authorization"};

std::unexpected<Error> refused(const std::string& from, const std::string& why) {
  return fail(Code::redirect_refused, from + " redirects " + why);
}

std::string shown(const ClientRequest& request, const std::string& text) {
  return request.shown ? request.shown(text) : text;
}

/// Without the query: what stands in it is often a token.
std::string place_of(const Url& url) {
  return url.scheme + "://" + url.authority() + url.target.substr(0, url.target.find('?'));
}

void replace_all(std::string& text, const std::string& old, const std::string& fresh) {
  if (old.empty() || old == fresh) return;
  for (size_t at = text.find(old); at != std::string::npos; at = text.find(old, at + fresh.size())) {
    text.replace(at, old.size(), fresh);
  }
}

Headers without_secrets(const Headers& headers) {
  Headers out;
  for (size_t i = 0; i < headers.size(); ++i) {
    const auto is_same = [&](std::string_view secret) {
      return equals_ignoring_case(secret, headers[i].name);
    };
    if (std::ranges::none_of(kSecrets, is_same)) out.add(headers[i].name, headers[i].value);
  }
  return out;
}

}  // namespace

Redirects::Redirects(size_t max_redirects, const Url& first) : max_redirects_(max_redirects) {
  visited_.insert(first.text());
}

bool Redirects::is_redirect(const ClientRequest& request, const IncomingResponse& response) {
  return request.follow_redirects && (request.method == Method::get || request.method == Method::head) &&
         std::ranges::find(kStatuses, response.status()) != kStatuses.end() &&
         response.headers().find("Location");
}

Result<> Redirects::follow(ClientRequest& request, const IncomingResponse& response) {
  const Url from = request.url;
  // The first place is the caller's own word.
  const std::string place = followed_ == 0 ? place_of(from) : shown(request, place_of(from));
  if (followed_ == 0) began_in_public_ = !response.peer_is_private();
  if (followed_ == max_redirects_) {
    return refused(place, "once more after " + std::to_string(max_redirects_) + " redirects");
  }
  ++followed_;
  auto to = from.resolve(*response.headers().find("Location"));
  if (!to) return refused(place, "to what is no URL");
  if (from.scheme == "https" && to->scheme != "https") return refused(place, "from https to http");
  if (!visited_.insert(to->text()).second) return refused(place, "in a loop");
  if (began_in_public_) {
    if (is_private_by_name(*to)) {
      return refused(place, "from a public address to \"" + shown(request, to->host) + "\", which is none");
    }
    request.addresses = AddressScope::public_only;
  }
  if (!from.same_origin(*to)) request.headers = without_secrets(request.headers);
  request.url = std::move(*to);
  return {};
}

Error Redirects::explain(Error error, const ClientRequest& request) const {
  if (followed_ == 0) return error;
  replace_all(error.message, request.url.host, shown(request, request.url.host));
  if (error.code == Code::permission_denied && began_in_public_) error.code = Code::redirect_refused;
  return std::move(error).with_context("after a redirect");
}

}  // namespace lambdo::http
