#include "net/nftables.h"

#include <cerrno>
#include <cstring>

extern "C" {
#include <nftables/libnftables.h>
}

namespace lambdo::net {

namespace {

// libnftables gives words only; these are the kernel's, by strerror(3).
struct Meaning {
  int os_errno;
  Code code;
};
constexpr Meaning kMeanings[] = {
    {EPERM, Code::permission_denied}, {ENOENT, Code::not_found},           {EEXIST, Code::io},
    {EOPNOTSUPP, Code::unavailable},  {ENOBUFS, Code::resource_exhausted}, {ENFILE, Code::resource_exhausted},
};

Error error_of(std::string_view said, std::string_view what) {
  const std::string_view first = said.substr(0, said.find('\n'));
  Error error{Code::io, 0, std::string(what) + ": " + std::string(first)};
  if (first.empty()) error.message += "nftables refused without a word";
  for (const Meaning& meaning : kMeanings) {
    if (!first.contains(std::strerror(meaning.os_errno))) continue;
    error.code = meaning.code;
    error.os_errno = meaning.os_errno;
  }
  return error;
}

}  // namespace

void Nftables::Free::operator()(nft_ctx* context) const {
  nft_ctx_free(context);
}

Result<Nftables> Nftables::open() {
  Nftables opened;
  opened.context_.reset(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!opened.context_) return fail(Code::unavailable, "nftables cannot be opened");
  if (nft_ctx_buffer_output(opened.context_.get()) != 0 || nft_ctx_buffer_error(opened.context_.get()) != 0) {
    return fail(Code::resource_exhausted, "nftables has no buffers");
  }
  return opened;
}

Result<std::string> Nftables::run(const std::string& commands, std::string_view what) {
  const int result = nft_run_cmd_from_buffer(context_.get(), commands.c_str());
  // Both are read each time: what is left in them would be the next call's.
  std::string output = nft_ctx_get_output_buffer(context_.get());
  const std::string said = nft_ctx_get_error_buffer(context_.get());
  if (result != 0) return std::unexpected(error_of(said, what));
  return output;
}

}  // namespace lambdo::net
