#include "base/syscalls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "base/mapping.h"

#include "test.h"

namespace lambdo {

namespace {

/// A directory of the test's own, removed with all in it.
class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "lambdo-base-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

bool is_mapped(void* page) {
  unsigned char resident = 0;
  return ::mincore(page, 1, &resident) == 0;
}

}  // namespace

TEST_CASE("a descriptor has one owner, who closes it") {
  Fd first = sys::eventfd(0).value();
  const int number = first.get();
  Fd second(std::move(first));
  CHECK_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): that it is empty is the point
  CHECK_EQ(second.get(), number);
  Fd third = sys::eventfd(0).value();
  const int replaced = third.get();
  third = std::move(second);
  CHECK_FALSE(is_open(replaced));
  CHECK(is_open(number));
  Fd& same = third;
  third = std::move(same);
  CHECK_EQ(third.get(), number);
  const int released = third.release();
  CHECK_EQ(released, number);
  CHECK_FALSE(third.valid());
  third.reset();
  CHECK(is_open(number));
  Fd(released).reset();
  CHECK_FALSE(is_open(number));
}

TEST_CASE("every descriptor is close-on-exec") {
  const Folder folder;
  std::vector<Fd> all;
  all.push_back(sys::open(folder / "file", O_CREAT | O_RDWR, 0600).value());
  auto [reader, writer] = sys::pipe().value();
  auto [left, right] = sys::socketpair(SOCK_STREAM).value();
  for (Fd* end : {&reader, &writer, &left, &right}) all.push_back(std::move(*end));
  all.push_back(sys::eventfd(0).value());
  all.push_back(sys::memfd("name").value());
  all.push_back(sys::pidfd_open(::getpid()).value());
  all.push_back(sys::dup(STDERR_FILENO).value());
  for (const Fd& fd : all) CHECK_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
}

TEST_CASE("a mapping has one owner, who unmaps it") {
  const Fd memory = sys::memfd("mapping").value();
  REQUIRE_EQ(::ftruncate(memory.get(), 8192), 0);
  Mapping first = Mapping::create(8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get()).value();
  first.bytes()[4096] = std::byte{42};
  Mapping second = Mapping::create(4096, PROT_READ, MAP_SHARED, memory.get(), 4096).value();
  CHECK_EQ(second.bytes()[0], std::byte{42});
  void* replaced = second.bytes().data();
  second = std::move(first);
  CHECK_FALSE(is_mapped(replaced));
  CHECK_EQ(second.bytes().size(), 8192U);
  CHECK(first.bytes().empty());  // NOLINT(bugprone-use-after-move): that it is empty is the point
  Mapping& same = second;
  second = std::move(same);
  CHECK_EQ(second.bytes()[4096], std::byte{42});
  void* gone = nullptr;
  {
    const Mapping third(std::move(second));
    gone = third.bytes().data();
    CHECK(is_mapped(gone));
  }
  CHECK_FALSE(is_mapped(gone));
  const auto impossible = Mapping::create(0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
  CHECK_EQ(impossible.error().os_errno, EINVAL);
}

TEST_CASE("a file is read whole up to its cap") {
  const Folder folder;
  const std::string path = folder / "file";
  CHECK_EQ(sys::read_file(path).error().message, "open " + path + ": No such file or directory");
  CHECK_EQ(sys::write_file(path, "x").error().code, Code::not_found);
  std::string content(100'000, 'x');
  content[50'000] = '\0';
  {
    const Fd file = sys::open(path, O_CREAT | O_WRONLY, 0600).value();
    REQUIRE(sys::write_all(file.get(), content).has_value());
  }
  CHECK(sys::read_file(path).value() == content);
  CHECK(sys::read_file(path, 100'000).value() == content);
  const auto large = sys::read_file(path, 99'999);
  CHECK_EQ(large.error().code, Code::payload_too_large);
  CHECK_EQ(large.error().message, path + " is larger than 99999 bytes");
  REQUIRE(sys::write_file(path, "begin").has_value());
  CHECK_EQ(sys::read_file(path).value().substr(0, 6), "beginx");  // like a control file: not truncated
  CHECK_EQ(sys::read_file(folder / "").error().os_errno, EISDIR);
  CHECK_FALSE(sys::read_file("/proc/self/status").value().empty());  // its size is told as 0
  CHECK(sys::exists(path));
  CHECK_FALSE(sys::exists(path + "x"));
}

TEST_CASE("writing where it cannot be done names the reason") {
  CHECK_EQ(sys::write_file("/dev/full", "x").error().code, Code::resource_exhausted);
  CHECK_EQ(sys::write_file("/dev/full", "x").error().message, "write /dev/full: No space left on device");
  auto [reader, writer] = sys::pipe().value();
  CHECK_EQ(sys::write_all(reader.get(), "x").error().os_errno, EBADF);
  CHECK(sys::write_all(-1, "").has_value());
}

TEST_CASE("folders are made with all above them") {
  const Folder folder;
  CHECK(sys::mkdirs(folder / "a/b/c", 0700).has_value());
  CHECK(sys::mkdirs(folder / "a/b/c", 0700).has_value());
  CHECK(sys::mkdirs(folder / "a//b/./d/", 0700).has_value());
  CHECK_EQ(sys::list_directory(folder / "a/b").value(), std::vector<std::string>{"c", "d"});
  CHECK_EQ(sys::mkdir(folder / "a", 0700).error().os_errno, EEXIST);
  CHECK_EQ(sys::mkdir(folder / "x/y", 0700).error().code, Code::not_found);
  CHECK(sys::mkdirs("/", 0700).has_value());
  CHECK_EQ(sys::mkdirs("", 0700).error().code, Code::not_found);
}

TEST_CASE("a file where a folder is wanted is an error, in the middle as at the end") {
  const Folder folder;
  (void)sys::open(folder / "file", O_CREAT | O_WRONLY, 0600).value();
  for (const char* path : {"file", "file/", "file/below", "file/below/that"}) {
    CAPTURE(path);
    const auto made = sys::mkdirs(folder / path, 0700);
    REQUIRE_FALSE(made.has_value());
    CHECK_EQ(made.error().message, "mkdir " + (folder / "file") + ": Not a directory");
  }
  std::filesystem::create_directory_symlink("/tmp", folder / "link");
  CHECK(sys::mkdirs(folder / "link", 0700).has_value());
}

TEST_CASE("a directory is listed sorted and without itself") {
  const Folder folder;
  for (const char* name : {"zeta", ".hidden", "alpha"})
    (void)sys::open(folder / name, O_CREAT | O_WRONLY, 0600).value();
  CHECK_EQ(sys::list_directory(folder / "").value(), std::vector<std::string>{".hidden", "alpha", "zeta"});
  CHECK_EQ(sys::list_directory(folder / "none").error().code, Code::not_found);
}

TEST_CASE("signalling a process that is gone is success") {
  const pid_t child = ::fork();
  REQUIRE_GE(child, 0);
  if (child == 0) {
    while (true) ::pause();
  }
  const Fd pidfd = sys::pidfd_open(child).value();
  CHECK(sys::pidfd_signal(pidfd.get(), SIGKILL).has_value());
  int status = 0;
  CHECK_EQ(::waitpid(child, &status, 0), child);
  CHECK_EQ(WTERMSIG(status), SIGKILL);
  CHECK(sys::pidfd_signal(pidfd.get(), SIGKILL).has_value());
  CHECK_EQ(sys::pidfd_signal(sys::pidfd_open(::getpid()).value().get(), 4096).error().os_errno, EINVAL);
  CHECK_EQ(sys::pidfd_open(child).error().os_errno, ESRCH);
}

TEST_CASE("the clock goes forward") {
  const auto before = sys::monotonic_ns();
  CHECK_GT(before, 0);
  CHECK_GE(sys::monotonic_ns(), before);
}

TEST_CASE("sending and receiving in parts never wait, and tell nothing, the end and errors apart") {
  auto [first, second] = sys::socketpair(SOCK_STREAM).value();
  char text[] = "abcdef";
  const std::array<iovec, 2> parts = {iovec{text, 2}, iovec{text + 2, 4}};
  CHECK_FALSE(sys::receive_now(second.get(), parts).value().has_value());
  CHECK_EQ(sys::send_now(first.get(), parts).value(), 6U);
  std::array<char, 8> read{};
  const std::array<iovec, 2> places = {iovec{&read[0], 1}, iovec{&read[1], 7}};
  CHECK_EQ(sys::receive_now(second.get(), places).value(), 6U);
  CHECK_EQ(std::string_view(read.data()), "abcdef");

  std::vector<char> large(1 << 20);
  const std::array<iovec, 1> much = {iovec{large.data(), large.size()}};
  std::optional<size_t> sent;
  do {
    sent = sys::send_now(first.get(), much).value();
  } while (sent);
  first.reset();
  std::optional<size_t> received;
  do {
    received = sys::receive_now(second.get(), much).value();
    REQUIRE(received.has_value());
  } while (*received > 0);
  CHECK_EQ(sys::send_now(second.get(), parts).error().code, Code::closed);
}

TEST_CASE("parts are read without waiting") {
  const auto [reader, writer] = sys::pipe(O_NONBLOCK).value();
  std::array<char, 4> first{};
  std::array<char, 8> second{};
  const std::array<iovec, 2> parts = {{{first.data(), first.size()}, {second.data(), second.size()}}};
  CHECK_FALSE(sys::read_now(reader.get(), parts).value().has_value());
  REQUIRE_EQ(::write(writer.get(), "hello world", 11), 11);
  CHECK_EQ(sys::read_now(reader.get(), parts).value(), 11U);
  CHECK_EQ(std::string_view(first.data(), 4), "hell");
  CHECK_EQ(std::string_view(second.data(), 7), "o world");
  CHECK_EQ(sys::read_now(-1, parts).error().os_errno, EBADF);
}

}  // namespace lambdo
