// An agent of the original Lambdo's protocol and no more, written from the description of that alone:
// LambdoApiService and LambdoAgentService over TCP, with the original's fields. It listens, registers with
// its port, says READY with the id that it got, and serves Execute. Linked statically, so that it also runs
// as /agent of an image.
//
//   original_agent
//   original_agent HOST PORT [--bind ADDRESS] [--port N] [--workspace DIR] [--no-status] [--late]
//
// Without arguments /config.yaml says where the host is and where to listen, and the default gateway is the
// host where it does not. --bind: the address to come from and listen on; --port: where to listen, 0 for any;
// --no-status: Status is unimplemented; --late: listens only after it has said READY.
#include <arpa/inet.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "settings.h"
#include "wire.h"

enum { kAttempts = 120, kRetryUs = 500000, kDelayUs = 200000, kReady = 1, kUnimplemented = 12 };

static const char* bind_address = "0.0.0.0";
static const char* workspace = "/tmp";
static int knows_status = 1;

static void die(const char* what) {
  fprintf(stderr, "original_agent: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_in address_of(const char* text, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, text, &address.sin_addr) != 1) die(text);
  return address;
}

static int bound_socket(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  const struct sockaddr_in from = address_of(bind_address, port);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, (const struct sockaddr*)&from, sizeof from) < 0) die("bind");
  return fd;
}

// --- Execute ---

static void read_all(int fd, struct bytes* to) {
  char piece[4096];
  ssize_t count = 0;
  while ((count = read(fd, piece, sizeof piece)) > 0) put(to, piece, (size_t)count);
}

static void write_file(const struct bytes* model) {
  struct bytes name = {0}, content = {0};
  for (struct reader fields = read_from(model); next_field(&fields);) {
    if (fields.number == 1) copy_field(&fields, &name);
    if (fields.number == 2) copy_field(&fields, &content);
  }
  put(&name, "", 1);
  FILE* file = fopen(name.at, "w");
  if (file != NULL) {
    fwrite(content.at, 1, content.size, file);
    fclose(file);
  }
}

static int run_command(const char* command, int with_output, struct bytes* out, struct bytes* err) {
  char name[] = "/tmp/original-agent-XXXXXX";
  const int err_file = mkstemp(name);
  int ends[2];
  if (err_file < 0 || pipe(ends) < 0) die("run");
  unlink(name);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(err_file, STDERR_FILENO);
    close(ends[0]);
    execl("/bin/sh", "sh", "-c", command, (char*)NULL);
    _exit(127);
  }
  close(ends[1]);
  struct bytes all = {0};
  read_all(ends[0], &all);
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  lseek(err_file, 0, SEEK_SET);
  read_all(err_file, err);
  close(err_file);
  if (with_output) put(out, all.at, all.size);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void run_step(const struct bytes* step, struct bytes* response) {
  struct bytes command = {0}, out = {0}, err = {0}, answer = {0};
  int with_output = 0;
  for (struct reader fields = read_from(step); next_field(&fields);) {
    if (fields.number == 1) copy_field(&fields, &command);
    if (fields.number == 2) with_output = fields.value != 0;
  }
  put_bytes_field(&answer, 1, &command);
  put(&command, "", 1);
  const int code = run_command(command.at, with_output, &out, &err);
  put_number_field(&answer, 2, (uint64_t)code);
  put_bytes_field(&answer, 3, &out);
  put_bytes_field(&answer, 4, &err);
  put_bytes_field(response, 2, &answer);
}

static void execute(const struct bytes* request, struct bytes* response) {
  if (chdir(workspace) < 0) die(workspace);
  for (struct reader fields = read_from(request); next_field(&fields);) {
    struct bytes part = {0};
    copy_field(&fields, &part);
    if (fields.number == 1) put_bytes_field(response, 1, &part);
    if (fields.number == 2) write_file(&part);
    if (fields.number == 3) run_step(&part, response);
  }
}

// --- gRPC: one call at a time, on either side of a connection ---

struct peer {
  nghttp2_session* session;
  int fd;
  int is_server;
  struct bytes path;     // of the call that a server got
  struct bytes message;  // that came, with its prefix
  struct bytes to_send;
  size_t sent;
  int ended;
};

static ssize_t read_message(nghttp2_session* session, int32_t stream, uint8_t* to, size_t room,
                            uint32_t* flags, nghttp2_data_source* source, void* user_data) {
  struct peer* peer = user_data;
  (void)source;
  size_t count = peer->to_send.size - peer->sent;
  if (count > room) count = room;
  memcpy(to, peer->to_send.at + peer->sent, count);
  peer->sent += count;
  if (peer->sent < peer->to_send.size) return (ssize_t)count;
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (peer->is_server) {
    const nghttp2_nv trailer = field("grpc-status", "0");
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session, stream, &trailer, 1);
  }
  return (ssize_t)count;
}

static void send_message(struct peer* peer, const struct bytes* message) {
  peer->to_send.size = 0;
  peer->sent = 0;
  const uint8_t prefix[5] = {0, (uint8_t)(message->size >> 24), (uint8_t)(message->size >> 16),
                             (uint8_t)(message->size >> 8), (uint8_t)message->size};
  put(&peer->to_send, prefix, sizeof prefix);
  put(&peer->to_send, message->at, message->size);
}

static void answer_call(struct peer* peer, int32_t stream) {
  struct bytes request = {0}, response = {0};
  if (peer->message.size > 5) put(&request, peer->message.at + 5, peer->message.size - 5);
  put(&peer->path, "", 1);
  const int is_status = strcmp(peer->path.at, "/grpc_definitions.LambdoAgentService/Status") == 0;
  const nghttp2_nv headers[] = {field(":status", "200"), field("content-type", "application/grpc"),
                                field("grpc-status", "12")};
  if (is_status && knows_status) {
    put_number_field(&response, 2, kReady);
  } else if (strcmp(peer->path.at, "/grpc_definitions.LambdoAgentService/Execute") == 0) {
    execute(&request, &response);
  } else {
    nghttp2_submit_response(peer->session, stream, headers, 3, NULL);
    return;
  }
  send_message(peer, &response);
  const nghttp2_data_provider source = {.read_callback = read_message};
  nghttp2_submit_response(peer->session, stream, headers, 2, &source);
}

static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  struct peer* peer = user_data;
  (void)session;
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) peer->path.size = peer->message.size = 0;
  return 0;
}

static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                     size_t name_size, const uint8_t* value, size_t value_size, uint8_t flags,
                     void* user_data) {
  struct peer* peer = user_data;
  (void)session, (void)frame, (void)flags;
  if (name_size == 5 && memcmp(name, ":path", 5) == 0) put(&peer->path, value, value_size);
  return 0;
}

static int on_data(nghttp2_session* session, uint8_t flags, int32_t stream, const uint8_t* bytes, size_t size,
                   void* user_data) {
  (void)session, (void)flags, (void)stream;
  put(&((struct peer*)user_data)->message, bytes, size);
  return 0;
}

static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  struct peer* peer = user_data;
  (void)session;
  if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && peer->is_server)
    answer_call(peer, frame->hd.stream_id);
  return 0;
}

static int on_close(nghttp2_session* session, int32_t stream, uint32_t error, void* user_data) {
  (void)session, (void)stream, (void)error;
  ((struct peer*)user_data)->ended = 1;
  return 0;
}

static void open_session(struct peer* peer) {
  nghttp2_session_callbacks* callbacks = NULL;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  if (peer->is_server) {
    nghttp2_session_server_new(&peer->session, callbacks, peer);
  } else {
    nghttp2_session_client_new(&peer->session, callbacks, peer);
  }
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

// Sends what there is and takes in what comes, once. 0 at the connection's end.
static int turn(struct peer* peer) {
  const uint8_t* frame = NULL;
  ssize_t count = 0;
  while ((count = nghttp2_session_mem_send(peer->session, &frame)) > 0) {
    for (ssize_t done = 0; done < count;) {
      const ssize_t now = send(peer->fd, frame + done, (size_t)(count - done), MSG_NOSIGNAL);
      if (now <= 0) return 0;
      done += now;
    }
  }
  if (peer->ended && !peer->is_server) return 1;
  uint8_t piece[16384];
  count = recv(peer->fd, piece, sizeof piece, 0);
  return count > 0 && nghttp2_session_mem_recv(peer->session, piece, (size_t)count) == count;
}

// The answer is in peer->message; 0 where there is none.
static int call(struct peer* peer, const char* path, const struct bytes* request) {
  const nghttp2_nv headers[] = {field(":method", "POST"), field(":scheme", "http"),
                                field(":path", path),     field(":authority", "lambdo"),
                                field("te", "trailers"),  field("content-type", "application/grpc")};
  const nghttp2_data_provider source = {.read_callback = read_message};
  send_message(peer, request);
  peer->message.size = 0;
  peer->ended = 0;
  nghttp2_submit_request(peer->session, NULL, headers, sizeof headers / sizeof *headers, &source, NULL);
  while (!peer->ended) {
    if (!turn(peer)) return 0;
  }
  return peer->message.size >= 5;
}

// Register, then Status. 0 where the host is not there or does not want us.
static int register_at(const char* host, int host_port, int own_port) {
  struct peer peer = {.fd = bound_socket(0)};
  const struct sockaddr_in to = address_of(host, host_port);
  if (connect(peer.fd, (const struct sockaddr*)&to, sizeof to) < 0) return close(peer.fd), 0;
  open_session(&peer);
  struct bytes request = {0}, id = {0}, error = {0};
  put_number_field(&request, 1, (uint64_t)own_port);
  int done = call(&peer, "/grpc_definitions.LambdoApiService/Register", &request);
  if (done) {
    const struct bytes answer = {peer.message.at + 5, peer.message.size - 5, 0};
    for (struct reader fields = read_from(&answer); next_field(&fields);) {
      copy_field(&fields, fields.number == 1 ? &id : &error);
    }
    fprintf(stderr, "original_agent: id %.*s error %.*s\n", (int)id.size, id.at, (int)error.size, error.at);
  }
  if (done && id.size > 0) {
    request.size = 0;
    put_bytes_field(&request, 1, &id);
    put_number_field(&request, 2, kReady);
    done = call(&peer, "/grpc_definitions.LambdoApiService/Status", &request);
  } else {
    done = 0;
  }
  nghttp2_session_del(peer.session);
  close(peer.fd);
  return done;
}

static void read_arguments(int argc, char** argv, struct settings* settings, int* is_late) {
  snprintf(settings->remote_host, sizeof settings->remote_host, "%s", argv[1]);
  settings->remote_port = atoi(argv[2]);
  for (int i = 3; i < argc; ++i) {
    if (strcmp(argv[i], "--no-status") == 0) knows_status = 0;
    if (strcmp(argv[i], "--late") == 0) *is_late = 1;
    if (i + 1 == argc) continue;
    if (strcmp(argv[i], "--bind") == 0)
      snprintf(settings->local_host, sizeof settings->local_host, "%s", argv[i + 1]);
    if (strcmp(argv[i], "--port") == 0) settings->local_port = atoi(argv[i + 1]);
    if (strcmp(argv[i], "--workspace") == 0) workspace = argv[i + 1];
  }
}

// Tries again for a minute: the host may not be there yet, or the network.
static int register_somehow(const struct settings* settings, int own_port) {
  for (int attempt = 1; attempt <= kAttempts; ++attempt) {
    char host[64];
    snprintf(host, sizeof host, "%s", settings->remote_host);
    if ((host[0] != '\0' || default_gateway(host, sizeof host)) &&
        register_at(host, settings->remote_port, own_port))
      return 1;
    usleep(kRetryUs);
  }
  return 0;
}

static void serve(int listener) {
  while (1) {
    struct peer peer = {.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), .is_server = 1};
    if (peer.fd < 0) continue;
    open_session(&peer);
    while (turn(&peer)) {
    }
    nghttp2_session_del(peer.session);
    close(peer.fd);
  }
}

int main(int argc, char** argv) {
  struct settings settings = default_settings();
  int is_late = 0;
  if (argc >= 3) {
    read_arguments(argc, argv, &settings, &is_late);
  } else if (!read_settings("/config.yaml", &settings)) {
    return fprintf(stderr, "original_agent: /config.yaml is no AgentConfig\n"), 2;
  }
  bind_address = settings.local_host;
  const int listener = bound_socket(settings.local_port);
  struct sockaddr_in own;
  socklen_t size = sizeof own;
  getsockname(listener, (struct sockaddr*)&own, &size);
  if (!is_late && listen(listener, 4) < 0) die("listen");
  if (!register_somehow(&settings, ntohs(own.sin_port)))
    return fprintf(stderr, "original_agent: not registered\n"), 1;
  if (is_late) usleep(kDelayUs);
  if (listen(listener, 4) < 0) die("listen");
  serve(listener);
}
