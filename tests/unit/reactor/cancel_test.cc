#include "reactor/cancel.h"

#include <optional>

#include "harness.h"

#include "test.h"

namespace lambdo::reactor {

namespace {

class Hook final : public CancelHook {
 public:
  using CancelHook::hook;
  using CancelHook::unhook;
  int calls = 0;
  Hook* also_unhooks = nullptr;

 private:
  void on_cancel() override {
    ++calls;
    if (also_unhooks != nullptr) also_unhooks->unhook();
  }
};

}  // namespace

TEST_CASE("a cancellation reaches what is hooked, once") {
  CancelSource source;
  Hook first;
  Hook second;
  Hook left;
  first.hook(source);
  left.hook(source);
  second.hook(source);
  left.unhook();
  left.unhook();
  CHECK_FALSE(source.token().cancelled());
  source.cancel();
  source.cancel();
  CHECK(source.token().cancelled());
  CHECK_EQ(first.calls, 1);
  CHECK_EQ(second.calls, 1);
  CHECK_EQ(left.calls, 0);
}

TEST_CASE("a hook may remove another while the source cancels") {
  CancelSource source;
  Hook removed;
  Hook middle;
  Hook remover;
  removed.hook(source);
  middle.hook(source);
  remover.hook(source);
  remover.also_unhooks = &removed;
  source.cancel();
  CHECK_EQ(remover.calls, 1);
  CHECK_EQ(middle.calls, 1);
  CHECK_EQ(removed.calls, 0);
}

TEST_CASE("a child source is cancelled with its parent and never the other way round") {
  CancelSource parent;
  CancelSource child(parent.token());
  CancelSource grandchild(child.token());
  CancelSource sibling(parent.token());
  std::optional<CancelSource> gone(std::in_place, parent.token());
  gone.reset();
  Hook hook;
  hook.hook(grandchild);

  sibling.cancel();
  CHECK_FALSE(parent.cancelled());
  CHECK_FALSE(child.cancelled());
  parent.cancel();
  CHECK(child.cancelled());
  CHECK(grandchild.cancelled());
  CHECK_EQ(hook.calls, 1);

  const CancelSource late(parent.token());
  CHECK(late.cancelled());
}

TEST_CASE("an empty token is never cancelled") {
  CHECK_FALSE(CancelToken().cancelled());
  const CancelSource orphan{CancelToken()};
  CHECK_FALSE(orphan.cancelled());
}

}  // namespace lambdo::reactor
