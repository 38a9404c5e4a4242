#include "cli/remedy.h"

namespace lambdo::cli {

std::string remedy(const Error& error) {
  switch (error.code) {
    case Code::name_unresolved:
      return "check the registry's name, and this machine's name servers in /etc/resolv.conf";
    case Code::tls_failed:
      return "for a registry with a certificate authority of its own give that with --ca-file, for one "
             "without "
             "TLS name it with --plain-http";
    case Code::redirect_refused:
      return "the registry sends its clients to a place that it must not; ask who runs it, or use a mirror";
    case Code::unauthorized:
      return "check the name; if the image is private, log in first (docker login, or skopeo login "
             "--authfile "
             "~/.docker/config.json)";
    case Code::not_found:
      return "check the name and the tag; lambdo image ls shows what the store has";
    case Code::overloaded:
      return "the registry limits how much may be fetched; wait, log in, or use a mirror";
    case Code::timeout:
    case Code::closed:
    case Code::registry_failed:
      return "try again later, or use a mirror";
    case Code::digest_mismatch:
    case Code::size_mismatch:
      return "what came is not what was asked for, and was thrown away; the registry or something before it "
             "is "
             "broken: try again, or use a mirror";
    case Code::manifest_invalid:
    case Code::layer_invalid:
    case Code::path_escape:
      return "the image is damaged or was made to do damage; have it built anew, and do not trust its source";
    case Code::media_type_unsupported:
      return "have the image pushed anew with a current tool";
    case Code::platform_missing:
      return "choose one that there is with --platform";
    case Code::image_too_large:
      return "take a smaller image; where the limit is registries.max_layers, max_compressed_mb or "
             "max_unpacked_mb, raise that in the configuration (all others are fixed)";
    case Code::store_invalid:
      return "what is damaged has been moved aside: pull the image again";
    case Code::store_busy:
      return "wait until the other process has ended, and try again";
    case Code::permission_denied:
      return "run as the owner of the store, or name another one with --store";
    case Code::resource_exhausted:
      return "free space: lambdo image rm what is not needed, then lambdo image prune";
    default:
      return {};
  }
}

}  // namespace lambdo::cli
