#pragma once

#include <string>
#include <string_view>

namespace lambdo::doctor {

enum class Grade { ok, warning, failure };

/// One line of the doctor.
struct Finding {
  Grade grade = Grade::ok;
  std::string name;     ///< one or two words
  std::string finding;  ///< what is so
  std::string remedy;   ///< what to do; empty where the grade is ok
};

}  // namespace lambdo::doctor
