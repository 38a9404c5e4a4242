#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/language.h"
#include "image/image_config.h"

/// What an image says about how its programs are to be run, as far as the steps of a language take it over.
namespace lambdo::server {

/// Whether `resolve_user` needs the image's /etc/passwd and /etc/group to make something of this user.
bool needs_user_files(std::string_view user);

/// The user of an image ("", "1000", "name", "1000:1000", "name:group") by its passwd(5) and group(5). Steps
/// never run as root: for that, and where the image names nobody, they are 1000:1000; a group 0 becomes the
/// user's own number. invalid_argument where a name is in none of the files.
Result<engine::StepUser> resolve_user(std::string_view user, std::string_view passwd, std::string_view group);

/// The text of a file of an unpacked image, whatever symbolic links lead there within it; empty where there
/// is none. Never a file outside of `rootfs`. Blocks.
Result<std::string> read_in_rootfs(const std::string& rootfs, const std::string& path);

/// The variables of the steps: the image's, over them the language's own. HOME is /tmp where neither says
/// otherwise, because the root is read-only; the folder that the image would start in is told in
/// LAMBDO_IMAGE_WORKDIR, because steps start in the workspace.
std::vector<std::pair<std::string, std::string>> step_environment(const image::ImageConfig& image,
                                                                  const engine::Language& language);

}  // namespace lambdo::server
