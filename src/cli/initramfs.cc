#include "cli/initramfs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "cli/image/pull_display.h"
#include "cli/image/session.h"
#include "cli/usage.h"
#include "image/image_source.h"
#include "image/initramfs_writer.h"
#include "image/store/private_store.h"

namespace lambdo::cli {

namespace {

constexpr const char* kInitramfsExamples =
    R"(Fetches an image and writes it as an initramfs, with /init, /agent and /config.yaml from these files in it: what the
original Lambdo boots. Without --store the image is kept for as long as this takes only.

Examples:
  lambdo initramfs --image alpine:3.20                 writes initramfs-alpine-3.20.img
  lambdo initramfs -i library/python:3.12 --init build/init --agent build/agent -o python.img
  lambdo initramfs -i tool:1 -r http://localhost:5000/v2 --compression zstd)";

using image::CancelToken;
using reactor::Task;

/// The registry's root as `HostSettings` has it: the original's flags name it with "/v2".
std::string without_version(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  if (url.ends_with("/v2")) url.resize(url.size() - 3);
  return url;
}

/// "initramfs-library-python-3.12.img", with the name as it was written.
std::string output_name(const std::string& written, const image::ImageSource& source) {
  std::string name;
  std::string tag = source.place.name;
  if (source.kind == image::ImageSource::Kind::registry) {
    name = written.substr(0, written.find('@'));
    const size_t colon = name.rfind(':');
    if (colon != std::string::npos && name.find('/', colon) == std::string::npos) name.resize(colon);
    tag = source.reference.digest ? source.reference.digest->short_hex() : source.reference.tag;
  } else {
    const std::string& path = source.place.path;
    const size_t last = path.find_last_not_of('/');
    name = path.substr(last == std::string::npos ? 0 : path.rfind('/', last) + 1);
  }
  if (tag.empty()) tag = registry::Reference::kDefaultTag;
  std::string file = "initramfs-" + name + "-" + tag + ".img";
  std::ranges::replace(file, '/', '-');
  return file;
}

struct ExtraFiles {
  Fd init;
  Fd agent;
  Fd agent_config;
};

Result<Fd> open_extra(const std::string& path, const char* flag) {
  auto fd = sys::open(path, O_RDONLY | O_NONBLOCK);
  if (!fd) return std::unexpected(std::move(fd).error().with_context(flag));
  struct stat status{};
  if (::fstat(fd->get(), &status) < 0) return fail_errno(path);
  if (!S_ISREG(status.st_mode))
    return fail(Code::invalid_argument, std::string(flag) + ": " + path + " is no file");
  return fd;
}

Task<Result<>> write(const InitramfsOptions& options, const config::Config& config,
                     const image::ImageSource& source, const ExtraFiles& files,
                     image::ImageServices& services, CancelToken token) {
  const ImageSettings& settings = options.settings;
  PullDisplay display(source.text(), settings.json || settings.quiet
                                         ? PullDisplay::Style::none
                                         : PullDisplay::style_for_standard_error());
  auto pulled = co_await services.bring(source, {}, config.registries.platform,
                                        image::PullRequest::Policy::always, false, &display, token);
  display.finish();
  if (!pulled) co_return std::unexpected(std::move(pulled).error().with_context(options.image));
  const std::string output = options.output.empty() ? output_name(options.image, source) : options.output;
  constexpr uint32_t kProgramMode = 0755;
  constexpr uint32_t kFileMode = 0644;
  const image::InitramfsOptions archive{
      .compression = options.compression,
      .first = {},
      .last = {{.name = "init", .mode = kProgramMode, .fd = files.init.get()},
               {.name = "agent", .mode = kProgramMode, .fd = files.agent.get()},
               {.name = "config.yaml", .mode = kFileMode, .fd = files.agent_config.get()}}};
  CO_TRY(co_await image::write_image_initramfs(services, pulled->image, archive, output, token));
  if (!settings.json) co_return print(output + "\n");
  JsonWriter json;
  json.begin_object().field("file", output).field("digest", pulled->image.digest.text());
  co_return print(json.end_object().take() + "\n");
}

Result<int> run(const ImageCommand& command, const InitramfsOptions& options) {
  config::Config config = TRY(image_config(options.settings));
  const image::ImageSource source = TRY(image::ImageSource::parse(options.image));
  ExtraFiles files;
  files.init = TRY(open_extra(options.init, "--init"));
  files.agent = TRY(open_extra(options.agent, "--agent"));
  files.agent_config = TRY(open_extra(options.agent_config, "--agent-config"));
  registry::HostSettings& host = config.registries.hosts[source.reference.host];
  if (!options.registry_url.empty()) host.url = without_version(options.registry_url);
  if (!options.auth_url.empty()) host.token_url = options.auth_url;
  log::configure(log::Level::warning, config.log.format);
  std::optional<image::PrivateStore> own_store;
  if (command.store == StoreKind::temporary) {
    own_store = TRY(image::PrivateStore::create());
    config.images.store = own_store->path();
  }
  return run_image_work(command, config, [&](image::ImageServices& services, CancelToken token) {
    return write(options, config, source, files, services, token);
  });
}

}  // namespace

CLI::App* add_initramfs(CLI::App& app, InitramfsOptions& options) {
  CLI::App* initramfs = app.add_subcommand("initramfs", "Write an image as an initramfs with an init in it");
  initramfs->add_option("-i,--image", options.image, "The image")->type_name("IMAGE")->required();
  initramfs->add_option("--init", options.init, "Becomes /init")->type_name("FILE")->capture_default_str();
  initramfs->add_option("--agent", options.agent, "Becomes /agent")->type_name("FILE")->capture_default_str();
  initramfs->add_option("--agent-config", options.agent_config, "Becomes /config.yaml")
      ->type_name("FILE")
      ->capture_default_str();
  initramfs
      ->add_option("-a,--auth-url", options.auth_url,
                   "Where tokens come from, instead of what the registry says")
      ->type_name("URL");
  initramfs
      ->add_option("-r,--registry-url", options.registry_url,
                   "The registry's API, instead of its usual place")
      ->type_name("URL");
  initramfs->add_option("-o,--output", options.output, "Instead of initramfs-NAME-TAG.img")
      ->type_name("FILE");
  add_compression(*initramfs, options.compression, "gzip");
  add_image_settings(*initramfs, options.settings, true);
  initramfs->footer(kInitramfsExamples);
  return initramfs;
}

int initramfs(const InitramfsOptions& options) {
  const bool is_kept = !options.settings.store.empty() || !options.settings.config_path.empty();
  const ImageCommand command{.name = "initramfs",
                             .settings = options.settings,
                             .store = is_kept ? StoreKind::kept : StoreKind::temporary};
  const auto exit_code = run(command, options);
  return exit_code ? *exit_code : report_image_error(command, exit_code.error());
}

}  // namespace lambdo::cli
