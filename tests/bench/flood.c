// Sends small UDP packets as fast as it can, until it is killed. Usage: flood ADDRESS PORT, or flood ADDRESS PORT receive:
// then it asks once a second and receives what comes, or flood spin: the same without any packets.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { kBatch = 64, kPayloadBytes = 18 };  // a frame of the least size

static void receive(int fd) {
  static char data[2048];
  struct timeval wait = {.tv_sec = 1};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  for (time_t asked = 0;;) {
    if (time(NULL) != asked) send(fd, "", 1, 0);
    asked = time(NULL);
    recv(fd, data, sizeof data, 0);
  }
}

static void flood(int fd) {
  static char payload[kPayloadBytes];
  static struct mmsghdr messages[kBatch];
  static struct iovec part = {payload, sizeof payload};
  for (int i = 0; i < kBatch; ++i) messages[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
  while (1) sendmmsg(fd, messages, kBatch, 0);
}

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "spin") == 0) {
    for (volatile unsigned turns = 0;; ++turns) {
    }
  }
  if (argc < 3) return 2;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
  if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (connect(fd, (struct sockaddr*)&to, sizeof to) != 0) return 1;
  if (argc > 3) receive(fd);
  flood(fd);
}
