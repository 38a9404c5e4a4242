#include "agent/event_loop.h"

#include <sys/epoll.h>

#include <array>

namespace lambdo::agent {

/// The descriptor and the low half of the watch's number: an event that was fetched before its watch was
/// forgotten must not reach the next watch of the same descriptor.
static uint64_t tag_of(int fd, uint64_t id) {
  return id << 32 | static_cast<uint32_t>(fd);
}

Result<EventLoop> EventLoop::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail_errno("epoll_create1");
  return EventLoop(std::move(epoll));
}

Result<> EventLoop::watch(int fd, uint32_t events, Handler handler) {
  const uint64_t id = next_id_++;
  epoll_event event{.events = events, .data = {.u64 = tag_of(fd, id)}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) return fail_errno("epoll_ctl");
  watches_.insert_or_assign(fd, Watch{id, std::move(handler)});
  return {};
}

Result<> EventLoop::change(int fd, uint32_t events) {
  epoll_event event{.events = events, .data = {.u64 = tag_of(fd, watches_.at(fd).id)}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) < 0) return fail_errno("epoll_ctl");
  return {};
}

void EventLoop::forget(int fd) {
  if (watches_.erase(fd) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::turn(int timeout_ms) {
  std::array<epoll_event, 16> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    const int fd = static_cast<int>(event.data.u64 & UINT32_MAX);
    const auto found = watches_.find(fd);
    if (found == watches_.end() || tag_of(fd, found->second.id) != event.data.u64) continue;
    // Held here while it runs, because it may forget its own watch.
    Handler handler = std::move(found->second.handler);
    const uint64_t id = found->second.id;
    handler(event.events);
    const auto still = watches_.find(fd);
    if (still != watches_.end() && still->second.id == id) still->second.handler = std::move(handler);
  }
}

}  // namespace lambdo::agent
