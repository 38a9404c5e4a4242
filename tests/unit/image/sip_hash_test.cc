#include "image/layers/sip_hash.h"

#include <array>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "image/layers/tree.h"
#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

TEST_CASE("hashes are SipHash-1-3 of the folder's number and the name") {
  // Computed with a version of the paper's text that gives its test vector for SipHash-2-4.
  const SipHash hash(SipHash::Key{0x0706050403020100U, 0x0f0e0d0c0b0a0908U});
  struct Case {
    size_t len_bytes;
    uint64_t value;
  };
  for (const Case& item : std::to_array<Case>({
           {4, 0xcf75576088d38328U},
           {7, 0xd3927d989bb11140U},
           {8, 0x369095118d299a8eU},
           {11, 0x70c118c1f94dc352U},
           {12, 0x78a384b157b4d9a2U},
           {15, 0xd320d86d2a519956U},
           {63, 0x9d199062b7bbb3a8U},
       })) {
    CAPTURE(item.len_bytes);
    std::string text(item.len_bytes - 4, '\0');
    std::iota(text.begin(), text.end(), '\4');
    CHECK(hash(0x03020100U, text) == item.value);
  }
}

TEST_CASE("each tree has a key of its own") {
  CHECK(SipHash()(0, "name") != SipHash()(0, "name"));
}

TEST_CASE("names that collide in a hash without a key are as quick as others") {
  // Two halves with the same FNV-1a state each time: any choice of them collides with all others.
  static constexpr const char* kPairs[][2] = {
      {"abpwu", "a05fa"}, {"amvlo", "a5pda"}, {"aotzx", "a13ad"}, {"bkrnw", "b3pba"},
      {"alpfo", "a4rja"}, {"aotzx", "a13ad"}, {"bkrnw", "b3pba"}, {"alpfo", "a4rja"},
      {"aotzx", "a13ad"}, {"bkrnw", "b3pba"}, {"alpfo", "a4rja"}, {"aotzx", "a13ad"},
  };
  constexpr size_t kNames = size_t{1} << std::size(kPairs);
  std::vector<TarEntry> entries;
  entries.reserve(kNames);
  for (size_t i = 0; i < kNames; ++i) {
    std::string name;
    for (size_t at = 0; at < std::size(kPairs); ++at) name += kPairs[at][i >> at & 1U];
    entries.push_back(symlink(std::move(name), "x"));
  }
  Workshop workshop;
  const auto layer = workshop.read(tar(entries));
  REQUIRE(layer);
  Tree tree;
  size_t probes = 0;
  REQUIRE(tree.apply(*layer, workshop.stop));
  CHECK(tree.size() == kNames + 1);
  const SipHash hash;
  NodeTable table;
  const auto hash_of = [&](uint32_t id) { return static_cast<uint32_t>(hash(0, entries[id].name)); };
  for (uint32_t id = 0; id < kNames; ++id) table.insert(hash_of(id), id, hash_of);
  for (uint32_t id = 0; id < kNames; ++id) {
    CHECK(table.find(hash_of(id), [&](uint32_t other) {
      ++probes;
      return other == id;
    }) == id);
  }
  CHECK(probes < kNames * 16);
}

}  // namespace lambdo::image
