#include "tar_builder.h"

#include <zlib.h>
#include <zstd.h>

#include <cstdio>
#include <cstring>

#include "base/check.h"

namespace lambdo::image::fixture {

namespace {

constexpr size_t kBlock = 512;

void pad(std::string& archive) {
  archive.resize((archive.size() + kBlock - 1) / kBlock * kBlock, '\0');
}

void put_octal(std::string& header, size_t at, size_t width, uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "%0*llo", static_cast<int>(width) - 1,
                static_cast<unsigned long long>(value));
  header.replace(at, width - 1, text, width - 1);
}

std::string pax_record(const std::string& key, const std::string& value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t len_bytes = rest + 1;
  while (std::to_string(len_bytes).size() + rest != len_bytes) {
    len_bytes = std::to_string(len_bytes).size() + rest;
  }
  return std::to_string(len_bytes) + " " + key + "=" + value + "\n";
}

}  // namespace

TarEntry file(std::string name, std::string content, uint32_t mode) {
  return {.name = std::move(name), .content = std::move(content), .mode = mode};
}
TarEntry folder(std::string name, uint32_t mode) {
  return {.name = std::move(name), .type = '5', .mode = mode};
}
TarEntry symlink(std::string name, std::string target) {
  return {.name = std::move(name), .type = '2', .link = std::move(target), .mode = 0777};
}
TarEntry hard_link(std::string name, std::string target) {
  return {.name = std::move(name), .type = '1', .link = std::move(target)};
}

std::string tar_member(const TarEntry& entry, uint64_t size_bytes) {
  std::string header(kBlock, '\0');
  header.replace(0, std::min<size_t>(entry.name.size(), 100), entry.name, 0, 100);
  put_octal(header, 100, 8, entry.mode);
  put_octal(header, 108, 8, entry.uid);
  put_octal(header, 116, 8, entry.gid);
  put_octal(header, 124, 12, size_bytes);
  put_octal(header, 136, 12, static_cast<uint64_t>(entry.mtime));
  header[156] = entry.type;
  header.replace(157, std::min<size_t>(entry.link.size(), 100), entry.link, 0, 100);
  header.replace(257, 8,
                 std::string("ustar\0"
                             "00",
                             8));
  put_octal(header, 329, 8, entry.major);
  put_octal(header, 337, 8, entry.minor);
  header.replace(148, 8, "        ");
  uint32_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put_octal(header, 148, 7, sum);
  std::string member = header + entry.content;
  pad(member);
  return member;
}

std::string tar(const std::vector<TarEntry>& entries, bool has_end) {
  std::string archive;
  for (const TarEntry& entry : entries) {
    std::string records;
    for (const auto& [key, value] : entry.pax) records += pax_record(key, value);
    if (entry.name.size() > 100) records += pax_record("path", entry.name);
    if (entry.link.size() > 100) records += pax_record("linkpath", entry.link);
    if (!records.empty()) {
      archive += tar_member({.name = "pax", .type = 'x', .content = records}, records.size());
    }
    archive += tar_member(entry, entry.content.size());
  }
  if (has_end) archive.append(2 * kBlock, '\0');
  return archive;
}

std::string gzip(std::string_view content) {
  z_stream stream = {};
  CHECK(::deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string result(::deflateBound(&stream, content.size()) + 64, '\0');
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  CHECK(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  result.resize(stream.total_out);
  ::deflateEnd(&stream);
  return result;
}

std::string zstd(std::string_view content) {
  std::string result(::ZSTD_compressBound(content.size()), '\0');
  const size_t len_bytes = ::ZSTD_compress(result.data(), result.size(), content.data(), content.size(), 3);
  CHECK(::ZSTD_isError(len_bytes) == 0);
  result.resize(len_bytes);
  return result;
}

std::string zstd_stream(std::string_view content, int window_log, int level) {
  ZSTD_CCtx* context = ::ZSTD_createCCtx();
  ::ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  if (window_log != 0) {
    ::ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    ::ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1);
  }
  std::string result(::ZSTD_compressBound(content.size()), '\0');
  ZSTD_outBuffer out = {.dst = result.data(), .size = result.size(), .pos = 0};
  ZSTD_inBuffer in = {.src = content.data(), .size = content.size(), .pos = 0};
  CHECK(::ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue) <= ZSTD_BLOCKSIZE_MAX);
  while (::ZSTD_compressStream2(context, &out, &in, ZSTD_e_end) != 0) CHECK(out.pos < out.size);
  ::ZSTD_freeCCtx(context);
  result.resize(out.pos);
  return result;
}

}  // namespace lambdo::image::fixture
