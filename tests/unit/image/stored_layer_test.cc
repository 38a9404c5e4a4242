#include "image/layers/stored_layer.h"

#include "base/syscalls.h"
#include "image_fixture.h"
#include "store_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

TEST_CASE(
    "a flipped bit in a stored layer is found to be damage, also where it reads as a huge window of zstd") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string archive = tar({file("a", std::string(100'000, 'a'))});
  const std::string blob = zstd_stream(archive, 0);
  const Descriptor layer = descriptor_of(blob, registry::media_type::kOciLayerZstd);
  // The magic number, what the header has, the window (RFC 8878, 3.1.1.1), the first block and the last.
  const std::pair<size_t, int> flips[] = {
      {0, 0x01}, {4, 0x40}, {5, 0x80}, {6, 0x40}, {blob.size() - 1, 0x01}};
  for (const auto& [at, bit] : flips) {
    CAPTURE(at);
    std::string damaged = blob;
    damaged[at] = static_cast<char>(damaged[at] ^ bit);
    REQUIRE(store->put_blob(blob, layer.digest));
    write_file(folder.path() + "/blobs/sha256/" + layer.digest.hex(), damaged);
    Workshop workshop;
    MetadataBudget budget(MetadataBudget::Limits{});
    const auto read =
        read_stored_layer(*store, layer, Digest::of(archive), workshop.spool(), {}, budget, workshop.stop);
    REQUIRE_FALSE(read);
    CHECK_MESSAGE(read.error().code == Code::store_invalid, read.error().message);
    CHECK_FALSE(store->has_blob(layer));
  }
}

TEST_CASE("a layer that is too large, and whose blob is whole, stays in the store") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string archive = tar({file("a", std::string(100'000, 'a'))});
  const std::string wide = zstd_stream(archive, 27);
  for (const std::string& blob : {zstd(archive), wide}) {
    const Descriptor layer = descriptor_of(blob, registry::media_type::kOciLayerZstd);
    REQUIRE(store->put_blob(blob, layer.digest));
    Workshop workshop;
    MetadataBudget budget(MetadataBudget::Limits{});
    const auto read = read_stored_layer(*store, layer, Digest::of(archive), workshop.spool(),
                                        {.max_unpacked_bytes = 50'000}, budget, workshop.stop);
    REQUIRE_FALSE(read);
    CHECK_MESSAGE(read.error().code == Code::image_too_large, read.error().message);
    CHECK(store->has_blob(layer));
  }
}

}  // namespace lambdo::image
