#include "virtio/chain.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace lambdo::virtio {

DescriptorChain::DescriptorChain(const DescriptorChain& other) : head_(other.head_) {
  *this = other;
}

DescriptorChain& DescriptorChain::operator=(const DescriptorChain& other) {
  if (this == &other) return *this;
  head_ = other.head_;
  count_ = other.count_;
  readable_count_ = other.readable_count_;
  readable_bytes_ = other.readable_bytes_;
  writable_bytes_ = other.writable_bytes_;
  std::ranges::copy(other.buffers(), buffers_.begin());
  return *this;
}

void DescriptorChain::append(const Buffer& buffer) {
  CHECK(count_ < buffers_.size());
  buffers_[count_++] = buffer;
  if (buffer.device_writable) {
    writable_bytes_ += buffer.len_bytes;
  } else {
    CHECK(readable_count_ + 1 == count_);
    ++readable_count_;
    readable_bytes_ += buffer.len_bytes;
  }
}

/// Calls `copy(part of a buffer, position in the whole)` for `len_bytes` from `offset` of `buffers` on.
template <typename Copy>
static size_t for_each_part(std::span<const Buffer> buffers, uint64_t offset, size_t len_bytes, Copy copy) {
  size_t done_bytes = 0;
  for (const Buffer& buffer : buffers) {
    if (done_bytes == len_bytes) break;
    if (offset >= buffer.len_bytes) {
      offset -= buffer.len_bytes;
      continue;
    }
    const size_t part_bytes = std::min<size_t>(buffer.len_bytes - offset, len_bytes - done_bytes);
    copy(buffer.bytes().subspan(offset, part_bytes), done_bytes);
    done_bytes += part_bytes;
    offset = 0;
  }
  return done_bytes;
}

size_t DescriptorChain::copy_readable(uint64_t offset, std::span<std::byte> to) const {
  return for_each_part(readable(), offset, to.size(), [to](std::span<std::byte> part, size_t at) {
    copy_from_guest(to.subspan(at, part.size()), part.data());
  });
}

size_t DescriptorChain::copy_writable(uint64_t offset, std::span<const std::byte> from) const {
  return for_each_part(writable(), offset, from.size(), [from](std::span<std::byte> part, size_t at) {
    copy_to_guest(part.data(), from.subspan(at, part.size()));
  });
}

namespace {

constexpr size_t kDescriptorBytes = sizeof(Descriptor);

std::unexpected<Error> broken(const std::string& what) {
  return fail(Code::invalid_argument, "descriptor chain " + what);
}

class Walk {
 public:
  Walk(const DescriptorTable& table, DescriptorChain& chain)
      : table_(table), chain_(chain), entries_(table.entries), index_(chain.head()) {}

  Result<> run() {
    // Ends, since every round but one (into the indirect table) counts against the limit of add().
    while (true) {
      const Descriptor descriptor = TRY(current());
      if ((descriptor.flags & Descriptor::kIndirect) != 0) {
        TRY(enter_indirect(descriptor));
        continue;
      }
      TRY(add(descriptor));
      if ((descriptor.flags & Descriptor::kNext) == 0) return {};
      index_ = descriptor.next;
    }
  }

 private:
  Result<Descriptor> current() const {
    if (index_ >= entries_.size() / kDescriptorBytes) {
      return broken("names entry " + std::to_string(index_) + " of a table of " +
                    std::to_string(entries_.size() / kDescriptorBytes));
    }
    Descriptor descriptor;
    copy_from_guest(std::as_writable_bytes(std::span(&descriptor, 1)), &entries_[index_ * kDescriptorBytes]);
    return descriptor;
  }

  // virtio 1.2, 2.7.5.3.1: negotiated, one level, last in its chain. 2.7.5.3.2: WRITE means nothing here.
  Result<> enter_indirect(const Descriptor& descriptor) {
    if (!table_.indirect_allowed) return broken("has an indirect table, which was not negotiated");
    if (is_indirect_) return broken("has an indirect table in an indirect table");
    if ((descriptor.flags & Descriptor::kNext) != 0) return broken("goes on after an indirect table");
    if (descriptor.len_bytes == 0 || descriptor.len_bytes % kDescriptorBytes != 0) {
      return broken("has an indirect table of " + std::to_string(descriptor.len_bytes) + " bytes");
    }
    entries_ = TRY(table_.memory.slice(descriptor.addr, descriptor.len_bytes));
    index_ = 0;
    is_indirect_ = true;
    return {};
  }

  Result<> add(const Descriptor& descriptor) {
    if (++length_ > table_.entries.size() / kDescriptorBytes) return broken("is longer than its queue");
    const bool device_writable = (descriptor.flags & Descriptor::kWrite) != 0;
    if (seen_writable_ && !device_writable) {
      return broken("has a device-readable after a device-writable buffer");  // 2.7.4.2
    }
    seen_writable_ = device_writable;
    if (descriptor.len_bytes == 0) return {};
    const auto bytes = TRY(table_.memory.slice(descriptor.addr, descriptor.len_bytes));
    chain_.append({bytes.data(), descriptor.len_bytes, device_writable});
    if (chain_.readable_bytes() + chain_.writable_bytes() > DescriptorChain::kMaxBytes) {
      return broken("is longer than 2^32 bytes");  // 2.7.5.2
    }
    return {};
  }

  const DescriptorTable& table_;
  DescriptorChain& chain_;
  std::span<const std::byte> entries_;
  uint32_t index_;
  size_t length_ = 0;
  bool is_indirect_ = false;
  bool seen_writable_ = false;
};

}  // namespace

Result<> read_chain(const DescriptorTable& table, DescriptorChain& chain) {
  return Walk(table, chain).run();
}

}  // namespace lambdo::virtio
