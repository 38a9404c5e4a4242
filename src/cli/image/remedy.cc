#include "cli/image/remedy.h"

#include <cerrno>
#include <string_view>

namespace lambdo::cli {

/// What a system call says of a path is about that path, and not about the names of images.
static std::string_view remedy_of_path(int os_errno, StoreKind store) {
  switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return "check the path; relative ones begin in the folder where the command runs";
    case EACCES:
    case EPERM:
    case EROFS:
      return store == StoreKind::kept
                 ? "run as a user who may do that; where it is the store's folder, --store names another one"
                 : "run as a user who may do that; where it is the temporary folder, TMPDIR names another "
                   "one";
    default:
      return {};
  }
}

std::string remedy(const Error& error, StoreKind store) {
  if (const auto text = remedy_of_path(error.os_errno, store); !text.empty()) return std::string(text);
  const bool is_kept = store == StoreKind::kept;
  switch (error.code) {
    case Code::name_unresolved:
      return "check the registry's name, and this machine's name servers in /etc/resolv.conf";
    case Code::tls_failed:
      return "for a registry with a certificate authority of its own give that with --ca-file, for one "
             "without TLS name it with --plain-http";
    case Code::redirect_refused:
      return "the registry sends its clients to a place that it must not; ask who runs it, or use a mirror";
    case Code::unauthorized:
      return "check the name; if the image is private, log in first (docker login, or skopeo login "
             "--authfile ~/.docker/config.json)";
    case Code::not_found:
      return is_kept ? "check the name and the tag; lambdo image ls shows what the store has"
                     : "check the name and the tag";
    case Code::overloaded:
      return "the registry limits how much may be fetched; wait, log in, or use a mirror";
    case Code::timeout:
    case Code::closed:
    case Code::registry_failed:
      return "try again later, or use a mirror";
    case Code::digest_mismatch:
    case Code::size_mismatch:
      return "what came is not what was asked for, and was thrown away; the registry or something before it "
             "is broken: try again, or use a mirror";
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
      return is_kept ? "what is damaged has been moved aside: pull the image again" : "try again";
    case Code::store_busy:
      return "wait until the other process has ended, and try again";
    case Code::permission_denied:
      return is_kept ? "run as the owner of the store, or name another one with --store"
                     : "set TMPDIR to a folder that only you may write to";
    case Code::resource_exhausted:
      return is_kept ? "free space: lambdo image rm what is not needed, then lambdo image prune"
                     : "free space in the temporary folder, or set TMPDIR to a larger one";
    default:
      return {};
  }
}

}  // namespace lambdo::cli
