// Removes from the kernel what the journal says that a server has made.
#pragma once

#include "base/error.h"
#include "base/netlink.h"
#include "net/journal.h"

namespace lambdo::net {

/// Removes everything that the journal has, the last first, and strikes it out. What is gone already is fine.
/// What is there under the name and is not ours stays. Goes on after an error, and gives the first. Blocking.
Result<> undo_all(NetlinkSocket& socket, Journal& journal);
/// Removes one thing and strikes it out.
Result<> undo(NetlinkSocket& socket, Journal& journal, const JournalEntry& entry);

}  // namespace lambdo::net
