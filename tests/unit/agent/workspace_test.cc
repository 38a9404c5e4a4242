#include "agent/workspace.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::agent {

struct TemporaryFolder {
  TemporaryFolder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/lambdo-workspace-test-XXXXXX";
};

TEST_CASE("names that are no plain relative path are refused, naming the file and the reason") {
  using namespace std::string_literals;
  const struct {
    std::string name;
    const char* reason;
  } cases[] = {
      {"", "empty name"},
      {"/etc/passwd", "absolute"},
      {"..", "\"..\""},
      {"../x", "\"..\""},
      {"a/../../x", "\"..\""},
      {"a/..", "\"..\""},
      {"a/", "slash"},
      {"a//b", "empty or \".\""},
      {"./a", "empty or \".\""},
      {".", "empty or \".\""},
      {"a\0b"s, "NUL"},
      {std::string(256, 'x'), "255"},
      {std::string(5000, 'x'), "4095"},
  };
  for (const auto& [name, reason] : cases) {
    CAPTURE(name);
    const Result<> checked = Workspace::check_name(name);
    REQUIRE(!checked);
    CHECK_EQ(checked.error().code, Code::invalid_argument);
    CHECK_NE(checked.error().message.find(reason), std::string::npos);
  }
}

TEST_CASE("names that only look odd are accepted") {
  for (const std::string name : {"a", "a/b/c.py", "...", "..a", ".hidden", "a b", "-rf", "\xc3\xa4/\n"}) {
    CAPTURE(name);
    CHECK(Workspace::check_name(name).has_value());
  }
  CHECK(Workspace::check_name(std::string(255, 'x')).has_value());
}

TEST_CASE("files are written with their folders, replaced, and executable where they name an interpreter") {
  const TemporaryFolder folder;
  const Workspace workspace = Workspace::open(folder.path).value();
  REQUIRE(workspace.write("a/b/c", std::string("x\0y", 3)));
  REQUIRE(workspace.write("a/b/d", "long content"));
  REQUIRE(workspace.write("a/b/d", "short"));
  REQUIRE(workspace.write("run", "#!/bin/sh\n"));
  CHECK_EQ(sys::read_file(folder.path + "/a/b/c").value(), std::string("x\0y", 3));
  CHECK_EQ(sys::read_file(folder.path + "/a/b/d").value(), "short");
  struct stat status{};
  REQUIRE_EQ(::stat((folder.path + "/run").c_str(), &status), 0);
  CHECK_EQ(status.st_mode & 0777, 0755);
  REQUIRE_EQ(::stat((folder.path + "/a/b/c").c_str(), &status), 0);
  CHECK_EQ(status.st_mode & 0777, 0644);
}

TEST_CASE("no link is followed and nothing but a file is written to") {
  const TemporaryFolder outside;
  const TemporaryFolder folder;
  const Workspace workspace = Workspace::open(folder.path).value();
  REQUIRE_EQ(::symlink(outside.path.c_str(), (folder.path + "/folder_link").c_str()), 0);
  REQUIRE_EQ(::symlink((outside.path + "/new").c_str(), (folder.path + "/file_link").c_str()), 0);
  REQUIRE_EQ(::mkfifo((folder.path + "/fifo").c_str(), 0600), 0);
  REQUIRE(workspace.write("file", "x"));
  REQUIRE(workspace.write("folder/file", "x"));
  for (const std::string name : {"folder_link/x", "file_link", "fifo", "file/x", "folder", "folder_link"}) {
    CAPTURE(name);
    const Result<> written = workspace.write(name, "evil");
    REQUIRE(!written);
    CHECK_EQ(written.error().code, Code::invalid_argument);
    CHECK_NE(written.error().message.find('"' + name + '"'), std::string::npos);
  }
  CHECK(sys::list_directory(outside.path).value().empty());
}

}  // namespace lambdo::agent
