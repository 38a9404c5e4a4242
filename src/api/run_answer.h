#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "api/run_model.h"
#include "base/json.h"
#include "engine/run_request.h"

namespace lambdo::api {

/// The JSON that answers POST /run, written in pieces of bounded work: a run may have 48 MiB of output, which
/// is in the answer twice, and each of its bytes may take six in JSON.
class RunAnswer {
 public:
  RunAnswer(engine::RunReport report, OutputEncoding encoding);
  RunAnswer(const RunAnswer&) = delete;
  RunAnswer& operator=(const RunAnswer&) = delete;

  /// What the run wrote.
  [[nodiscard]] size_t output_bytes() const { return output_bytes_; }
  /// The memory that the answer and a piece of it on its way take at most.
  [[nodiscard]] size_t held_bytes() const;
  /// Appends the next piece, made of at most 32 KiB of output; false where it was the last.
  bool append_piece(std::string& out);
  /// All that is left.
  std::string text();

 private:
  /// Bytes of an output, to be inserted into `text_`; those with the same place are one output.
  struct Part {
    size_t place;
    std::string_view bytes;
  };

  void write_step(JsonWriter& json, const engine::StepReport& step);
  void begin_output(JsonWriter& json, std::string_view name);
  void add_part(std::string_view bytes);
  void encode(std::string& out, std::string_view bytes) const;

  engine::RunReport report_;
  OutputEncoding encoding_;
  std::string text_;  // the answer with empty strings in place of outputs
  size_t text_done_bytes_ = 0;
  std::vector<Part> parts_;
  size_t part_ = 0;  // the next
  size_t place_ = 0;
  std::string held_back_;  // of the output being written: bytes that only the next ones make whole
  size_t output_bytes_ = 0;
};

}  // namespace lambdo::api
