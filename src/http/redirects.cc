#include "http/redirects.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "http/dialer.h"

namespace lambdo::http {

namespace {

constexpr std::array kStatuses = {301, 302, 303, 307, 308};
constexpr std::array kSecrets = {"Authorization", "Cookie", "Proxy-Authorization"};

std::unexpected<Error> refused(const Url& from, const std::string& why) {
  // Without the query: what stands in it is often a token.
  const std::string target = from.target.substr(0, from.target.find('?'));
  return fail(Code::redirect_refused, from.scheme + "://" + from.authority() + target + " redirects " + why);
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
  if (followed_ == 0) began_in_public_ = !response.peer_is_private();
  if (followed_ == max_redirects_) {
    return refused(from, "once more after " + std::to_string(max_redirects_) + " redirects");
  }
  ++followed_;
  auto to = from.resolve(*response.headers().find("Location"));
  if (!to) return refused(from, "to what is no URL");
  if (from.scheme == "https" && to->scheme != "https") return refused(from, "from https to http");
  if (!visited_.insert(to->text()).second) return refused(from, "in a loop");
  if (began_in_public_) {
    if (is_private_by_name(*to)) {
      return refused(from, "from a public address to \"" + to->host + "\", which is none");
    }
    request.addresses = AddressScope::public_only;
  }
  if (!from.same_origin(*to)) request.headers = without_secrets(request.headers);
  request.url = std::move(*to);
  return {};
}

Error Redirects::explain(Error error) const {
  if (followed_ == 0) return error;
  if (error.code == Code::permission_denied && began_in_public_) error.code = Code::redirect_refused;
  return std::move(error).with_context("after a redirect");
}

}  // namespace lambdo::http
