#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "image/store/store.h"
#include "registry/json_object.h"

/// The names of a store: a small JSON file each, whose own name is the digest of the reference, so that any
/// reference is a valid file name.
namespace lambdo::image {

namespace {

constexpr size_t kMaxReferenceBytes = 1024;
constexpr size_t kMaxSourceBytes = 4096;
constexpr size_t kMaxNameFileBytes = 16 << 10;
constexpr size_t kMaxNames = 65'536;

std::string write_name(const Name& name) {
  JsonWriter json;
  json.begin_object()
      .field("reference", name.reference)
      .field("manifest", name.manifest.text())
      .field("os", name.platform.os)
      .field("architecture", name.platform.architecture)
      .field("variant", name.platform.variant)
      .field("source", name.source)
      .field("updated", name.updated_s)
      .end_object();
  return json.take();
}

Result<Name> parse_name(std::string_view text, const std::string& path) {
  const auto document = TRY(registry::JsonDocument::parse(text, path, Code::store_invalid));
  const registry::JsonObject& root = document.root();
  Name name;
  name.reference = TRY(root.required_text("reference"));
  const std::string manifest = TRY(root.required_text("manifest"));
  name.manifest = TRY(Digest::parse(manifest));
  name.platform.os = TRY(root.required_text("os"));
  name.platform.architecture = TRY(root.required_text("architecture"));
  name.platform.variant = TRY(root.required_text("variant"));
  name.source = TRY(root.required_text("source"));
  name.updated_s = static_cast<int64_t>(TRY(root.required_number("updated")));
  return name;
}

}  // namespace

std::string Store::name_path(std::string_view reference) const {
  return folder_ + "/names/" + Digest::of(reference).hex();
}

Result<> Store::set_name(const Name& name) {
  if (name.reference.empty() || name.reference.size() > kMaxReferenceBytes ||
      name.source.size() > kMaxSourceBytes) {
    return fail(Code::invalid_argument,
                name.reference.empty()
                    ? "the name of an image is empty"
                    : "the name of an image has " + std::to_string(name.reference.size()) +
                          " bytes, and its source " + std::to_string(name.source.size()) + "; at most " +
                          std::to_string(kMaxReferenceBytes) + " and " + std::to_string(kMaxSourceBytes) +
                          " can be kept: give it a shorter one");
  }
  const FileLock lock = TRY(shared_lock());
  return write_small_file(name_path(name.reference), write_name(name));
}

/// nullopt where there is none, store_invalid where it is damaged. Nothing is removed here: another process
/// may put a good one into its place at this moment.
Result<std::optional<Name>> Store::read_name(const std::string& path) {
  auto text = sys::read_file(path, kMaxNameFileBytes);
  if (!text && text.error().code == Code::not_found) return std::nullopt;
  if (!text && text.error().code == Code::payload_too_large)
    return fail(Code::store_invalid, "it is too large");
  if (!text) return std::unexpected(std::move(text).error());
  auto name = parse_name(*text, path);
  if (!name) return std::unexpected(std::move(name).error().with_code(Code::store_invalid));
  if (name_path(name->reference) != path) return fail(Code::store_invalid, "it belongs to another reference");
  return *std::move(name);
}

Result<std::optional<Name>> Store::find_name(std::string_view reference) {
  auto name = read_name(name_path(reference));
  if (name || name.error().code != Code::store_invalid) return name;
  log::warning("A damaged name of an image counts as none",
               {{"path", name_path(reference)}, {"error", name.error().message}});
  return std::nullopt;
}

Result<std::vector<Name>> Store::names() {
  return read_names(DamagedNames::stay);
}

/// Damaged ones may go only while the store's lock is held against all others.
Result<std::vector<Name>> Store::read_names(DamagedNames damaged_names) {
  std::vector<Name> names;
  for (const std::string& file : TRY(sys::list_directory(folder_ + "/names"))) {
    if (names.size() == kMaxNames) {
      return fail(Code::resource_exhausted,
                  folder_ + " has more than " + std::to_string(kMaxNames) + " names");
    }
    const std::string path = folder_ + "/names/" + file;
    auto name = read_name(path);
    if (name) {
      if (*name) names.push_back(**std::move(name));
      continue;
    }
    if (name.error().code != Code::store_invalid) return std::unexpected(std::move(name).error());
    const bool goes = damaged_names == DamagedNames::go;
    log::warning(goes ? "A damaged name of an image is removed" : "A damaged name of an image counts as none",
                 {{"path", path}, {"error", name.error().message}});
    if (goes) TRY(sys::unlink(path));
  }
  std::ranges::sort(names, {}, &Name::reference);
  return names;
}

Result<> Store::remove_name(std::string_view reference) {
  const FileLock lock = TRY(shared_lock());
  if (!TRY(sys::unlink(name_path(reference)))) {
    return fail(Code::not_found, "no image is called " + std::string(reference));
  }
  return sys::sync_folder(folder_ + "/names");
}

}  // namespace lambdo::image
