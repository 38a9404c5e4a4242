#include <string>
#include <vector>

#include "engine/agent_grpc.h"
#include "engine/runner.h"
#include "scripted_engine.h"

#include "test.h"

// Languages that become ready while others are served.
namespace lambdo::engine {

using Phase = LanguageState::Phase;

static std::vector<Language> two_languages() {
  Language there{.name = "there", .rootfs = "/r", .steps = {{.command = "x"}}, .warm = 1};
  Language coming{.name = "coming", .image = "an/image:1", .steps = {{.command = "x"}}, .warm = 1};
  return {there, coming};
}

struct Running {
  std::vector<Language> languages = two_languages();
  std::unique_ptr<reactor::Reactor> reactor = reactor::Reactor::create().value();
  ScriptedEngine engine{{ScriptedEngine::Guests::answer, ScriptedEngine::Guests::answer}};
  AgentGrpc agents{*reactor};
  Runner runner{
      *reactor,  engine,
      agents,    nullptr,
      languages, {.max_running = 8, .queue_length = 8, .queue_timeout_ms = 10'000, .starting_guests = 4}};
};

static reactor::Task<Error> refusal(Runner& runner) {
  RunRequest request{.language = "coming", .code = {{"main", ""}}};
  auto report = co_await runner.run(std::move(request), {});
  co_return report ? Error{Code::internal, 0, "it ran"} : std::move(report).error();
}

static reactor::Task<> come_in_time(Running& running) {
  running.runner.start();
  CHECK(running.runner.state(0).phase == Phase::ready);
  CHECK(running.runner.state(1).phase == Phase::waiting);
  CHECK_EQ(running.runner.pools()[0].starting, 1);
  CHECK_EQ(running.runner.pools()[1].starting, 0);

  running.runner.set_state(1, {.phase = Phase::fetching, .done_bytes = 41, .total_bytes = 100});
  Error error = co_await refusal(running.runner);
  CHECK_EQ(error.code, Code::unavailable);
  CHECK_EQ(error.message,
           "language coming is not ready yet: its image is being fetched (41% of 1 MB); try again later");

  running.runner.set_state(1, {.phase = Phase::failed, .problem = "no such tag"});
  error = co_await refusal(running.runner);
  CHECK_EQ(error.code, Code::unavailable);
  CHECK_NE(error.message.find("no such tag"), std::string::npos);

  running.runner.set_state(1, {.phase = Phase::ready});
  CHECK_EQ(running.runner.pools()[1].starting, 1);
  co_await running.runner.stop();
}

TEST_CASE("a language with an image is refused until it is ready, and warmed from then on") {
  Running running;
  running.reactor->run(come_in_time(running));
}

TEST_CASE("each phase has a name and a sentence") {
  const std::pair<LanguageState, std::string> rows[] = {
      {{.phase = Phase::waiting}, "waiting: its image is about to be opened"},
      {{.phase = Phase::fetching}, "fetching: its image is being fetched"},
      {{.phase = Phase::fetching, .done_bytes = 1, .total_bytes = 52'000'000},
       "fetching: its image is being fetched (0% of 52 MB)"},
      {{.phase = Phase::importing, .done_bytes = 1, .total_bytes = 2},
       "importing: its image is being imported"},
      {{.phase = Phase::unpacking}, "unpacking: its image is being unpacked"},
      {{.phase = Phase::failed, .problem = "x"}, "failed: its image could not be made ready: x"},
      {{}, "ready: it is ready"},
  };
  for (const auto& [state, expected] : rows) {
    CHECK_EQ(std::string(state.name()) + ": " + state.sentence(), expected);
  }
}

}  // namespace lambdo::engine
