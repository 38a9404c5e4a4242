#include "http/message.h"

#include <array>
#include <utility>

#include "base/text.h"

namespace lambdo::http {

static constexpr std::array<std::pair<Method, std::string_view>, 7> kMethods = {{
    {Method::get, "GET"},
    {Method::head, "HEAD"},
    {Method::post, "POST"},
    {Method::put, "PUT"},
    {Method::patch, "PATCH"},
    {Method::delete_, "DELETE"},
    {Method::options, "OPTIONS"},
}};

std::string_view method_name(Method method) {
  return kMethods[static_cast<size_t>(method)].second;
}

std::optional<Method> method_from_name(std::string_view name) {
  for (const auto& [method, known] : kMethods) {
    if (known == name) return method;
  }
  return std::nullopt;
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

Headers::Headers(std::initializer_list<Field> fields) {
  for (const Field& field : fields) add(field.name, field.value);
}

void Headers::add(std::string_view name, std::string_view value) {
  places_.push_back({static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(name.size()),
                     static_cast<uint32_t>(value.size())});
  text_ += name;
  text_ += value;
}

Headers::Field Headers::operator[](size_t index) const {
  const Place& place = places_[index];
  const std::string_view text = text_;
  return {text.substr(place.name_offset, place.name_len),
          text.substr(place.name_offset + place.name_len, place.value_len)};
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (size_t i = 0; i < places_.size(); ++i) {
    if (places_[i].name_len == name.size() && equals_ignoring_case((*this)[i].name, name))
      return (*this)[i].value;
  }
  return std::nullopt;
}

size_t Headers::count(std::string_view name) const {
  size_t found = 0;
  for (size_t i = 0; i < places_.size(); ++i) {
    if (places_[i].name_len == name.size() && equals_ignoring_case((*this)[i].name, name)) ++found;
  }
  return found;
}

void Headers::clear() {
  text_.clear();
  places_.clear();
}

void Request::clear() {
  static constexpr size_t kMaxKeptBytes = 64 << 10;
  target.clear();
  path.clear();
  query.clear();
  headers.clear();
  body.clear();
  if (body.capacity() > kMaxKeptBytes) body.shrink_to_fit();
}

}  // namespace lambdo::http
