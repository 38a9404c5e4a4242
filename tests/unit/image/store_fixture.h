#pragma once

#include <memory>
#include <string>
#include <vector>

#include "image/store/store.h"

namespace lambdo::image {

/// A store in a folder of its own, which is removed at the end.
class StoreFolder {
 public:
  StoreFolder();
  ~StoreFolder();
  StoreFolder(const StoreFolder&) = delete;
  StoreFolder& operator=(const StoreFolder&) = delete;

  /// The folder around the store, for whatever else a test needs.
  [[nodiscard]] const std::string& around() const { return around_; }
  [[nodiscard]] std::string path() const { return around_ + "/images"; }
  [[nodiscard]] std::unique_ptr<Store> open() const;
  /// The files in one of its subfolders.
  [[nodiscard]] std::vector<std::string> files(const std::string& subfolder) const;

 private:
  std::string around_;
};

Descriptor descriptor_of(std::string_view content, std::string_view media_type = {});

/// Puts an image into the store whose layers have these contents (no real tar archives); gives its manifest.
Digest put_image(Store& store, const std::vector<std::string>& layers);

void write_file(const std::string& path, std::string_view content);

/// Runs a line of shell, which must succeed.
void shell(const std::string& line);

/// Makes an OCI layout with umoci below `folder`, with one image "first" of two layers, and gives its path.
/// /etc/name is "upper\n", and what the lower layer had in /etc/gone is gone.
std::string make_layout_with_umoci(const std::string& folder);

/// An OCI layout that tests write by hand. Entries are JSON texts of descriptors.
class FakeLayout {
 public:
  explicit FakeLayout(std::string path);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// An image whose layers have these contents (no real tar archives); gives its entry.
  std::string add_image(const std::string& architecture, const std::vector<std::string>& layers);
  std::string add_index(const std::vector<std::string>& entries);
  void write_index(const std::vector<std::string>& entries);
  /// The entry of the image added last.
  [[nodiscard]] const std::string& image() const { return image_; }
  [[nodiscard]] const std::string& last_blob() const { return last_blob_; }

 private:
  std::string add_blob(const std::string& content, std::string_view media_type, const std::string& more = {});

  std::string path_;
  std::string image_;
  std::string last_blob_;
};

}  // namespace lambdo::image
