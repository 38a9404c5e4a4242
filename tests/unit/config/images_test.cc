#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/config.h"
#include "image/image_source.h"

#include "test.h"

// Where images come from: `images`, `registries`, languages[].image and languages[].include.
namespace lambdo::config {

static const std::string kHead = "apiVersion: lambdo.io/v1alpha1\nkind: Config\n";        // lines 1 and 2
static const std::string kLanguages = "languages: [{name: a, steps: [{command: x}]}]\n";  // one line

static std::string problems_of(const std::vector<Diagnostic>& diagnostics) {
  std::string text;
  for (const Diagnostic& diagnostic : diagnostics) {
    text += (diagnostic.severity == Severity::warning ? "warning " : "") + diagnostic.text + "\n";
  }
  return text;
}

class ConfigFolder {
 public:
  ConfigFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "lambdo-config-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ConfigFolder(const ConfigFolder&) = delete;
  ConfigFolder& operator=(const ConfigFolder&) = delete;
  ~ConfigFolder() { std::filesystem::remove_all(path_); }

  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

TEST_CASE(
    "without a word on images the store is in the state directory, and registries have their defaults") {
  const Config config = parse_config(kHead + "state_dir: /s\n" + kLanguages, "c").value();
  CHECK_EQ(config.store_folder(), "/s/images");
  CHECK(config.images.pull == Config::Pull::missing);
  CHECK_EQ(config.registries.parallel_downloads, 3);
  CHECK_EQ(config.registries.min_kb_per_s, 4);
  CHECK_EQ(config.registries.platform.os, "linux");
  CHECK(config.registries.hosts.empty());
  CHECK_FALSE(config.registries.credentials.has_value());
}

TEST_CASE("images and registries are read") {
  const Config config = parse_config(kHead + kLanguages + R"(
images: {store: /pool/images, pull: never}
registries:
  platform: linux/arm/v7
  parallel_downloads: 5
  min_kb_per_s: 64
  max_layers: 10
  max_compressed_mb: 100
  max_unpacked_mb: 200
  ca_file: ca.pem
  credentials: ""
  hosts:
    docker.io: {mirrors: ["https://mirror.example", "http://10.0.0.5:5000"]}
    localhost:5000: {plain_http: true}
    registry.example: {url: "https://other.example/prefix", token_url: "https://auth.example/token"}
)",
                                     "c")
                            .value();
  CHECK_EQ(config.store_folder(), "/pool/images");
  CHECK(config.images.pull == Config::Pull::never);
  CHECK_EQ(config.registries.platform.text(), "linux/arm/v7");
  CHECK_EQ(config.registries.parallel_downloads, 5);
  CHECK_EQ(config.registries.min_kb_per_s, 64);
  CHECK_EQ(config.registries.caps.max_layers, 10);
  CHECK_EQ(config.registries.caps.max_compressed_bytes, uint64_t{100} << 20);
  CHECK_EQ(config.registries.caps.max_unpacked_bytes, uint64_t{200} << 20);
  CHECK_EQ(config.registries.ca_file, "ca.pem");
  CHECK_EQ(config.registries.credentials, "");
  CHECK_EQ(config.registries.hosts.at("docker.io").mirrors.size(), 2);
  CHECK(config.registries.hosts.at("localhost:5000").plain_http);
  CHECK_EQ(config.registries.hosts.at("registry.example").token_url, "https://auth.example/token");
}

TEST_CASE("mistakes about images name line, key and remedy") {
  const std::string start = kHead + kLanguages;  // 3 lines
  const std::pair<std::string, std::string> rows[] = {
      {"images: {pull: sometimes}\n",
       "c.yaml:4: images.pull: \"sometimes\" is not known here; write missing, always or never\n"},
      {"registries: {platform: windows}\n",
       "c.yaml:4: registries.platform: \"windows\" is not a platform; write one such as linux/amd64 or "
       "linux/arm64\n"},
      {"registries: {hosts: {docker.io: {mirrors: [mirror.example]}}}\n",
       "c.yaml:4: registries.hosts.docker.io.mirrors[0]: \"mirror.example\" is not a URL; write one such as "
       "https://mirror.example or http://10.0.0.5:5000\n"},
      {"registries:\n  hosts:\n    https://docker.io: {plain_http: true}\n",
       "c.yaml:6: registries.hosts.https://docker.io: is not a registry's host; write it as in references, "
       "with "
       "its port where it has one: docker.io, registry.example or localhost:5000\n"},
      {"registries: {parallel_downloads: 0}\n",
       "c.yaml:4: registries.parallel_downloads: 0 is out of range; write a whole number from 1 to 32\n"},
      {"registries: {min_kb_per_s: 1048577}\n",
       "c.yaml:4: registries.min_kb_per_s: 1048577 is out of range; write a whole number from 0 to "
       "1048576\n"},
      {"registries: {hosts: {docker.io: {plainhttp: true}}}\n",
       "warning c.yaml:4: registries.hosts.docker.io.plainhttp: unknown key, ignored; did you mean "
       "\"plain_http\"?\n"},
  };
  for (const auto& [text, expected] : rows) {
    CAPTURE(text);
    CHECK_EQ(problems_of(check_config(start + text, "c.yaml").diagnostics), expected);
  }
}

TEST_CASE("a language is made of an image, or of a rootfs and an initramfs") {
  const auto check = [](const std::string& keys) {
    return check_config(kHead + "languages:\n  - name: a\n    steps: [{command: x}]\n" + keys, "c.yaml");
  };
  CHECK_EQ(check("    image: oci:/images/a\n").value->languages[0].image, "oci:/images/a");
  CHECK_EQ(problems_of(check("    rootfs: /r\n    image: python:3.12\n").diagnostics),
           "c.yaml:7: languages[0].image: is there beside rootfs, and guests are made of one of them; remove "
           "image or rootfs\n");
  CHECK_EQ(problems_of(check("    image: python:3.12\n    initramfs: /i\n").diagnostics),
           "c.yaml:6: languages[0].image: is there beside initramfs, and guests are made of one of them; "
           "remove image or initramfs\n");
  const std::string wrong = problems_of(check("    image: UPPER/Case\n").diagnostics);
  CHECK_MESSAGE(wrong.starts_with("c.yaml:6: languages[0].image: "), wrong);
  CHECK_NE(wrong.find("docker.io/library/python:3.12-slim"), std::string::npos);
}

TEST_CASE("an entry of languages includes a file, and what it says itself goes before that") {
  const ConfigFolder folder;
  folder.write("languages/ruby.yaml",
               "apiVersion: lambdo.io/v1alpha1\nkind: Language\nname: ruby\nversion: 3.3\nimage: ruby:3.3\n"
               "environment: {HOME: /tmp}\nsteps: [{command: \"ruby {{filename}}\"}]\n");
  const std::string main =
      folder.write("lambdo.yaml", kHead +
                                      "languages:\n  - include: languages/ruby.yaml\n"
                                      "  - include: languages/ruby.yaml\n    version: 3.2\n    warm: 7\n"
                                      "    rootfs: /ruby\n");
  const Config config = load_config(main).value();
  REQUIRE_EQ(config.languages.size(), 2);
  CHECK_EQ(config.languages[0].image, "ruby:3.3");
  CHECK_EQ(config.languages[0].steps[0].command, "ruby {{filename}}");
  CHECK_EQ(config.languages[1].version, "3.2");
  CHECK_EQ(config.languages[1].warm, 7);
  CHECK_EQ(config.languages[1].rootfs, "/ruby");
  CHECK_EQ(config.languages[1].image, "");
  CHECK_EQ(config.languages[1].environment.size(), 1);
  CHECK(config.warnings.empty());
}

TEST_CASE("a problem of an included file is told with that file and its line") {
  const ConfigFolder folder;
  folder.write("bad.yaml",
               "apiVersion: lambdo.io/v1alpha1\nkind: Language\nname: a b\nwarm: lots\nstep: []\n");
  folder.write("server.yaml", kHead + kLanguages);
  folder.write(
      "nested.yaml",
      "apiVersion: lambdo.io/v1alpha1\nkind: Language\nname: n\nsteps: [{command: x}]\ninclude: bad.yaml\n");
  const std::string main =
      folder.write("lambdo.yaml", kHead +
                                      "languages:\n  - include: bad.yaml\n  - include: none.yaml\n"
                                      "  - include: server.yaml\n  - include: nested.yaml\n");
  const auto checked = check_config(read_config_file(main).value(), main);
  const std::string bad = folder.path("bad.yaml");
  const std::string text = problems_of(checked.diagnostics);
  const std::string expected[] = {
      main + ":4: languages[0].steps: is missing; write at least one step with its command",
      main + ":5: languages[1].include: open " + folder.path("none.yaml") + ": No such file or directory",
      bad + ":3: name: \"a b\" is not allowed",
      bad + ":4: warm: must be a number, not \"lots\"",
      "warning " + bad + ":5: step: unknown key, ignored; did you mean \"steps\"?",
      folder.path("server.yaml") + ":2: kind: this is a server's configuration",
      folder.path("nested.yaml") + ":5: include: an included file cannot include another",
  };
  for (const std::string& line : expected) CHECK_MESSAGE(text.find(line) != std::string::npos, text);
}

TEST_CASE("of an included file that cannot be read nothing else is told") {
  const ConfigFolder folder;
  folder.write("broken.yaml", "apiVersion: [\n");
  const std::string main = folder.write(
      "lambdo.yaml", kHead + "languages:\n  - include: none.yaml\n  - {include: broken.yaml, warm: 1}\n");
  const auto checked = check_config(read_config_file(main).value(), main);
  const std::string text = problems_of(checked.diagnostics);
  CHECK_MESSAGE(checked.diagnostics.size() == 2, text);
  CHECK_MESSAGE(text.contains(main + ":4: languages[0].include: open " + folder.path("none.yaml")), text);
  CHECK_MESSAGE(text.contains(folder.path("broken.yaml") + ":"), text);
}

TEST_CASE("a language's file is checked by itself") {
  const auto good = check_language(
      "apiVersion: lambdo.io/v1alpha1\nkind: Language\nname: a\nimage: a\nsteps: [{command: x}]\n", "l.yaml");
  REQUIRE(good.value.has_value());
  CHECK_EQ(good.value->image, "a");
  CHECK_EQ(problems_of(check_config(read_config_file("/dev/null").value(), "l.yaml").diagnostics),
           "l.yaml:1: is empty; start it with apiVersion and kind\n");
  const auto whole = check_config("apiVersion: lambdo.io/v1alpha1\nkind: Language\n" + kLanguages, "l.yaml");
  CHECK_NE(problems_of(whole.diagnostics).find("this is a language's definition"), std::string::npos);
}

TEST_CASE("the ready-made languages are in order, and a configuration may include all of them") {
  const std::filesystem::path folder = LAMBDO_SOURCE_ROOT "/examples/languages";
  std::string text = kHead + "languages:\n";
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".yaml") continue;
    const auto checked = check_language(read_config_file(entry.path()).value(), entry.path());
    CHECK_EQ(problems_of(checked.diagnostics), "");
    text += "  - include: " + entry.path().string() + "\n";
    ++count;
  }
  CHECK_GE(count, 12);
  const auto whole = check_config(text, "c.yaml");
  CHECK_EQ(problems_of(whole.diagnostics), "");
  REQUIRE(whole.value.has_value());
  for (const engine::Language& language : whole.value->languages) {
    CAPTURE(language.name);
    CHECK(image::ImageSource::parse(language.image).value().kind == image::ImageSource::Kind::registry);
    CHECK_NE(image::ImageSource::parse(language.image).value().reference.tag, "latest");
  }
}

TEST_CASE("where an image comes from is read as it is written") {
  struct Row {
    const char* text;
    image::ImagePlace::Kind kind;
    const char* path;
    const char* selector;
  };
  constexpr Row kRows[] = {
      {"oci:/a/b", image::ImagePlace::Kind::oci_layout, "/a/b", ""},
      {"oci:b:1.2", image::ImagePlace::Kind::oci_layout, "b", "1.2"},
      {"docker-archive:x.tar", image::ImagePlace::Kind::docker_archive, "x.tar", ""},
      {"docker-archive:x.tar:a/b:c", image::ImagePlace::Kind::docker_archive, "x.tar", "a/b:c"},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.text);
    const image::ImageSource source = image::ImageSource::parse(row.text).value();
    CHECK(source.kind == image::ImageSource::Kind::place);
    CHECK(source.place.kind == row.kind);
    CHECK_EQ(source.place.path, row.path);
    CHECK_EQ(source.place.name, row.selector);
    CHECK_EQ(source.text(), row.text);
  }
  CHECK_EQ(image::ImageSource::parse("python").value().reference.text(), "docker.io/library/python:latest");
  CHECK_EQ(image::ImageSource::parse("docker://a.b/c:d").value().reference.text(), "a.b/c:d");
  for (const char* wrong : {"oci:", "oci::tag", "oci:/a:", "docker-archive:", "A/B", ""}) {
    CAPTURE(wrong);
    REQUIRE_FALSE(image::ImageSource::parse(wrong));
    CHECK(image::ImageSource::parse(wrong).error().code == Code::invalid_argument);
  }
}

}  // namespace lambdo::config
