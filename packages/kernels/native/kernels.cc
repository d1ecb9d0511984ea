// The hot loops of this package as a Node-API addon: buzhash scan, keyed BLAKE2b-256, and the two content encryptions over Node's own OpenSSL; in batch.h the same for many
// contents at once, in files.h directories and small files many at a time, in poly1305.h Poly1305.
//
// Compiled by src/native/prepare-native.ts, described to TypeScript by src/native/addon.ts; every function gives the same bytes as its portable twin.
//
// Invariants
// - Arguments are read with calls that run no JavaScript, after the last call that could run some; so no buffer can be detached between check and use.
// - Wrong arguments throw. Nothing is read or written outside the buffers given.
// - No state but constants written once at load: the file is loaded by every worker of the process, and AEAD objects belong to one worker each.
// - x86-64 machines with AVX2 take the vector code, found out at run time; everything else takes the plain code. Both are always there: `plain` forces the latter.

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

bool cpuHasAvx2() {
#ifdef WITH_AVX2
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2");
#else
  return false;
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
  }

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
  static constexpr size_t MAX = 10;

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
  bool ok_ = true;
};

napi_value numberValue(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

// ---------------------------------------------------------------------------------------------------------------- buzhash

constexpr size_t WINDOW = 64;

inline uint32_t rotl(uint32_t value) { return (value << 1) | (value >> 31); }

// Rolls from a full window over data[from, to), reading what leaves the window from the data itself. The offset after the first byte that asks for a cut, or -1.
int64_t rollWithin(const uint32_t* table, uint32_t hash, const uint8_t* data, size_t from, size_t to, uint32_t mask) {
  for (size_t at = from; at < to; at++) {
    hash = rotl(hash) ^ table[data[at - WINDOW]] ^ table[data[at]];
    if ((hash & mask) == 0) return static_cast<int64_t>(at + 1);
  }
  return -1;
}

uint32_t hashOfWindow(const uint32_t* table, const uint8_t* window) {
  uint32_t hash = 0;
  for (size_t i = 0; i < WINDOW; i++) hash = rotl(hash) ^ table[window[i]];
  return hash;
}

#ifdef WITH_AVX2
constexpr size_t SEGMENT = 1024;
constexpr size_t PREFIXES = WINDOW + SEGMENT;

// Index of the first i in [WINDOW, PREFIXES) with ((prefix[i] ^ prefix[i - WINDOW]) & mask) == 0, or PREFIXES.
__attribute__((target("avx2"))) size_t firstCut(const uint32_t* prefix, uint32_t mask) {
  const __m256i masks = _mm256_set1_epi32(static_cast<int>(mask));
  const __m256i zero = _mm256_setzero_si256();
  for (size_t i = WINDOW; i < PREFIXES; i += 16) {
    const auto hits = [&](size_t at) __attribute__((target("avx2"), always_inline)) {
      const __m256i now = _mm256_load_si256(reinterpret_cast<const __m256i*>(prefix + at));
      const __m256i before = _mm256_load_si256(reinterpret_cast<const __m256i*>(prefix + at - WINDOW));
      return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_xor_si256(now, before), masks), zero);
    };
    const __m256i low = hits(i);
    const __m256i high = hits(i + 8);
    if (_mm256_testz_si256(_mm256_or_si256(low, high), _mm256_or_si256(low, high))) continue;
    const auto lowBits = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(low)));
    const auto highBits = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(high)));
    return i + static_cast<size_t>(__builtin_ctz(lowBits | (highBits << 8)));
  }
  return PREFIXES;
}

// The window is a multiple of the word, so with the unbounded prefix hash H(p) = rotl(H(p - 1)) ^ T[b[p]] the window's hash is H(p) ^ H(p - 64).
// That takes one look-up a byte instead of two, and two segments side by side hide the latency of the chain. The test is a pass of its own.
__attribute__((target("avx2"))) int64_t scanVectors(const uint32_t* table, const uint8_t* data, size_t from, size_t to, uint32_t mask) {
  alignas(32) uint32_t first[PREFIXES];
  alignas(32) uint32_t second[PREFIXES];
  size_t at = from;
  for (; to - at >= 2 * SEGMENT; at += 2 * SEGMENT) {
    const uint8_t* a = data + at - WINDOW;
    const uint8_t* b = a + SEGMENT;
    uint32_t hashA = 0;
    uint32_t hashB = 0;
    for (size_t i = 0; i < PREFIXES; i += 8) {
      uint64_t wordA;
      uint64_t wordB;
      std::memcpy(&wordA, a + i, 8);
      std::memcpy(&wordB, b + i, 8);
#pragma GCC unroll 8
      for (size_t j = 0; j < 8; j++) {
        hashA = rotl(hashA) ^ table[wordA & 0xff];
        hashB = rotl(hashB) ^ table[wordB & 0xff];
        first[i + j] = hashA;
        second[i + j] = hashB;
        wordA >>= 8;
        wordB >>= 8;
      }
    }
    const size_t hitA = firstCut(first, mask);
    if (hitA < PREFIXES) return static_cast<int64_t>(at + hitA - WINDOW + 1);
    const size_t hitB = firstCut(second, mask);
    if (hitB < PREFIXES) return static_cast<int64_t>(at + SEGMENT + hitB - WINDOW + 1);
  }
  return rollWithin(table, hashOfWindow(table, data + at - WINDOW), data, at, to, mask);
}
#endif

// buzhashScan(table, window, data, from, to, mask): the offset after the first byte of data[from, to) that asks for a cut, or -1.
// `window` holds the 64 bytes before `from`, which need not be in `data`.
napi_value buzhashScan(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 6);
  const uint32_t* table = args.words(0, 256);
  const Bytes window = args.bytes(1);
  const Bytes data = args.bytes(2);
  const size_t to = args.number(4, static_cast<double>(data.length));
  const size_t from = args.number(3, static_cast<double>(to));
  const auto mask = static_cast<uint32_t>(args.number(5, UINT32_MAX));
  if (args.ok() && window.length != WINDOW) args.fail("the window is not 64 bytes long");
  if (!args.ok()) return nullptr;
  const bool vectors = args.data != nullptr;

  uint32_t hash = hashOfWindow(table, window.data);
  const size_t direct = to - from < WINDOW ? to : from + WINDOW;
  for (size_t at = from; at < direct; at++) {
    hash = rotl(hash) ^ table[window.data[at - from]] ^ table[data.data[at]];
    if ((hash & mask) == 0) return numberValue(env, static_cast<double>(at + 1));
  }
  if (direct == to) return numberValue(env, -1);
#ifdef WITH_AVX2
  if (vectors) return numberValue(env, static_cast<double>(scanVectors(table, data.data, direct, to, mask)));
#endif
  (void)vectors;
  return numberValue(env, static_cast<double>(rollWithin(table, hash, data.data, direct, to, mask)));
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

// Twelve rounds with constant message indices: R(round) is given by each of the two builds below.
#define TWELVE_ROUNDS(R) R(0) R(1) R(2) R(3) R(4) R(5) R(6) R(7) R(8) R(9) R(0) R(1)
#define ROUND_OF(G, r)                                                                                                     \
  G(v[0], v[4], v[8], v[12], m[SIGMA[r][0]], m[SIGMA[r][1]]) G(v[1], v[5], v[9], v[13], m[SIGMA[r][2]], m[SIGMA[r][3]])    \
  G(v[2], v[6], v[10], v[14], m[SIGMA[r][4]], m[SIGMA[r][5]]) G(v[3], v[7], v[11], v[15], m[SIGMA[r][6]], m[SIGMA[r][7]])  \
  G(v[0], v[5], v[10], v[15], m[SIGMA[r][8]], m[SIGMA[r][9]]) G(v[1], v[6], v[11], v[12], m[SIGMA[r][10]], m[SIGMA[r][11]]) \
  G(v[2], v[7], v[8], v[13], m[SIGMA[r][12]], m[SIGMA[r][13]]) G(v[3], v[4], v[9], v[14], m[SIGMA[r][14]], m[SIGMA[r][15]])

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
#define G(a, b, c, d, x, y)                                            \
  a += b + x, d = rotr(d ^ a, 32), c += d, b = rotr(b ^ c, 24);        \
  a += b + y, d = rotr(d ^ a, 16), c += d, b = rotr(b ^ c, 63);
#define R(r) ROUND_OF(G, r)
  TWELVE_ROUNDS(R)
#undef R
#undef G
  for (size_t i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

// One message under way. Its blocks: the key, padded to a block; then the data, the last block padded. An empty message is its key block alone.
class Message {
 public:
  Message() = default;
  Message(const uint8_t* keyBlock, Bytes data, uint8_t* out) : data_(data), out_(out), key_(keyBlock), done_(false) {}

  uint8_t* out() const { return out_; }
  // Bytes up to and with the block that `next` gave: the counter of the compression.
  uint64_t counter() const { return counter_; }
  bool done() const { return done_; }

  // The next block; after the last one `done` says so.
  const uint8_t* next() {
    if (key_ != nullptr) {
      const uint8_t* block = key_;
      key_ = nullptr;
      counter_ = BLOCK;
      done_ = data_.length == 0;
      return block;
    }
    const size_t left = data_.length - at_;
    const uint8_t* block = data_.data + at_;
    if (left > BLOCK) {
      at_ += BLOCK;
      counter_ += BLOCK;
      return block;
    }
    done_ = true;
    counter_ += left;
    if (left == BLOCK) return block;
    std::memset(padded_, 0, BLOCK);
    std::memcpy(padded_, block, left);
    return padded_;
  }

  void finish(uint64_t h[8]) {
    while (!done_) {
      const uint8_t* block = next();
      compress(h, block, counter_, done_);
    }
  }

 private:
  Bytes data_ = {nullptr, 0};
  uint8_t* out_ = nullptr;
  const uint8_t* key_ = nullptr;
  size_t at_ = 0;
  uint64_t counter_ = 0;
  bool done_ = true;
  uint8_t padded_[BLOCK];
};

void writeDigest(const uint64_t h[8], uint8_t* out) {
  for (size_t i = 0; i < DIGEST; i++) out[i] = static_cast<uint8_t>(h[i / 8] >> (8 * (i % 8)));
}

// The state before the first block: parameters are digest length, key length, fanout 1, depth 1.
void startState(uint64_t h[8], size_t keyLength) {
  std::memcpy(h, IV, sizeof IV);
  h[0] ^= 0x01010000u ^ (static_cast<uint64_t>(keyLength) << 8) ^ DIGEST;
}

void hashOne(Message message, size_t keyLength) {
  uint64_t h[8];
  startState(h, keyLength);
  message.finish(h);
  writeDigest(h, message.out());
}

#ifdef WITH_AVX2
// Compresses one block of each of four messages; lane j of every vector is message j.
__attribute__((target("avx2"))) void compressFour(__m256i h[8], const uint8_t* const blocks[4], __m256i counters, __m256i lasts) {
  __m256i m[16];
  for (size_t i = 0; i < 4; i++) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(blocks[0]) + i);
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(blocks[1]) + i);
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(blocks[2]) + i);
    const __m256i d = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(blocks[3]) + i);
    const __m256i evenAB = _mm256_unpacklo_epi64(a, b);
    const __m256i oddAB = _mm256_unpackhi_epi64(a, b);
    const __m256i evenCD = _mm256_unpacklo_epi64(c, d);
    const __m256i oddCD = _mm256_unpackhi_epi64(c, d);
    m[4 * i] = _mm256_permute2x128_si256(evenAB, evenCD, 0x20);
    m[4 * i + 1] = _mm256_permute2x128_si256(oddAB, oddCD, 0x20);
    m[4 * i + 2] = _mm256_permute2x128_si256(evenAB, evenCD, 0x31);
    m[4 * i + 3] = _mm256_permute2x128_si256(oddAB, oddCD, 0x31);
  }
  __m256i v[16];
  for (size_t i = 0; i < 8; i++) {
    v[i] = h[i];
    v[i + 8] = _mm256_set1_epi64x(static_cast<long long>(IV[i]));
  }
  v[12] = _mm256_xor_si256(v[12], counters);
  v[14] = _mm256_xor_si256(v[14], lasts);
  const __m256i by24 = _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10);
  const __m256i by16 = _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9);
#define G(a, b, c, d, x, y)                                                          \
  a = _mm256_add_epi64(_mm256_add_epi64(a, b), x);                                   \
  d = _mm256_shuffle_epi32(_mm256_xor_si256(d, a), _MM_SHUFFLE(2, 3, 0, 1));         \
  c = _mm256_add_epi64(c, d);                                                        \
  b = _mm256_shuffle_epi8(_mm256_xor_si256(b, c), by24);                             \
  a = _mm256_add_epi64(_mm256_add_epi64(a, b), y);                                   \
  d = _mm256_shuffle_epi8(_mm256_xor_si256(d, a), by16);                             \
  c = _mm256_add_epi64(c, d);                                                        \
  b = _mm256_xor_si256(b, c);                                                        \
  b = _mm256_or_si256(_mm256_srli_epi64(b, 63), _mm256_add_epi64(b, b));
#define R(r) ROUND_OF(G, r)
  TWELVE_ROUNDS(R)
#undef R
#undef G
  for (size_t i = 0; i < 8; i++) h[i] = _mm256_xor_si256(h[i], _mm256_xor_si256(v[i], v[i + 8]));
}

// Four messages side by side; a lane takes the next message when its own ends. What is left when one lane alone has work is finished by the plain code.
// A lane without work goes on with a block of zeros, whose state nobody reads.
__attribute__((target("avx2"))) void hashFourWise(const std::vector<Message>& messages, size_t keyLength) {
  static const uint8_t NOTHING[BLOCK] = {};
  uint64_t start[8];
  startState(start, keyLength);
  alignas(32) uint64_t states[8][4];
  Message lanes[4];
  size_t taken = 0;
  size_t active = 0;
  const auto refill = [&](size_t lane) {
    if (taken == messages.size()) return;
    lanes[lane] = messages[taken++];
    for (size_t i = 0; i < 8; i++) states[i][lane] = start[i];
    active++;
  };
  std::memset(states, 0, sizeof states);
  for (size_t lane = 0; lane < 4; lane++) refill(lane);
  while (active > 1) {
    const uint8_t* blocks[4];
    alignas(32) uint64_t counters[4];
    alignas(32) uint64_t lasts[4];
    bool ended = false;
    bool working[4];
    __m256i h[8];
    for (size_t i = 0; i < 8; i++) h[i] = _mm256_load_si256(reinterpret_cast<const __m256i*>(states[i]));
    for (size_t lane = 0; lane < 4; lane++) working[lane] = !lanes[lane].done();
    while (!ended) {
      for (size_t lane = 0; lane < 4; lane++) {
        blocks[lane] = working[lane] ? lanes[lane].next() : NOTHING;
        counters[lane] = lanes[lane].counter();
        lasts[lane] = lanes[lane].done() ? ~uint64_t{0} : 0;
        ended = ended || (working[lane] && lanes[lane].done());
      }
      compressFour(h, blocks, _mm256_load_si256(reinterpret_cast<const __m256i*>(counters)), _mm256_load_si256(reinterpret_cast<const __m256i*>(lasts)));
    }
    for (size_t i = 0; i < 8; i++) _mm256_store_si256(reinterpret_cast<__m256i*>(states[i]), h[i]);
    for (size_t lane = 0; lane < 4; lane++) {
      if (!working[lane] || !lanes[lane].done()) continue;
      uint64_t digest[8];
      for (size_t i = 0; i < 8; i++) digest[i] = states[i][lane];
      writeDigest(digest, lanes[lane].out());
      active--;
      refill(lane);
    }
  }
  for (size_t lane = 0; lane < 4; lane++) {
    if (lanes[lane].done()) continue;
    uint64_t h[8];
    for (size_t i = 0; i < 8; i++) h[i] = states[i][lane];
    lanes[lane].finish(h);
    writeDigest(h, lanes[lane].out());
  }
}
#endif

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
  if (args.ok()) hashOne(Message(keyBlock, data, out.data), key.length);
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
    const Bytes data = args.bytesOf(elements[i]);
    messages.emplace_back(keyBlock, data, out.data + DIGEST * i);
  }
  if (!args.ok()) return nullptr;
#ifdef WITH_AVX2
  if (args.data != nullptr) {
    hashFourWise(messages, key.length);
    return nullptr;
  }
#endif
  for (const Message& message : messages) hashOne(message, key.length);
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
  const void* (*sha256)();
  int (*encryptInit)(void*, const void*, void*, const uint8_t*, const uint8_t*);
  int (*encryptUpdate)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*encryptFinal)(void*, uint8_t*, int*);
  int (*decryptInit)(void*, const void*, void*, const uint8_t*, const uint8_t*);
  int (*decryptUpdate)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*decryptFinal)(void*, uint8_t*, int*);
  int (*control)(void*, int, int, void*);
  void* (*newHmac)();
  void (*freeHmac)(void*);
  int (*hmacInit)(void*, const void*, int, const void*, void*);
  int (*hmacUpdate)(void*, const uint8_t*, size_t);
  int (*hmacFinal)(void*, uint8_t*, unsigned*);
  void (*clearErrors)();
  void (*cleanse)(void*, size_t);
  bool complete = true;

  OpenSsl() {
    find(newCipherContext, "EVP_CIPHER_CTX_new");
    find(freeCipherContext, "EVP_CIPHER_CTX_free");
    find(aes256Gcm, "EVP_aes_256_gcm");
    find(aes256Ctr, "EVP_aes_256_ctr");
    find(chacha20Poly1305, "EVP_chacha20_poly1305");
    find(sha256, "EVP_sha256");
    find(encryptInit, "EVP_EncryptInit_ex");
    find(encryptUpdate, "EVP_EncryptUpdate");
    find(encryptFinal, "EVP_EncryptFinal_ex");
    find(decryptInit, "EVP_DecryptInit_ex");
    find(decryptUpdate, "EVP_DecryptUpdate");
    find(decryptFinal, "EVP_DecryptFinal_ex");
    find(control, "EVP_CIPHER_CTX_ctrl");
    find(newHmac, "HMAC_CTX_new");
    find(freeHmac, "HMAC_CTX_free");
    find(hmacInit, "HMAC_Init_ex");
    find(hmacUpdate, "HMAC_Update");
    find(hmacFinal, "HMAC_Final");
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

// An algorithm with its key-derivation secret. The secret lives in the HMAC context; a content's key only during its call.
class Aead {
 public:
  // `valid` must be asked before anything else.
  Aead(bool chacha, Bytes secret) : hmac_(openSsl().newHmac()), encrypt_(openSsl().newCipherContext()), decrypt_(openSsl().newCipherContext()) {
    const OpenSsl& ssl = openSsl();
    const void* cipher = chacha ? ssl.chacha20Poly1305() : ssl.aes256Gcm();
    valid_ = hmac_ != nullptr && encrypt_ != nullptr && decrypt_ != nullptr && cipher != nullptr &&
             ssl.hmacInit(hmac_, secret.data, static_cast<int>(secret.length), ssl.sha256(), nullptr) == 1 &&
             ssl.encryptInit(encrypt_, cipher, nullptr, nullptr, nullptr) == 1 && ssl.decryptInit(decrypt_, cipher, nullptr, nullptr, nullptr) == 1;
    if (!valid_) ssl.clearErrors();
  }
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;
  ~Aead() {
    const OpenSsl& ssl = openSsl();
    if (hmac_ != nullptr) ssl.freeHmac(hmac_);
    if (encrypt_ != nullptr) ssl.freeCipherContext(encrypt_);
    if (decrypt_ != nullptr) ssl.freeCipherContext(decrypt_);
  }

  bool valid() const { return valid_; }

  // Writes nonce, ciphertext and tag.
  bool seal(const uint8_t* nonce, Bytes iv, Bytes plaintext, uint8_t* out) {
    const OpenSsl& ssl = openSsl();
    uint8_t key[32];
    int ignored = 0;
    uint8_t none[1];
    std::memcpy(out, nonce, NONCE);
    const bool done = contentKey(iv, key) && ssl.encryptInit(encrypt_, nullptr, nullptr, key, nonce) == 1 && update(ssl.encryptUpdate, encrypt_, nullptr, iv) &&
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
    uint8_t key[32];
    uint8_t tag[TAG];
    uint8_t none[1];
    int ignored = 0;
    std::memcpy(tag, ciphertext.data + ciphertext.length, TAG);
    const bool done = contentKey(iv, key) && ssl.decryptInit(decrypt_, nullptr, nullptr, key, sealed.data) == 1 &&
                      ssl.control(decrypt_, CTRL_SET_TAG, TAG, tag) == 1 && update(ssl.decryptUpdate, decrypt_, nullptr, iv) &&
                      update(ssl.decryptUpdate, decrypt_, out, ciphertext) && ssl.decryptFinal(decrypt_, none, &ignored) == 1;
    ssl.cleanse(key, sizeof key);
    if (!done) {
      ssl.clearErrors();
      if (ciphertext.length > 0) std::memset(out, 0, ciphertext.length);
    }
    return done;
  }

  // Writes nonce, ciphertext and tag, and reads them back under the same key: deriving it is a good part of the work for a small content. 0: done; 1: OpenSSL failed; 2: differs.
  int sealAndCheck(const uint8_t* nonce, Bytes iv, Bytes plaintext, uint8_t* out) {
    const OpenSsl& ssl = openSsl();
    uint8_t key[32];
    int ignored = 0;
    uint8_t none[1];
    std::memcpy(out, nonce, NONCE);
    const bool sealed = contentKey(iv, key) && ssl.encryptInit(encrypt_, nullptr, nullptr, key, nonce) == 1 && update(ssl.encryptUpdate, encrypt_, nullptr, iv) &&
                        update(ssl.encryptUpdate, encrypt_, out + NONCE, plaintext) && ssl.encryptFinal(encrypt_, none, &ignored) == 1 &&
                        ssl.control(encrypt_, CTRL_GET_TAG, TAG, out + NONCE + plaintext.length) == 1;
    const bool same = sealed && opensUnder(key, {out, plaintext.length + NONCE + TAG}, iv, plaintext.data);
    ssl.cleanse(key, sizeof key);
    if (!same) ssl.clearErrors();
    return same ? 0 : sealed ? 2 : 1;
  }

  // Whether `sealed` opens to these bytes, of which there are as many as it holds. A piece at a time, so that what comes out stays in the cache and is compared there.
  bool opensTo(Bytes sealed, Bytes iv, const uint8_t* plaintext) {
    const OpenSsl& ssl = openSsl();
    uint8_t key[32];
    const bool same = contentKey(iv, key) && opensUnder(key, sealed, iv, plaintext);
    ssl.cleanse(key, sizeof key);
    if (!same) ssl.clearErrors();
    return same;
  }

 private:
  bool opensUnder(const uint8_t key[32], Bytes sealed, Bytes iv, const uint8_t* plaintext) {
    const OpenSsl& ssl = openSsl();
    const Bytes ciphertext{sealed.data + NONCE, sealed.length - NONCE - TAG};
    uint8_t tag[TAG];
    uint8_t none[1];
    uint8_t piece[PIECE];
    int written = 0;
    std::memcpy(tag, ciphertext.data + ciphertext.length, TAG);
    bool same = ssl.decryptInit(decrypt_, nullptr, nullptr, key, sealed.data) == 1 && ssl.control(decrypt_, CTRL_SET_TAG, TAG, tag) == 1 &&
                update(ssl.decryptUpdate, decrypt_, nullptr, iv);
    for (size_t at = 0; same && at < ciphertext.length; at += PIECE) {
      const size_t length = std::min(PIECE, ciphertext.length - at);
      same = ssl.decryptUpdate(decrypt_, piece, &written, ciphertext.data + at, static_cast<int>(length)) == 1 && std::memcmp(piece, plaintext + at, length) == 0;
    }
    return same && ssl.decryptFinal(decrypt_, none, &written) == 1;
  }

  static constexpr size_t PIECE = size_t{32} << 10;

  bool contentKey(Bytes iv, uint8_t key[32]) {
    const OpenSsl& ssl = openSsl();
    unsigned length = 0;
    // Without a key the context starts over with the one it has.
    return ssl.hmacInit(hmac_, nullptr, 0, nullptr, nullptr) == 1 && ssl.hmacUpdate(hmac_, iv.data, iv.length) == 1 &&
           ssl.hmacFinal(hmac_, key, &length) == 1 && length == 32;
  }

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

  void* hmac_;
  void* encrypt_;
  void* decrypt_;
  bool valid_ = false;
};

constexpr napi_type_tag AEAD_TAG = {0x6b0f7c1d9a3e4f52, 0x91c2d8e4b7a05f36};

Aead* aeadArgument(napi_env env, Arguments& args, size_t index) {
  bool tagged = false;
  void* found = nullptr;
  napi_valuetype type;
  if (!args.ok()) return nullptr;
  if (napi_typeof(env, args.value(index), &type) != napi_ok || type != napi_object || napi_check_object_type_tag(env, args.value(index), &AEAD_TAG, &tagged) != napi_ok ||
      !tagged || napi_unwrap(env, args.value(index), &found) != napi_ok) {
    args.fail("what aeadBind returned is wanted");
  }
  return static_cast<Aead*>(found);
}

// aeadBind(algorithm, secret): 0 is AES-256-GCM, 1 is ChaCha20-Poly1305. The object belongs to this thread and serves one call at a time.
napi_value aeadBind(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 2);
  const uint64_t algorithm = args.number(0, 1);
  const Bytes secret = args.bytes(1);
  if (args.ok() && (secret.length == 0 || secret.length > 1024)) args.fail("a secret of 1 to 1024 bytes is wanted");
  if (args.ok() && !openSsl().complete) args.fail("this Node has no OpenSSL to share");
  if (!args.ok()) return nullptr;
  auto aead = std::make_unique<Aead>(algorithm == 1, secret);
  if (!aead->valid()) {
    args.fail("OpenSSL refuses this algorithm");
    return nullptr;
  }
  napi_value object = nullptr;
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Aead*>(data); };
  if (napi_create_object(env, &object) != napi_ok || napi_wrap(env, object, aead.get(), finalize, nullptr, nullptr) != napi_ok) return nullptr;
  aead.release();
  if (napi_type_tag_object(env, object, &AEAD_TAG) != napi_ok) return nullptr;
  return object;
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
#include "files.h"
#include "poly1305.h"
#include "restore.h"

namespace {

// ---------------------------------------------------------------------------------------------------------------- module

bool define(napi_env env, napi_value on, const char* name, napi_callback call, bool vectors) {
  // A function's data only says which code it takes.
  static char marker;
  napi_value function = nullptr;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, call, vectors ? &marker : nullptr, &function) == napi_ok &&
         napi_set_named_property(env, on, name, function) == napi_ok;
}

bool defineBoolean(napi_env env, napi_value on, const char* name, bool value) {
  napi_value boolean = nullptr;
  return napi_get_boolean(env, value, &boolean) == napi_ok && napi_set_named_property(env, on, name, boolean) == napi_ok;
}

bool defineLoops(napi_env env, napi_value on, bool vectors) {
  return define(env, on, "buzhashScan", buzhashScan, vectors) && define(env, on, "blake2b", blake2b, vectors) &&
         define(env, on, "blake2bMany", blake2bMany, vectors) && define(env, on, "blake2bRanges", blake2bRanges, vectors);
}

}  // namespace

NAPI_MODULE_INIT() {
  const bool vectors = cpuHasAvx2();
  napi_value plain = nullptr;
  const bool done = defineLoops(env, exports, vectors) && napi_create_object(env, &plain) == napi_ok && defineLoops(env, plain, false) &&
                    napi_set_named_property(env, exports, "plain", plain) == napi_ok && define(env, exports, "aeadBind", aeadBind, vectors) &&
                    define(env, exports, "aeadSeal", aeadSeal, vectors) && define(env, exports, "aeadOpen", aeadOpen, vectors) &&
                    define(env, exports, "aeadSealRanges", aeadSealRanges, vectors) && define(env, exports, "aeadOpensTo", aeadOpensTo, vectors) &&
                    define(env, exports, "zstdCompress", zstdCompress, vectors) && define(env, exports, "zstdExpandsTo", zstdExpandsTo, vectors) &&
                    define(env, exports, "zstdExpand", zstdExpand, vectors) && define(env, exports, "aes256Ctr", aes256Ctr, vectors) &&
                    define(env, exports, "listDirectory", listDirectory, vectors) &&
                    define(env, exports, "statEntries", statEntries, vectors) && define(env, exports, "readFiles", readFiles, vectors) &&
                    define(env, exports, "encodeEntries", encodeEntries, vectors) && define(env, exports, "createFiles", createFiles, vectors) &&
                    defineBoolean(env, exports, "hasZstd", zstd().complete) &&
                    defineBoolean(env, exports, "hasVectors", vectors) && defineBoolean(env, exports, "hasAead", openSsl().complete);
#ifdef WITH_POLY1305
  if (!define(env, exports, "poly1305", poly1305, false)) return nullptr;
#endif
  if (!done) napi_throw_error(env, "ERR_DLOPEN_FAILED", "the addon could not define its functions");
  return exports;
}
