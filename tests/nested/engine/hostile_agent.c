// An agent that does not do what an agent does, in a guest that it rules: PID 1, root. The kernel's command line says
// how: hostile=silent | power-off | reset | panic | flood | garbage.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/reboot.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[PATH_MAX];

static void load_modules(void) {
  char path[2 * PATH_MAX], name[256];
  snprintf(path, sizeof path, "%s/modules.list", folder);
  FILE* list = fopen(path, "re");
  if (!list) return;
  while (fgets(name, sizeof name, list)) {
    name[strcspn(name, "\n")] = 0;
    snprintf(path, sizeof path, "%s/modules/%s.ko", folder, name);
    const int module = open(path, O_RDONLY | O_CLOEXEC);
    if (module < 0 || (syscall(SYS_finit_module, module, "", 0) < 0 && errno != EEXIST))
      printf("hostile: module %s: %s\n", name, strerror(errno));
    close(module);
  }
  fclose(list);
}

// What is no HTTP/2 on every connection that the host takes, as fast as it goes.
static void speak_garbage(void) {
  load_modules();
  char garbage[65536];
  for (size_t i = 0; i < sizeof garbage; ++i) garbage[i] = (char)(i * 31 + 7);
  const struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 50051};
  for (;;) {
    const int connection = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (connect(connection, (const struct sockaddr*)&host, sizeof host) == 0)
      while (send(connection, garbage, sizeof garbage, MSG_NOSIGNAL) > 0) {
      }
    close(connection);
  }
}

static void be_hostile(const char* how) {
  if (!strcmp(how, "power-off")) reboot(LINUX_REBOOT_CMD_POWER_OFF);
  if (!strcmp(how, "reset")) reboot(LINUX_REBOOT_CMD_RESTART);
  if (!strcmp(how, "panic")) exit(7);
  if (!strcmp(how, "flood"))
    for (;;) puts("hostile: a line that nobody asked for");
  if (!strcmp(how, "garbage")) speak_garbage();
  for (;;) pause();
}

int main(int argc, char** argv) {
  (void)argc;
  // The kernel gave us the console as descriptors 0 to 2.
  printf("hostile: started\n");
  snprintf(folder, sizeof folder, "%s", argv[0]);
  *strrchr(folder, '/') = 0;
  mkdir("/proc", 0755);
  mount("proc", "/proc", "proc", 0, "");
  char line[4096] = "";
  FILE* file = fopen("/proc/cmdline", "re");
  if (file && fgets(line, sizeof line, file)) line[strcspn(line, "\n")] = 0;
  const char* how = strstr(line, "hostile=");
  char mode[64] = "silent";
  if (how) sscanf(how, "hostile=%63s", mode);
  printf("hostile: %s\n", mode);
  fflush(stdout);
  be_hostile(mode);
}
