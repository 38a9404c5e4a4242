#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "image/progress.h"

/// How a pull goes, for people.
namespace lambdo::cli {

/// What is known of a pull at a moment.
struct PullView {
  struct Layer {
    std::string id;  ///< the first digits of its digest
    image::LayerPhase phase = image::LayerPhase::waiting;
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
  };
  std::string image;  ///< as it was asked for
  std::vector<Layer> layers;
  bool writing = false;
};

/// The lines to show on a terminal of this size, each at most `columns` wide and at most `rows` of them: one
/// for each layer, those that are done left out first where there is no room for all, then one for the whole.
std::vector<std::string> render(const PullView& view, size_t columns, size_t rows);

/// "48.2 MB".
std::string readable_bytes(uint64_t bytes);

/// Shows a pull on standard error: lines that are redrawn a few times a second on a terminal, else a line for
/// each phase of each layer.
class PullDisplay final : public image::Progress {
 public:
  enum class Style { none, plain, terminal };

  /// Plain, or for a terminal where standard error is one.
  static Style style_for_standard_error();
  PullDisplay(std::string image, Style style);
  ~PullDisplay() override { finish(); }
  PullDisplay(const PullDisplay&) = delete;
  PullDisplay& operator=(const PullDisplay&) = delete;

  void found(const registry::Digest& manifest, std::span<const registry::Descriptor> layers) override;
  void layer(size_t index, image::LayerPhase phase, uint64_t done_bytes, uint64_t total_bytes) override;
  void writing() override;
  /// Draws for the last time; the lines stay. Before anything else is written.
  void finish();

 private:
  void say(const std::string& text);
  void draw(bool is_last);

  PullView view_;
  Style style_;
  size_t drawn_lines_ = 0;
  long long next_draw_ns_ = 0;
  bool finished_ = false;
};

}  // namespace lambdo::cli
