#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <vector>

#include "base/fd.h"
#include "engine/engine.h"
#include "lambdo.grpc.pb.h"
#include "reactor/reactor.h"

namespace lambdo::engine {

/// An engine of the tests' own: its guests are connections to a service in this process that says READY, or
/// to nobody.
class ScriptedEngine final : public Engine {
 public:
  enum class Guests {
    answer,  ///< at once
    hang,    ///< never say a word
    fail,    ///< cannot be created
  };

  /// Guests of the language with index i behave like `script[i]`, which may be changed at any time.
  explicit ScriptedEngine(std::vector<Guests> script);
  ~ScriptedEngine() override;

  std::vector<Guests> script;
  std::vector<size_t> created;     ///< by language
  std::vector<size_t> alive;       ///< by language: created and not destroyed
  std::vector<size_t> most_alive;  ///< the highest that `alive` was

  [[nodiscard]] std::string_view name() const override { return "scripted"; }
  [[nodiscard]] std::vector<std::string> warnings() const override { return {}; }
  reactor::Task<Result<>> prepare(size_t index, const Language& language) override;
  reactor::Task<Result<std::unique_ptr<Guest>>> create_guest(size_t language,
                                                             std::optional<net::AttachedGuest> network,
                                                             reactor::CancelToken token) override;
  reactor::Task<Result<std::string>> failure(reactor::CancelToken token) override;
  reactor::Task<> stop() override;

 private:
  class ScriptedGuest;
  class Service;

  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace lambdo::engine
