// The hot loops of this package as a Node-API addon: buzhash scan, keyed BLAKE2b-256, and the two content encryptions over Node's own OpenSSL; in read-back.h what reads one of them
// back, in batch.h the same for many contents at once, in splitter.h the scan, in files.h directories and small files many at a time, in listing.h, rewrite.h and directory.h
// directories beside their parents' listings, in comparison-queue.h these made by other threads, in directory-scan.h a look at them beforehand, in lookup.h keys in an index, in poly1305.h
// Poly1305, in unattributed.h files that need not be asked for attributes, in scrypt.h the slow part of scrypt, in sha256.h SHA-256, in content-key.h the keys of contents, in sealed.h contents of restic, in reads-ahead.h reads that go on meanwhile.
//
// Compiled by src/native/prepare-native.ts, described to TypeScript by src/native/addon.ts; every function gives the same bytes as its portable twin.
//
// Invariants
// - Arguments are read with calls that run no JavaScript, after the last call that could run some; so no buffer can be detached between check and use.
// - Wrong arguments throw. Nothing is read or written outside the buffers given.
// - No state but constants written once at load, and what unattributed.h knows of files: the file is loaded by every worker of the process, and objects that calls return belong to one
//   worker each. Threads of Node's pool that work for one reach what they share with it under its lock.
// - x86-64 machines with AVX2 take the vector code, those with AVX-512 wider code for some loops, found out at run time; everything else takes the plain code. All are always there:
//   `plain` and `narrow` are the hot loops without vectors, and without AVX-512.

#define NAPI_VERSION 8
#include <dlfcn.h>
#include <node_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#define WITH_AVX2 1
#include <immintrin.h>
#endif

namespace {

// Which code a function takes is its data: none for the plain one.
struct Vectors {
  // Whether AVX-512 is there for what gains by it.
  bool wide;
};
constexpr Vectors NARROW{false};
constexpr Vectors WIDE{true};

const Vectors* vectorsOfMachine() {
#ifdef WITH_AVX2
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2")) return nullptr;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") ? &WIDE : &NARROW;
#else
  return nullptr;
#endif
}

// ---------------------------------------------------------------------------------------------------------------- arguments

struct Bytes {
  uint8_t* data;
  size_t length;
};

struct Words {
  uint32_t* data;
  size_t count;
};

struct Doubles {
  double* data;
  size_t count;
};

// Reads the arguments of one call. After the first failure an exception is pending and every further read fails as well.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info, size_t wanted) : env_(env) {
    size_t count = MAX;
    if (napi_get_cb_info(env, info, &count, values_, nullptr, &data) != napi_ok || count < wanted) fail("too few arguments");
    count_ = std::min<size_t>(count, MAX);
  }

  // Of a call that is one of several: `list` has what it would be called with.
  Arguments(napi_env env, napi_value list, size_t wanted) : env_(env) {
    uint32_t count = 0;
    if (napi_get_array_length(env, list, &count) != napi_ok || count < wanted || wanted > MAX) fail("too few arguments");
    count_ = std::min<size_t>(count, MAX);
    for (uint32_t i = 0; ok_ && i < count_; i++) {
      if (napi_get_element(env, list, i, &values_[i]) != napi_ok) fail("too few arguments");
    }
  }

  // How many there are, which may be more than are wanted at least.
  size_t count() const { return count_; }

  bool ok() const { return ok_; }
  napi_value value(size_t index) const { return values_[index]; }

  // The first text is kept: only one exception can be pending.
  void fail(const char* why) {
    if (ok_) napi_throw_type_error(env_, "ERR_INVALID_ARG_VALUE", why);
    ok_ = false;
  }

  Bytes bytes(size_t index) { return ok_ ? bytesOf(values_[index]) : Bytes{nullptr, 0}; }

  Bytes bytesOf(napi_value value) { return typedArray(value, napi_uint8_array, "a Uint8Array is wanted"); }

  const uint32_t* words(size_t index, size_t count) {
    if (!ok_) return nullptr;
    const Bytes found = typedArray(values_[index], napi_int32_array, "an Int32Array is wanted");
    if (ok_ && found.length != count) fail("the Int32Array has the wrong length");
    return reinterpret_cast<const uint32_t*>(found.data);
  }

  Words unsignedWords(size_t index) {
    if (!ok_) return {nullptr, 0};
    const Bytes found = typedArray(values_[index], napi_uint32_array, "a Uint32Array is wanted");
    return {reinterpret_cast<uint32_t*>(found.data), found.length};
  }

  Doubles doubles(size_t index) {
    if (!ok_) return {nullptr, 0};
    const Bytes found = typedArray(values_[index], napi_float64_array, "a Float64Array is wanted");
    return {reinterpret_cast<double*>(found.data), found.length};
  }

  // A whole number in [0, max].
  uint64_t number(size_t index, double max) {
    double value = -1;
    if (!ok_) return 0;
    if (napi_get_value_double(env_, values_[index], &value) != napi_ok || !(value >= 0 && value <= max) || value != std::floor(value)) {
      fail("a number is out of range");
      return 0;
    }
    return static_cast<uint64_t>(value);
  }

  void* data = nullptr;

 private:
  static constexpr size_t MAX = 22;

  Bytes typedArray(napi_value value, napi_typedarray_type wanted, const char* why) {
    bool is = false;
    napi_typedarray_type type;
    size_t length = 0;
    void* start = nullptr;
    if (napi_is_typedarray(env_, value, &is) != napi_ok || !is || napi_get_typedarray_info(env_, value, &type, &length, &start, nullptr, nullptr) != napi_ok ||
        type != wanted) {
      fail(why);
      return {nullptr, 0};
    }
    // An array over a detached buffer has no memory; V8 says length 0, and this does not depend on it.
    return {static_cast<uint8_t*>(start), start == nullptr ? 0 : length};
  }

  napi_env env_;
  napi_value values_[MAX] = {};
  size_t count_ = 0;
  bool ok_ = true;
};

napi_value numberValue(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

bool defineBoolean(napi_env env, napi_value on, const char* name, bool value) {
  napi_value boolean = nullptr;
  return napi_get_boolean(env, value, &boolean) == napi_ok && napi_set_named_property(env, on, name, boolean) == napi_ok;
}

// ---------------------------------------------------------------------------------------------------------------- BLAKE2b-256, keyed (RFC 7693)

constexpr size_t BLOCK = 128;
constexpr size_t DIGEST = 32;
constexpr size_t KEY_MAX = 64;

constexpr uint64_t IV[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                            0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

constexpr uint8_t SIGMA[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

// The function G of RFC 7693, of single words and of words side by side: ADD(a, b), XOR(a, b), and ROTATE(word, bits), which turns a word to the right.
#define MIX(ADD, XOR, ROTATE, a, b, c, d, x, y)                              \
  a = ADD(ADD(a, b), x), d = ROTATE(XOR(d, a), 32), c = ADD(c, d), b = ROTATE(XOR(b, c), 24); \
  a = ADD(ADD(a, b), y), d = ROTATE(XOR(d, a), 16), c = ADD(c, d), b = ROTATE(XOR(b, c), 63);
// Twelve rounds with constant message indices: R(round) is given by each of the builds below.
#define TWELVE_ROUNDS(R) R(0) R(1) R(2) R(3) R(4) R(5) R(6) R(7) R(8) R(9) R(0) R(1)
#define ROUND_OF(G, r)                                                                                                     \
  G(v[0], v[4], v[8], v[12], m[SIGMA[r][0]], m[SIGMA[r][1]]) G(v[1], v[5], v[9], v[13], m[SIGMA[r][2]], m[SIGMA[r][3]])    \
  G(v[2], v[6], v[10], v[14], m[SIGMA[r][4]], m[SIGMA[r][5]]) G(v[3], v[7], v[11], v[15], m[SIGMA[r][6]], m[SIGMA[r][7]])  \
  G(v[0], v[5], v[10], v[15], m[SIGMA[r][8]], m[SIGMA[r][9]]) G(v[1], v[6], v[11], v[12], m[SIGMA[r][10]], m[SIGMA[r][11]]) \
  G(v[2], v[7], v[8], v[13], m[SIGMA[r][12]], m[SIGMA[r][13]]) G(v[3], v[4], v[9], v[14], m[SIGMA[r][14]], m[SIGMA[r][15]])

inline uint64_t sum(uint64_t a, uint64_t b) { return a + b; }
inline uint64_t either(uint64_t a, uint64_t b) { return a ^ b; }
inline uint64_t rotr(uint64_t value, unsigned by) { return (value >> by) | (value << (64 - by)); }

inline uint64_t loadLittle(const uint8_t* from) {
  uint64_t word;
  std::memcpy(&word, from, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

void compress(uint64_t h[8], const uint8_t* block, uint64_t counter, bool last) {
  uint64_t m[16];
  for (size_t i = 0; i < 16; i++) m[i] = loadLittle(block + 8 * i);
  uint64_t v[16];
  for (size_t i = 0; i < 8; i++) {
    v[i] = h[i];
    v[i + 8] = IV[i];
  }
  v[12] ^= counter;
  if (last) v[14] = ~v[14];
#define G(a, b, c, d, x, y) MIX(sum, either, rotr, a, b, c, d, x, y)
#define R(r) ROUND_OF(G, r)
  TWELVE_ROUNDS(R)
#undef R
#undef G
  for (size_t i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

struct Message {
  Bytes data;
  uint8_t* out;
};

// What every message under one key begins with: the block of the key, which for a message of nothing is the last one.
class KeyedStart {
 public:
  // `keyBlock` stays the caller's, who keeps it as long as this. Of each digest the first `kept` bytes are written.
  KeyedStart(const uint8_t* keyBlock, size_t keyLength, size_t kept = DIGEST) : keyBlock_(keyBlock), kept_(kept) {
    // Parameters are digest length, key length, fanout 1, depth 1.
    std::memcpy(begin_, IV, sizeof begin_);
    begin_[0] ^= 0x01010000u ^ (static_cast<uint64_t>(keyLength) << 8) ^ DIGEST;
    std::memcpy(h_, begin_, sizeof h_);
    compress(h_, keyBlock_, BLOCK, false);
  }

  // The state behind the key's block.
  const uint64_t* state() const { return h_; }

  void hashNothing(uint8_t* out) const {
    uint64_t h[8];
    std::memcpy(h, begin_, sizeof h);
    compress(h, keyBlock_, BLOCK, true);
    writeDigest(h, out);
  }

  void writeDigest(const uint64_t h[8], uint8_t* out) const {
    for (size_t i = 0; i < kept_; i++) out[i] = static_cast<uint8_t>(h[i / 8] >> (8 * (i % 8)));
  }

 private:
  const uint8_t* keyBlock_;
  size_t kept_;
  uint64_t begin_[8];
  uint64_t h_[8];
};

// A message under way, behind the block of the key; it has bytes left until it is done.
struct Lane {
  const uint8_t* at;
  size_t left = 0;
  // Bytes before `at`, those of the key's block included: the counter of the last compression.
  uint64_t passed;
  uint8_t* out;
  uint64_t h[8];
  uint8_t last[BLOCK];

  void begin(const Message& message, const KeyedStart& start) {
    at = message.data.data;
    left = message.data.length;
    passed = BLOCK;
    out = message.out;
    std::memcpy(h, start.state(), sizeof h);
  }

  // Blocks before the last one.
  size_t whole() const { return (left - 1) / BLOCK; }

  void advance(size_t blocks) {
    at += BLOCK * blocks;
    left -= BLOCK * blocks;
    passed += BLOCK * blocks;
  }

  // The last block, filled up with zeros.
  const uint8_t* lastBlock() {
    if (left == BLOCK) return at;
    std::memset(last + left, 0, BLOCK - left);
    std::memcpy(last, at, left);
    return last;
  }

  void finish(const KeyedStart& start) {
    for (size_t blocks = whole(); blocks > 0; blocks--) {
      compress(h, at, passed + BLOCK, false);
      advance(1);
    }
    compress(h, lastBlock(), passed + left, true);
    start.writeDigest(h, out);
    left = 0;
  }
};

void hashOne(const Message& message, const KeyedStart& start) {
  if (message.data.length == 0) return start.hashNothing(message.out);
  Lane lane;
  lane.begin(message, start);
  lane.finish(start);
}

#ifdef WITH_AVX2
// compress(state, at, stride, counters, lasts, blocks): so many blocks of each of some messages, lane j of every vector being message j; state[i][j] is word i of message j. Counters are
// those of the first block, and lasts all ones where that is the last. A lane with stride 0 looks at one block again and again.
template <size_t LANES>
using Compress = void (*)(uint64_t (*state)[LANES], const uint8_t* const* at, const size_t* stride, const uint64_t* counters, const uint64_t* lasts, size_t blocks);

// Without instructions of its own for it, a word is turned by moving its bytes.
#define BY_32(words) _mm256_shuffle_epi32(words, _MM_SHUFFLE(2, 3, 0, 1))
#define BY_24(words) _mm256_shuffle_epi8(words, _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10))
#define BY_16(words) _mm256_shuffle_epi8(words, _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9))
#define BY_63(words) _mm256_or_si256(_mm256_srli_epi64(words, 63), _mm256_add_epi64(words, words))
#define ROTATE(words, bits) BY_##bits((words))
#define COMPRESS_FOUR compressFour
#define FOUR_TARGET "avx2"
#include "compress-four.h"
#undef ROTATE
#undef COMPRESS_FOUR
#undef FOUR_TARGET

// With twice the registers nothing has to be put aside, either.
#define ROTATE(words, bits) _mm256_ror_epi64(words, bits)
#define COMPRESS_FOUR compressFourWide
#define FOUR_TARGET "avx2,avx512f,avx512vl"
#include "compress-four.h"
#undef ROTATE
#undef COMPRESS_FOUR
#undef FOUR_TARGET

// Words i of eight rows become row i.
__attribute__((target("avx512f"), always_inline)) inline void turn(const __m512i r[8], __m512i* out) {
  for (size_t odd = 0; odd < 2; odd++) {
    const auto pair = [&](size_t i) __attribute__((target("avx512f"), always_inline)) {
      return odd == 0 ? _mm512_unpacklo_epi64(r[i], r[i + 1]) : _mm512_unpackhi_epi64(r[i], r[i + 1]);
    };
    const __m512i a = pair(0), b = pair(2), c = pair(4), d = pair(6);
    const __m512i evenAB = _mm512_shuffle_i64x2(a, b, 0x88), oddAB = _mm512_shuffle_i64x2(a, b, 0xdd);
    const __m512i evenCD = _mm512_shuffle_i64x2(c, d, 0x88), oddCD = _mm512_shuffle_i64x2(c, d, 0xdd);
    out[odd] = _mm512_shuffle_i64x2(evenAB, evenCD, 0x88);
    out[odd + 2] = _mm512_shuffle_i64x2(oddAB, oddCD, 0x88);
    out[odd + 4] = _mm512_shuffle_i64x2(evenAB, evenCD, 0xdd);
    out[odd + 6] = _mm512_shuffle_i64x2(oddAB, oddCD, 0xdd);
  }
}

__attribute__((target("avx512f"))) void compressEight(uint64_t (*state)[8], const uint8_t* const* at, const size_t* stride, const uint64_t* counters, const uint64_t* lasts,
                                                      size_t blocks) {
  const __m512i ends = _mm512_load_si512(lasts);
  __m512i counter = _mm512_load_si512(counters);
  __m512i h[8];
  for (size_t i = 0; i < 8; i++) h[i] = _mm512_load_si512(state[i]);
  for (size_t block = 0; block < blocks; block++) {
    __m512i m[16];
    for (size_t half = 0; half < 2; half++) {
      __m512i rows[8];
      for (size_t i = 0; i < 8; i++) rows[i] = _mm512_loadu_si512(at[i] + stride[i] * block + 64 * half);
      turn(rows, m + 8 * half);
    }
    __m512i v[16];
    for (size_t i = 0; i < 8; i++) {
      v[i] = h[i];
      v[i + 8] = _mm512_set1_epi64(static_cast<long long>(IV[i]));
    }
    v[12] = _mm512_xor_si512(v[12], counter);
    v[14] = _mm512_xor_si512(v[14], ends);
#define G(a, b, c, d, x, y) MIX(_mm512_add_epi64, _mm512_xor_si512, _mm512_ror_epi64, a, b, c, d, x, y)
#define R(r) ROUND_OF(G, r)
    TWELVE_ROUNDS(R)
#undef R
#undef G
    for (size_t i = 0; i < 8; i++) h[i] = _mm512_xor_si512(h[i], _mm512_xor_si512(v[i], v[i + 8]));
    counter = _mm512_add_epi64(counter, _mm512_set1_epi64(BLOCK));
  }
  for (size_t i = 0; i < 8; i++) _mm512_store_si512(state[i], h[i]);
}

// Messages that wait for a lane.
struct Waiting {
  const Message* next;
  const Message* end;
};

// Goes on with the messages in the lanes and those that wait, each of which takes a lane as it becomes free, until no more than `enough` are under way.
// A lane without work goes on with a block of zeros, whose state nobody reads.
template <size_t LANES>
void hashLanes(Compress<LANES> compress, Lane* lanes, size_t enough, Waiting& waiting, const KeyedStart& start) {
  static const uint8_t NOTHING[BLOCK] = {};
  alignas(64) uint64_t state[8][LANES];
  alignas(64) uint64_t counters[LANES];
  alignas(64) uint64_t lasts[LANES];
  const uint8_t* at[LANES];
  size_t stride[LANES];
  for (size_t i = 0; i < 8; i++) {
    for (size_t lane = 0; lane < LANES; lane++) state[i][lane] = lanes[lane].left > 0 ? lanes[lane].h[i] : 0;
  }
  for (;;) {
    size_t active = 0;
    size_t blocks = SIZE_MAX;
    for (size_t lane = 0; lane < LANES; lane++) {
      Lane& own = lanes[lane];
      for (; own.left == 0 && waiting.next != waiting.end; waiting.next++) {
        if (waiting.next->data.length == 0) {
          start.hashNothing(waiting.next->out);
          continue;
        }
        own.begin(*waiting.next, start);
        for (size_t i = 0; i < 8; i++) state[i][lane] = own.h[i];
      }
      if (own.left == 0) continue;
      active++;
      blocks = std::min(blocks, own.whole());
    }
    if (active <= enough) break;
    // Whole blocks of all, or one of each, which is the last of some.
    const bool ends = blocks == 0;
    if (ends) blocks = 1;
    for (size_t lane = 0; lane < LANES; lane++) {
      Lane& own = lanes[lane];
      const bool isLast = ends && own.left <= BLOCK;
      stride[lane] = own.left == 0 ? 0 : BLOCK;
      at[lane] = own.left == 0 ? NOTHING : isLast ? own.lastBlock() : own.at;
      counters[lane] = own.left == 0 ? 0 : own.passed + std::min(own.left, BLOCK);
      lasts[lane] = isLast ? ~uint64_t{0} : 0;
    }
    compress(state, at, stride, counters, lasts, blocks);
    for (size_t lane = 0; lane < LANES; lane++) {
      Lane& own = lanes[lane];
      if (own.left == 0) continue;
      if (lasts[lane] == 0) {
        own.advance(blocks);
        continue;
      }
      uint64_t digest[8];
      for (size_t i = 0; i < 8; i++) digest[i] = state[i][lane];
      start.writeDigest(digest, own.out);
      own.left = 0;
    }
  }
  for (size_t lane = 0; lane < LANES; lane++) {
    for (size_t i = 0; i < 8; i++) lanes[lane].h[i] = state[i][lane];
  }
}

// From so many messages on eight lanes are quicker than four, though some of them have nothing to do.
constexpr size_t EIGHT_LANES_FROM = 6;

// Eight messages side by side where the machine has vectors for it, then four, and the last one by the plain code.
void hashSideBySide(const std::vector<Message>& messages, const KeyedStart& start, bool wide) {
  Lane lanes[8];
  Waiting waiting{messages.data(), messages.data() + messages.size()};
  if (wide && messages.size() >= EIGHT_LANES_FROM) {
    hashLanes<8>(compressEight, lanes, 4, waiting, start);
    // Those that are left move to the front.
    std::partition(lanes, lanes + 8, [](const Lane& lane) { return lane.left > 0; });
  }
  hashLanes<4>(wide ? compressFourWide : compressFour, lanes, 1, waiting, start);
  for (Lane& lane : lanes) {
    if (lane.left > 0) lane.finish(start);
  }
}
#endif

// `vectors` is the data of the function that was called.
void hashMany(const std::vector<Message>& messages, const KeyedStart& start, const void* vectors) {
#ifdef WITH_AVX2
  if (vectors != nullptr) return hashSideBySide(messages, start, static_cast<const Vectors*>(vectors)->wide);
#endif
  (void)vectors;
  for (const Message& message : messages) hashOne(message, start);
}

// Reads a key and pads it to a block.
Bytes keyArgument(Arguments& args, size_t index, uint8_t block[BLOCK]) {
  const Bytes key = args.bytes(index);
  if (args.ok() && (key.length == 0 || key.length > KEY_MAX)) args.fail("a key of 1 to 64 bytes is wanted");
  std::memset(block, 0, BLOCK);
  if (args.ok()) std::memcpy(block, key.data, key.length);
  return key;
}

// blake2b(key, data, out): writes the digest of 32 bytes to the start of `out`.
napi_value blake2b(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 3);
  uint8_t keyBlock[BLOCK];
  const Bytes key = keyArgument(args, 0, keyBlock);
  const Bytes data = args.bytes(1);
  const Bytes out = args.bytes(2);
  if (args.ok() && out.length < DIGEST) args.fail("the digest does not fit");
  if (args.ok()) hashOne({data, out.data}, KeyedStart(keyBlock, key.length));
  return nullptr;
}

// blake2bMany(key, inputs, out): writes the digests, 32 bytes each, one after the other.
napi_value blake2bMany(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 3);
  uint32_t count = 0;
  bool isArray = false;
  if (!args.ok()) return nullptr;
  if (napi_is_array(env, args.value(1), &isArray) != napi_ok || !isArray || napi_get_array_length(env, args.value(1), &count) != napi_ok) {
    args.fail("an array of inputs is wanted");
    return nullptr;
  }
  // The room for the digests bounds the count, so that no array, however long it says it is, makes us allocate more.
  if (args.bytes(2).length / DIGEST < count) args.fail("the digests do not fit");
  if (!args.ok()) return nullptr;
  // Reading an element may run a getter, which may detach a buffer: all elements first, their memory afterwards.
  std::vector<napi_value> elements(count);
  for (uint32_t i = 0; i < count; i++) {
    // A pending exception is the getter's own.
    if (napi_get_element(env, args.value(1), i, &elements[i]) != napi_ok) return nullptr;
  }
  uint8_t keyBlock[BLOCK];
  const Bytes key = keyArgument(args, 0, keyBlock);
  const Bytes out = args.bytes(2);
  if (args.ok() && out.length / DIGEST < count) args.fail("the digests do not fit");
  std::vector<Message> messages;
  messages.reserve(count);
  for (uint32_t i = 0; i < count && args.ok(); i++) {
    messages.push_back({args.bytesOf(elements[i]), out.data + DIGEST * i});
  }
  if (args.ok()) hashMany(messages, KeyedStart(keyBlock, key.length), args.data);
  return nullptr;
}

// ---------------------------------------------------------------------------------------------------------------- AEAD over Node's own OpenSSL

constexpr size_t NONCE = 12;
constexpr size_t TAG = 16;
constexpr int CTRL_GET_TAG = 0x10;
constexpr int CTRL_SET_TAG = 0x11;
// One call takes an `int` of bytes.
constexpr size_t UPDATE_MAX = size_t{1} << 30;

// What the Node binary exports. No header of OpenSSL is needed, and a Node without these symbols simply has no AEAD here.
struct OpenSsl {
  void* (*newCipherContext)();
  void (*freeCipherContext)(void*);
  const void* (*aes256Gcm)();
  const void* (*aes256Ctr)();
  const void* (*chacha20Poly1305)();
  int (*encryptInit)(void*, const void*, void*, const uint8_t*, const uint8_t*);
  int (*encryptUpdate)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*encryptFinal)(void*, uint8_t*, int*);
  int (*decryptInit)(void*, const void*, void*, const uint8_t*, const uint8_t*);
  int (*decryptUpdate)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*decryptFinal)(void*, uint8_t*, int*);
  int (*control)(void*, int, int, void*);
  void (*clearErrors)();
  void (*cleanse)(void*, size_t);
  bool complete = true;

  OpenSsl() {
    find(newCipherContext, "EVP_CIPHER_CTX_new");
    find(freeCipherContext, "EVP_CIPHER_CTX_free");
    find(aes256Gcm, "EVP_aes_256_gcm");
    find(aes256Ctr, "EVP_aes_256_ctr");
    find(chacha20Poly1305, "EVP_chacha20_poly1305");
    find(encryptInit, "EVP_EncryptInit_ex");
    find(encryptUpdate, "EVP_EncryptUpdate");
    find(encryptFinal, "EVP_EncryptFinal_ex");
    find(decryptInit, "EVP_DecryptInit_ex");
    find(decryptUpdate, "EVP_DecryptUpdate");
    find(decryptFinal, "EVP_DecryptFinal_ex");
    find(control, "EVP_CIPHER_CTX_ctrl");
    find(clearErrors, "ERR_clear_error");
    find(cleanse, "OPENSSL_cleanse");
  }

 private:
  template <typename Function>
  void find(Function& into, const char* name) {
    into = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
    complete = complete && into != nullptr;
  }
};

const OpenSsl& openSsl() {
  static const OpenSsl found;
  return found;
}

}  // namespace

#include "content-key.h"
#include "read-back.h"

namespace {

// An algorithm with its key-derivation secret. A content's key is there only during its call.
class Aead {
 public:
  // `valid` must be asked before anything else.
  Aead(bool chacha, Bytes secret, const Vectors* vectors) : keys_(secret), encrypt_(openSsl().newCipherContext()), decrypt_(openSsl().newCipherContext()) {
    const OpenSsl& ssl = openSsl();
    const void* cipher = chacha ? ssl.chacha20Poly1305() : ssl.aes256Gcm();
    valid_ = encrypt_ != nullptr && decrypt_ != nullptr && cipher != nullptr &&
             ssl.encryptInit(encrypt_, cipher, nullptr, nullptr, nullptr) == 1 && ssl.decryptInit(decrypt_, cipher, nullptr, nullptr, nullptr) == 1;
    if (!valid_) ssl.clearErrors();
#ifdef WITH_VAES
    static const bool hasVaes = machineHasVaes();
    reads_ = hasVaes && !chacha && vectors != nullptr && !vectors->wide;
#endif
    (void)vectors;
  }
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;
  ~Aead() {
    const OpenSsl& ssl = openSsl();
    if (encrypt_ != nullptr) ssl.freeCipherContext(encrypt_);
    if (decrypt_ != nullptr) ssl.freeCipherContext(decrypt_);
  }

  bool valid() const { return valid_; }

  // Writes nonce, ciphertext and tag.
  bool seal(const uint8_t* nonce, Bytes iv, Bytes plaintext, uint8_t* out) {
    const OpenSsl& ssl = openSsl();
    uint8_t key[ContentKeys::KEY];
    keys_.derive(iv, key);
    int ignored = 0;
    uint8_t none[1];
    std::memcpy(out, nonce, NONCE);
    const bool done = ssl.encryptInit(encrypt_, nullptr, nullptr, key, nonce) == 1 && update(ssl.encryptUpdate, encrypt_, nullptr, iv) &&
                      update(ssl.encryptUpdate, encrypt_, out + NONCE, plaintext) && ssl.encryptFinal(encrypt_, none, &ignored) == 1 &&
                      ssl.control(encrypt_, CTRL_GET_TAG, TAG, out + NONCE + plaintext.length) == 1;
    ssl.cleanse(key, sizeof key);
    if (!done) ssl.clearErrors();
    return done;
  }

  // False when the tag does not match; `out` is then zeroed.
  bool open(Bytes sealed, Bytes iv, uint8_t* out) {
    const OpenSsl& ssl = openSsl();
    const Bytes ciphertext{sealed.data + NONCE, sealed.length - NONCE - TAG};
    uint8_t key[ContentKeys::KEY];
    keys_.derive(iv, key);
    uint8_t tag[TAG];
    uint8_t none[1];
    int ignored = 0;
    std::memcpy(tag, ciphertext.data + ciphertext.length, TAG);
    const bool done = ssl.decryptInit(decrypt_, nullptr, nullptr, key, sealed.data) == 1 &&
                      ssl.control(decrypt_, CTRL_SET_TAG, TAG, tag) == 1 && update(ssl.decryptUpdate, decrypt_, nullptr, iv) &&
                      update(ssl.decryptUpdate, decrypt_, out, ciphertext) && ssl.decryptFinal(decrypt_, none, &ignored) == 1;
    ssl.cleanse(key, sizeof key);
    if (!done) {
      ssl.clearErrors();
      if (ciphertext.length > 0) std::memset(out, 0, ciphertext.length);
    }
    return done;
  }

  // Writes nonce, ciphertext and tag, and reads them back under the same key: deriving it is a good part of the work for a small content. Both go on piece by piece, so that what was
  // written and what it was made from are still in the cache when they are compared. 0: done; 1: OpenSSL failed; 2: differs.
  int sealAndCheck(const uint8_t* nonce, Bytes iv, Bytes plaintext, uint8_t* out) {
    const OpenSsl& ssl = openSsl();
    uint8_t key[ContentKeys::KEY];
    keys_.derive(iv, key);
    std::memcpy(out, nonce, NONCE);
    bool sealed = ssl.encryptInit(encrypt_, nullptr, nullptr, key, nonce) == 1 && update(ssl.encryptUpdate, encrypt_, nullptr, iv);
    const bool same = sealed && readingBack(key, out, iv, [&](auto& reader) { return sealPieces(reader, plaintext, out + NONCE, sealed); });
    ssl.cleanse(key, sizeof key);
    if (!same) ssl.clearErrors();
    return same ? 0 : sealed ? 2 : 1;
  }

  // Whether `sealed` opens to these bytes, of which there are as many as it holds. A piece at a time, so that what comes out stays in the cache and is compared there.
  bool opensTo(Bytes sealed, Bytes iv, const uint8_t* plaintext) {
    const OpenSsl& ssl = openSsl();
    uint8_t key[ContentKeys::KEY];
    keys_.derive(iv, key);
    const Bytes ciphertext{sealed.data + NONCE, sealed.length - NONCE - TAG};
    const bool same = readingBack(key, sealed.data, iv, [&](auto& reader) {
      bool done = true;
      for (size_t at = 0; done && at < ciphertext.length; at += PIECE) {
        done = reader.opensTo({ciphertext.data + at, std::min(PIECE, ciphertext.length - at)}, plaintext + at);
      }
      return done && reader.endsWith(ciphertext.data + ciphertext.length);
    });
    ssl.cleanse(key, sizeof key);
    if (!same) ssl.clearErrors();
    return same;
  }

 private:
  // Decrypts with OpenSSL, a piece at a time, and compares.
  struct OpenSslReader {
    void* context;

    bool opensTo(Bytes ciphertext, const uint8_t* plaintext) {
      uint8_t piece[PIECE];
      int written = 0;
      return openSsl().decryptUpdate(context, piece, &written, ciphertext.data, static_cast<int>(ciphertext.length)) == 1 &&
             std::memcmp(piece, plaintext, ciphertext.length) == 0;
    }

    bool endsWith(const uint8_t* tag) {
      uint8_t wanted[TAG];
      uint8_t none[1];
      int written = 0;
      std::memcpy(wanted, tag, TAG);
      return openSsl().control(context, CTRL_SET_TAG, TAG, wanted) == 1 && openSsl().decryptFinal(context, none, &written) == 1;
    }
  };

  // Has `work` read with the best reader of this machine.
  template <typename Work>
  bool readingBack(const uint8_t key[ContentKeys::KEY], const uint8_t* nonce, Bytes iv, Work work) {
#ifdef WITH_VAES
    if (reads_) {
      GcmReader reader(key, nonce, iv);
      return work(reader);
    }
#endif
    const OpenSsl& ssl = openSsl();
    OpenSslReader reader{decrypt_};
    return ssl.decryptInit(decrypt_, nullptr, nullptr, key, nonce) == 1 && update(ssl.decryptUpdate, decrypt_, nullptr, iv) && work(reader);
  }

  // Whether all was read back as it should; `sealed` is false when OpenSSL failed.
  template <typename Reader>
  bool sealPieces(Reader& reader, Bytes plaintext, uint8_t* ciphertext, bool& sealed) {
    const OpenSsl& ssl = openSsl();
    int written = 0;
    uint8_t none[1];
    for (size_t at = 0; at < plaintext.length; at += PIECE) {
      const size_t length = std::min(PIECE, plaintext.length - at);
      sealed = ssl.encryptUpdate(encrypt_, ciphertext + at, &written, plaintext.data + at, static_cast<int>(length)) == 1;
      if (!sealed || !reader.opensTo({ciphertext + at, length}, plaintext.data + at)) return false;
    }
    uint8_t* tag = ciphertext + plaintext.length;
    sealed = ssl.encryptFinal(encrypt_, none, &written) == 1 && ssl.control(encrypt_, CTRL_GET_TAG, TAG, tag) == 1;
    return sealed && reader.endsWith(tag);
  }

  // Whole groups of six blocks, which is what OpenSSL's code for AES-GCM works on: what is left over takes three times as long.
  static constexpr size_t PIECE = size_t{24} << 10;

  // `out` is null for additional data.
  static bool update(int (*run)(void*, uint8_t*, int*, const uint8_t*, int), void* context, uint8_t* out, Bytes data) {
    for (size_t at = 0; at < data.length;) {
      const size_t piece = data.length - at < UPDATE_MAX ? data.length - at : UPDATE_MAX;
      int written = 0;
      if (run(context, out == nullptr ? nullptr : out + at, &written, data.data + at, static_cast<int>(piece)) != 1) return false;
      at += piece;
    }
    return true;
  }

  ContentKeys keys_;
  void* encrypt_;
  void* decrypt_;
  bool valid_ = false;
  // With GcmReader.
  bool reads_ = false;
};

constexpr napi_type_tag AEAD_TAG = {0x6b0f7c1d9a3e4f52, 0x91c2d8e4b7a05f36};

// What a call of this addon returned, by the tag of its objects; null, with an exception, for anything else.
void* taggedArgument(napi_env env, Arguments& args, size_t index, const napi_type_tag& tag, const char* wanted) {
  bool tagged = false;
  void* found = nullptr;
  napi_valuetype type;
  if (!args.ok()) return nullptr;
  if (napi_typeof(env, args.value(index), &type) != napi_ok || type != napi_object || napi_check_object_type_tag(env, args.value(index), &tag, &tagged) != napi_ok || !tagged ||
      napi_unwrap(env, args.value(index), &found) != napi_ok) {
    args.fail(wanted);
  }
  return found;
}

// Such an object, which deletes what it holds when it is collected; null where it could not be made.
template <typename T>
napi_value taggedObject(napi_env env, std::unique_ptr<T> held, const napi_type_tag& tag, napi_finalize finalize) {
  napi_value object = nullptr;
  if (napi_create_object(env, &object) != napi_ok || napi_wrap(env, object, held.get(), finalize, nullptr, nullptr) != napi_ok) return nullptr;
  held.release();
  return napi_type_tag_object(env, object, &tag) == napi_ok ? object : nullptr;
}

Aead* aeadArgument(napi_env env, Arguments& args, size_t index) { return static_cast<Aead*>(taggedArgument(env, args, index, AEAD_TAG, "what aeadBind returned is wanted")); }

// aeadBind(algorithm, secret): 0 is AES-256-GCM, 1 is ChaCha20-Poly1305. The object belongs to this thread and serves one call at a time.
napi_value aeadBind(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 2);
  const uint64_t algorithm = args.number(0, 1);
  const Bytes secret = args.bytes(1);
  if (args.ok() && (secret.length == 0 || secret.length > 1024)) args.fail("a secret of 1 to 1024 bytes is wanted");
  if (args.ok() && !openSsl().complete) args.fail("this Node has no OpenSSL to share");
  if (!args.ok()) return nullptr;
  auto aead = std::make_unique<Aead>(algorithm == 1, secret, static_cast<const Vectors*>(args.data));
  if (!aead->valid()) {
    args.fail("OpenSSL refuses this algorithm");
    return nullptr;
  }
  return taggedObject(env, std::move(aead), AEAD_TAG, [](napi_env, void* data, void*) { delete static_cast<Aead*>(data); });
}

bool overlap(const uint8_t* a, size_t aLength, const uint8_t* b, size_t bLength) {
  const auto x = reinterpret_cast<uintptr_t>(a);
  const auto y = reinterpret_cast<uintptr_t>(b);
  return aLength > 0 && bLength > 0 && x < y + bLength && y < x + aLength;
}

// aeadSeal(aead, nonce, iv, plaintext, out, at): writes nonce, ciphertext and tag to `out` from `at`.
napi_value aeadSeal(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 6);
  Aead* aead = aeadArgument(env, args, 0);
  const Bytes nonce = args.bytes(1);
  const Bytes iv = args.bytes(2);
  const Bytes plaintext = args.bytes(3);
  const Bytes out = args.bytes(4);
  const size_t at = args.number(5, static_cast<double>(out.length));
  if (!args.ok()) return nullptr;
  const size_t length = plaintext.length + NONCE + TAG;
  if (nonce.length != NONCE) args.fail("a nonce of 12 bytes is wanted");
  else if (out.length - at < length) args.fail("what is sealed does not fit");
  else if (overlap(plaintext.data, plaintext.length, out.data + at, length)) args.fail("what is sealed would overwrite its own plaintext");
  else if (!aead->seal(nonce.data, iv, plaintext, out.data + at)) args.fail("OpenSSL failed to encrypt");
  return nullptr;
}

// aeadOpen(aead, sealed, iv, out): whether the tag matches; then `out`, which must have the plaintext's length, holds it.
napi_value aeadOpen(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 4);
  Aead* aead = aeadArgument(env, args, 0);
  const Bytes sealed = args.bytes(1);
  const Bytes iv = args.bytes(2);
  const Bytes out = args.bytes(3);
  if (args.ok() && (sealed.length < NONCE + TAG || out.length != sealed.length - NONCE - TAG)) args.fail("the lengths do not fit");
  if (args.ok() && overlap(sealed.data, sealed.length, out.data, out.length)) args.fail("what is opened would overwrite its own ciphertext");
  if (!args.ok()) return nullptr;
  napi_value result = nullptr;
  napi_get_boolean(env, aead->open(sealed, iv, out.data), &result);
  return result;
}

}  // namespace

#include "batch.h"
#include "expand.h"
#include "unattributed.h"
#include "files.h"
#include "listing.h"
#include "rewrite.h"
#include "directory-scan.h"
#include "directory.h"
#include "comparison-queue.h"
#include "lookup.h"
#include "poly1305.h"
#include "reads-ahead.h"
#include "restore.h"
#include "scrypt.h"
#include "sha256.h"
#include "sealed.h"
#include "splitter.h"

namespace {

// adviseHugePages(memory): asks for large pages behind memory that begins on a page. It is as good without them, so that nobody hears whether it gets any.
napi_value adviseHugePages(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 1);
  const Bytes memory = args.bytes(0);
  if (!args.ok()) return nullptr;
#ifdef MADV_HUGEPAGE
  madvise(memory.data, memory.length, MADV_HUGEPAGE);
#endif
  return nullptr;
}

// ---------------------------------------------------------------------------------------------------------------- module

bool define(napi_env env, napi_value on, const char* name, napi_callback call, const Vectors* vectors) {
  napi_value function = nullptr;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, call, const_cast<Vectors*>(vectors), &function) == napi_ok &&
         napi_set_named_property(env, on, name, function) == napi_ok;
}

// The loops once more, by other code than the best of this machine, which tests compare with it.
bool defineAside(napi_env env, napi_value on, const char* name, bool (*loops)(napi_env, napi_value, const Vectors*), const Vectors* vectors) {
  napi_value aside = nullptr;
  return napi_create_object(env, &aside) == napi_ok && loops(env, aside, vectors) && napi_set_named_property(env, on, name, aside) == napi_ok;
}

bool defineLoops(napi_env env, napi_value on, const Vectors* vectors) {
  return define(env, on, "buzhashScan", buzhashScan, vectors) && define(env, on, "blake2b", blake2b, vectors) &&
         define(env, on, "blake2bMany", blake2bMany, vectors) && define(env, on, "blake2bRanges", blake2bRanges, vectors) && define(env, on, "sha256Ranges", sha256Ranges, vectors) &&
         define(env, on, "aeadBind", aeadBind, vectors);
}

}  // namespace

NAPI_MODULE_INIT() {
  const Vectors* vectors = vectorsOfMachine();
  const Vectors* narrow = vectors == nullptr ? nullptr : &NARROW;
  const bool done = defineLoops(env, exports, vectors) && defineAside(env, exports, "plain", defineLoops, nullptr) &&
                    defineAside(env, exports, "narrow", defineLoops, narrow) && define(env, exports, "aeadSeal", aeadSeal, vectors) && define(env, exports, "aeadOpen", aeadOpen, vectors) &&
                    define(env, exports, "aeadSealRanges", aeadSealRanges, vectors) && define(env, exports, "aeadOpensTo", aeadOpensTo, vectors) &&
                    define(env, exports, "zstdCompress", zstdCompress, vectors) && define(env, exports, "zstdExpandsTo", zstdExpandsTo, vectors) &&
                    define(env, exports, "zstdExpand", zstdExpand, vectors) && define(env, exports, "aes256Ctr", aes256Ctr, vectors) &&
                    define(env, exports, "listDirectory", listDirectory, vectors) &&
                    define(env, exports, "statEntries", statEntries, vectors) && define(env, exports, "readFiles", readFiles, vectors) &&
                    define(env, exports, "encodeEntries", encodeEntries, vectors) && define(env, exports, "encodeStored", encodeStored, vectors) &&
                    define(env, exports, "compareEntries", compareEntries, vectors) &&
                    define(env, exports, "compareDirectory", compareDirectory, vectors) &&
                    define(env, exports, "directoryScan", directoryScan, vectors) && define(env, exports, "stopScan", stopScan, vectors) &&
                    define(env, exports, "dropScan", dropScan, vectors) && define(env, exports, "comparisonQueue", comparisonQueue, vectors) &&
                    define(env, exports, "putComparison", putComparison, vectors) &&
                    define(env, exports, "finishComparison", finishComparison, vectors) && define(env, exports, "dropComparison", dropComparison, vectors) &&
                    define(env, exports, "findKeys", findKeys, vectors) && define(env, exports, "adviseHugePages", adviseHugePages, vectors) && define(env, exports, "createFiles", createFiles, vectors) &&
                    define(env, exports, "rememberUnattributed", rememberUnattributed, nullptr) && define(env, exports, "metUnattributed", metUnattributed, nullptr) &&
                    defineBoolean(env, exports, "hasZstd", zstd().complete) &&
                    defineBoolean(env, exports, "hasVectors", vectors != nullptr) && defineBoolean(env, exports, "hasWideVectors", vectors == &WIDE) && defineBoolean(env, exports, "hasAead", openSsl().complete);
#ifdef WITH_SCRYPT
  if (!define(env, exports, "scryptMix", scryptMix, nullptr)) return nullptr;
#endif
#ifdef WITH_POLY1305
  if (!define(env, exports, "poly1305", poly1305, nullptr)) return nullptr;
  if (canOpenSealed() && !define(env, exports, "openSealed", openSealed, vectors)) return nullptr;
#endif
#ifdef WITH_READS_AHEAD
  if (!define(env, exports, "readsAhead", readsAhead, nullptr) || !define(env, exports, "beginRead", beginRead, nullptr) || !define(env, exports, "endRead", endRead, nullptr)) return nullptr;
#endif
  if (!done) napi_throw_error(env, "ERR_DLOPEN_FAILED", "the addon could not define its functions");
  return exports;
}
