#pragma once

// Where the host is and where to listen: the agent's configuration, and the kernel's default route.
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
  char remote_host[64];  // empty: the default gateway
  int remote_port;
  char local_host[64];
  int local_port;
};

static inline struct settings default_settings(void) {
  const struct settings settings = {.remote_port = 50051, .local_host = "0.0.0.0"};
  return settings;
}

// Of `key: value` below `grpc:`, the value without quotes and comment; 0 where the line is another.
static inline int value_of(const char* line, const char* key, char* to, size_t room) {
  const size_t size = strlen(key);
  line += strspn(line, " ");
  if (strncmp(line, key, size) != 0 || line[size] != ':') return 0;
  line += size + 1;
  line += strspn(line, " \"'");
  const size_t end = strcspn(line, " \"'#\r\n");
  if (end == 0 || end >= room) return 0;
  memcpy(to, line, end);
  to[end] = '\0';
  return 1;
}

// As much of `kind: AgentConfig` as the original's files have: one key a line. 0 where the file cannot be
// read or is of another kind.
static inline int read_settings(const char* path, struct settings* settings) {
  FILE* file = fopen(path, "r");
  if (file == NULL) return 0;
  char line[256], value[64];
  int is_ours = 0, in_grpc = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (line[0] != ' ' && line[0] != '#' && line[0] != '\n') in_grpc = strncmp(line, "grpc:", 5) == 0;
    if (value_of(line, "kind", value, sizeof value)) is_ours = strcmp(value, "AgentConfig") == 0;
    if (!in_grpc) continue;
    value_of(line, "remote_host", settings->remote_host, sizeof settings->remote_host);
    value_of(line, "local_host", settings->local_host, sizeof settings->local_host);
    if (value_of(line, "remote_port", value, sizeof value)) settings->remote_port = atoi(value);
    if (value_of(line, "local_port", value, sizeof value)) settings->local_port = atoi(value);
  }
  fclose(file);
  return is_ours;
}

// Of the first default route of proc_net_route(5), whose addresses are in hex as they lie in memory.
static inline int default_gateway(char* to, size_t room) {
  FILE* file = fopen("/proc/net/route", "r");
  if (file == NULL) return 0;
  char line[256];
  int found = 0;
  while (!found && fgets(line, sizeof line, file) != NULL) {
    unsigned destination = 0, gateway = 0, flags = 0;
    const int count = sscanf(line, "%*s %x %x %x", &destination, &gateway, &flags);
    if (count != 3 || destination != 0 || gateway == 0) continue;
    const struct in_addr address = {.s_addr = gateway};
    found = inet_ntop(AF_INET, &address, to, (socklen_t)room) != NULL;
  }
  fclose(file);
  return found;
}
