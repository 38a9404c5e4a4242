#pragma once

// Protobuf's encoding as far as the original protocol uses it, and a field of a header. Memory is never given
// back: an agent runs once.
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
  char* at;
  size_t size;
  size_t room;
};

static inline void put(struct bytes* to, const void* from, size_t size) {
  if (to->size + size > to->room) {
    to->room = 2 * (to->size + size);
    char* const larger = realloc(to->at, to->room);
    if (larger == NULL) abort();
    to->at = larger;
  }
  if (size > 0) memcpy(to->at + to->size, from, size);
  to->size += size;
}

static inline void put_varint(struct bytes* to, uint64_t value) {
  do {
    const uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    put(to, &byte, 1);
    value >>= 7;
  } while (value > 0);
}

static inline void put_number_field(struct bytes* to, unsigned number, uint64_t value) {
  put_varint(to, number << 3);
  put_varint(to, value);
}

static inline void put_bytes_field(struct bytes* to, unsigned number, const struct bytes* value) {
  put_varint(to, number << 3 | 2);
  put_varint(to, value->size);
  put(to, value->at, value->size);
}

// Reads the fields of a message: numbers into `value`, bytes into `at` and `size`.
struct reader {
  const uint8_t* left;
  const uint8_t* end;
  unsigned number;
  uint64_t value;
  const uint8_t* at;
  size_t size;
};

static inline struct reader read_from(const struct bytes* message) {
  const uint8_t* begin = (const uint8_t*)message->at;
  const struct reader reader = {.left = begin, .end = begin == NULL ? begin : begin + message->size};
  return reader;
}

static inline int next_varint(struct reader* reader, uint64_t* value) {
  *value = 0;
  for (int shift = 0; reader->left < reader->end && shift < 64; shift += 7) {
    const uint8_t byte = *reader->left++;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return 1;
  }
  return 0;
}

// 0 at the end, and at what is no field of a kind that the protocol has.
static inline int next_field(struct reader* reader) {
  uint64_t tag = 0;
  if (!next_varint(reader, &tag) || !next_varint(reader, &reader->value)) return 0;
  reader->number = (unsigned)(tag >> 3);
  reader->at = reader->left;
  reader->size = 0;
  if ((tag & 7) == 0) return 1;
  if ((tag & 7) != 2 || reader->value > (size_t)(reader->end - reader->left)) return 0;
  reader->size = (size_t)reader->value;
  reader->left += reader->size;
  return 1;
}

static inline void copy_field(const struct reader* reader, struct bytes* to) {
  to->size = 0;
  put(to, reader->at, reader->size);
}

static inline nghttp2_nv field(const char* name, const char* value) {
  const nghttp2_nv nv = {(uint8_t*)(uintptr_t)name, (uint8_t*)(uintptr_t)value, strlen(name), strlen(value),
                         NGHTTP2_NV_FLAG_NONE};
  return nv;
}
