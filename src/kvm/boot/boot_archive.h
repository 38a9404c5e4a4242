#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kvm/boot/kernel_modules.h"
#include "kvm/memory_layout.h"
#include "virtio/memory.h"

namespace lambdo::kvm {

/// 32 lowercase hex digits that name our folder in one guest. The image cannot know them, so nothing in its
/// archive can take the place of our files, whatever order the kernel unpacks in.
class BootToken {
 public:
  static constexpr size_t kSize = 32;

  static Result<BootToken> random();
  /// Exactly 32 lowercase hex digits (invalid_argument).
  static Result<BootToken> from(std::string_view text);

  [[nodiscard]] const std::string& text() const { return text_; }
  /// "/.lambdo-TOKEN", in the guest.
  [[nodiscard]] std::string folder() const;
  /// The agent: what `rdinit=` takes.
  [[nodiscard]] std::string init_path() const;

 private:
  explicit BootToken(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

/// What the agent finds in its folder, which is its executable's. Only to be read while building.
struct BootFiles {
  std::span<const std::byte> agent;
  std::span<const KernelModule> modules;  ///< in load order
  std::string_view config;
};

/// An initrd: our archive (newc cpio), then the image's as it is, then our mark that the kernel got to the
/// end. Deterministic. In our folder of the guest are `init` (mode 0755), `config`, `modules/NAME.ko`,
/// `modules.list` with these names in load order, one a line, and, where everything of the image was
/// unpacked, `complete`. Ours comes first, so that its /proc, /sys, /dev, /dev/console, /run and /tmp only
/// fill gaps: the image's win.
///
/// Immutable: one serves all guests of an image; write() puts each guest's token in.
class BootArchive {
 public:
  /// Copies `files`; `image` outlives the archive and is a newc cpio, plain or compressed in a way the
  /// guest's kernel knows, or empty. invalid_argument: an image that is neither, or a module name with '/' in
  /// it.
  static Result<BootArchive> create(const BootFiles& files, std::span<const std::byte> image);

  [[nodiscard]] uint64_t size_bytes() const { return tail_offset_ + tail_.bytes.size(); }
  /// Into `range`, which has size_bytes() and lies in zeroed memory.
  Result<> write(const virtio::GuestMemory& memory, const AddressRange& range, const BootToken& token) const;
  /// The same as bytes, for files and tests.
  [[nodiscard]] std::vector<std::byte> bytes(const BootToken& token) const;

 private:
  class Writer;
  /// An archive with zeros where the token goes.
  struct Part {
    std::vector<std::byte> bytes;
    std::vector<size_t> token_offsets;
  };

  void copy_to(std::span<std::byte> to, const BootToken& token) const;

  Part head_;
  std::span<const std::byte> image_;
  Part tail_;
  size_t tail_offset_ = 0;
};

}  // namespace lambdo::kvm
