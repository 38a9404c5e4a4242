#include "kvm/boot/boot_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fixture.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Bytes;

namespace {

constexpr std::string_view kTokenText = "0123456789abcdef0123456789abcdef";
const std::string kFolder = ".lambdo-" + std::string(kTokenText);

BootToken token() {
  return BootToken::from(kTokenText).value();
}

struct Entry {
  std::string path;
  unsigned mode;
  std::string content;
};

/// One archive of `bytes`, as libarchive reads it.
std::vector<Entry> read_cpio(std::span<const std::byte> bytes) {
  std::vector<Entry> entries;
  archive* reader = archive_read_new();
  archive_read_support_format_cpio(reader);
  archive_read_support_filter_gzip(reader);
  REQUIRE_EQ(archive_read_open_memory(reader, bytes.data(), bytes.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(reader, &entry)) == ARCHIVE_OK) {
    std::string content(static_cast<size_t>(archive_entry_size(entry)), '\0');
    CHECK_EQ(archive_read_data(reader, content.data(), content.size()),
             static_cast<la_ssize_t>(content.size()));
    entries.push_back({archive_entry_pathname(entry), archive_entry_mode(entry), content});
  }
  CHECK_EQ(status, ARCHIVE_EOF);
  archive_read_free(reader);
  return entries;
}

struct Sample {
  Bytes agent = fixture::sample(12'345);
  std::vector<KernelModule> modules = {{.name = "virtio_ring", .bytes = fixture::sample(1001)},
                                       {.name = "virtio", .bytes = fixture::sample(2)}};

  [[nodiscard]] BootFiles files() const {
    return {.agent = agent, .modules = modules, .config = "port: 1\n"};
  }
};

/// Where the last archive starts: after the image and padding.
size_t tail_offset(const Bytes& bytes) {
  const std::string_view text = fixture::text_of(bytes);
  return text.rfind("070701", text.rfind(kFolder));
}

}  // namespace

TEST_CASE("our archive holds the agent, its config, the modules with their order, and the gaps' folders") {
  const Sample sample;
  const auto archive = BootArchive::create(sample.files(), {});
  REQUIRE_MESSAGE(archive.has_value(), archive.error().message);
  const auto entries = read_cpio(archive->bytes(token()));
  struct Row {
    std::string path;
    unsigned mode;
    std::string_view content;
  };
  const std::vector<Row> rows = {
      {"proc", 0040755, ""},
      {"sys", 0040755, ""},
      {"dev", 0040755, ""},
      {"run", 0040755, ""},
      {"tmp", 0041777, ""},
      {"dev/console", 0020600, ""},
      {kFolder, 0040700, ""},
      {kFolder + "/init", 0100755, fixture::text_of(sample.agent)},
      {kFolder + "/config", 0100600, "port: 1\n"},
      {kFolder + "/modules", 0040700, ""},
      {kFolder + "/modules/virtio_ring.ko", 0100600, fixture::text_of(sample.modules[0].bytes)},
      {kFolder + "/modules/virtio.ko", 0100600, fixture::text_of(sample.modules[1].bytes)},
      {kFolder + "/modules.list", 0100600, "virtio_ring\nvirtio\n"},
  };
  REQUIRE_EQ(entries.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(rows[i].path);
    CHECK_EQ(entries[i].path, rows[i].path);
    CHECK_EQ(entries[i].mode, rows[i].mode);
    CHECK_EQ(entries[i].content, rows[i].content);
  }
  CHECK_EQ(token().init_path(), "/" + kFolder + "/init");
}

TEST_CASE("the image lies between our archive and the mark, untouched and aligned as the kernel wants it") {
  const Sample sample;
  const Bytes plain = BootArchive::create(sample.files(), {}).value().bytes(token());
  const size_t head_bytes = tail_offset(plain) - 8;
  for (const size_t size_bytes : {size_t{6}, size_t{7}, size_t{8}, size_t{4097}}) {
    CAPTURE(size_bytes);
    Bytes image = fixture::sample(size_bytes);
    std::ranges::copy(fixture::bytes_of("070701"), image.begin());
    const auto archive = BootArchive::create(sample.files(), image).value();
    const Bytes bytes = archive.bytes(token());
    CHECK_EQ(bytes.size(), archive.size_bytes());
    CHECK_EQ(head_bytes % 4, 0);
    CHECK(Bytes(bytes.begin() + head_bytes, bytes.begin() + head_bytes + size_bytes) == image);
    const size_t tail = tail_offset(bytes);
    CHECK_EQ(tail % 4, 0);
    const size_t padding = tail - head_bytes - size_bytes;
    CHECK_GE(padding, 8);
    CHECK(std::ranges::all_of(std::span(bytes).subspan(head_bytes + size_bytes, padding),
                              [](std::byte byte) { return byte == std::byte{0}; }));
    const auto mark = read_cpio(std::span(bytes).subspan(tail));
    REQUIRE_EQ(mark.size(), 1);
    CHECK_EQ(mark[0].path, kFolder + "/complete");
  }
}

TEST_CASE("the archive is the same every time but for the token, and guest memory gets the same bytes") {
  const Sample sample;
  const Bytes image = fixture::compress(fixture::sample(5000), Compression::gzip);
  const auto archive = BootArchive::create(sample.files(), image).value();
  CHECK(archive.bytes(token()) == BootArchive::create(sample.files(), image).value().bytes(token()));
  const BootToken other = BootToken::random().value();
  const Bytes others = archive.bytes(other);
  CHECK_FALSE(fixture::text_of(others).contains(kTokenText));
  CHECK(fixture::text_of(others).contains(other.folder().substr(1) + "/init"));
  const fixture::Ram ram(64 * kMiB);
  const auto place = place_initrd(ram.layout, kHighRamAddr, archive.size_bytes()).value();
  REQUIRE(archive.write(ram.memory, place, other).has_value());
  CHECK(ram.read(place.addr, place.len_bytes) == others);
}

TEST_CASE("an image with files at our usual paths does not touch ours") {
  // The kernel unpacks in order and lets later entries win; the image cannot name our folder.
  const Sample sample;
  Bytes image = BootArchive::create({.agent = fixture::bytes_of("evil"), .modules = {}, .config = "evil"}, {})
                    .value()
                    .bytes(BootToken::from(std::string(32, 'a')).value());
  const auto archive = BootArchive::create(sample.files(), image).value();
  const Bytes bytes = archive.bytes(token());
  size_t ours = 0;
  for (size_t at = 0; at < bytes.size();) {
    for (const Entry& entry : read_cpio(std::span(bytes).subspan(at))) {
      if (entry.path == kFolder + "/init") {
        ++ours;
        CHECK_EQ(entry.content, fixture::text_of(sample.agent));
      }
    }
    const size_t end = fixture::text_of(bytes).find("TRAILER!!!", at);
    at = fixture::text_of(bytes).find("070701", end);
    if (at == std::string_view::npos) break;
  }
  CHECK_EQ(ours, 1);
}

TEST_CASE("cpio and bsdcpio list our archive") {
  const Sample sample;
  const fixture::TemporaryFolder folder;
  const std::string file =
      folder.write("boot.cpio", BootArchive::create(sample.files(), {}).value().bytes(token()));
  const auto listed =
      fixture::run_command("command -v cpio >/dev/null || exit 77; cpio -it --quiet < " + file);
  if (listed.status == 77) {
    MESSAGE("SKIPPED: cpio is not installed, so the archive is read by libarchive only");
    return;
  }
  CHECK_EQ(listed.status, 0);
  CHECK(listed.output.contains(kFolder + "/modules/virtio_ring.ko\n"));
}

TEST_CASE("an image that no kernel unpacks and a module's name that leaves its folder are refused") {
  const Sample sample;
  for (const std::string_view image : {"hello", "0707", "070707", "\177ELF"}) {
    CHECK_FALSE(BootArchive::create(sample.files(), fixture::bytes_of(image)).has_value());
  }
  for (const char* name : {"", "../init", "a/b"}) {
    const std::vector<KernelModule> modules = {{.name = name, .bytes = {}}};
    CHECK_FALSE(BootArchive::create({.agent = {}, .modules = modules, .config = {}}, {}).has_value());
  }
}

TEST_CASE("tokens are 32 hex digits, and no two random ones are alike") {
  for (const std::string& bad : {std::string(), std::string(31, 'a'), std::string(33, 'a'),
                                 std::string(32, 'A'), std::string(31, 'a') + "/"}) {
    CHECK_FALSE(BootToken::from(bad).has_value());
  }
  const auto one = BootToken::random().value();
  CHECK_NE(one.text(), BootToken::random().value().text());
  CHECK(BootToken::from(one.text()).has_value());
}

}  // namespace lambdo::kvm
