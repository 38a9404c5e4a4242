#include "image/layers/decompressor.h"

#include <fcntl.h>
#include <unistd.h>

#include <random>

#include "base/syscalls.h"
#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

/// Half of it repeats itself, half does not.
std::string sample(size_t len_bytes) {
  std::mt19937 random(1);
  std::string text;
  while (text.size() < len_bytes) {
    text += "the same words again and again, ";
    for (int i = 0; i < 32; ++i) text += static_cast<char>(random());
  }
  text.resize(len_bytes);
  return text;
}

Result<std::string> decompress(LayerCompression compression, std::string_view blob, size_t piece_bytes,
                               size_t output_bytes) {
  const auto decompressor = TRY(Decompressor::create(compression, read_blob(blob, piece_bytes)));
  std::string all;
  std::string buffer(output_bytes, '\0');
  while (true) {
    const size_t count = TRY(decompressor->read(std::as_writable_bytes(std::span(buffer))));
    if (count == 0) return all;
    // Full buffers but for the last one.
    REQUIRE((count == buffer.size() ||
             decompressor->read(std::as_writable_bytes(std::span(buffer))).value() == 0));
    all.append(buffer, 0, count);
    if (count < buffer.size()) return all;
  }
}

std::string compressed(LayerCompression compression, std::string_view content) {
  if (compression == LayerCompression::gzip) return gzip(content);
  return compression == LayerCompression::zstd ? zstd(content) : std::string(content);
}

constexpr LayerCompression kAll[] = {LayerCompression::none, LayerCompression::gzip, LayerCompression::zstd};

}  // namespace

TEST_CASE("content comes out as it went in, however input and output are cut") {
  const std::string content = sample(200'000);
  for (const LayerCompression compression : kAll) {
    const std::string blob = compressed(compression, content);
    for (const size_t piece_bytes : {size_t{1}, size_t{7}, size_t{4096}, size_t{1} << 20}) {
      for (const size_t output_bytes : {size_t{512}, size_t{999}, size_t{64} << 10, size_t{1} << 20}) {
        CAPTURE(piece_bytes);
        CAPTURE(output_bytes);
        CHECK(decompress(compression, blob, piece_bytes, output_bytes) == content);
      }
    }
  }
}

TEST_CASE("several gzip members or zstd frames are one content, and zeros may follow") {
  const std::string content = sample(50'000);
  for (const LayerCompression compression : {LayerCompression::gzip, LayerCompression::zstd}) {
    const std::string one = compressed(compression, content);
    for (const size_t piece_bytes : {size_t{1}, size_t{1} << 20}) {
      CHECK(decompress(compression, one + one + one, piece_bytes, 1 << 16) == content + content + content);
      CHECK(decompress(compression, one + std::string(1000, '\0'), piece_bytes, 1 << 16) == content);
      CHECK(decompress(compression, compressed(compression, "") + one, piece_bytes, 1 << 16) == content);
    }
    const auto junk = decompress(compression, one + std::string("\0x", 2), 1 << 20, 1 << 16);
    REQUIRE_FALSE(junk);
    CHECK(junk.error().code == Code::layer_invalid);
  }
  // A skippable frame before the content (RFC 8878, 3.1.2), as some builders put their index there.
  const std::string skippable("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
  CHECK(decompress(LayerCompression::zstd, skippable + zstd(content), 3, 1 << 16) == content);
}

TEST_CASE("zstd data that needs more than 32 MiB of memory to be read is refused with a remedy") {
  const std::string content = sample(3 << 20);
  const auto read = [&](int window_log, int level = 1) {
    return decompress(LayerCompression::zstd, zstd_stream(content, window_log, level), 64 << 10, 1 << 16);
  };
  CHECK(read(0, 19) == content);
  // What BuildKit and Podman make at their two highest levels.
  CHECK(read(24) == content);
  CHECK(read(25) == content);
  for (const auto& refused : {read(26), read(27), read(0, 22)}) {
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::image_too_large);
    CHECK_MESSAGE(refused.error().message.contains("over 32 MiB"), refused.error().message);
    CHECK(refused.error().message.contains("compress it anew"));
  }
}

TEST_CASE("compressed data that ends early is refused, wherever it ends") {
  const std::string content = sample(3000);
  for (const LayerCompression compression : {LayerCompression::gzip, LayerCompression::zstd}) {
    const std::string blob = compressed(compression, content);
    for (size_t end = 0; end < blob.size(); ++end) {
      CAPTURE(end);
      const auto result = decompress(compression, std::string_view(blob).substr(0, end), 1 << 20, 1 << 16);
      REQUIRE_FALSE(result);
      // Of the first bytes nobody can say what they are.
      CHECK((result.error().code == Code::layer_invalid ||
             (end < 4 && result.error().code == Code::media_type_unsupported)));
    }
  }
}

TEST_CASE("damage never changes the content unnoticed") {
  const std::string content = sample(3000);
  for (const LayerCompression compression : {LayerCompression::gzip, LayerCompression::zstd}) {
    const std::string blob = compressed(compression, content);
    size_t refused = 0;
    for (size_t at = 0; at < blob.size(); ++at) {
      CAPTURE(at);
      std::string damaged = blob;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
      const auto result = decompress(compression, damaged, 1 << 20, 1 << 16);
      if (!result) CHECK((result.error().code == Code::layer_invalid || at < 4));
      // gzip's time, and bits that fill a byte up, mean nothing. zstd has no checksum unless asked to.
      if (result && compression == LayerCompression::gzip) CHECK(*result == content);
      refused += result ? 0 : 1;
    }
    CHECK((refused * 3 > blob.size() || compression == LayerCompression::zstd));
  }
}

TEST_CASE("content that is compressed in another way than it is said to be is refused") {
  for (const LayerCompression said : kAll) {
    for (const LayerCompression is : kAll) {
      if (said == is) continue;
      const auto result = decompress(said, compressed(is, sample(1000)), 1 << 20, 1 << 16);
      REQUIRE_FALSE(result);
      CHECK(result.error().code == Code::media_type_unsupported);
    }
  }
  CHECK(decompress(LayerCompression::none, "", 1, 1 << 16).error().code == Code::layer_invalid);
}

TEST_CASE("media types say how a layer is compressed") {
  namespace types = registry::media_type;
  CHECK(layer_compression(types::kOciLayer) == LayerCompression::none);
  CHECK(layer_compression(types::kDockerLayer) == LayerCompression::none);
  CHECK(layer_compression(types::kOciLayerGzip) == LayerCompression::gzip);
  CHECK(layer_compression(types::kDockerLayerGzip) == LayerCompression::gzip);
  CHECK(layer_compression(types::kOciLayerZstd) == LayerCompression::zstd);
  CHECK(layer_compression(types::kDockerLayerZstd) == LayerCompression::zstd);
  CHECK(layer_compression(types::kOciConfig).error().code == Code::media_type_unsupported);
  CHECK(layer_compression("").error().code == Code::media_type_unsupported);
}

TEST_CASE("an error of the blob's reader is what the caller gets") {
  int calls = 0;
  auto decompressor =
      Decompressor::create(LayerCompression::none, [&](std::span<std::byte> to) -> Result<size_t> {
        if (++calls > 1) return fail(Code::closed, "gone");
        std::ranges::fill(to, std::byte{'x'});
        return 4;
      });
  REQUIRE(decompressor);
  std::vector<std::byte> buffer(100);
  const auto result = (*decompressor)->read(buffer);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == Code::closed);
}

TEST_CASE("a blob is read from a descriptor's position") {
  auto [reading, writing] = sys::pipe().value();
  REQUIRE(sys::write_all(writing.get(), "abc"));
  writing.reset();
  auto read = read_blob_from(reading.get());
  std::vector<std::byte> buffer(10);
  CHECK(read(buffer) == 3);
  CHECK(read(buffer) == 0);
  auto broken = read_blob_from(-1);
  CHECK_FALSE(broken(buffer));
}

}  // namespace lambdo::image
