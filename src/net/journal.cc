#include "net/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/syscalls.h"
#include "base/text.h"

namespace lambdo::net {

namespace {

constexpr std::string_view kKinds[] = {"link", "address", "neighbour", "rules"};
constexpr size_t kRewriteLines = 4096;

// Every field is there, "-" for none, and no name or address has a space in it (check_link_name).
std::string field(const std::string& text) {
  return " " + (text.empty() ? "-" : text);
}

std::string line_of(char sign, const JournalEntry& entry) {
  return std::string(1, sign) + " " + std::string(kKinds[static_cast<size_t>(entry.kind)]) +
         field(entry.name) + field(entry.address) + field(entry.mac) + "\n";
}

std::optional<JournalEntry> entry_in(std::string_view line) {
  std::vector<std::string> words;
  for (const std::string_view text : split(line, ' ')) {
    words.emplace_back(text == "-" && !words.empty() ? "" : text);
  }
  if (words.size() != 5 || (words[0] != "+" && words[0] != "-")) return std::nullopt;
  const auto* kind = std::ranges::find(kKinds, words[1]);
  if (kind == std::end(kKinds) || words[2].empty()) return std::nullopt;
  return JournalEntry{static_cast<JournalEntry::Kind>(kind - kKinds), words[2], words[3], words[4]};
}

}  // namespace

Result<Journal> Journal::open(const std::string& folder) {
  TRY(sys::mkdirs(folder, 0700));
  Journal journal;
  journal.folder_ = folder;
  journal.lock_ = TRY(sys::open(folder + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (!TRY(sys::try_flock(journal.lock_.get(), LOCK_EX))) {
    return std::unexpected(
        Error{Code::unavailable, EWOULDBLOCK,
              "another server has " + folder + "; stop it, or give this one a state_dir of its own"});
  }
  const auto text = sys::read_file(folder + "/journal");
  if (!text && text.error().os_errno != ENOENT) return std::unexpected(text.error());
  if (text) journal.read(*text);
  TRY(journal.rewrite());
  return journal;
}

void Journal::read(const std::string& text) {
  size_t begin = 0;
  // A last line without its end was being written when the process died: what it is about was not made, or is
  // gone.
  for (size_t end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    const auto entry = entry_in(line);
    if (!entry) {
      ++unreadable_;
    } else if (line.front() == '+') {
      entries_.push_back(*entry);
    } else {
      std::erase(entries_, *entry);
    }
  }
}

Result<> Journal::rewrite() {
  const std::string path = folder_ + "/journal";
  Fd file = TRY(sys::open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0600));
  std::string text;
  for (const JournalEntry& entry : entries_) text += line_of('+', entry);
  TRY(sys::write_all(file.get(), text));
  TRY(sys::rename(path + ".new", path));
  file_ = std::move(file);
  lines_ = entries_.size();
  return {};
}

Result<> Journal::append(const std::string& line) {
  const off_t before = ::lseek(file_.get(), 0, SEEK_END);
  const auto written = sys::write_all(file_.get(), line);
  if (!written) {
    // Half a line would make the next one unreadable.
    if (::ftruncate(file_.get(), before) < 0) return fail_errno("cut the journal in " + folder_);
    return std::unexpected(Error(written.error()).with_context("journal in " + folder_));
  }
  ++lines_;
  return {};
}

Result<> Journal::record(const JournalEntry& entry) {
  TRY(append(line_of('+', entry)));
  entries_.push_back(entry);
  return {};
}

Result<> Journal::strike(const JournalEntry& entry) {
  if (std::erase(entries_, entry) == 0) return {};
  if (lines_ >= kRewriteLines && lines_ >= 4 * entries_.size()) return rewrite();
  return append(line_of('-', entry));
}

}  // namespace lambdo::net
