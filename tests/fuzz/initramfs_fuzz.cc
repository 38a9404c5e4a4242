// An image of files, links, devices and whiteouts as the input wants them, written as an initramfs twice and
// read back by a reader as strict as the kernel's: the archive must say what the tree does, and be the same
// again.

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <map>

#include "../unit/image/tar_builder.h"
#include "image/writers/initramfs.h"
#include "image_checks.h"

namespace lambdo::image::testing {

namespace {

/// Reads the input; zeros at its end.
class Program {
 public:
  explicit Program(std::string_view input) : input_(input) {}

  [[nodiscard]] bool ended() const { return input_.empty(); }
  uint8_t byte() {
    if (input_.empty()) return 0;
    const auto value = static_cast<uint8_t>(input_[0]);
    input_.remove_prefix(1);
    return value;
  }
  uint32_t number() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8U | byte();
    return value;
  }
  /// Of few parts, so that names meet.
  std::string path() {
    std::string result;
    for (int depth = byte() % 4; depth >= 0; --depth) {
      const uint8_t kind = byte();
      result += kind < 200 ? std::string(1, static_cast<char>('a' + kind % 4)) : std::string(kind - 199, 'l');
      if (depth > 0) result += '/';
    }
    return result;
  }

 private:
  std::string_view input_;
};

fixture::TarEntry entry(Program& program) {
  fixture::TarEntry result = {.name = program.path()};
  result.type = "0012345567"[program.byte() % 10];
  if (result.type == '7') {
    result.type = '0';
    result.name = result.name + "/.wh.a";
  }
  result.mode = program.number() & 07777U;
  result.uid = program.number() & 07777777U;
  result.gid = program.byte();
  result.mtime = program.number();
  result.major = program.byte();
  result.minor = program.byte();
  if (result.type == '1' || result.type == '2') result.link = program.path();
  if (result.type == '0')
    result.content = std::string(program.byte() * size_t{5}, static_cast<char>(program.byte()));
  return result;
}

std::string written(const Tree& tree, const Place& place, const InitramfsOptions& options) {
  const Fd fd = sys::memfd("initramfs").value();
  const auto report = write_initramfs(tree, *place.spool, options, fd.get(), kNeverStops);
  CHECK(report);
  std::string bytes(report->written_bytes, '\0');
  CHECK(::pread(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

struct Reader {
  const std::string& archive;
  size_t at = 0;
  uint32_t fields[13] = {};
  std::string path;
  std::string content;

  void align() { at = (at + 3) / 4 * 4; }
  void next() {
    CHECK(archive.size() - at >= 110 && archive.compare(at, 6, "070701") == 0);
    for (size_t i = 0; i < 13; ++i) {
      const char* begin = archive.data() + at + 6 + i * 8;
      CHECK(std::from_chars(begin, begin + 8, fields[i], 16).ptr == begin + 8);
    }
    at += 110;
    path = archive.substr(at, fields[11] - 1);
    at += fields[11];
    CHECK(archive[at - 1] == '\0');
    align();
    content = archive.substr(at, fields[6]);
    at += fields[6];
    align();
    CHECK(at <= archive.size());
  }
};

void check_archive(const std::string& archive, const Tree& tree, const Place& place) {
  Reader reader{.archive = archive};
  std::map<uint32_t, uint32_t> names;
  std::map<uint32_t, uint32_t> links;
  for (size_t i = 0; i + 1 < tree.size(); ++i) {
    reader.next();
    const Tree::NodeId id = tree.find(reader.path, Tree::LastPart::is_taken_as_it_is);
    CHECK(id != Tree::kNone);
    const Inode& inode = tree.inode_of(id);
    CHECK(reader.fields[1] == inode.mode && reader.fields[2] == inode.uid);
    if (inode.is_symlink()) CHECK(reader.content == inode.target);
    if (!inode.is_folder()) {
      ++names[reader.fields[0]];
      links[reader.fields[0]] = reader.fields[4];
      if (inode.is_file() && names[reader.fields[0]] == reader.fields[4]) {
        CHECK(reader.content == tree.read(*place.spool, id, 1 << 20));
      }
    }
  }
  CHECK(names == links);
  reader.next();
  CHECK(reader.path == "TRAILER!!!" && reader.at == archive.size());
}

void run(std::string_view input) {
  Program program(input);
  const Place place;
  Tree tree;
  for (int layers = 0; layers < 3 && !program.ended(); ++layers) {
    std::vector<fixture::TarEntry> entries;
    for (int count = program.byte() % 16; count > 0 && !program.ended(); --count)
      entries.push_back(entry(program));
    const auto layer = read(fixture::tar(entries), 64 << 10, registry::media_type::kOciLayer, *place.spool);
    if (!layer || !tree.apply(*layer, kNeverStops)) return;
  }
  check_tree(tree);
  const std::string archive = written(tree, place, {});
  check_archive(archive, tree, place);
  if (program.byte() % 4 != 0) return;
  CHECK(archive == written(tree, place, {}));
  const std::string packed = written(tree, place, {.compression = ArchiveCompression::lz4});
  CHECK(packed == written(tree, place, {.compression = ArchiveCompression::lz4}));
}

}  // namespace

}  // namespace lambdo::image::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lambdo::image::testing::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
