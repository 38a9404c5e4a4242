#include "image/writers/newc_writer.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace lambdo::image {

namespace {

constexpr size_t kAlignment = 4;
constexpr size_t kFields = 13;
constexpr size_t kDigits = 8;
constexpr std::string_view kMagic = "070701";
constexpr std::string_view kTrailer = "TRAILER!!!";

void put_hex(uint32_t number, char* to) {
  for (size_t i = kDigits; i-- > 0; number >>= 4U) to[i] = kHexDigits[number & 0xfU];
}

}  // namespace

Result<> NewcWriter::put_header(const Header& header) {
  CHECK(content_left_ == 0 && header.path.size() <= kMaxNameBytes);
  // ino, mode, uid, gid, nlink, mtime, filesize, device of the file (2), of the node (2), namesize, check
  const std::array<uint32_t, kFields> fields = {header.inode,
                                                header.mode,
                                                header.uid,
                                                header.gid,
                                                header.links,
                                                header.mtime,
                                                header.size_bytes,
                                                0,
                                                0,
                                                header.major,
                                                header.minor,
                                                static_cast<uint32_t>(header.path.size() + 1),
                                                0};
  std::array<char, kMagic.size() + kFields * kDigits> text;
  std::memcpy(text.data(), kMagic.data(), kMagic.size());
  for (size_t i = 0; i < kFields; ++i) put_hex(fields[i], &text[kMagic.size() + i * kDigits]);
  TRY(put(std::as_bytes(std::span(text))));
  TRY(put(std::as_bytes(std::span(header.path))));
  TRY(put(std::array<std::byte, 1>{}));
  TRY(align());
  content_left_ = header.size_bytes;
  ++entries_;
  return {};
}

Result<> NewcWriter::put_content(std::span<const std::byte> data) {
  CHECK(data.size() <= content_left_);
  content_left_ -= data.size();
  return put(data);
}

Result<> NewcWriter::end_content() {
  CHECK(content_left_ == 0);
  return align();
}

Result<> NewcWriter::finish() {
  TRY(put_header({.path = kTrailer}));
  --entries_;
  return sink_->finish();
}

Result<> NewcWriter::put(std::span<const std::byte> data) {
  size_bytes_ += data.size();
  return sink_->write(data);
}

Result<> NewcWriter::align() {
  constexpr std::array<std::byte, kAlignment> kZeros = {};
  const size_t count = (kAlignment - size_bytes_ % kAlignment) % kAlignment;
  return put(std::span(kZeros).first(count));
}

}  // namespace lambdo::image
