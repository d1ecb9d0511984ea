// Cut points by buzhash: a rolling hash of 64 bytes, and a cut where its lower bits are zero (kopia-format.md 4.2).

#pragma once

namespace {

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

#define WITH_TURNS __attribute__((target("avx512f,avx512vl")))
constexpr size_t LANES = 16;

// The table of 256 words in sixteen registers: a look-up of sixteen bytes is a permutation of each pair of them and a choice by the three upper bits, which takes half of what
// sixteen loads take. (Gathering takes more than either where the processor guards it.)
struct TableInRegisters {
  __m512i part[16];

  WITH_TURNS explicit TableInRegisters(const uint32_t* table) {
    for (size_t i = 0; i < 16; i++) part[i] = _mm512_loadu_si512(table + LANES * i);
  }

  WITH_TURNS __attribute__((always_inline)) inline __m512i at(__m512i bytes) const {
    const __mmask16 bit5 = _mm512_test_epi32_mask(bytes, _mm512_set1_epi32(32));
    const __mmask16 bit6 = _mm512_test_epi32_mask(bytes, _mm512_set1_epi32(64));
    const __mmask16 bit7 = _mm512_test_epi32_mask(bytes, _mm512_set1_epi32(128));
    const auto pair = [&](size_t i) WITH_TURNS __attribute__((always_inline)) { return _mm512_permutex2var_epi32(part[2 * i], bytes, part[2 * i + 1]); };
    const auto four = [&](size_t i) WITH_TURNS __attribute__((always_inline)) { return _mm512_mask_mov_epi32(pair(2 * i), bit5, pair(2 * i + 1)); };
    return _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(four(0), bit6, four(1)), bit7, _mm512_mask_mov_epi32(four(2), bit6, four(3)));
  }
};

// The unbounded prefix hashes (see scanVectors) of sixteen bytes at once, by doubling: after step k a lane has the hash of the 2^k bytes up to its own; `carry` is that of the byte before.
WITH_TURNS __attribute__((always_inline)) inline __m512i prefixesOf(const TableInRegisters& table, const uint8_t* data, __m512i& carry) {
  const __m512i none = _mm512_setzero_si512();
  __m512i hash = table.at(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data))));
  hash = _mm512_xor_si512(hash, _mm512_rol_epi32(_mm512_alignr_epi32(hash, none, 15), 1));
  hash = _mm512_xor_si512(hash, _mm512_rol_epi32(_mm512_alignr_epi32(hash, none, 14), 2));
  hash = _mm512_xor_si512(hash, _mm512_rol_epi32(_mm512_alignr_epi32(hash, none, 12), 4));
  hash = _mm512_xor_si512(hash, _mm512_rol_epi32(_mm512_alignr_epi32(hash, none, 8), 8));
  const __m512i turns = _mm512_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
  hash = _mm512_xor_si512(hash, _mm512_rolv_epi32(carry, turns));
  carry = _mm512_permutexvar_epi32(_mm512_set1_epi32(15), hash);
  return hash;
}

// As scanVectors, with sixteen bytes in a register; the prefixes of a window are four of them, which stay in registers.
WITH_TURNS int64_t scanSixteen(const uint32_t* words, const uint8_t* data, size_t from, size_t to, uint32_t mask) {
  constexpr size_t PARTS = WINDOW / LANES;
  const TableInRegisters table(words);
  const __m512i masks = _mm512_set1_epi32(static_cast<int>(mask));
  __m512i before[PARTS];
  __m512i carry = _mm512_setzero_si512();
  for (size_t i = 0; i < PARTS; i++) before[i] = prefixesOf(table, data + from - WINDOW + LANES * i, carry);
  size_t at = from;
  for (; to - at >= WINDOW; at += WINDOW) {
    uint64_t hits = 0;
#pragma GCC unroll 4
    for (size_t i = 0; i < PARTS; i++) {
      const __m512i now = prefixesOf(table, data + at + LANES * i, carry);
      hits |= static_cast<uint64_t>(_mm512_testn_epi32_mask(_mm512_xor_si512(now, before[i]), masks)) << (LANES * i);
      before[i] = now;
    }
    if (hits != 0) return static_cast<int64_t>(at) + __builtin_ctzll(hits) + 1;
  }
  return rollWithin(words, hashOfWindow(words, data + at - WINDOW), data, at, to, mask);
}
#undef WITH_TURNS
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
  uint32_t hash = hashOfWindow(table, window.data);
  const size_t direct = to - from < WINDOW ? to : from + WINDOW;
  for (size_t at = from; at < direct; at++) {
    hash = rotl(hash) ^ table[window.data[at - from]] ^ table[data.data[at]];
    if ((hash & mask) == 0) return numberValue(env, static_cast<double>(at + 1));
  }
  if (direct == to) return numberValue(env, -1);
#ifdef WITH_AVX2
  if (args.data != nullptr) {
    const auto scan = static_cast<const Vectors*>(args.data)->wide ? scanSixteen : scanVectors;
    return numberValue(env, static_cast<double>(scan(table, data.data, direct, to, mask)));
  }
#endif
  return numberValue(env, static_cast<double>(rollWithin(table, hash, data.data, direct, to, mask)));
}

}  // namespace
