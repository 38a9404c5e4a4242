// The agent of the tests: answers one command a packet on the socket it inherits, from inside a sandbox.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char answer[32768];
static size_t answer_len;

static void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const size_t room = sizeof answer - answer_len;
  const int written = vsnprintf(answer + answer_len, room, format, arguments);
  va_end(arguments);
  if (written > 0) answer_len += (size_t)written < room ? (size_t)written : room - 1;
}

static void say_file(const char* path) {
  const int fd = open(path, O_RDONLY);
  if (fd < 0) {
    say("errno %d", errno);
    return;
  }
  char buffer[16384];
  ssize_t count = 0;
  while ((count = read(fd, buffer, sizeof buffer - 1)) > 0) {
    buffer[count] = 0;
    say("%s", buffer);
  }
  close(fd);
}

static void say_folder(const char* path) {
  DIR* folder = opendir(path);
  if (!folder) {
    say("errno %d", errno);
    return;
  }
  for (struct dirent* entry = NULL; (entry = readdir(folder));) {
    if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2) say("%s ", entry->d_name);
  }
  closedir(folder);
}

static void say_descriptors(void) {
  for (int fd = 0; fd < 1024; ++fd) {
    char path[64];
    char target[256];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const ssize_t count = readlink(path, target, sizeof target - 1);
    if (count < 0) continue;
    target[count] = 0;
    say("%d=%.*s ", fd, (int)strcspn(target, ":["), target);
  }
}

static void say_call(const char* name, long result) {
  say("%s=%d\n", name, result < 0 ? errno : 0);
}

static long plain_clone(unsigned long flags) {
  const long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid((pid_t)pid, NULL, 0);
  return pid;
}

#ifdef __x86_64__
static long i386_getpid(void) {
  long result = 0;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}
#endif

static void try_calls(void) {
  char scratch[256] = {0};
  say_call("mount", syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, 0));
  say_call("umount2", syscall(SYS_umount2, "/tmp", 0));
  say_call("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  say_call("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
  say_call("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, scratch, 32));
  say_call("open_tree_attr", syscall(467, AT_FDCWD, "/", 1, scratch, 32));
  say_call("pivot_root", syscall(SYS_pivot_root, "/", "/"));
  say_call("chroot", syscall(SYS_chroot, "/tmp"));
  say_call("unshare user", syscall(SYS_unshare, CLONE_NEWUSER));
  say_call("unshare files", syscall(SYS_unshare, CLONE_FILES));
  say_call("setns", syscall(SYS_setns, 0, 0));
  say_call("clone", plain_clone(0));
  say_call("clone user", plain_clone(CLONE_NEWUSER));
  say_call("clone pid", plain_clone(CLONE_NEWPID));
  say_call("clone net", plain_clone(CLONE_NEWNET));
  say_call("clone3", syscall(SYS_clone3, scratch, 64));
  say_call("ptrace", syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0));
  say_call("process_vm_readv", syscall(SYS_process_vm_readv, getpid(), 0, 0, 0, 0, 0));
  say_call("bpf", syscall(SYS_bpf, 0, scratch, 64));
  say_call("keyctl", syscall(SYS_keyctl, 0, -3, 0));
  say_call("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
  say_call("userfaultfd", syscall(SYS_userfaultfd, 1));
  say_call("io_uring_setup", syscall(SYS_io_uring_setup, 1, scratch));
  say_call("perf_event_open", syscall(SYS_perf_event_open, scratch, 0, -1, -1, 0));
  say_call("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
  say_call("finit_module", syscall(SYS_finit_module, 0, "", 0));
  say_call("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
  say_call("syslog", syscall(SYS_syslog, 10, 0, 0));
  say_call("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, scratch, 0));
  say_call("personality 0", syscall(SYS_personality, 0));
  say_call("personality ask", syscall(SYS_personality, 0xffffffff));
  say_call("personality no_random", syscall(SYS_personality, ADDR_NO_RANDOMIZE));
  say_call("personality all but one", syscall(SYS_personality, 0xfffffffe));
  say_call("TIOCSTI", ioctl(0, TIOCSTI, scratch));
  say_call("TIOCSTI high bits", syscall(SYS_ioctl, 0, 0x100000000 | TIOCSTI, scratch));
  say_call("TIOCLINUX", ioctl(0, TIOCLINUX, scratch));
  say_call("AF_UNIX", socket(AF_UNIX, SOCK_STREAM, 0));
  say_call("AF_INET", socket(AF_INET, SOCK_STREAM, 0));
  say_call("AF_INET6", socket(AF_INET6, SOCK_DGRAM, 0));
  say_call("AF_NETLINK route", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  say_call("AF_NETLINK netfilter", socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
  say_call("AF_PACKET", socket(AF_PACKET, SOCK_RAW, 0));
  say_call("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
  int pair[2];
  say_call("AF_UNIX pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  say_call("AF_VSOCK pair", socketpair(AF_VSOCK, SOCK_STREAM, 0, pair));
  say_call("AF_VSOCK high bits", syscall(SYS_socket, 0x100000000 | AF_VSOCK, SOCK_STREAM, 0));
  say_call("AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 0));
  say_call("AF_KEY", socket(AF_KEY, SOCK_RAW, 2));
#ifdef __x86_64__
  say_call("x32 getpid", syscall(0x40000000 | SYS_getpid));
  say_call("i386 getpid", i386_getpid());
#endif
}

/// Touches memory until it is killed, in a child; says by which signal.
static void eat_memory(void) {
  const pid_t child = fork();
  if (child == 0) {
    while (1) {
      char* block = malloc(1 << 20);
      if (!block) _exit(1);
      memset(block, 1, 1 << 20);
      __asm__ volatile("" : : "r"(block) : "memory");  // or the compiler finds the memory unused
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  say("signal %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/// Forks until it is refused; says how many it got.
static void fork_bomb(void) {
  int count = 0;
  pid_t children[4096];
  while (count < 4096 && (children[count] = fork()) >= 0) {
    if (children[count] == 0) pause();
    ++count;
  }
  say("%d errno %d", count, errno);
  for (int index = 0; index < count; ++index) {
    kill(children[index], SIGKILL);
    waitpid(children[index], NULL, 0);
  }
}

static void fill(const char* path) {
  const int fd = open(path, O_WRONLY | O_CREAT, 0644);
  if (fd < 0) {
    say("0 errno %d", errno);
    return;
  }
  static char block[1 << 20];
  long written = 0;
  ssize_t count = 0;
  while ((count = write(fd, block, sizeof block)) > 0) written += count;
  say("%ld errno %d", written, errno);
  close(fd);
}

/// Processes that do all to stay: sessions of their own, no parent, deaf to signals, forking on.
static void leave_daemons(void) {
  for (int index = 0; index < 5; ++index) {
    if (fork() != 0) continue;
    setsid();
    for (int signal_number = 1; signal_number < 32; ++signal_number) signal(signal_number, SIG_IGN);
    while (1) {
      if (fork() > 0) _exit(0);
      usleep(1000);
    }
  }
  say("started");
}

static void obey(const char* command, const char* argument) {
  if (strcmp(command, "file") == 0) say_file(argument);
  if (strcmp(command, "folder") == 0) say_folder(argument);
  if (strcmp(command, "descriptors") == 0) say_descriptors();
  if (strcmp(command, "calls") == 0) try_calls();
  if (strcmp(command, "memory") == 0) eat_memory();
  if (strcmp(command, "forks") == 0) fork_bomb();
  if (strcmp(command, "fill") == 0) fill(argument);
  if (strcmp(command, "daemons") == 0) leave_daemons();
  if (strcmp(command, "say") == 0) {
    fprintf(stderr, "%s\n", argument);
    say("said");
  }
  if (strcmp(command, "exit") == 0) exit(atoi(argument));
  if (strcmp(command, "environment") == 0) {
    for (char** variable = environ; *variable; ++variable) say("%s\n", *variable);
  }
}

int main(int argc, char** argv) {
  if (argc != 3 || strcmp(argv[1], "--fd") != 0) return 2;
  const int socket_fd = atoi(argv[2]);
  char command[512];
  ssize_t count = 0;
  while ((count = read(socket_fd, command, sizeof command - 1)) > 0) {
    command[count] = 0;
    char* argument = strchr(command, ' ');
    if (argument) *argument++ = 0;
    answer_len = 0;
    answer[0] = 0;
    obey(command, argument ? argument : "");
    if (write(socket_fd, answer, answer_len + 1) < 0) return 1;
  }
  return 0;
}
