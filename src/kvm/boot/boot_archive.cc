#include "kvm/boot/boot_archive.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "kvm/boot/byte_writer.h"
#include "kvm/boot/decompress.h"

namespace lambdo::kvm {

namespace {

constexpr std::string_view kFolderPrefix = ".lambdo-";
constexpr size_t kAlignment = 4;  // of cpio headers, names and contents

// The kernel's lz4 decoder knows the end of its data only by four zero bytes; the others need none.
constexpr size_t kMinPadding = 8;

size_t aligned(size_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

bool is_archive(std::span<const std::byte> image) {
  const std::string_view text(reinterpret_cast<const char*>(image.data()), image.size());
  return image.empty() || text.starts_with("070701") || text.starts_with("070702") ||
         detect_compression(image);
}

}  // namespace

/// Writes newc entries (Linux Documentation/driver-api/early-userspace/buffer-format.rst): a header of 110
/// bytes with 13 hex fields, the name with its NUL, the content, both padded.
class BootArchive::Writer {
 public:
  void add_device(std::string_view path, uint32_t mode, uint32_t major, uint32_t minor) {
    put_entry(path, S_IFCHR | mode, {}, major, minor);
  }
  void add_folder(std::string_view path, uint32_t mode) { put_entry(path, S_IFDIR | mode, {}); }
  void add_file(std::string_view path, uint32_t mode, std::span<const std::byte> content) {
    put_entry(path, S_IFREG | mode, content);
  }
  /// Below our folder; an empty path is the folder.
  std::string own(std::string_view path) const {
    return std::string(kFolderPrefix) + std::string(BootToken::kSize, '\0') + (path.empty() ? "" : "/") +
           std::string(path);
  }

  Part finish() {
    inode_ = 0;
    put_entry("TRAILER!!!", 0, {});
    return {.bytes = out_.take(), .token_offsets = std::move(token_offsets_)};
  }

 private:
  void put_entry(std::string_view path, uint32_t mode, std::span<const std::byte> content, uint32_t major = 0,
                 uint32_t minor = 0) {
    const uint32_t links = S_ISDIR(mode) ? 2 : 1;
    // ino, mode, uid, gid, nlink, mtime, filesize, device of the file (2), of the node (2), namesize, check
    const std::array<uint32_t, 13> fields = {inode_++,
                                             mode,
                                             0,
                                             0,
                                             links,
                                             0,
                                             static_cast<uint32_t>(content.size()),
                                             0,
                                             0,
                                             major,
                                             minor,
                                             static_cast<uint32_t>(path.size() + 1),
                                             0};
    out_.text("070701");
    for (const uint32_t field : fields) {
      char text[9];
      std::snprintf(text, sizeof text, "%08x", field);
      out_.text(text);
    }
    if (path.starts_with(kFolderPrefix)) token_offsets_.push_back(out_.size() + kFolderPrefix.size());
    out_.text(path).put(uint8_t{0}).align(kAlignment);
    out_.append(content).align(kAlignment);
  }

  ByteWriter out_;
  std::vector<size_t> token_offsets_;
  uint32_t inode_ = 1;
};

Result<BootToken> BootToken::random() {
  std::array<std::byte, kSize / 2> bytes;
  TRY(sys::random_bytes(bytes));
  return BootToken(to_hex(bytes));
}

Result<BootToken> BootToken::from(std::string_view text) {
  if (text.size() != kSize || text.find_first_not_of(kHexDigits) != std::string_view::npos) {
    return fail(Code::invalid_argument, "a boot token must be 32 lowercase hex digits");
  }
  return BootToken(std::string(text));
}

std::string BootToken::folder() const {
  return "/" + std::string(kFolderPrefix) + text_;
}
std::string BootToken::init_path() const {
  return folder() + "/init";
}

Result<BootArchive> BootArchive::create(const BootFiles& files, std::span<const std::byte> image) {
  if (!is_archive(image)) {
    return fail(Code::invalid_argument, "the image is neither a newc cpio archive nor a compressed one");
  }
  constexpr uint32_t kConsoleMajor = 5;
  constexpr uint32_t kConsoleMinor = 1;
  Writer head;
  for (const std::string_view folder : {"proc", "sys", "dev", "run"}) head.add_folder(folder, 0755);
  head.add_folder("tmp", 01777);
  head.add_device("dev/console", 0600, kConsoleMajor, kConsoleMinor);
  head.add_folder(head.own(""), 0700);
  head.add_file(head.own("init"), 0755, files.agent);
  head.add_file(head.own("config"), 0600, std::as_bytes(std::span(files.config)));
  head.add_folder(head.own("modules"), 0700);
  std::string list;
  for (const KernelModule& module : files.modules) {
    if (module.name.empty() || module.name.contains('/')) {
      return fail(Code::invalid_argument, "a kernel module cannot have the name '" + module.name + "'");
    }
    head.add_file(head.own("modules/" + module.name + ".ko"), 0600, module.bytes);
    list += module.name + "\n";
  }
  head.add_file(head.own("modules.list"), 0600, std::as_bytes(std::span(list)));
  Writer tail;
  tail.add_file(tail.own("complete"), 0600, {});
  BootArchive archive;
  archive.head_ = head.finish();
  archive.image_ = image;
  archive.tail_ = tail.finish();
  archive.tail_offset_ = aligned(archive.head_.bytes.size() + image.size() + kMinPadding);
  return archive;
}

void BootArchive::copy_to(std::span<std::byte> to, const BootToken& token) const {
  const auto put_part = [&](const Part& part, size_t offset) {
    std::memcpy(&to[offset], part.bytes.data(), part.bytes.size());
    for (const size_t at : part.token_offsets) {
      std::memcpy(&to[offset + at], token.text().data(), BootToken::kSize);
    }
  };
  put_part(head_, 0);
  if (!image_.empty()) std::memcpy(&to[head_.bytes.size()], image_.data(), image_.size());
  put_part(tail_, tail_offset_);
}

Result<> BootArchive::write(const virtio::GuestMemory& memory, const AddressRange& range,
                            const BootToken& token) const {
  CHECK(range.len_bytes == size_bytes());
  copy_to(TRY(memory.slice(range.addr, range.len_bytes)), token);
  return {};
}

std::vector<std::byte> BootArchive::bytes(const BootToken& token) const {
  std::vector<std::byte> result(size_bytes());
  copy_to(result, token);
  return result;
}

}  // namespace lambdo::kvm
