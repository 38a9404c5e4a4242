// The first program of the guests that vsock_test starts: echoes what comes over vsock, both to whoever dials its
// port and to the host's port that it dials itself.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kEchoPort = 7000, kHostPort = 5000, kRefusedPort = 5999, kBlockBytes = 1 << 16 };

static void load_modules(void) {
  FILE *list = fopen("modules.list", "re");
  char name[64];
  while (list != NULL && fscanf(list, "%63s", name) == 1) {
    char path[128];
    snprintf(path, sizeof path, "modules/%s.ko", name);
    const int module = open(path, O_RDONLY | O_CLOEXEC);
    if (module < 0 || syscall(SYS_finit_module, module, "", 0) != 0) printf("init: cannot load %s\n", path);
    close(module);
  }
}

static struct sockaddr_vm address(unsigned cid, unsigned port) {
  struct sockaddr_vm addr = {0};
  addr.svm_family = AF_VSOCK;
  addr.svm_cid = cid;
  addr.svm_port = port;
  return addr;
}

// Until the peer sends no more; the number of bytes, or -1.
static long long echo(int connection) {
  static char block[kBlockBytes];
  long long total = 0;
  for (;;) {
    const ssize_t count = read(connection, block, sizeof block);
    if (count <= 0) return count < 0 ? -1 : total;
    for (ssize_t done = 0; done < count;) {
      const ssize_t sent = write(connection, block + done, (size_t)(count - done));
      if (sent < 0) return -1;
      done += sent;
    }
    total += count;
  }
}

static void serve(int listener) {
  for (;;) {
    const int connection = accept(listener, NULL, NULL);
    if (connection < 0) exit(1);
    if (fork() == 0) {
      echo(connection);
      exit(0);
    }
    close(connection);
  }
}

static void dial_host(void) {
  const int connection = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_vm host = address(VMADDR_CID_HOST, kHostPort);
  if (connect(connection, (struct sockaddr *)&host, sizeof host) != 0) {
    printf("init: connect: %s\n", strerror(errno));
    return;
  }
  const long long total = echo(connection);
  shutdown(connection, SHUT_WR);
  printf("init: echoed %lld bytes to the host\n", total);
  close(connection);
}

static void dial_refused(void) {
  const int connection = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_vm host = address(VMADDR_CID_HOST, kRefusedPort);
  const int result = connect(connection, (struct sockaddr *)&host, sizeof host);
  printf("init: the port nobody listens on: %s\n", result == 0 ? "connected" : strerror(errno));
  close(connection);
}

int main(int argc, char **argv) {
  (void)argc;
  setvbuf(stdout, NULL, _IONBF, 0);
  if (chdir(dirname(argv[0])) != 0) perror("init: chdir");
  mkdir("/dev", 0755);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  load_modules();
  const int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_vm any = address(VMADDR_CID_ANY, kEchoPort);
  if (bind(listener, (struct sockaddr *)&any, sizeof any) != 0 || listen(listener, 64) != 0) {
    perror("init: listen");
  }
  if (fork() == 0) serve(listener);
  dial_refused();
  dial_host();
  printf("init: ready\n");
  for (;;) pause();
}
