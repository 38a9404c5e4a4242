#include "image/writers/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/syscalls.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

/// A folder, with a store that the tests here do not use.
std::vector<std::string> files_in(const std::string& folder) {
  const auto names = sys::list_directory(folder);
  REQUIRE(names);
  return *names;
}

}  // namespace

TEST_CASE("an output file is there when it is committed, and nothing of it before") {
  const StoreFolder folder;
  const std::string path = folder.around() + "/out.img";
  write_file(path, "what was there");
  {
    const auto file = OutputFile::create(path);
    REQUIRE(file);
    REQUIRE(sys::write_all(file->fd(), "half"));
    CHECK(*sys::read_file(path) == "what was there");
  }
  CHECK(files_in(folder.around()) == std::vector<std::string>{"out.img"});
  auto file = OutputFile::create(path);
  REQUIRE(file);
  REQUIRE(sys::write_all(file->fd(), "whole"));
  CHECK(file->commit(0640));
  CHECK(*sys::read_file(path) == "whole");
  CHECK((*sys::lstat(path))->st_mode == (S_IFREG | 0640));
  CHECK(files_in(folder.around()) == std::vector<std::string>{"out.img"});
}

TEST_CASE("what a killed process left in an output file's place is replaced, whatever it is") {
  const char* const cases[] = {"echo longer than what is written now > part",
                               "touch part && chmod 0 part",
                               "touch part && chown 12345:12345 part",
                               "mkfifo part",
                               "ln -s /nowhere part",
                               "touch target && ln -s target part"};
  for (const std::string change : cases) {
    INFO(change);
    const StoreFolder folder;
    if (change.contains("chown") && ::geteuid() != 0) {
      MESSAGE("skipped: only root gives files away");
      continue;
    }
    shell("cd " + folder.around() + " && " + change + " && mv part out.lambdo-part");
    auto file = OutputFile::create(folder.around() + "/out");
    REQUIRE_MESSAGE(file, file.error().message);
    REQUIRE(sys::write_all(file->fd(), "new"));
    CHECK(file->commit(0644));
    CHECK(*sys::read_file(folder.around() + "/out") == "new");
    CHECK((*sys::lstat(folder.around() + "/out"))->st_uid == ::geteuid());
    CHECK_FALSE(sys::exists(folder.around() + "/out.lambdo-part"));
  }
}

TEST_CASE("an output file that another process writes at the moment is left to it") {
  const StoreFolder folder;
  const std::string path = folder.around() + "/out";
  auto first = OutputFile::create(path);
  REQUIRE(first);
  const auto second = OutputFile::create(path);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::store_busy);
  CHECK_MESSAGE(second.error().message.contains(path), second.error().message);
  CHECK(first->commit(0644));
  CHECK(OutputFile::create(path));
}

TEST_CASE(
    "an output file that was replaced before it is whole is not put into its place, nor what is there") {
  const StoreFolder folder;
  const std::string path = folder.around() + "/out";
  for (const bool is_replaced : {true, false}) {
    {
      auto file = OutputFile::create(path);
      REQUIRE(file);
      shell("cd " + folder.around() + " && rm out.lambdo-part");
      if (is_replaced) write_file(path + ".lambdo-part", "another one's");
      const auto committed = file->commit(0644);
      REQUIRE_FALSE(committed);
      CHECK(committed.error().code == Code::store_busy);
    }
    CHECK_FALSE(sys::exists(path));
    CHECK(sys::exists(path + ".lambdo-part") == is_replaced);
    shell("rm -f " + path + ".lambdo-part");
  }
}

TEST_CASE("many who write one output file at once never remove each other's") {
  const StoreFolder folder;
  const std::string path = folder.around() + "/out";
  std::atomic<int> wrong = 0;
  std::atomic<int> written = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (int again = 0; again < 3000; ++again) {
          auto file = OutputFile::create(path);
          if (!file) {
            if (file.error().code != Code::store_busy) ++wrong;
            continue;
          }
          const std::string content = std::to_string(i) + "-" + std::to_string(again);
          if (!sys::write_all(file->fd(), content) || !file->commit(0644)) ++wrong;
          ++written;
        }
      });
    }
  }
  CHECK(wrong == 0);
  CHECK(written > 0);
  CHECK(files_in(folder.around()) == std::vector<std::string>{"out"});
}

TEST_CASE("an output file cannot take the place of a device or a folder, or be nowhere") {
  const StoreFolder folder;
  shell("cd " + folder.around() + " && mkdir folder busy.lambdo-part && mkfifo pipe && touch file");
  for (const char* name : {"folder", "pipe", "missing/out", "file/out", "busy"}) {
    const std::string path = folder.around() + "/" + name;
    const auto file = OutputFile::create(path);
    REQUIRE_MESSAGE(!file, name);
    CHECK_MESSAGE(file.error().code == Code::invalid_argument, file.error().message);
    CHECK_MESSAGE(file.error().message.contains(path), file.error().message);
  }
  CHECK_FALSE(OutputFile::create("/dev/null"));
}
