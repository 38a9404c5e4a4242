// Nftables hands commands in nft's language to the kernel; it knows no rule.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

struct nft_ctx;

namespace lambdo::net {

/// libnftables, in the network namespace in which the calling thread was when this was opened. Not for
/// several threads at a time; calls may block: the kernel waits for RCU when it takes rules over.
class Nftables {
 public:
  static Result<Nftables> open();

  /// Runs commands in nft's own language (nft(8)) as one transaction: all of them or none. Gives what they
  /// print. `what` starts the error's message; the rest is the first thing that nft says.
  Result<std::string> run(const std::string& commands, std::string_view what);

 private:
  struct Free {
    void operator()(nft_ctx* context) const;
  };
  std::unique_ptr<nft_ctx, Free> context_;
};

}  // namespace lambdo::net
