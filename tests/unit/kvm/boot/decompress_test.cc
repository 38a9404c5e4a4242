#include "kvm/boot/decompress.h"

#include <string>
#include <vector>

#include "fixture.h"

#include "test.h"

namespace lambdo::kvm {

static const std::vector<Compression> kSupported = {Compression::gzip, Compression::bzip2, Compression::lzma,
                                                    Compression::xz,   Compression::lz4,   Compression::zstd};

TEST_CASE("each compression is detected and gives the content back, of any size") {
  for (const Compression compression : kSupported) {
    for (const size_t size_bytes : {size_t{16}, size_t{1000}, size_t{1 << 20}}) {
      CAPTURE(compression_name(compression));
      CAPTURE(size_bytes);
      const auto content = fixture::sample(size_bytes);
      const auto stream = fixture::compress(content, compression);
      CHECK_EQ(detect_compression(stream), compression);
      const auto result = decompress(stream, compression, size_bytes);
      REQUIRE_MESSAGE(result.has_value(), result.error().message);
      CHECK(*result == content);
    }
  }
}

TEST_CASE("lz4 of many blocks, xz with the x86 filter and standard lz4 frames are understood") {
  const auto blocks = fixture::sample(17 << 20);
  CHECK(decompress(fixture::compress(blocks, Compression::lz4), Compression::lz4, blocks.size()).value() ==
        blocks);
  const auto content = fixture::sample(300'000);
  CHECK(decompress(fixture::compress_xz_x86(content), Compression::xz, content.size()).value() == content);
  const auto frame = fixture::compress_lz4_frame(content);
  CHECK_EQ(detect_compression(frame), Compression::lz4);
  CHECK(decompress(frame, Compression::lz4, content.size()).value() == content);
}

TEST_CASE("content over the cap is refused, whatever its compression") {
  const auto content = fixture::sample(100'000);
  for (const Compression compression : kSupported) {
    CAPTURE(compression_name(compression));
    const auto result = decompress(fixture::compress(content, compression), compression, content.size() - 1);
    REQUIRE_FALSE(result.has_value());
    CHECK_EQ(result.error().code, Code::payload_too_large);
  }
}

TEST_CASE("a cut stream never gives the whole content, and damage never crashes") {
  const auto content = fixture::sample(50'000);
  for (const Compression compression : kSupported) {
    CAPTURE(compression_name(compression));
    const auto stream = fixture::compress(content, compression);
    for (size_t size_bytes = 0; size_bytes < stream.size() - 16; size_bytes += stream.size() / 23 + 1) {
      CAPTURE(size_bytes);
      const auto result = decompress(std::span(stream).first(size_bytes), compression, content.size());
      CHECK_FALSE((result.has_value() && *result == content));
    }
    for (size_t at = 0; at < stream.size(); at += stream.size() / 41 + 1) {
      auto damaged = stream;
      damaged[at] ^= std::byte{0x55};
      const auto result = decompress(damaged, compression, content.size());
      CHECK((result.has_value() || !result.error().message.empty()));
    }
  }
}

TEST_CASE("data of one compression is not taken for another") {
  const auto stream = fixture::compress(fixture::sample(1000), Compression::gzip);
  const auto result = decompress(stream, Compression::zstd, 1 << 20);
  REQUIRE_FALSE(result.has_value());
  CHECK_EQ(result.error().code, Code::invalid_argument);
}

TEST_CASE("what is not compressed is not detected, and lzo says that it is not supported") {
  for (const std::string_view text : {"", "\177ELF", "070701", "\x1f", "plain"}) {
    CHECK_FALSE(detect_compression(fixture::bytes_of(text)).has_value());
  }
  const auto lzo = fixture::bytes_of(std::string_view("\x89LZO\0\r\n\x1a\n", 9));
  CHECK_EQ(detect_compression(lzo), Compression::lzo);
  const auto result = decompress(lzo, Compression::lzo, 1 << 20);
  REQUIRE_FALSE(result.has_value());
  CHECK_EQ(result.error().code, Code::not_implemented);
}

}  // namespace lambdo::kvm
