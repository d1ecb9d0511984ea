// Looks up the keys of many contents in one part of an index. Behind a filter, as repo/src/index-blobs/key-filter.ts has it; entries lie in one piece of memory, or in blocks of a
// file of which some are in memory.
//
// What cannot be told here is said to be unsure, and left to code that looks further. Nothing in the filter or the index is trusted.

#pragma once

namespace {

// src/batch/find-keys.ts has the same.
constexpr uint8_t KEY_ABSENT = 0, KEY_HELD = 1, KEY_UNSURE = 2;
constexpr size_t PART_KEY_BYTES = 0, PART_STRIDE = 1, PART_DELETED_AT = 2, PART_ENTRIES_AT = 3, PART_PRINTS_AT = 4, PART_BLOCK_ENTRIES = 5, PART_BLOCK_BYTES = 6, PART_OWNER = 7,
                 PART_FIRST_SLOT = 8, PART_WORDS = 9;

constexpr size_t SECTIONS_AT = 2, SECTION_PREFIX = 0, SECTION_BITS = 3, SECTION_BUCKETS = 4, SECTION_WORDS = 5;
// The filter looks at no more of a key than this.
constexpr size_t FILTERED_BYTES = 9;
constexpr size_t KEYS_TOGETHER = 32;

// How far a key has been looked up. Each step reads what the one before it has asked for: with many keys at a step together, none waits for memory.
struct Sought {
  uint32_t high;
  uint16_t print;
  size_t bucket;
  size_t position;
  size_t to;
};

class KeyPart {
 public:
  // For keys that begin with `prefix`.
  KeyPart(uint8_t prefix, const uint32_t* shape, Bytes filter, Bytes bytes, Words owners, Words blocks)
      : shape_(shape), filter_(filter), bytes_(bytes), owners_(owners), blocks_(blocks) {
    // Where the buckets of the prefix are, in words, and how many bits number them.
    const size_t count = std::min<size_t>(word(1), 256);
    for (size_t i = 0; i < count && buckets_ == 0; i++) {
      const size_t at = SECTIONS_AT + SECTION_WORDS * i;
      if (word(at + SECTION_PREFIX) != prefix) continue;
      bits_ = word(at + SECTION_BITS) & 31;
      buckets_ = word(at + SECTION_BUCKETS);
    }
  }

  // Asks for the memory that tells in which bucket a key is.
  void beginSeek(const uint8_t* key, Sought& sought) const {
    sought.high = bigEndian(key + 1);
    sought.bucket = buckets_ + (bits_ == 0 ? 0 : sought.high >> (32 - bits_));
    if (sought.bucket < filter_.length / 4) __builtin_prefetch(filter_.data + 4 * sought.bucket);
  }

  // Asks for the prints of the bucket.
  void seekPrints(const uint8_t* key, Sought& sought) const {
    sought.print = static_cast<uint16_t>((bits_ <= 16 ? sought.high << bits_ : (sought.high << bits_) | (bigEndian(key + 5) >> (32 - bits_))) >> 16);
    sought.position = buckets_ == 0 ? 0 : word(sought.bucket);
    sought.to = buckets_ == 0 ? 0 : word(sought.bucket + 1);
    const size_t middle = printPlace(sought.position + (sought.to - sought.position) / 2);
    if (sought.position < sought.to && middle < filter_.length) __builtin_prefetch(filter_.data + middle);
  }

  // Asks for the first entry that may be the key's.
  void seekEntry(Sought& sought) const {
    sought.position = firstPrint(sought.print, sought.position, sought.to);
    if (!isCandidate(sought)) return;
    const uint8_t* entry = entryAt(sought.position);
    if (entry != nullptr) __builtin_prefetch(entry);
  }

  uint8_t stateOf(const uint8_t* key, Sought& sought) const {
    for (; isCandidate(sought); sought.position++) {
      const uint8_t* entry = entryAt(sought.position);
      if (entry == nullptr) return KEY_UNSURE;
      if (std::memcmp(entry, key, shape_[PART_KEY_BYTES]) == 0) return (entry[shape_[PART_DELETED_AT]] & 0x80) != 0 ? KEY_UNSURE : KEY_HELD;
    }
    return KEY_ABSENT;
  }

 private:
  static uint32_t bigEndian(const uint8_t* bytes) {
    return (static_cast<uint32_t>(bytes[0]) << 24) | (static_cast<uint32_t>(bytes[1]) << 16) | (static_cast<uint32_t>(bytes[2]) << 8) | bytes[3];
  }

  uint32_t word(size_t index) const {
    uint32_t value = 0;
    if (index < filter_.length / 4) std::memcpy(&value, filter_.data + 4 * index, 4);
    return value;
  }

  bool isCandidate(const Sought& sought) const { return sought.position < sought.to && printAt(sought.position) == sought.print; }

  size_t printPlace(size_t position) const { return size_t{4} * shape_[PART_PRINTS_AT] + 2 * position; }

  uint16_t printAt(size_t position) const {
    uint16_t value = 0;
    const size_t at = printPlace(position);
    if (at + 2 <= filter_.length) std::memcpy(&value, filter_.data + at, 2);
    return value;
  }

  // The first position in [from, to) whose print is not less.
  size_t firstPrint(uint16_t print, size_t from, size_t to) const {
    if (from >= to) return from;
    // Without jumps, each of which would be guessed wrong half of the time.
    for (size_t left = to - from; left > 1;) {
      const size_t half = left / 2;
      from += printAt(from + half - 1) < print ? half : 0;
      left -= half;
    }
    if (printAt(from) < print) from++;
    return from;
  }

  // Null where it is not in memory.
  const uint8_t* entryAt(size_t position) const {
    const size_t stride = shape_[PART_STRIDE];
    size_t at = shape_[PART_ENTRIES_AT] + position * stride;
    const size_t blockEntries = shape_[PART_BLOCK_ENTRIES];
    if (blockEntries > 0) {
      const size_t slots = std::min(owners_.count, blocks_.count);
      if (slots == 0) return nullptr;
      const size_t block = position / blockEntries;
      const size_t slot = (block + shape_[PART_FIRST_SLOT]) % slots;
      if (owners_.data[slot] != shape_[PART_OWNER] || blocks_.data[slot] != block) return nullptr;
      at = slot * shape_[PART_BLOCK_BYTES] + (position - block * blockEntries) * stride;
    }
    return at > bytes_.length || bytes_.length - at < stride ? nullptr : bytes_.data + at;
  }

  const uint32_t* shape_;
  Bytes filter_;
  Bytes bytes_;
  Words owners_;
  Words blocks_;
  uint32_t bits_ = 0;
  // 0 where no key begins so.
  size_t buckets_ = 0;
};

// findKeys(keys, count, shape, filter, bytes, owners, blocks, states): how src/batch/find-keys.ts says it.
napi_value findKeys(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 8);
  const Bytes keys = args.bytes(0);
  const size_t count = args.number(1, UINT32_MAX);
  const Words shape = args.unsignedWords(2);
  const Bytes filter = args.bytes(3);
  const Bytes bytes = args.bytes(4);
  const Words owners = args.unsignedWords(5);
  const Words blocks = args.unsignedWords(6);
  const Bytes states = args.bytes(7);
  if (args.ok() && shape.count < PART_WORDS) args.fail("the shape of the part is cut off");
  if (!args.ok()) return nullptr;
  const size_t keyBytes = shape.data[PART_KEY_BYTES];
  if (keyBytes < FILTERED_BYTES || keyBytes > shape.data[PART_STRIDE] || shape.data[PART_DELETED_AT] >= shape.data[PART_STRIDE]) args.fail("the shape of the part is none");
  else if (keys.length / keyBytes < count || states.length < count) args.fail("there are fewer keys or states than said");
  if (!args.ok()) return nullptr;
  if (count == 0) return nullptr;
  KeyPart part(keys.data[0], shape.data, filter, bytes, owners, blocks);
  Sought sought[KEYS_TOGETHER];
  for (size_t from = 0; from < count; from += KEYS_TOGETHER) {
    const size_t together = std::min(KEYS_TOGETHER, count - from);
    const uint8_t* first = keys.data + keyBytes * from;
    for (size_t i = 0; i < together; i++) part.beginSeek(first + keyBytes * i, sought[i]);
    for (size_t i = 0; i < together; i++) part.seekPrints(first + keyBytes * i, sought[i]);
    for (size_t i = 0; i < together; i++) part.seekEntry(sought[i]);
    for (size_t i = 0; i < together; i++) {
      uint8_t& known = states.data[from + i];
      if (known == KEY_UNSURE) continue;
      const uint8_t* key = first + keyBytes * i;
      const uint8_t state = key[0] == keys.data[0] ? part.stateOf(key, sought[i]) : KEY_UNSURE;
      // Of several entries of one content the later counts.
      if (state != KEY_ABSENT) known = known == KEY_ABSENT ? state : KEY_UNSURE;
    }
  }
  return nullptr;
}

}  // namespace
