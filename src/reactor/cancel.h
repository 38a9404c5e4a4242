#pragma once

namespace lambdo::reactor {

class CancelSource;

/// Something that reacts to a cancellation, linked into its source while it waits.
class CancelHook {
 public:
  CancelHook() = default;
  CancelHook(const CancelHook&) = delete;
  CancelHook& operator=(const CancelHook&) = delete;

 protected:
  ~CancelHook() { unhook(); }

  /// Called once, from CancelSource::cancel(), already unlinked. Must not destroy other hooks.
  virtual void on_cancel() = 0;

  void hook(CancelSource& source);
  void unhook();

 private:
  friend CancelSource;
  CancelSource* source_ = nullptr;
  CancelHook* previous_ = nullptr;
  CancelHook* next_ = nullptr;
};

/// A view of a source that operations and coroutines take by value; empty means "never cancelled". The source
/// must outlive every wait that uses the token.
class CancelToken {
 public:
  CancelToken() = default;
  explicit CancelToken(CancelSource& source) : source_(&source) {}

  [[nodiscard]] bool cancelled() const;
  [[nodiscard]] CancelSource* source() const { return source_; }

 private:
  CancelSource* source_ = nullptr;
};

/// Cancels all that waits under its token, once and for good. A waiting operation is asked to stop and
/// completes later with Code::cancelled, or with its result where that came first. Sources form a tree: a
/// child is cancelled with its parent. Single-threaded.
class CancelSource final : private CancelHook {
 public:
  CancelSource() = default;
  explicit CancelSource(CancelToken parent);
  ~CancelSource();

  void cancel();
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  [[nodiscard]] CancelToken token() { return CancelToken(*this); }

 private:
  friend CancelHook;
  void on_cancel() override { cancel(); }

  CancelHook* first_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace lambdo::reactor
