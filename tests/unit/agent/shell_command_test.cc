#include "agent/shell_command.h"

#include "test.h"

namespace lambdo::agent {

TEST_CASE("one program with its arguments takes the shell's place") {
  for (const char* command : {"python3 'main.py' \"$@\"", "/workspace/.program \"$@\"",
                              "  node 'it'\\''s.js'", "gcc -O2 -o a 'a.c' -lm", "env A=1 python3 x"}) {
    CAPTURE(command);
    const bool escaped_quote = std::string_view(command).contains('\\');
    CHECK_EQ(shell_command(command), escaped_quote ? command : "exec " + std::string(command));
  }
}

TEST_CASE("what is more than one program stays with the shell") {
  for (const char* command :
       {"",        "  ",   "a; b",  "a && b",  "a | b", "a > b", "a &",   "(a)",  "{ a; }",
        "! a",     "a $B", "a `b`", "a \"b\"", "a 'b",  "a # b", "A=1 b", "cd x", "exit 3",
        "echo hi", "true", "if a",  "exec a",  "a\nb",  "ls *",  ": x"}) {
    CAPTURE(command);
    CHECK_EQ(shell_command(command), command);
  }
}

}  // namespace lambdo::agent
