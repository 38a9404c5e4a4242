// A hostile image of up to four layers: decompressed, read, merged and written as a root file system. The
// first byte says how the rest is cut and compressed; in one way the headers' checksums are put right, for no
// mutation gets past them.

#include <fcntl.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "image/writers/rootfs.h"
#include "image_checks.h"

namespace lambdo::image::testing {

namespace {

constexpr size_t kBlock = 512;
constexpr size_t kMaxWrittenEntries = 200;

enum class Way : uint8_t { plain, gzip, zstd, plain_with_right_checksums };

uint64_t octal(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') break;
    value = value * 8 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

void put_checksums_right(std::string& archive) {
  archive.resize(archive.size() / kBlock * kBlock);
  for (size_t at = 0; at < archive.size();) {
    char* header = &archive[at];
    if (std::string_view(header, kBlock).find_first_not_of('\0') == std::string_view::npos) break;
    std::fill_n(header + 148, 8, ' ');
    uint32_t sum = 0;
    for (size_t i = 0; i < kBlock; ++i) sum += static_cast<unsigned char>(header[i]);
    char text[8];
    std::snprintf(text, sizeof text, "%06o", sum);
    std::copy_n(text, 7, header + 148);
    const uint64_t size_bytes = octal({header + 124, 11});
    at += kBlock;
    if (size_bytes > archive.size() - at) break;
    at += (size_bytes + kBlock - 1) / kBlock * kBlock;
  }
}

Result<Layer> read_one(std::string_view part, Way way, size_t piece_bytes, Spool& spool) {
  std::string blob(part);
  if (way == Way::plain_with_right_checksums) put_checksums_right(blob);
  const auto media_type = way == Way::gzip   ? registry::media_type::kOciLayerGzip
                          : way == Way::zstd ? registry::media_type::kOciLayerZstd
                                             : registry::media_type::kOciLayer;
  return read(blob, piece_bytes, media_type, spool);
}

void write(const Tree& tree, const Place& place) {
  const std::string rootfs = place.folder.path() + "/rootfs";
  CHECK(sys::mkdir(rootfs, 0700));
  const Fd target = sys::open(rootfs, O_RDONLY | O_DIRECTORY).value();
  const auto written = write_rootfs(tree, *place.spool, target.get(), kNeverStops);
  CHECK(written || written.error().code != Code::internal);
  // Nothing came up beside it.
  CHECK(sys::list_directory(place.folder.path()).value().size() == 2);
}

void run(std::string_view input) {
  const auto control = static_cast<uint8_t>(input[0]);
  input.remove_prefix(1);
  const auto way = static_cast<Way>(control & 3U);
  const size_t layers = (control >> 2U & 3U) + 1;
  const size_t piece_bytes = (control & 0x10U) != 0 ? 700 : 64 << 10;
  const Place place;
  Tree tree({.entries = 1000});
  const size_t part_bytes = input.size() / layers / kBlock * kBlock;
  for (size_t i = 0; i < layers; ++i) {
    const auto part = input.substr(i * part_bytes, i + 1 == layers ? std::string_view::npos : part_bytes);
    const auto layer = read_one(part, way, piece_bytes, *place.spool);
    if (!layer) {
      CHECK(layer.error().code != Code::internal && !layer.error().message.empty());
      continue;
    }
    if (!tree.apply(*layer, kNeverStops)) return;
    check_tree(tree);
  }
  if (tree.size() <= kMaxWrittenEntries) write(tree, place);
}

}  // namespace

}  // namespace lambdo::image::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) lambdo::image::testing::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
