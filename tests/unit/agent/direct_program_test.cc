#include "agent/direct_program.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <vector>

#include "agent/shell_command.h"
#include "agent_process.h"

#include "test.h"

namespace lambdo::agent {

namespace {

using Words = std::vector<std::string>;

/// What is found for a step's command; arguments are those of "$@".
std::optional<DirectProgram> find_direct(const std::string& command, Words arguments = {},
                                         const std::string& path = "/usr/bin:/bin") {
  Words shell = {"/bin/sh", "-c", shell_command(command), "lambdo"};
  shell.insert(shell.end(), arguments.begin(), arguments.end());
  Words environment = {"HOME=/", "PATH=" + path};
  std::vector<char*> shell_pointers;
  for (std::string& text : shell) shell_pointers.push_back(text.data());
  shell_pointers.push_back(nullptr);
  std::vector<char*> environment_pointers;
  for (std::string& text : environment) environment_pointers.push_back(text.data());
  environment_pointers.push_back(nullptr);
  return DirectProgram::find(shell_pointers, environment_pointers);
}

}  // namespace

TEST_CASE("a command of one program is split as a shell would") {
  struct Row {
    std::string command;
    Words arguments;
    Words words;
  };
  const std::vector<Row> rows = {
      {"env", {}, {"env"}},
      {"env \"$@\"", {}, {"env"}},
      {"env \"$@\"", {"a b", "", "c"}, {"env", "a b", "", "c"}},
      {"  env\t 'main file.py'   -x  ", {}, {"env", "main file.py", "-x"}},
      {"env a'b c'd '' =", {}, {"env", "ab cd", "", "="}},
      {"env '\"$@\"' A=1", {"x"}, {"env", "\"$@\"", "A=1"}},
      {"/usr/bin/env \"$@\" end", {"1"}, {"/usr/bin/env", "1", "end"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.command);
    const auto program = find_direct(row.command, row.arguments);
    REQUIRE(program.has_value());
    CHECK(program->words() == row.words);
    CHECK_EQ(std::string(program->path()), "/usr/bin/env");
  }
}

TEST_CASE("what only a shell can do, or say, is left to it") {
  for (const char* command : {"echo hi", "env; env", "env x\"$@\"", "env \"$@\"x", "env $HOME", "env | cat",
                              "no-such-program", "/usr/bin", "/etc/passwd", "'' x", "A=1 env", "cd /"}) {
    CAPTURE(command);
    CHECK_FALSE(find_direct(command).has_value());
  }
  CHECK_FALSE(find_direct("env", {}, "/nonexistent").has_value());
}

TEST_CASE("the first executable file on PATH is taken, an empty folder being the current one") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "lambdo-direct-program";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder / "a" / "tool");  // a folder is no program
  std::filesystem::create_directories(folder / "b");
  std::filesystem::create_directories(folder / "c");
  for (const char* name : {"b", "c"}) std::ofstream(folder / name / "tool") << "#!/bin/sh\n";
  ::chmod((folder / "b" / "tool").c_str(), 0);
  ::chmod((folder / "c" / "tool").c_str(), 0755);
  const std::string path =
      (folder / "a").string() + ":" + (folder / "b").string() + ":" + (folder / "c").string();
  const auto program = find_direct("tool", {}, path);
  REQUIRE(program.has_value());
  CHECK_EQ(std::string(program->path()), (folder / "c" / "tool").string());

  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder / "c");
  const auto here = find_direct("tool", {}, "/nonexistent::/bin");
  std::filesystem::current_path(before);
  REQUIRE(here.has_value());
  CHECK_EQ(std::string(here->path()), "./tool");
  std::filesystem::remove_all(folder);
}

TEST_CASE("with or without a shell a step behaves the same") {
  struct Row {
    std::string command;
    int exit_code;
    std::string output;
  };
  // A script without a first line is the shell's to interpret, and so is what there is to say about a program
  // that is none.
  const std::vector<Row> rows = {{"./script one", 3, "script one\n"},
                                 {"printenv PWD", 0, "WORKSPACE\n"},
                                 {"missing-program x", 127, ""},
                                 {"./data", 126, ""}};
  for (const Row& row : rows) {
    CAPTURE(row.command);
    AgentProcess agent;
    auto request = steps({"chmod 755 script; chmod 644 data", row.command});
    for (const auto& [name, content] :
         {std::pair("script", "echo script $1\nexit 3\n"), std::pair("data", "")}) {
      auto* file = request.add_files();
      file->set_filename(name);
      file->set_content(content);
    }
    const auto answer = agent.execute(request);
    REQUIRE_EQ(answer.response.steps_size(), 2);
    const auto& step = answer.response.steps(1);
    CHECK_EQ(step.exit_code(), row.exit_code);
    CHECK_EQ(step.stdout(), row.output == "WORKSPACE\n" ? agent.workspace() + "\n" : row.output);
    if (row.exit_code > 125) CHECK(step.stderr().contains("lambdo: "));
  }
}

}  // namespace lambdo::agent
