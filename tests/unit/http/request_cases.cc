#include "request_cases.h"

namespace lambdo::http {

using namespace std::string_literals;

namespace {

const std::string kHost = "Host: a\r\n";
const std::string kChunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\n" + kHost + "\r\n";
}

std::string post(const std::string& headers, const std::string& body = "") {
  return "POST /echo HTTP/1.1\r\n" + kHost + headers + "\r\n" + body;
}

RequestCase bad(std::string name, std::string bytes) {
  return {std::move(name), std::move(bytes), 400, "invalid_argument", ""};
}

RequestCase good(std::string name, std::string bytes, std::string answer) {
  return {std::move(name), std::move(bytes), 200, "", std::move(answer)};
}

std::string repeated(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

std::vector<RequestCase> valid_cases() {
  return {
      good("GET", get("/echo"), "GET /echo? "),
      good("query", get("/echo?a=%20b&c"), "GET /echo?a=%20b&c "),
      good("escaped path", get("/%65cho"), "GET /echo? "),
      good("dot segments", get("/x/../y/%2e%2E//./echo"), "GET /echo? "),
      good("absolute form", get("http://other:80/echo?x"), "GET /echo?x "),
      good("empty lines first", "\r\n\r\n" + get("/echo"), "GET /echo? "),
      good("white space around a value", "GET /echo HTTP/1.1\r\nHost:  \t a \t \r\n\r\n", "GET /echo? "),
      good("HTTP/1.0 without Host", "GET /echo HTTP/1.0\r\n\r\n", "GET /echo? "),
      good("fixed body", post("Content-Length: 5\r\n", "hello"), "POST /echo? hello"),
      good("binary body", post("Content-Length: 5\r\n", "\0\r\n\n\r"s), "POST /echo? \0\r\n\n\r"s),
      good("empty body", post("Content-Length: 0\r\n"), "POST /echo? "),
      good("no length means no body", post(""), "POST /echo? "),
      good("body at the limit", post("Content-Length: 64\r\n", std::string(64, 'x')),
           "POST /echo? " + std::string(64, 'x')),
      good("chunks", kChunked + "5\r\nhello\r\n3\r\n\r\n\n\r\n0\r\n\r\n", "POST /echo? hello\r\n\n"),
      good("coding without case", post("Transfer-Encoding: Chunked\r\n", "1\r\na\r\n0\r\n\r\n"),
           "POST /echo? a"),
      good("chunk extension", kChunked + "1;a=b\r\nx\r\n0\r\n\r\n", "POST /echo? x"),
      good("trailers are dropped", kChunked + "1\r\nx\r\n0\r\nContent-Length: 9\r\nT: y\r\n\r\n",
           "POST /echo? x"),
      good("upgrade is ignored",
           post("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 1\r\n", "x"),
           "POST /echo? x"),
      good("expectation met by sending", post("Expect: 100-continue\r\nContent-Length: 1\r\n", "x"),
           "POST /echo? x"),
  };
}

std::vector<RequestCase> framing_cases() {
  return {
      bad("Content-Length with Transfer-Encoding",
          post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
      bad("Transfer-Encoding with Content-Length",
          post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
      bad("two equal lengths", post("Content-Length: 1\r\nContent-Length: 1\r\n", "x")),
      bad("two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "xy")),
      bad("list of lengths", post("Content-Length: 1, 1\r\n", "x")),
      bad("negative length", post("Content-Length: -1\r\n")),
      bad("length with sign", post("Content-Length: +1\r\n", "x")),
      bad("hexadecimal length", post("Content-Length: 0x1\r\n", "x")),
      bad("empty length", post("Content-Length:\r\n")),
      bad("length over 64 bits", post("Content-Length: 18446744073709551616\r\n")),
      {"body over the limit", post("Content-Length: 65\r\n"), 413, "payload_too_large", ""},
      {"enormous body", post("Content-Length: 18446744073709551615\r\n"), 413, "payload_too_large", ""},
      bad("two codings in two lines", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
      {"list of codings", post("Transfer-Encoding: gzip, chunked\r\n"), 501, "not_implemented", ""},
      bad("chunked twice", post("Transfer-Encoding: chunked, chunked\r\n")),
      bad("chunked not last", post("Transfer-Encoding: chunked, identity\r\n")),
      {"unknown coding", post("Transfer-Encoding: xchunked\r\n"), 501, "not_implemented", ""},
      {"quoted coding", post("Transfer-Encoding: \"chunked\"\r\n"), 501, "not_implemented", ""},
      bad("Transfer-Encoding in HTTP/1.0",
          "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      bad("chunk size is no number", kChunked + "x\r\n"),
      bad("negative chunk", kChunked + "-1\r\n"),
      bad("chunk size with 0x", kChunked + "0x1\r\nx\r\n"),
      bad("space before chunk size", kChunked + " 1\r\nx\r\n0\r\n\r\n"),
      bad("space after chunk size", kChunked + "1 \r\nx\r\n0\r\n\r\n"),
      bad("empty chunk size", kChunked + "\r\nx\r\n"),
      bad("chunk size over 64 bits", kChunked + "fffffffffffffffff\r\n"),
      bad("chunk shorter than its data", kChunked + "1\r\nxy\r\n0\r\n\r\n"),
      bad("chunk size ends in LF", kChunked + "1\nx\r\n0\r\n\r\n"),
      bad("chunk size ends in CR", kChunked + "1\rx\r\n0\r\n\r\n"),
      bad("chunk data ends in LF", kChunked + "1\r\nx\n0\r\n\r\n"),
      bad("LF in a chunk extension", kChunked + "1;a=b\nx\r\n0\r\n\r\n"),
      bad("CR in a chunk extension", kChunked + "1;a=b\rc\r\nx\r\n0\r\n\r\n"),
      bad("last chunk ends in LF", kChunked + "0\n\n"),
      bad("trailers end in LF", kChunked + "0\r\nT: x\n\r\n"),
      bad("folded trailer", kChunked + "0\r\nT: x\r\n y\r\n\r\n"),
      {"chunk over the limit", kChunked + "41\r\n", 413, "payload_too_large", ""},
      {"chunks over the limit", kChunked + repeated("8\r\n12345678\r\n", 8) + "1\r\n", 413,
       "payload_too_large", ""},
      {"endless chunk extension", kChunked + "1;a=" + std::string(600, 'x') + "\r\ny\r\n0\r\n\r\n", 431,
       "headers_too_large", ""},
      {"endless zeros before a size", kChunked + std::string(600, '0') + "1\r\ny\r\n0\r\n\r\n", 431,
       "headers_too_large", ""},
      {"endless trailers", kChunked + "0\r\n" + repeated("T: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 60) + "\r\n",
       431, "headers_too_large", ""},
      {"too many trailers", kChunked + "0\r\n" + repeated("T:\r\n", kCaseMaxHeaders + 1) + "\r\n", 431,
       "headers_too_large", ""},
  };
}

std::vector<RequestCase> head_cases() {
  return {
      bad("LF ends the request line", "GET /echo HTTP/1.1\nHost: a\r\n\r\n"),
      bad("LF ends a header", "GET /echo HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
      bad("LF ends the head", "GET /echo HTTP/1.1\r\nHost: a\r\n\n"),
      bad("LF before the request", "\n" + get("/echo")),
      bad("CR ends a header", "GET /echo HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
      bad("CR hides a header", "GET /echo HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\n"),
      bad("space before colon", "GET /echo HTTP/1.1\r\nHost : a\r\n\r\n"),
      bad("tab before colon", "GET /echo HTTP/1.1\r\nHost\t: a\r\n\r\n"),
      bad("folded header", "GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
      bad("folded first header", "GET /echo HTTP/1.1\r\n Host: a\r\n\r\n"),
      bad("folded length", post("Content-Length:\r\n 5\r\n", "hello")),
      bad("folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")),
      bad("no colon", "GET /echo HTTP/1.1\r\nHost\r\n\r\n"),
      bad("empty header name", "GET /echo HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
      bad("header name with a parenthesis", "GET /echo HTTP/1.1\r\nHost: a\r\nX(: y\r\n\r\n"),
      bad("NUL in a value", "GET /echo HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"s),
      bad("NUL in a name", "GET /echo HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n"s),
      bad("NUL in the target", "GET /echo\0 HTTP/1.1\r\nHost: a\r\n\r\n"s),
      bad("control character in a value", "GET /echo HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n"),
      bad("no Host", "GET /echo HTTP/1.1\r\n\r\n"),
      bad("two Hosts", "GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
      bad("two names in Host", "GET /echo HTTP/1.1\r\nHost: a, b\r\n\r\n"),
      bad("path in Host", "GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n"),
      bad("no method", "/echo HTTP/1.1\r\n" + kHost + "\r\n"),
      bad("method in lower case", "get /echo HTTP/1.1\r\n" + kHost + "\r\n"),
      bad("two spaces before the target", "GET  /echo HTTP/1.1\r\n" + kHost + "\r\n"),
      bad("two spaces after the target", "GET /echo  HTTP/1.1\r\n" + kHost + "\r\n"),
      bad("space in the target", "GET /ec ho HTTP/1.1\r\n" + kHost + "\r\n"),
      bad("tab in the request line", "GET\t/echo HTTP/1.1\r\n" + kHost + "\r\n"),
      bad("TLS on the plain port", "\x16\x03\x01\x02\x00\x01"s),
      bad("relative target", get("echo")),
      bad("fragment", get("/echo#x")),
      bad("star with GET", get("*")),
      bad("bytes over 127 in the target", get("/\xc3\xa9")),
      bad("incomplete escape", get("/echo%2")),
      bad("escape that is not hexadecimal", get("/%zz")),
      bad("escaped NUL", get("/echo%00")),
      bad("escaped line break", get("/echo%0d%0a")),
      bad("escapes that are not UTF-8", get("/%ff")),
      bad("above the root", get("/../etc/passwd")),
      bad("above the root, escaped", get("/x/%2e%2e/%2e%2e/etc/passwd")),
      {"HTTP/0.9", "GET /echo\r\n", 505, "not_implemented", ""},
      {"HTTP/1.2", "GET /echo HTTP/1.2\r\n" + kHost + "\r\n", 505, "not_implemented", ""},
      {"HTTP/2.0", "GET /echo HTTP/2.0\r\n" + kHost + "\r\n", 505, "not_implemented", ""},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "not_implemented", ""},
      {"RTSP", "GET /echo RTSP/1.0\r\n\r\n", 505, "not_implemented", ""},
      {"CONNECT", "CONNECT a:80 HTTP/1.1\r\n" + kHost + "\r\n", 501, "not_implemented", ""},
      {"TRACE", "TRACE / HTTP/1.1\r\n" + kHost + "\r\n", 501, "not_implemented", ""},
      {"unknown expectation", post("Expect: 200-ok\r\nContent-Length: 1\r\n"), 417, "not_implemented", ""},
      {"target over the limit", get("/" + std::string(600, 'x')), 431, "headers_too_large", ""},
      {"header over the limit", "GET /echo HTTP/1.1\r\n" + kHost + "X: " + std::string(600, 'x') + "\r\n\r\n",
       431, "headers_too_large", ""},
      {"endless empty lines", repeated("\r\n", 300), 431, "headers_too_large", ""},
      {"too many headers", "GET /echo HTTP/1.1\r\n" + kHost + repeated("a:\r\n", kCaseMaxHeaders) + "\r\n",
       431, "headers_too_large", ""},
  };
}

}  // namespace

const std::vector<RequestCase>& request_cases() {
  static const std::vector<RequestCase> all = [] {
    std::vector<RequestCase> cases = valid_cases();
    for (const auto& more : {framing_cases(), head_cases()})
      cases.insert(cases.end(), more.begin(), more.end());
    return cases;
  }();
  return all;
}

}  // namespace lambdo::http
