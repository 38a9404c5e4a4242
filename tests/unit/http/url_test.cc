#include "http/url.h"

#include "test.h"

namespace lambdo::http {

TEST_CASE("URLs are taken apart") {
  struct Row {
    const char* text;
    const char* scheme;
    const char* host;
    int port;
    const char* target;
    const char* authority;
  };
  for (const Row& row : {
           Row{"http://127.0.0.1:3000", "http", "127.0.0.1", 3000, "/", "127.0.0.1:3000"},
           Row{"HTTP://LocalHost/run?x=1", "http", "localhost", 80, "/run?x=1", "localhost"},
           Row{"https://a.b/", "https", "a.b", 443, "/", "a.b"},
           Row{"http://[::1]:8080/x", "http", "::1", 8080, "/x", "[::1]:8080"},
           Row{"http://h?q", "http", "h", 80, "/?q", "h"},
           Row{"https://h:80/", "https", "h", 80, "/", "h:80"},
       }) {
    CAPTURE(row.text);
    const auto url = Url::parse(row.text);
    REQUIRE(url);
    CHECK(url->scheme == row.scheme);
    CHECK(url->host == row.host);
    CHECK(url->port == row.port);
    CHECK(url->target == row.target);
    CHECK(url->authority() == row.authority);
  }
}

TEST_CASE("references are resolved as RFC 3986 says") {
  const auto base = Url::parse("https://a.test:8443/b/c/d?q");
  REQUIRE(base);
  struct Row {
    const char* reference;
    const char* url;
  };
  for (const Row& row : {
           Row{"http://x.test/y?z", "http://x.test/y?z"},
           Row{"//x.test/y", "https://x.test/y"},
           Row{"/y", "https://a.test:8443/y"},
           Row{"/y/./z/../w", "https://a.test:8443/y/w"},
           Row{"y", "https://a.test:8443/b/c/y"},
           Row{"../y", "https://a.test:8443/b/y"},
           Row{"../../../../y", "https://a.test:8443/y"},
           Row{"..", "https://a.test:8443/b/"},
           Row{".", "https://a.test:8443/b/c/"},
           Row{"?x=/../y", "https://a.test:8443/b/c/d?x=/../y"},
           Row{"y?x=/../z#f", "https://a.test:8443/b/c/y?x=/../z"},
           Row{"#f", "https://a.test:8443/b/c/d?q"},
           Row{"", "https://a.test:8443/b/c/d?q"},
           Row{"/x:y", "https://a.test:8443/x:y"},
           Row{"./x:y", "https://a.test:8443/b/c/x:y"},
       }) {
    CAPTURE(row.reference);
    const auto url = base->resolve(row.reference);
    REQUIRE(url);
    CHECK(url->text() == row.url);
  }
  for (const char* reference : {"ftp://a/", "mailto:x", "http://", "//", "/a b", "x:y", "http://u@h/"}) {
    CAPTURE(reference);
    CHECK_FALSE(base->resolve(reference));
  }
}

TEST_CASE("what is no usable URL is refused with the reason") {
  struct Row {
    const char* text;
    const char* reason;
  };
  for (const Row& row : {
           Row{"", "scheme is missing"},
           Row{"localhost:3000", "scheme is missing"},
           Row{"ftp://a/", "http or https"},
           Row{"http://", "host is missing"},
           Row{"http://:80/", "host is missing"},
           Row{"http://a:/", "port"},
           Row{"http://a:0/", "port"},
           Row{"http://a:65536/", "port"},
           Row{"http://a:8x/", "port"},
           Row{"http://[::1/", "bracket"},
           Row{"http://[::1]80/", "port"},
           Row{"http://u:p@a/", "user name"},
           Row{"http://a/#x", "fragment"},
           Row{"http://a/\r\nX: y", "white space"},
           Row{"http://a/ b", "white space"},
       }) {
    CAPTURE(row.text);
    const auto url = Url::parse(row.text);
    REQUIRE_FALSE(url);
    CHECK(url.error().code == Code::invalid_argument);
    CHECK(url.error().message.contains(row.reason));
  }
}

TEST_CASE("a user name and a password are in no message") {
  for (const char* text :
       {"http://u:secret@host/", "http://u:secret/x@host/", "u:secret@host", "u:secret://x@host",
        "ftp://u:se:cret@secret@host", "http://u:secret@host:x", "http:/u:secret@host"}) {
    CAPTURE(text);
    const auto url = Url::parse(text);
    REQUIRE_FALSE(url);
    CAPTURE(url.error().message);
    CHECK_FALSE(url.error().message.contains("secret"));
    CHECK(url.error().message.contains("***@host"));
  }
  CHECK(without_user_info("https://host/path") == "https://host/path");
  CHECK(without_user_info("https://u:p@host/path") == "https://***@host/path");
}

}  // namespace lambdo::http
