#include "image_fixture.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/syscalls.h"
#include "registry/digest.h"
#include "test.h"

namespace lambdo::image::fixture {

namespace {

/// A name that nobody else takes: of this process, and counted.
std::string new_folder() {
  static int count = 0;
  return "/tmp/lambdo-image-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
}

/// Attributes with their values, sorted, but for those that the machine's own security module sets.
std::string xattrs_of(const std::string& path) {
  std::string names(64 << 10, '\0');
  const ssize_t len_bytes = ::llistxattr(path.c_str(), names.data(), names.size());
  if (len_bytes <= 0) return {};
  std::map<std::string, std::string> found;
  for (size_t at = 0; at < static_cast<size_t>(len_bytes); at += std::strlen(&names[at]) + 1) {
    const std::string name = &names[at];
    if (name == "security.selinux") continue;
    std::string value(64 << 10, '\0');
    const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    REQUIRE(size >= 0);
    value.resize(static_cast<size_t>(size));
    found[name] = registry::Digest::of(value).short_hex();
  }
  std::string text;
  for (const auto& [name, value] : found) text += " " + name + "=" + value;
  return text;
}

class Describer {
 public:
  Describer(std::string root, Times times) : root_(std::move(root)), times_(times) {}

  Description describe() {
    visit(".");
    return std::move(lines_);
  }

 private:
  void visit(const std::string& path) {
    const std::string full = root_ + "/" + path;
    struct stat status = {};
    REQUIRE(::lstat(full.c_str(), &status) == 0);
    std::string line(1, "?pc?d?b?-?l?s???"[status.st_mode >> 12U]);
    char text[128];
    std::snprintf(text, sizeof text, " %04o %u:%u", status.st_mode & 07777U, status.st_uid, status.st_gid);
    line += text;
    if (times_ == Times::all) {
      std::snprintf(text, sizeof text, " @%lld.%09ld", static_cast<long long>(status.st_mtim.tv_sec),
                    status.st_mtim.tv_nsec);
      line += text;
    }
    lines_[path] = line + content(full, status) + xattrs_of(full) + links(path, status);
    if (!S_ISDIR(status.st_mode)) return;
    const auto names = sys::list_directory(full);
    REQUIRE(names);
    for (const std::string& name : *names) visit(path == "." ? name : path + "/" + name);
  }

  static std::string content(const std::string& full, const struct stat& status) {
    if (S_ISREG(status.st_mode)) {
      const auto text = sys::read_file(full, size_t{1} << 30);
      REQUIRE(text);
      return " " + std::to_string(text->size()) + " " + registry::Digest::of(*text).short_hex();
    }
    if (S_ISLNK(status.st_mode)) {
      std::string target(8192, '\0');
      const ssize_t len_bytes = ::readlink(full.c_str(), target.data(), target.size());
      REQUIRE(len_bytes >= 0);
      return " -> " + target.substr(0, static_cast<size_t>(len_bytes));
    }
    if (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) return {};
    return " " + std::to_string(major(status.st_rdev)) + ":" + std::to_string(minor(status.st_rdev));
  }

  std::string links(const std::string& path, const struct stat& status) {
    if (S_ISDIR(status.st_mode) || status.st_nlink < 2) return {};
    const auto [first, is_new] = first_names_.try_emplace(status.st_ino, path);
    return " =" + first->second + " x" + std::to_string(status.st_nlink);
  }

  std::string root_;
  Times times_;
  Description lines_;
  std::map<ino_t, std::string> first_names_;
};

registry::Digest put_blob(const std::string& layout, const std::string& content) {
  const auto digest = registry::Digest::of(content);
  auto fd = sys::open(layout + "/blobs/sha256/" + digest.hex(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  REQUIRE(fd);
  REQUIRE(sys::write_all(fd->get(), content));
  return digest;
}

void put_file(const std::string& path, const std::string& content) {
  auto fd = sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  REQUIRE(fd);
  REQUIRE(sys::write_all(fd->get(), content));
}

std::string descriptor(std::string_view media_type, const registry::Digest& digest, size_t size_bytes,
                       const std::string& more = "") {
  return R"({"mediaType":")" + std::string(media_type) + R"(","digest":")" + digest.text() + R"(","size":)" +
         std::to_string(size_bytes) + more + "}";
}

}  // namespace

ReadBlob read_blob(std::string_view bytes, size_t piece_bytes) {
  return [bytes, piece_bytes](std::span<std::byte> to) mutable -> Result<size_t> {
    const size_t count = std::min({bytes.size(), to.size(), piece_bytes});
    if (count != 0) std::memcpy(to.data(), bytes.data(), count);
    bytes.remove_prefix(count);
    return count;
  };
}

Workshop::Workshop() : folder_(TemporaryFolder::create(new_folder()).value()) {
  new_spool({});
}

void Workshop::new_spool(const Spool::Limits& limits) {
  spool_ = Spool::create(path() + "/spool" + std::to_string(spools_++), limits).value();
}

Result<Layer> Workshop::read(std::string_view blob, std::string_view media_type, const LayerLimits& limits,
                             size_t piece_bytes) {
  return read_layer(
      {.read = read_blob(blob, piece_bytes), .media_type = std::string(media_type), .diff_id = {}}, *spool_,
      limits, stop);
}

Result<Tree> Workshop::merge(const std::vector<std::string>& archives) {
  Tree tree;
  for (const std::string& archive : archives) {
    const Layer layer = TRY(read(archive));
    TRY(tree.apply(layer, stop));
  }
  return tree;
}

Result<RootfsReport> Workshop::unpack(const std::vector<std::string>& archives, const std::string& name) {
  const Tree tree = TRY(merge(archives));
  return write(tree, name);
}

Result<RootfsReport> Workshop::write(const Tree& tree, const std::string& name) {
  TRY(sys::mkdir(path() + "/" + name, 0700));
  const Fd target = TRY(sys::open(path() + "/" + name, O_RDONLY | O_DIRECTORY));
  return write_rootfs(tree, *spool_, target.get(), stop);
}

Description describe(const std::string& folder, Times times) {
  return Describer(folder, times).describe();
}

std::string without_time(const std::string& line) {
  const size_t begin = line.find(" @");
  const size_t end = std::min(line.find(' ', begin + 1), line.size());
  return line.substr(0, begin) + line.substr(end);
}

std::string difference(const Description& ours, const Description& theirs) {
  std::string text;
  for (const auto& [path, line] : ours) {
    const auto other = theirs.find(path);
    if (other == theirs.end()) {
      text += "only ours: " + path + ": " + line + "\n";
    } else if (other->second != line) {
      text += path + ":\n  ours   " + line + "\n  theirs " + other->second + "\n";
    }
  }
  for (const auto& [path, line] : theirs) {
    if (!ours.contains(path)) text += "only theirs: " + path + ": " + line + "\n";
  }
  return text;
}

int run(const std::vector<std::string>& command, const std::string& output) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  REQUIRE(error == 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool is_root() {
  return ::geteuid() == 0;
}

void write_oci_layout(const std::string& path, const std::vector<std::string>& archives) {
  namespace media_type = registry::media_type;
  REQUIRE(sys::mkdirs(path + "/blobs/sha256", 0755));
  std::string layers;
  std::string diff_ids;
  for (const std::string& archive : archives) {
    const auto digest = put_blob(path, archive);
    layers += (layers.empty() ? "" : ",") + descriptor(media_type::kOciLayer, digest, archive.size());
    diff_ids += (diff_ids.empty() ? "\"" : ",\"") + digest.text() + "\"";
  }
  const std::string config =
      R"({"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[)" +
      diff_ids + "]}}";
  const std::string manifest = R"({"schemaVersion":2,"config":)" +
                               descriptor(media_type::kOciConfig, put_blob(path, config), config.size()) +
                               R"(,"layers":[)" + layers + "]}";
  put_file(path + "/index.json",
           R"({"schemaVersion":2,"manifests":[)" +
               descriptor(media_type::kOciManifest, put_blob(path, manifest), manifest.size(),
                          R"(,"annotations":{"org.opencontainers.image.ref.name":"t"})") +
               "]}");
  put_file(path + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
}

}  // namespace lambdo::image::fixture
