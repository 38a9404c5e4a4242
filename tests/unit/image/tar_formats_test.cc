// Archives of the tools that make layers: GNU tar in its formats, and Python's tarfile.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/syscalls.h"
#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

/// A tree with what a tool can get wrong: long names, odd bytes, links, holes, attributes, big numbers.
bool make_sample(const std::string& path) {
  return run({"sh", "-e", "-c", R"sh(
mkdir "$1" && cd "$1" && umask 022
mkdir -p dir/$(printf 'd%.0s' $(seq 120))/$(printf 'e%.0s' $(seq 120))
echo long > dir/$(printf 'd%.0s' $(seq 120))/$(printf 'e%.0s' $(seq 120))/$(printf 'f%.0s' $(seq 200))
echo content > file && ln file dir/hard && ln -s file link
ln -s $(printf 't%.0s' $(seq 250)) long-link
touch empty && mkfifo pipe && mknod null c 1 3 && mknod disk b 259 300
printf x > "$(printf 'name with \303\244 and \377')"
truncate -s 3M holes && printf tail >> holes && printf head | dd of=holes conv=notrunc status=none
chmod 4755 file && chmod 1777 dir && chown -h 1000:1001 link && chown 70000:3000000 empty
touch -h -d '2001-02-03 04:05:06' file link long-link dir empty pipe null disk holes .
)sh",
              "sh", path}) == 0;
}

void check_same_as(const std::string& folder, const std::string& archive_path, bool keeps_nanoseconds) {
  const auto archive = sys::read_file(archive_path, 64 << 20);
  REQUIRE(archive);
  Workshop workshop;
  const auto report = workshop.unpack({*archive});
  INFO((report ? std::string() : report.error().message));
  REQUIRE(report);
  Description ours = describe(workshop.path() + "/rootfs");
  Description theirs = describe(folder);
  // Most formats have whole seconds, and what was not touched has others.
  for (Description* lines : {&ours, &theirs}) {
    for (auto& [path, line] : *lines) {
      if (!keeps_nanoseconds && !line.contains(".000000000")) line = without_time(line);
    }
  }
  if (!keeps_nanoseconds) {
    for (auto& [path, line] : ours) {
      if (theirs.contains(path) && !theirs[path].contains('@') && line.contains('@'))
        line = without_time(line);
    }
  }
  CHECK(difference(ours, theirs) == "");
}

}  // namespace

TEST_CASE("archives of GNU tar and of Python are read as they were meant") {
  if (!is_root()) {
    MESSAGE("SKIPPED: needs root, for owners and devices");
    return;
  }
  Workshop workshop;
  const std::string sample = workshop.path() + "/sample";
  const std::string archive = workshop.path() + "/archive.tar";
  REQUIRE(make_sample(sample));
  const std::vector<std::vector<std::string>> formats = {
      {"--format=gnu"},
      {"--format=gnu", "--sparse"},
      {"--format=pax"},
      {"--format=pax", "--sparse"},
      {"--format=pax", "--sparse", "--sparse-version=0.1"},
      {"--format=pax", "--sparse", "--sparse-version=0.0"},
  };
  for (const auto& format : formats) {
    std::vector<std::string> command = {"tar",   "--create",    "--sort=name", "--file",
                                        archive, "--directory", sample};
    command.insert(command.end(), format.begin(), format.end());
    command.emplace_back(".");
    INFO(format.back());
    REQUIRE(run(command, workshop.path() + "/log") == 0);
    check_same_as(sample, archive, format[0] == "--format=pax");
  }
  for (const char* format : {"GNU_FORMAT", "PAX_FORMAT"}) {
    INFO(format);
    const std::string script =
        "import sys, tarfile\n"
        "with tarfile.open(sys.argv[1], 'w', format=getattr(tarfile, sys.argv[3])) as tar:\n"
        "  tar.add(sys.argv[2], '.')\n";
    REQUIRE(run({"/usr/bin/python3", "-c", script, archive, sample, format}, workshop.path() + "/log") == 0);
    check_same_as(sample, archive, false);
  }
}

TEST_CASE("attributes that GNU tar writes come back") {
  if (!is_root()) {
    MESSAGE("SKIPPED: needs root, for security.capability");
    return;
  }
  Workshop workshop;
  const std::string sample = workshop.path() + "/sample";
  REQUIRE(sys::mkdir(sample, 0755));
  REQUIRE(run({"touch", sample + "/file"}) == 0);
  const std::string capability("\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  if (::setxattr((sample + "/file").c_str(), "user.name", "v\0\n=", 4, 0) != 0 ||
      ::setxattr((sample + "/file").c_str(), "security.capability", capability.data(), capability.size(),
                 0) != 0) {
    MESSAGE("SKIPPED: the file system of /tmp has no such attributes");
    return;
  }
  const std::string archive = workshop.path() + "/archive.tar";
  REQUIRE(run({"tar", "--create", "--xattrs", "--xattrs-include=*", "--file", archive, "--directory", sample,
               "."}) == 0);
  check_same_as(sample, archive, true);
  CHECK(describe(sample).at("file").contains("security.capability"));
}

}  // namespace lambdo::image
