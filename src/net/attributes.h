#pragma once

#include <libmnl/libmnl.h>

#include <cstddef>

/// libmnl's loops over attributes, which its macros are for C only. `visit` takes a const nlattr*.
namespace lambdo::net {

template <typename Visit>
void for_each_attribute_in(const void* begin, const void* end, Visit visit) {
  const auto* at = static_cast<const nlattr*>(begin);
  const auto left = [&] {
    return static_cast<int>(static_cast<const char*>(end) - reinterpret_cast<const char*>(at));
  };
  for (; mnl_attr_ok(at, left()); at = mnl_attr_next(at)) visit(at);
}

/// Those after the family's fixed part.
template <typename Visit>
void for_each_attribute(const nlmsghdr& header, size_t fixed_bytes, Visit visit) {
  for_each_attribute_in(mnl_nlmsg_get_payload_offset(&header, fixed_bytes),
                        mnl_nlmsg_get_payload_tail(&header), visit);
}

template <typename Visit>
void for_each_nested(const nlattr* nest, Visit visit) {
  const auto* payload = static_cast<const char*>(mnl_attr_get_payload(nest));
  for_each_attribute_in(payload, payload + mnl_attr_get_payload_len(nest), visit);
}

}  // namespace lambdo::net
