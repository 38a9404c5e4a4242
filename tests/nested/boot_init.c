// The first program of the guests that vm_boot_test and bench_boot start. Its folder's file `config` holds words;
// it does what they say, one after another, and tells so on the console.
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <unistd.h>

static void say(const char *format, long value) {
  char line[128];
  const int length = snprintf(line, sizeof line, format, value);
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(1);
}

static void load_module(const char *name) {
  char path[128];
  snprintf(path, sizeof path, "modules/%s.ko", name);
  const int module = open(path, O_RDONLY | O_CLOEXEC);
  if (module < 0 || syscall(SYS_finit_module, module, "", 0) != 0) {
    printf("init: cannot load %s\n", path);
    perror("init: finit_module");
  }
  close(module);
}

// Every module of the folder, in the order of modules.list.
static void load_modules(void) {
  FILE *list = fopen("modules.list", "re");
  if (list == NULL) {
    perror("init: modules.list");
    return;
  }
  char name[64];
  while (fscanf(list, "%63s", name) == 1) load_module(name);
  fclose(list);
}

// 16 bytes of the hardware generator, which is the virtio device.
static void read_random(void) {
  unsigned char bytes[16] = {0};
  const int device = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
  const ssize_t count = device < 0 ? -1 : read(device, bytes, sizeof bytes);
  if (count < 0) perror("init: /dev/hwrng");
  close(device);
  char text[2 * sizeof bytes + 1];
  for (size_t i = 0; i < sizeof bytes; ++i) snprintf(&text[2 * i], 3, "%02x", bytes[i]);
  say("init: random bytes: %ld ", count);
  printf("%s\n", text);
}

static void report(void) {
  struct sysinfo info;
  sysinfo(&info);
  say("init: memory MiB: %ld\n", (long)(info.totalram * info.mem_unit >> 20));
  say("init: processors: %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
}

// The kernel's messages, which `quiet` keeps off the console, with the times of a boot that did not print them.
static void show_messages(void) {
  enum { kReadAll = 3, kMaxBytes = 1 << 18 };
  static char text[kMaxBytes];
  const int length = klogctl(kReadAll, text, sizeof text);
  if (length > 0 && write(STDOUT_FILENO, text, (size_t)length) != length) perror("init: write");
}

static void flood(void) {
  for (;;) {
    if (write(STDOUT_FILENO, "the guest floods its console with this line, again and again\n", 61) < 0) return;
  }
}

// What was written waits in the kernel for the serial port's interrupts, and is lost with the machine.
static void end_machine(int how) {
  tcdrain(STDOUT_FILENO);
  reboot(how);
}

static void obey(const char *word) {
  if (strcmp(word, "modules") == 0) load_modules();
  if (strcmp(word, "random") == 0) read_random();
  if (strcmp(word, "report") == 0) report();
  if (strcmp(word, "messages") == 0) show_messages();
  if (strcmp(word, "flood") == 0) flood();
  if (strcmp(word, "power-off") == 0) end_machine(RB_POWER_OFF);
  if (strcmp(word, "reboot") == 0) end_machine(RB_AUTOBOOT);
  if (strcmp(word, "wait") == 0) pause();
  if (strcmp(word, "exit") == 0) exit(3);  // which panics the kernel
}

int main(int argc, char **argv) {
  (void)argc;
  say("init: it speaks\n", 0);
  setvbuf(stdout, NULL, _IONBF, 0);
  if (chdir(dirname(argv[0])) != 0) perror("init: chdir");
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  FILE *config = fopen("config", "re");
  char word[32];
  while (config != NULL && fscanf(config, "%31s", word) == 1) obey(word);
  say("init: nothing left to do\n", 0);
  for (;;) pause();
}
