// The first program of a guest that lies about its addresses, for the tests of the kvm engine. Over and over
// it sends frames of six kinds, each with a mark "lie:K" in it; then it says so on the console and ends its machine.
#include <arpa/inet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kRounds = 40, kHeader = 14, kArpReply = 2 };

static int packets;
static int interface_index;
static unsigned char own_mac[6], gateway_mac[6];
static struct in_addr own_ip, gateway_ip;

static void fail(const char* what) {
  perror(what);
  for (;;) pause();
}

static void find_own(void) {
  struct ifreq request = {0};
  strcpy(request.ifr_name, "eth0");
  if (ioctl(packets, SIOCGIFINDEX, &request) != 0) fail("liar: eth0");
  interface_index = request.ifr_ifindex;
  if (ioctl(packets, SIOCGIFHWADDR, &request) != 0) fail("liar: its address");
  memcpy(own_mac, request.ifr_hwaddr.sa_data, sizeof own_mac);
  const int any = socket(AF_INET, SOCK_DGRAM, 0);
  if (ioctl(any, SIOCGIFADDR, &request) != 0) fail("liar: its IP address");
  own_ip = ((struct sockaddr_in*)&request.ifr_addr)->sin_addr;
  gateway_ip.s_addr = htonl((ntohl(own_ip.s_addr) & ~255U) | 1U);
  close(any);
}

// By making the kernel ask for it.
static int find_gateway(void) {
  const int any = socket(AF_INET, SOCK_DGRAM, 0);
  const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = gateway_ip};
  sendto(any, "", 1, 0, (const struct sockaddr*)&to, sizeof to);
  close(any);
  sleep(1);
  FILE* table = fopen("/proc/net/arp", "re");
  char line[256];
  int found = 0;
  while (table != NULL && !found && fgets(line, sizeof line, table) != NULL) {
    unsigned int parts[6];
    char address[32];
    found = sscanf(line, "%31s %*s 0x2 %x:%x:%x:%x:%x:%x", address, &parts[0], &parts[1], &parts[2],
                   &parts[3], &parts[4], &parts[5]) == 7;
    for (int i = 0; found && i < 6; ++i) gateway_mac[i] = (unsigned char)parts[i];
  }
  if (table != NULL) fclose(table);
  return found;
}

static void send_frame(const unsigned char* frame, size_t size) {
  const struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = interface_index, .sll_halen = 6};
  sendto(packets, frame, size, 0, (const struct sockaddr*)&to, sizeof to);
}

static size_t put_header(unsigned char* frame, const unsigned char* to, const unsigned char* from,
                         unsigned int type) {
  memcpy(frame, to, 6);
  memcpy(frame + 6, from, 6);
  frame[12] = (unsigned char)(type >> 8);
  frame[13] = (unsigned char)type;
  return kHeader;
}

static unsigned int checksum(const unsigned char* header) {
  unsigned int sum = 0;
  for (int i = 0; i < 20; i += 2) sum += (unsigned int)header[i] << 8 | header[i + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

static void put_mark(unsigned char *at, char kind) {
  const unsigned char mark[] = {'l', 'i', 'e', ':', (unsigned char)kind};
  memcpy(at, mark, sizeof mark);
}

// A UDP packet to the outside, without a UDP checksum.
static size_t put_udp(unsigned char* at, struct in_addr from, char kind) {
  const unsigned char start[] = {0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0};
  const struct in_addr to = {inet_addr("5.5.5.2")};
  memcpy(at, start, sizeof start);
  memcpy(at + 12, &from, 4);
  memcpy(at + 16, &to, 4);
  const unsigned int sum = checksum(at);
  at[10] = (unsigned char)(sum >> 8);
  at[11] = (unsigned char)sum;
  const unsigned char udp[] = {0x17, 0x70, 0x17, 0x70, 0, 13, 0, 0};
  memcpy(at + 20, udp, sizeof udp);
  put_mark(at + 20 + sizeof udp, kind);
  return 20 + sizeof udp + 5;
}

static void send_udp(const unsigned char* from_mac, struct in_addr from, char kind) {
  unsigned char frame[64] = {0};
  const size_t size = put_header(frame, gateway_mac, from_mac, 0x0800);
  put_udp(frame + size, from, kind);
  send_frame(frame, 60);
}

// "The gateway's address is mine."
static void send_arp(void) {
  unsigned char frame[64] = {0};
  static const unsigned char kAll[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  size_t size = put_header(frame, kAll, own_mac, 0x0806);
  const unsigned char start[] = {0, 1, 8, 0, 6, 4, 0, kArpReply};
  memcpy(frame + size, start, sizeof start);
  memcpy(frame + size + 8, own_mac, 6);
  memcpy(frame + size + 14, &gateway_ip, 4);
  memcpy(frame + size + 18, kAll, 6);
  memcpy(frame + size + 24, &gateway_ip, 4);
  put_mark(frame + size + 28, 'A');
  send_frame(frame, 60);
}

static void send_ipv6(void) {
  unsigned char frame[80] = {0};
  static const unsigned char kNodes[6] = {0x33, 0x33, 0, 0, 0, 1};
  const size_t size = put_header(frame, kNodes, own_mac, 0x86dd);
  const unsigned char start[] = {0x60, 0, 0, 0, 0, 5, 59, 64, 0xfe, 0x80};
  memcpy(frame + size, start, sizeof start);
  frame[size + 24] = 0xff;
  frame[size + 25] = 2;
  frame[size + 39] = 1;
  put_mark(frame + size + 40, '6');
  send_frame(frame, size + 45);
}

static void send_tagged(void) {
  unsigned char frame[80] = {0};
  size_t size = put_header(frame, gateway_mac, own_mac, 0x8100);
  const unsigned char tag[] = {0, 5, 8, 0};
  memcpy(frame + size, tag, sizeof tag);
  put_udp(frame + size + sizeof tag, own_ip, 'V');
  send_frame(frame, 64);
}

int main(void) {
  packets = socket(AF_PACKET, SOCK_RAW, 0);
  if (packets < 0) fail("liar: AF_PACKET");
  find_own();
  int found = 0;
  for (int i = 0; i < 10 && !found; ++i) found = find_gateway();
  if (!found) fail("liar: no gateway");
  static const unsigned char kForeign[6] = {2, 0x11, 0x22, 0x33, 0x44, 0x55};
  const struct in_addr neighbour = {htonl((ntohl(own_ip.s_addr) & ~255U) | 200U)};
  for (int round = 0; round < kRounds; ++round) {
    send_udp(own_mac, own_ip, 'T');
    send_udp(kForeign, own_ip, 'M');
    send_udp(own_mac, neighbour, 'I');
    send_arp();
    send_ipv6();
    send_tagged();
    usleep(20000);
  }
  printf("liar: sent 6 kinds, %d times\n", kRounds);
  fflush(stdout);
  reboot(RB_POWER_OFF);
}
