#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::namespaces {

/// The mount namespace in which sandboxes are started. It holds bubblewrap with its libraries, /proc, and for
/// each image a tree that is complete up to what a sandbox has of its own: the root file system read-only, a
/// /dev, the agent. So unprivileged sandboxes reach images below folders that only root may enter, bubblewrap
/// has one mount to bind, its copy of the namespace is small, and the machine's mount table shows nothing.
///
/// The process that enters it stays in it; the namespace ends with its last process.
class ImageMounts {
 public:
  /// Makes the namespace and moves the calling single-threaded process into it. Without the privilege to do
  /// so it goes through a user namespace of its own. Code::unavailable with the remedy where neither works.
  static Result<ImageMounts> enter(const std::string& bwrap_path);

  /// Sets up the image's tree and gives its path in the namespace. `rootfs` and `agent_path` are paths
  /// outside. Errors name them. With `resolver_file` it is for sandboxes with a network: that text is its
  /// /etc/resolv.conf, and /etc/hosts knows the sandbox's own name.
  Result<std::string> add_image(const std::string& rootfs, const std::string& agent_path,
                                const std::optional<std::string>& resolver_file);

  /// Whether the process had the privilege itself, so that sandboxes can have other uids than its own.
  [[nodiscard]] bool privileged() const { return privileged_; }

 private:
  Result<> populate(const std::string& bwrap_path);
  Result<> add_device(const std::string& name, unsigned minor);
  Result<> add_devices();
  [[nodiscard]] std::string lower_path() const;
  Result<> attach_image(const std::string& path, Fd tree, Fd agent, const std::string& network_folder);
  /// The folder whose etc is laid over the images of sandboxes with these resolvers.
  Result<std::string> network_folder_for(const std::string& resolver_file);

  bool privileged_ = false;
  Fd outside_;  ///< namespace in which the host's paths are looked up
  Fd inside_;
  size_t images_ = 0;
  std::map<std::string, std::string> network_folders_;  // by the resolver file's text
};

}  // namespace lambdo::namespaces
