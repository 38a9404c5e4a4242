#include "cli/image_source.h"

#include <utility>

namespace lambdo::cli {

static constexpr std::string_view kOci = "oci:";
static constexpr std::string_view kDockerArchive = "docker-archive:";

static Result<ImageSource> parse_local(ImageSource::Kind kind, std::string_view prefix,
                                       std::string_view text) {
  const std::string_view rest = text.substr(prefix.size());
  const size_t colon = rest.find(':');
  ImageSource source;
  source.kind = kind;
  source.path = rest.substr(0, colon);
  if (colon != std::string_view::npos) source.selector = rest.substr(colon + 1);
  if (source.path.empty()) {
    return fail(Code::invalid_argument,
                "\"" + std::string(text) + "\" names no " +
                    (kind == ImageSource::Kind::oci_layout ? "folder; write oci:FOLDER or oci:FOLDER:TAG"
                                                           : "file; write docker-archive:FILE or "
                                                             "docker-archive:FILE:NAME:TAG"));
  }
  if (colon != std::string_view::npos && source.selector.empty()) {
    return fail(Code::invalid_argument,
                "\"" + std::string(text) + "\" ends in a colon; write a tag after it, or leave it out");
  }
  return source;
}

Result<ImageSource> ImageSource::parse(std::string_view text) {
  if (text.starts_with(kOci)) return parse_local(Kind::oci_layout, kOci, text);
  if (text.starts_with(kDockerArchive)) return parse_local(Kind::docker_archive, kDockerArchive, text);
  ImageSource source;
  constexpr std::string_view kDocker = "docker://";
  source.reference =
      TRY(registry::Reference::parse(text.starts_with(kDocker) ? text.substr(kDocker.size()) : text));
  return source;
}

std::string ImageSource::text() const {
  if (kind == Kind::registry) return reference.familiar();
  std::string text(kind == Kind::oci_layout ? kOci : kDockerArchive);
  text += path;
  return selector.empty() ? text : text + ":" + selector;
}

}  // namespace lambdo::cli
