#pragma once

namespace lambdo::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
/// What a shell gives for a program that ^C has ended.
inline constexpr int kExitInterrupted = 130;

}  // namespace lambdo::cli
