#include "cli/image/pull_display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <utility>

#include "base/syscalls.h"
#include "cli/terminal_text.h"

namespace lambdo::cli {

using image::LayerPhase;

static constexpr long long kRedrawNs = 200'000'000;  // five times a second
static constexpr size_t kMaxColumns = 100;
static constexpr size_t kMinBarColumns = 10;

std::string readable_bytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits.at(unit));
  return text.data();
}

static std::string_view phase_name(LayerPhase phase) {
  switch (phase) {
    case LayerPhase::waiting:
      return "waiting";
    case LayerPhase::fetching:
      return "fetching";
    case LayerPhase::fetched:
      return "fetched";
    case LayerPhase::unpacking:
      return "unpacking";
    case LayerPhase::unpacked:
      return "unpacked";
  }
  return "";
}

static bool is_fetched(const PullView::Layer& layer) {
  return layer.phase != LayerPhase::waiting && layer.phase != LayerPhase::fetching;
}

static uint64_t bytes_done(const PullView::Layer& layer) {
  return is_fetched(layer) ? layer.total_bytes : std::min(layer.done_bytes, layer.total_bytes);
}

static std::string padded(std::string_view text, size_t columns) {
  std::string out(text.substr(0, columns));
  out.resize(columns, ' ');
  return out;
}

static std::string bar(uint64_t done, uint64_t total, size_t columns) {
  const size_t inner = columns - 2;
  const size_t filled = total == 0
                            ? inner
                            : static_cast<size_t>(static_cast<double>(done) / static_cast<double>(total) *
                                                  static_cast<double>(inner));
  std::string text = "[" + std::string(std::min(filled, inner), '=');
  if (filled < inner) text += '>';
  text.resize(columns - 1, ' ');
  return text + "]";
}

static std::string layer_line(const PullView::Layer& layer, size_t columns) {
  std::string line = "  " + layer.id + "  " + padded(phase_name(layer.phase), 9);
  std::string amount = readable_bytes(layer.total_bytes);
  if (layer.phase == LayerPhase::fetching) amount = readable_bytes(bytes_done(layer)) + " of " + amount;
  // Where the amount starts must not jump while it changes.
  constexpr size_t kAmountColumns = 21;
  const size_t taken = line.size() + 4 + kAmountColumns;
  if (layer.phase == LayerPhase::fetching && columns >= taken + kMinBarColumns)
    line += "  " + bar(bytes_done(layer), layer.total_bytes, columns - taken);
  return (line + "  " + amount).substr(0, columns);
}

static std::string summary_line(const PullView& view, size_t columns) {
  uint64_t done = 0;
  uint64_t total = 0;
  for (const PullView::Layer& layer : view.layers) {
    done += bytes_done(layer);
    total += layer.total_bytes;
  }
  const auto finished =
      static_cast<size_t>(std::ranges::count(view.layers, LayerPhase::unpacked, &PullView::Layer::phase));
  std::string line = view.image;
  if (view.layers.empty()) {
    line += ": asking the registry";
  } else if (view.writing) {
    line += ": writing the root file system";
  } else if (done < total) {
    line +=
        ": " + std::to_string(done * 100 / std::max<uint64_t>(total, 1)) + "% of " + readable_bytes(total);
  } else {
    line += ": fetched, " + std::to_string(finished) + " of " + std::to_string(view.layers.size()) +
            " layers unpacked";
  }
  return line.substr(0, columns);
}

std::vector<std::string> render(const PullView& view, size_t columns, size_t rows) {
  columns = std::min(columns, kMaxColumns);
  const size_t room = rows > 1 ? rows - 1 : 0;
  std::vector<size_t> shown(view.layers.size());
  std::iota(shown.begin(), shown.end(), 0);
  const auto drop = [&](LayerPhase phase) {
    size_t surplus = shown.size() > room ? shown.size() - room : 0;
    std::erase_if(shown, [&](size_t index) {
      if (surplus == 0 || view.layers[index].phase != phase) return false;
      --surplus;
      return true;
    });
  };
  drop(LayerPhase::unpacked);
  drop(LayerPhase::fetched);
  drop(LayerPhase::waiting);
  if (shown.size() > room) shown.resize(room);
  std::vector<std::string> lines;
  for (const size_t index : shown) lines.push_back(layer_line(view.layers[index], columns));
  if (rows > 0) lines.push_back(summary_line(view, columns));
  return lines;
}

PullDisplay::Style PullDisplay::style_for_standard_error() {
  const char* terminal = std::getenv("TERM");
  const bool is_dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  return ::isatty(STDERR_FILENO) == 1 && !is_dumb ? Style::terminal : Style::plain;
}

PullDisplay::PullDisplay(std::string image, Style style) : style_(style) {
  view_.image = terminal_text(image);
  draw(false);
}

void PullDisplay::found(const registry::Digest& manifest, std::span<const registry::Descriptor> layers) {
  view_.layers.clear();
  uint64_t total = 0;
  for (const registry::Descriptor& layer : layers) {
    view_.layers.push_back({.id = layer.digest.short_hex(), .total_bytes = layer.size_bytes});
    total += layer.size_bytes;
  }
  if (style_ == Style::plain)
    say("found " + manifest.text() + ", " + std::to_string(layers.size()) +
        (layers.size() == 1 ? " layer, " : " layers, ") + readable_bytes(total));
  draw(false);
}

void PullDisplay::layer(size_t index, LayerPhase phase, uint64_t done_bytes, uint64_t total_bytes) {
  if (index >= view_.layers.size()) return;
  PullView::Layer& layer = view_.layers[index];
  const bool is_new = layer.phase != phase;
  layer.phase = phase;
  if (phase == LayerPhase::fetching) layer.done_bytes = done_bytes;
  if (total_bytes > 0) layer.total_bytes = total_bytes;
  if (style_ == Style::plain && is_new && phase != LayerPhase::waiting) {
    std::string text = layer.id + " " + std::string(phase_name(phase));
    if (phase == LayerPhase::fetching) text += " (" + readable_bytes(layer.total_bytes) + ")";
    say(text);
  }
  draw(false);
}

void PullDisplay::writing() {
  view_.writing = true;
  if (style_ == Style::plain) say("writing the root file system");
  draw(false);
}

void PullDisplay::finish() {
  if (finished_) return;
  draw(true);
  finished_ = true;
}

void PullDisplay::say(const std::string& text) {
  (void)sys::write_all(STDERR_FILENO, view_.image + ": " + text + "\n");
}

/// One write for a whole picture, each line cleared only behind its new text: so nothing flickers.
void PullDisplay::draw(bool is_last) {
  if (style_ != Style::terminal || finished_) return;
  const long long now_ns = sys::monotonic_ns();
  if (!is_last && now_ns < next_draw_ns_) return;
  next_draw_ns_ = now_ns + kRedrawNs;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) size = {.ws_row = 24, .ws_col = 80};
  // The last column and row stay free: writing there makes terminals wrap or scroll.
  const std::vector<std::string> lines =
      render(view_, size.ws_col > 1U ? size.ws_col - 1U : 1U, size.ws_row > 1U ? size.ws_row - 1U : 1U);
  std::string frame;
  if (drawn_lines_ > 0) frame += "\r\x1b[" + std::to_string(drawn_lines_) + "A";
  for (const std::string& line : lines) frame += line + "\x1b[K\n";
  if (lines.size() < drawn_lines_) frame += "\x1b[J";
  drawn_lines_ = lines.size();
  (void)sys::write_all(STDERR_FILENO, frame);
}

}  // namespace lambdo::cli
