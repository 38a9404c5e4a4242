#include "kvm/boot/kernel_modules.h"

#include <algorithm>
#include <optional>
#include <ranges>

#include "base/syscalls.h"
#include "kvm/boot/decompress.h"
#include "kvm/boot/elf_file.h"

namespace lambdo::kvm {

namespace {

constexpr size_t kMaxModules = 64;            // per guest
constexpr size_t kMaxModuleBytes = 64 << 20;  // uncompressed

std::unexpected<Error> bad(std::string message) {
  return fail(Code::invalid_argument, std::move(message));
}

/// "kernel/drivers/virtio/virtio-rng.ko.xz" is the module virtio_rng (modprobe(8): '-' and '_' are the same).
std::string module_name(std::string_view path) {
  std::string name(path.substr(path.rfind('/') + 1));
  name = name.substr(0, name.find(".ko"));
  std::ranges::replace(name, '-', '_');
  return name;
}

/// A path below the folder, as depmod and the kernel's build write it.
bool is_inside(std::string_view path) {
  return !path.empty() && path[0] != '/' && !path.contains("..") && path.contains(".ko");
}

/// The lines of a list, each cut at its first ':' (what follows in modules.dep are dependencies).
Result<std::vector<std::string>> read_list(const std::string& path) {
  const std::string text = TRY(sys::read_file(path));
  std::vector<std::string> lines;
  for (const auto part : std::views::split(text, '\n')) {
    const std::string_view line(part.begin(), part.end());
    const std::string_view file = line.substr(0, line.find(':'));
    if (is_inside(file)) lines.emplace_back(file);
  }
  return lines;
}

/// The fields of .modinfo that matter here.
struct ModuleInfo {
  std::string vermagic_release;
  std::vector<std::string> depends;
};

std::vector<std::string> split_names(std::string_view list) {
  std::vector<std::string> names;
  for (const auto part : std::views::split(list, ',')) {
    if (!part.empty()) names.push_back(module_name(std::string_view(part.begin(), part.end())));
  }
  return names;
}

Result<ModuleInfo> read_info(std::span<const std::byte> module) {
  const ElfFile elf = TRY(ElfFile::parse(module));
  const auto section = TRY(elf.section(".modinfo"));
  if (section.empty()) return bad("is not a kernel module: it has no .modinfo");
  ModuleInfo info;
  const std::string_view text(reinterpret_cast<const char*>(section.data()), section.size());
  for (const auto part : std::views::split(text, '\0')) {
    std::string_view field(part.begin(), part.end());
    const size_t equals = field.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view value = field.substr(equals + 1);
    if (field.starts_with("depends=")) info.depends = split_names(value);
    if (field.starts_with("vermagic=")) info.vermagic_release = value.substr(0, value.find(' '));
  }
  return info;
}

/// The file as listed or, because the build lists it without, with a compressed module's ending.
Result<std::vector<std::byte>> read_module(const std::string& listed_path) {
  std::string path = listed_path;
  for (const std::string_view ending : {"", ".xz", ".zst", ".gz"}) {
    if (!sys::exists(listed_path + std::string(ending))) continue;
    path = listed_path + std::string(ending);
    break;
  }
  const std::string file = TRY(sys::read_file(path, kMaxModuleBytes));
  const auto bytes = std::as_bytes(std::span(file));
  if (const auto compression = detect_compression(bytes)) {
    auto content = decompress(bytes, *compression, kMaxModuleBytes);
    if (!content) return std::unexpected(std::move(content).error().with_context(path));
    return content;
  }
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

}  // namespace

/// One walk through the dependencies, depth first: a module follows all that it needs.
class ModulesFolder::Resolver {
 public:
  Resolver(const ModulesFolder& folder, std::string_view kernel_version)
      : folder_(folder), kernel_version_(kernel_version) {}

  Result<> add(const std::string& name, std::string_view needed_by) {
    if (folder_.builtin_.contains(name) || !visited_.insert(name).second) return {};
    if (visited_.size() > kMaxModules) return bad("more than " + std::to_string(kMaxModules) + " modules");
    const auto file = folder_.files_.find(name);
    if (file == folder_.files_.end()) {
      const std::string why = needed_by.empty() ? "" : ", which " + std::string(needed_by) + " needs";
      return fail(Code::not_found, "modules folder " + folder_.path_ + " has no module " + name + why +
                                       ": is it the folder of this kernel?");
    }
    const std::string path = folder_.path_ + "/" + file->second;
    auto bytes = read_module(path);
    if (!bytes) return std::unexpected(std::move(bytes).error().with_context("kernel module"));
    const auto info = read_info(*bytes);
    if (!info) return std::unexpected(Error(info.error()).with_context("kernel module " + path));
    if (!kernel_version_.empty() && info->vermagic_release != kernel_version_) {
      return bad("kernel module " + path + " is for kernel " + info->vermagic_release + ", the kernel is " +
                 std::string(kernel_version_) + ": give the modules folder of that kernel");
    }
    for (const std::string& needed : info->depends) TRY(add(needed, name));
    modules_.push_back({.name = name, .bytes = std::move(*bytes)});
    return {};
  }

  std::vector<KernelModule> take() { return std::move(modules_); }

 private:
  const ModulesFolder& folder_;
  std::string_view kernel_version_;
  std::set<std::string, std::less<>> visited_;
  std::vector<KernelModule> modules_;
};

Result<ModulesFolder> ModulesFolder::open(const std::string& path) {
  ModulesFolder folder;
  folder.path_ = path;
  if (!sys::exists(path)) return fail(Code::not_found, "modules folder " + path + " does not exist");
  bool listed = false;
  for (const std::string_view list : {"modules.order", "modules.dep"}) {
    const std::string list_path = path + "/" + std::string(list);
    if (!sys::exists(list_path)) continue;
    listed = true;
    for (std::string& file : TRY(read_list(list_path))) folder.files_[module_name(file)] = std::move(file);
  }
  if (!listed) {
    return bad("modules folder " + path +
               " has neither modules.dep nor modules.order: give the folder lib/modules/VERSION");
  }
  const std::string builtin_path = path + "/modules.builtin";
  if (sys::exists(builtin_path)) {
    for (const std::string& file : TRY(read_list(builtin_path))) folder.builtin_.insert(module_name(file));
  }
  return folder;
}

Result<std::vector<KernelModule>> ModulesFolder::resolve(std::span<const std::string_view> wanted,
                                                         std::string_view kernel_version) const {
  Resolver resolver(*this, kernel_version);
  for (const std::string_view name : wanted) TRY(resolver.add(module_name(name), ""));
  return resolver.take();
}

bool ModulesFolder::has(std::string_view name) const {
  return files_.contains(module_name(name)) || builtin_.contains(module_name(name));
}

}  // namespace lambdo::kvm
