#include "cli/image/output.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>
#include <vector>

#include "base/text.h"
#include "cli/image/pull_display.h"
#include "cli/terminal_text.h"
#include "image/layouts/transfer.h"

namespace lambdo::cli {

static std::string date(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  std::array<char, 32> text{};
  if (::gmtime_r(&time, &parts) == nullptr) return {};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", &parts)};
}

static std::string state_of(const image::ImageSummary& image) {
  if (!image.complete) return "incomplete";
  std::string state;
  if (image.rootfs_bytes) state = "unpacked";
  if (image.initramfs_bytes > 0) state += state.empty() ? "initramfs" : ", initramfs";
  if (!state.empty()) return state;
  return image::ImagePlace::is_meant_by(image.name.source) ? "imported" : "fetched";
}

/// Cells are shown as terminal_text() gives them, wherever they come from.
static std::string table(std::vector<std::vector<std::string>> rows) {
  for (auto& row : rows) {
    for (std::string& cell : row) cell = terminal_text(cell);
  }
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += line + "\n";
  }
  return text;
}

std::string listing_text(const image::StoreListing& listing, const std::string& folder) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "DIGEST", "PLATFORM", "LAYERS", "SIZE", "UNPACKED", "STATE", "UPDATED (UTC)"}};
  for (const image::ImageSummary& image : listing.images) {
    rows.push_back({image.name.reference, image.name.manifest.short_hex(), image.name.platform.text(),
                    std::to_string(image.layers), readable_bytes(image.compressed_bytes),
                    image.rootfs_bytes ? readable_bytes(*image.rootfs_bytes) : "-", state_of(image),
                    date(image.name.updated_s)});
  }
  std::string text = listing.images.empty() ? "There are no images yet.\n" : table(std::move(rows));
  text += readable_bytes(listing.blob_bytes) + " in all, in " + terminal_text(folder);
  if (listing.unnamed_bytes > 0)
    text +=
        "; " + readable_bytes(listing.unnamed_bytes) + " of it that no name leads to (lambdo image prune)";
  return text + "\n";
}

static void write_name(JsonWriter& json, const image::Name& name) {
  json.field("name", name.reference).field("digest", name.manifest.text());
  json.field("platform", name.platform.text())
      .field("source", name.source)
      .field("updated_s", name.updated_s);
}

std::string listing_json(const image::StoreListing& listing, const std::string& folder) {
  JsonWriter json;
  json.begin_object().field("store", folder).key("images").begin_array();
  for (const image::ImageSummary& image : listing.images) {
    json.begin_object();
    write_name(json, image.name);
    json.field("complete", image.complete).field("layers", image.layers);
    json.field("compressed_bytes", image.compressed_bytes).key("rootfs_bytes");
    if (image.rootfs_bytes) {
      json.value(*image.rootfs_bytes);
    } else {
      json.null();
    }
    json.field("initramfs_bytes", image.initramfs_bytes).end_object();
  }
  json.end_array().field("blob_bytes", listing.blob_bytes).field("unnamed_bytes", listing.unnamed_bytes);
  return json.end_object().take() + "\n";
}

std::string image_text(const image::Name& name, const image::LocalImage& image, const std::string& rootfs) {
  std::vector<std::vector<std::string>> rows = {{"name", name.reference},
                                                {"digest", image.digest.text()},
                                                {"platform", image.config.platform.text()},
                                                {"source", name.source},
                                                {"updated", date(name.updated_s)},
                                                {"unpacked", rootfs.empty() ? "no" : rootfs}};
  if (!image.config.user.empty()) rows.push_back({"user", image.config.user});
  if (!image.config.working_dir.empty()) rows.push_back({"workdir", image.config.working_dir});
  if (!image.config.entrypoint.empty()) rows.push_back({"entrypoint", joined(image.config.entrypoint, " ")});
  if (!image.config.cmd.empty()) rows.push_back({"cmd", joined(image.config.cmd, " ")});
  for (const std::string& variable : image.config.env) rows.push_back({"env", variable});
  for (const image::Descriptor& layer : image.manifest.layers)
    rows.push_back({"layer", layer.digest.text() + "  " + readable_bytes(layer.size_bytes)});
  return table(std::move(rows));
}

static void write_strings(JsonWriter& json, const char* name, const std::vector<std::string>& strings) {
  json.key(name).begin_array();
  for (const std::string& text : strings) json.value(text);
  json.end_array();
}

std::string image_json(const image::Name& name, const image::LocalImage& image, const std::string& rootfs) {
  JsonWriter json;
  json.begin_object();
  write_name(json, name);
  json.key("rootfs");
  if (rootfs.empty()) {
    json.null();
  } else {
    json.value(rootfs);
  }
  json.key("config").begin_object();
  json.field("user", image.config.user).field("working_dir", image.config.working_dir);
  write_strings(json, "env", image.config.env);
  write_strings(json, "entrypoint", image.config.entrypoint);
  write_strings(json, "cmd", image.config.cmd);
  json.end_object().key("layers").begin_array();
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const image::Descriptor& layer = image.manifest.layers[i];
    json.begin_object().field("digest", layer.digest.text()).field("size_bytes", layer.size_bytes);
    json.field("media_type", layer.media_type).field("diff_id", image.config.diff_ids[i].text()).end_object();
  }
  return json.end_array().end_object().take() + "\n";
}

std::string prune_text(const image::PruneReport& report) {
  return "removed " + std::to_string(report.blobs) + " blobs, " + std::to_string(report.rootfs) +
         " unpacked images and " + std::to_string(report.initramfs) + " initramfs, which freed " +
         readable_bytes(report.bytes) + "\n";
}

std::string prune_json(const image::PruneReport& report) {
  JsonWriter json;
  json.begin_object().field("blobs", report.blobs).field("rootfs", report.rootfs);
  json.field("initramfs", report.initramfs).field("bytes", report.bytes);
  return json.end_object().take() + "\n";
}

}  // namespace lambdo::cli
