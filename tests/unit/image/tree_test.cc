#include "image/layers/tree.h"

#include "image_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

Code code_of(const Result<Tree>& tree) {
  return tree ? Code::internal : tree.error().code;
}

/// All paths of a tree, sorted, a folder's with a '/' behind it.
std::string paths(const Tree& tree, Tree::NodeId folder = Tree::kRoot) {
  std::string text;
  for (const Tree::NodeId id : tree.children(folder)) {
    text += tree.path(id) + (tree.inode_of(id).is_folder() ? "/ " : " ");
    text += paths(tree, id);
  }
  return text;
}

/// A layer whose entries no archive could bring into the tree.
Result<> apply(Tree& tree, Workshop& workshop, const std::vector<TarEntry>& entries) {
  const auto layer = workshop.read(tar(entries));
  REQUIRE(layer);
  return tree.apply(*layer, workshop.stop);
}

}  // namespace

TEST_CASE("a new tree has a root, of the year 1970") {
  const Tree tree;
  CHECK(tree.size() == 1);
  CHECK(tree.path(Tree::kRoot).empty());
  CHECK(tree.inode_of(Tree::kRoot).mode == (S_IFDIR | 0755));
  CHECK(tree.inode_of(Tree::kRoot).mtime_s == 0);
  CHECK(tree.find("/") == Tree::kRoot);
}

TEST_CASE("what is replaced or whited out is gone, and its place is used again") {
  Workshop workshop;
  Tree tree;
  REQUIRE(apply(tree, workshop,
                {folder("a"), file("a/1"), file("a/2"), folder("a/b"), file("a/b/3"), file("c")}));
  CHECK(tree.size() == 7);
  const size_t inodes = tree.inode_bound();
  REQUIRE(apply(tree, workshop, {file(".wh.a", "")}));
  CHECK(paths(tree) == "c ");
  CHECK(tree.size() == 2);
  REQUIRE(apply(tree, workshop, {folder("x"), file("x/1"), file("x/2"), file("x/3"), file("x/4")}));
  CHECK(paths(tree) == "c x/ x/1 x/2 x/3 x/4 ");
  CHECK(tree.inode_bound() == inodes);
}

TEST_CASE("children are sorted by the bytes of their names") {
  Workshop workshop;
  Tree tree;
  REQUIRE(apply(tree, workshop,
                {file("b"), file("\xff"), file("a-b"), folder("a"), file("a/x"), file("A"), file("ab")}));
  CHECK(paths(tree) == "A a/ a/x a-b ab b \xff ");
}

TEST_CASE("paths are found through the image's symlinks and never outside of it") {
  Workshop workshop;
  Tree tree;
  REQUIRE(apply(tree, workshop,
                {folder("usr"), folder("usr/bin"), file("usr/bin/env"), symlink("bin", "usr/bin"),
                 symlink("abs", "/usr"), symlink("up", "../../../../usr/bin"), symlink("loop", "loop"),
                 symlink("last", "bin/env"), symlink("host", "/etc/passwd")}));
  const Tree::NodeId env = tree.find("usr/bin/env");
  REQUIRE(env != Tree::kNone);
  for (const char* path :
       {"/usr/bin/env", "bin/env", "abs/bin/env", "up/env", "last", "usr/../bin/./env", "../usr/bin/env"}) {
    CAPTURE(path);
    CHECK(tree.find(path) == env);
  }
  for (const char* path :
       {"loop", "loop/x", "host", "etc/passwd", "usr/bin/env/x", "usr/bin/env/..", "missing", ""}) {
    CAPTURE(path);
    CHECK(tree.find(path) == (*path == '\0' ? Tree::kRoot : Tree::kNone));
  }
  CHECK(tree.path(tree.find("last", Tree::LastPart::is_taken_as_it_is)) == "last");
  CHECK(tree.path(env) == "usr/bin/env");
}

TEST_CASE("a file can be read while it is in the spool") {
  Workshop workshop;
  Tree tree;
  REQUIRE(apply(tree, workshop, {file("etc/passwd", "root:x:0:0"), file("empty", ""), folder("d")}));
  CHECK(tree.read(workshop.spool(), tree.find("etc/passwd"), 100) == "root:x:0:0");
  CHECK(tree.read(workshop.spool(), tree.find("empty"), 100) == "");
  CHECK(tree.read(workshop.spool(), tree.find("etc/passwd"), 9).error().code == Code::payload_too_large);
  CHECK(tree.read(workshop.spool(), tree.find("d"), 100).error().code == Code::invalid_argument);
  CHECK(tree.content_bytes() == 10);
}

TEST_CASE("hard links lead to what is in the image and nowhere else") {
  Workshop workshop;
  // Some builders write absolute targets, which mean the image's root.
  const auto tree = workshop.merge({tar({file("etc/passwd"), hard_link("same", "/etc/passwd")})});
  REQUIRE(tree);
  CHECK(tree->inode_of(tree->find("same")).links == 2);
  const auto escape = workshop.merge({tar({file("x"), hard_link("shadow", "/etc/shadow")})});
  REQUIRE(code_of(escape) == Code::path_escape);
  CHECK(escape.error().message.contains("'shadow'"));
  CHECK(code_of(workshop.merge({tar({symlink("out", "/etc"), hard_link("shadow", "out/shadow")})})) ==
        Code::layer_invalid);
  CHECK(code_of(workshop.merge({tar({folder("d"), hard_link("l", "d")})})) == Code::layer_invalid);
  CHECK(code_of(workshop.merge({tar({file("f"), hard_link("f", "f")})})) == Code::layer_invalid);
}

TEST_CASE("a file is no folder, and says which one") {
  Workshop workshop;
  const auto tree = workshop.merge({tar({file("a/f")}), tar({file("a/f/b/c")})});
  REQUIRE(code_of(tree) == Code::layer_invalid);
  CHECK(tree.error().message == "'a/f/b/c': 'a/f' is no folder");
}

TEST_CASE("loops of symlinks end") {
  Workshop workshop;
  CHECK(code_of(workshop.merge({tar({symlink("a", "b"), symlink("b", "a"), file("a/f")})})) ==
        Code::layer_invalid);
  // Each doubles the path: 2^40 parts, if anybody followed.
  std::vector<TarEntry> entries = {symlink("x0", ".")};
  for (int i = 1; i <= 40; ++i) {
    const std::string below = "x" + std::to_string(i - 1);
    entries.push_back(symlink("x" + std::to_string(i), below + "/" + below));
  }
  entries.push_back(file("x40/f"));
  CHECK(code_of(workshop.merge({tar(entries)})) == Code::layer_invalid);
}

TEST_CASE("symlinks cannot make paths longer than any kernel takes") {
  Workshop workshop;
  std::string deep;
  for (int i = 0; i < 15; ++i) deep += std::string(250, 'd') + "/";
  const auto tree =
      workshop.merge({tar({symlink("s", deep.substr(0, deep.size() - 1)), file("s/" + deep + "f")})});
  CHECK(code_of(tree) == Code::image_too_large);
}

TEST_CASE("a tree has no more entries than its limit") {
  Workshop workshop;
  Tree tree({.entries = 5});
  REQUIRE(apply(tree, workshop, {file("1"), file("2"), file("3")}));
  REQUIRE(apply(tree, workshop, {file("3"), file("4"), file("5")}));
  CHECK(apply(tree, workshop, {file("6")}).error().code == Code::image_too_large);
}

TEST_CASE("merging can be stopped") {
  Workshop workshop;
  std::vector<TarEntry> entries;
  for (int i = 0; i < 1000; ++i) entries.push_back(file(std::to_string(i), ""));
  const auto layer = workshop.read(tar(entries));
  REQUIRE(layer);
  workshop.stop = true;
  Tree tree;
  CHECK(tree.apply(*layer, workshop.stop).error().code == Code::cancelled);
}

TEST_CASE("a tree of folders as deep as a path can be comes and goes") {
  Workshop workshop;
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += "d/";
  const auto tree = workshop.merge({tar({file(deep + "f")}), tar({file(".wh.d", "")}),
                                    tar({file(deep + "g")}), tar({file("d/.wh..wh..opq", "")})});
  REQUIRE(tree);
  CHECK(tree->size() == 2);
}

TEST_CASE("names take little memory") {
  Workshop workshop;
  std::vector<TarEntry> entries;
  for (int i = 0; i < 20'000; ++i)
    entries.push_back(file("some/folder" + std::to_string(i / 100) + "/file" + std::to_string(i), ""));
  const auto layer = workshop.read(tar(entries));
  REQUIRE(layer);
  // 48 bytes a node, 80 an inode, up to 11 in the table; the rest is names.
  static_assert(sizeof(Tree::Node) + sizeof(Inode) <= 128);
  Tree tree;
  REQUIRE(tree.apply(*layer, workshop.stop));
  CHECK(tree.size() == 20'202);
}

}  // namespace lambdo::image
