// Journal keeps on disk what a server has made in the kernel's network; undo.h removes it.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::net {

/// One thing of the kernel's that outlives the process that made it. `mac` tells ours from another's of the
/// same name.
struct JournalEntry {
  enum class Kind {
    link,       ///< name, Ethernet address
    address,    ///< interface's name, address with prefix length
    neighbour,  ///< interface's name, IPv4 or IPv6 address, Ethernet address
    rules,      ///< the bridge's name
  };
  Kind kind;
  std::string name;
  std::string address;  ///< "" for a link and rules
  std::string mac;      ///< "" for an address and rules

  bool operator==(const JournalEntry&) const = default;
};

/// What a server has made in the kernel's network, on disk: written before it is made and struck out after it
/// is removed, so that whoever starts next on the same state directory can remove what a killed one left.
///
/// It survives the end of the process at any point. It need not survive the machine's: that ends everything
/// that is written here, so nothing is synced. Blocking code.
class Journal {
 public:
  /// `folder` is made where it is missing. Code::unavailable with EWOULDBLOCK where another server has it.
  static Result<Journal> open(const std::string& folder);

  /// Before it is made. After an error it must not be made.
  Result<> record(const JournalEntry& entry);
  /// After it is gone. What is not recorded is none.
  Result<> strike(const JournalEntry& entry);
  /// What is recorded and not struck out, in the order recorded.
  [[nodiscard]] const std::vector<JournalEntry>& entries() const { return entries_; }
  /// Lines that could not be read, and were left out: the file was damaged from outside.
  [[nodiscard]] size_t unreadable() const { return unreadable_; }

 private:
  Result<> append(const std::string& line);
  Result<> rewrite();
  void read(const std::string& text);

  std::string folder_;
  Fd lock_;
  Fd file_;
  std::vector<JournalEntry> entries_;
  size_t lines_ = 0;
  size_t unreadable_ = 0;
};

}  // namespace lambdo::net
