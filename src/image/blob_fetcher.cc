#include "image/blob_fetcher.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "reactor/timer.h"

namespace lambdo::image {

namespace {

constexpr int64_t kFirstWaitMs = 5;
constexpr int64_t kMaxWaitMs = 100;

/// Writes what comes on the pool's threads: a disk that is slow holds up this download, not the loop.
class StoreSink final : public registry::BlobSink {
 public:
  StoreSink(reactor::BlockingPool& pool, Store& store, BlobWriter& writer, BlobFetcher::Told told)
      : pool_(&pool), store_(&store), writer_(&writer), told_(std::move(told)) {}

  Task<Result<>> write(std::span<const std::byte> data) override {
    CO_TRY(co_await pool_->run([this, data] { return writer_->write(data); }));
    if (told_) told_(writer_->size_bytes());
    co_return Result<>();
  }

  Task<Result<>> restart() override {
    CO_TRY(co_await pool_->run([this]() -> Result<> {
      *writer_ = TRY(store_->new_blob(BlobWriter::Check::by_caller));
      return {};
    }));
    if (told_) told_(0);
    co_return Result<>();
  }

 private:
  reactor::BlockingPool* pool_;
  Store* store_;
  BlobWriter* writer_;
  BlobFetcher::Told told_;
};

}  // namespace

Task<Result<FileLock>> wait_for_lock(reactor::Reactor& reactor, reactor::BlockingPool& pool, Store& store,
                                     std::string what, CancelToken token) {
  for (int64_t wait_ms = kFirstWaitMs;; wait_ms = std::min(2 * wait_ms, kMaxWaitMs)) {
    auto lock = CO_TRY(co_await pool.run([&] { return store.try_lock(what); }));
    if (lock) co_return std::move(*lock);
    CO_TRY(co_await reactor::SleepOp::for_ms(reactor, wait_ms, token));
  }
}

Task<> release(reactor::BlockingPool& pool, FileLock lock) {
  co_await pool.run([&lock] { const FileLock last = std::move(lock); });
}

BlobFetcher::BlobFetcher(reactor::Reactor& reactor, reactor::BlockingPool& pool, registry::Client& client,
                         Store& store, size_t max_downloads)
    : reactor_(&reactor),
      pool_(&pool),
      client_(&client),
      store_(&store),
      blobs_(reactor),
      downloads_of_host_(reactor, max_downloads),
      downloads_(reactor, kHosts * max_downloads) {}

Task<bool> BlobFetcher::has(const Descriptor& blob) {
  co_return co_await pool_->run([&] { return store_->has_blob(blob); });
}

Task<Result<bool>> BlobFetcher::ensure(Reference reference, Descriptor blob, Told told, CancelToken token) {
  if (co_await has(blob)) co_return false;
  // First among those of this process, so that at most one of them asks for the lock again and again.
  const auto turn = CO_TRY(co_await blobs_.take(blob.digest.hex(), token));
  if (co_await has(blob)) co_return false;
  FileLock lock =
      CO_TRY(co_await wait_for_lock(*reactor_, *pool_, *store_, "blob-" + blob.digest.hex(), token));
  auto fetched = co_await ensure_locked(std::move(reference), blob, std::move(told), token);
  co_await release(*pool_, std::move(lock));
  co_return fetched;
}

Task<Result<bool>> BlobFetcher::ensure_locked(Reference reference, const Descriptor& blob, Told told,
                                              CancelToken token) {
  if (co_await has(blob)) co_return false;
  const auto host_permit = CO_TRY(co_await downloads_of_host_.take(reference.host, token));
  const auto permit = CO_TRY(co_await downloads_.take(token));
  CO_TRY(co_await fetch(std::move(reference), blob, std::move(told), token));
  co_return true;
}

Task<Result<>> BlobFetcher::fetch(Reference reference, const Descriptor& blob, Told told, CancelToken token) {
  std::optional<BlobWriter> writer =
      CO_TRY(co_await pool_->run([this] { return store_->new_blob(BlobWriter::Check::by_caller); }));
  StoreSink sink(*pool_, *store_, *writer, std::move(told));
  auto fetched = co_await client_->fetch_blob(std::move(reference), blob, sink, token);
  // Removing a file of gigabytes takes its time too.
  co_return co_await pool_->run([&]() -> Result<> {
    if (fetched) fetched = writer->commit(blob);
    writer.reset();
    return std::move(fetched);
  });
}

}  // namespace lambdo::image
