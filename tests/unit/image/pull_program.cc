#include <cstdio>
#include <string>

#include "http/client/client.h"
#include "image/pull.h"
#include "image/store/store.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "registry/client.h"

/// A program to be killed by tests: pulls an image from a registry without TLS into a store, unpacks it,
/// takes it away again, and so on as often as asked for.
///
///   pull_program STORE REFERENCE TIMES
namespace {

using namespace lambdo;

int pull(const std::string& folder, const std::string& text, int times) {
  const auto store = image::Store::open(folder);
  const auto reference = registry::Reference::parse(text);
  auto reactor = reactor::Reactor::create();
  if (!store || !reference || !reactor) return 2;
  (*store)->remove_leftovers(nullptr);
  reactor::BlockingPool pool(**reactor, 4);
  auto http = http::Client::create(**reactor, {});
  if (!http) return 2;
  registry::Settings settings;
  settings.hosts[reference->host].plain_http = true;
  settings.docker_config_folder.clear();
  registry::Client client(**reactor, **http, pool, settings);
  image::Puller puller(**reactor, pool, client, **store);
  int status = 0;
  for (int i = 0; i < times && status == 0; ++i) {
    if (i > 0 && (!(*store)->remove_name(reference->text()) || !(*store)->prune())) status = 3;
    const image::PullRequest request{.reference = *reference, .platform = {}, .unpack = true, .source = {}};
    const auto pulled = (*reactor)->run(puller.pull(request, nullptr, {}));
    if (!pulled) {
      std::fprintf(stderr, "%s\n", pulled.error().message.c_str());
      status = 1;
    } else {
      std::printf("%s %s\n", pulled->image.digest.text().c_str(), pulled->rootfs->c_str());
      std::fflush(stdout);
    }
  }
  (*reactor)->run((*http)->close());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return pull(argv[1], argv[2], std::stoi(argv[3]));
}
