// SHA-256 (FIPS 180-4) of many messages side by side, one in each lane of a vector: on processors without instructions for it, several times as fast as one behind the other.
// A message that is left alone, and machines that have such instructions or no vectors, take OpenSSL's code, or the plain one where this Node shares none.

#pragma once

#ifdef WITH_AVX2
#include <cpuid.h>
#endif

#include "sha256-block.h"

namespace {

constexpr size_t SHA_LANES = 8;

// A message as blocks: whole ones where they lie, then one or two with the rest, a bit and the length.
class ShaMessage {
 public:
  ShaMessage() = default;
  ShaMessage(const uint8_t* data, size_t length, uint8_t* out) : out(out), start_(data), length_(length), at_(data), blocks_(length / SHA_BLOCK) {
    if (blocks_ == 0) pad();
  }

  const uint8_t* at() const { return at_; }
  // Blocks that lie one behind the other from `at` on; none when the message is at its end.
  size_t blocks() const { return blocks_; }

  void advance(size_t blocks) {
    at_ += SHA_BLOCK * blocks;
    blocks_ -= blocks;
    if (blocks_ == 0 && !padded_) pad();
  }

  // The rest of the message, and its digest.
  void finish(const uint32_t state[8]) {
    const OpenSslSha& ssl = openSslSha();
    if (ssl.complete && !padded_) {
      ShaState own;
      ssl.init(&own);
      std::memcpy(own.h, state, sizeof own.h);
      const uint64_t bits = static_cast<uint64_t>(at_ - start_) * 8;
      own.bitsLow = static_cast<uint32_t>(bits);
      own.bitsHigh = static_cast<uint32_t>(bits >> 32);
      ssl.update(&own, at_, static_cast<size_t>(start_ + length_ - at_));
      ssl.final(out, &own);
      return;
    }
    uint32_t h[8];
    std::memcpy(h, state, sizeof h);
    while (blocks_ > 0) {
      shaBlocks(h, at_, blocks_);
      advance(blocks_);
    }
    write(h);
  }

  void write(const uint32_t h[8]) const {
    for (size_t i = 0; i < SHA_DIGEST; i++) out[i] = static_cast<uint8_t>(h[i / 4] >> (24 - 8 * (i % 4)));
  }

  uint8_t* out = nullptr;

 private:
  void pad() {
    const size_t rest = length_ % SHA_BLOCK;
    padded_ = true;
    blocks_ = rest < SHA_BLOCK - 8 ? 1 : 2;
    std::memset(padding_, 0, sizeof padding_);
    std::memcpy(padding_, start_ + (length_ - rest), rest);
    padding_[rest] = 0x80;
    for (size_t i = 0; i < 8; i++) padding_[SHA_BLOCK * blocks_ - 1 - i] = static_cast<uint8_t>(static_cast<uint64_t>(length_) * 8 >> (8 * i));
    at_ = padding_;
  }

  const uint8_t* start_ = nullptr;
  size_t length_ = 0;
  const uint8_t* at_ = nullptr;
  size_t blocks_ = 0;
  bool padded_ = false;
  uint8_t padding_[2 * SHA_BLOCK];
};

#ifdef WITH_AVX2

// What both builds of the lanes share. Every round is written with constant indices, so that nothing but the 16 words of the schedule leaves registers.
#define SHA_LANES_BODY                                                                                                                        \
  const __m256i swap = _mm256_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3); \
  __m256i s[8];                                                                                                                               \
  for (size_t i = 0; i < 8; i++) s[i] = _mm256_load_si256(reinterpret_cast<const __m256i*>(state[i]));                                        \
  for (size_t block = 0; block < blocks; block++) {                                                                                           \
    __m256i w[16];                                                                                                                            \
    for (size_t half = 0; half < 2; half++) {                                                                                                 \
      __m256i r[8], t[8];                                                                                                                     \
      for (size_t i = 0; i < 8; i++) {                                                                                                        \
        const uint8_t* from = at[i] + stride[i] * block + 32 * half;                                                                          \
        r[i] = _mm256_shuffle_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), swap);                                         \
      }                                                                                                                                       \
      for (size_t i = 0; i < 4; i++) {                                                                                                        \
        t[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);                                                                             \
        t[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);                                                                         \
      }                                                                                                                                       \
      for (size_t i = 0; i < 2; i++) {                                                                                                        \
        r[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);                                                                             \
        r[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);                                                                         \
        r[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);                                                                     \
        r[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);                                                                     \
      }                                                                                                                                       \
      for (size_t i = 0; i < 4; i++) {                                                                                                        \
        w[8 * half + i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);                                                                    \
        w[8 * half + i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);                                                                \
      }                                                                                                                                       \
    }                                                                                                                                         \
    __m256i a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];                                                   \
    for (size_t round = 0; round < 64; round += 16) {                                                                                         \
      _Pragma("GCC unroll 16") for (size_t i = 0; i < 16; i++) {                                                                              \
        if (round > 0) {                                                                                                                      \
          const __m256i w15 = w[(i + 1) % 16], w2 = w[(i + 14) % 16];                                                                         \
          const __m256i s0 = XOR3(ROTR(w15, 7), ROTR(w15, 18), _mm256_srli_epi32(w15, 3));                                                    \
          const __m256i s1 = XOR3(ROTR(w2, 17), ROTR(w2, 19), _mm256_srli_epi32(w2, 10));                                                     \
          w[i] = _mm256_add_epi32(_mm256_add_epi32(w[i], s0), _mm256_add_epi32(w[(i + 9) % 16], s1));                                         \
        }                                                                                                                                     \
        const __m256i known = _mm256_add_epi32(_mm256_add_epi32(h, w[i]), _mm256_set1_epi32(static_cast<int>(SHA_K[round + i])));              \
        const __m256i t1 = _mm256_add_epi32(_mm256_add_epi32(known, CHOOSE(e, f, g)), XOR3(ROTR(e, 6), ROTR(e, 11), ROTR(e, 25)));             \
        const __m256i t2 = _mm256_add_epi32(XOR3(ROTR(a, 2), ROTR(a, 13), ROTR(a, 22)), MAJORITY(a, b, c));                                   \
        h = g, g = f, f = e, e = _mm256_add_epi32(d, t1), d = c, c = b, b = a, a = _mm256_add_epi32(t1, t2);                                  \
      }                                                                                                                                       \
    }                                                                                                                                         \
    const __m256i end[8] = {a, b, c, d, e, f, g, h};                                                                                          \
    for (size_t i = 0; i < 8; i++) s[i] = _mm256_add_epi32(s[i], end[i]);                                                                     \
  }                                                                                                                                           \
  for (size_t i = 0; i < 8; i++) _mm256_store_si256(reinterpret_cast<__m256i*>(state[i]), s[i]);

// compress(state, at, stride, blocks): so many blocks of each of eight messages; state[i] has word i of all. A lane with stride 0 looks at one block again and again.
#define ROTR(x, n) _mm256_or_si256(_mm256_srli_epi32(x, n), _mm256_slli_epi32(x, 32 - (n)))
#define XOR3(x, y, z) _mm256_xor_si256(_mm256_xor_si256(x, y), z)
#define CHOOSE(x, y, z) _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
#define MAJORITY(x, y, z) _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
__attribute__((target("avx2"))) void shaLanesAvx2(uint32_t (*state)[SHA_LANES], const uint8_t* const* at, const size_t* stride, size_t blocks) { SHA_LANES_BODY }
#undef ROTR
#undef XOR3
#undef CHOOSE
#undef MAJORITY

// With rotations, and any function of three words in one instruction: 0x96, 0xca and 0xe8 are the truth tables.
#define ROTR(x, n) _mm256_ror_epi32(x, n)
#define XOR3(x, y, z) _mm256_ternarylogic_epi32(x, y, z, 0x96)
#define CHOOSE(x, y, z) _mm256_ternarylogic_epi32(x, y, z, 0xca)
#define MAJORITY(x, y, z) _mm256_ternarylogic_epi32(x, y, z, 0xe8)
__attribute__((target("avx2,avx512f,avx512vl"))) void shaLanesAvx512(uint32_t (*state)[SHA_LANES], const uint8_t* const* at, const size_t* stride, size_t blocks) {
  SHA_LANES_BODY
}
#undef ROTR
#undef XOR3
#undef CHOOSE
#undef MAJORITY
#undef SHA_LANES_BODY

using ShaCompress = void (*)(uint32_t (*)[SHA_LANES], const uint8_t* const*, const size_t*, size_t);

// Null where one message at a time is as fast.
ShaCompress chooseShaLanes() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (vectorsOfMachine() == nullptr) return nullptr;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & (1u << 29)) != 0 && openSslSha().complete) return nullptr;
  return vectorsOfMachine()->wide ? shaLanesAvx512 : shaLanesAvx2;
}

// The longest first, so that what is left over at the end is short. Lanes get the next message as they become free.
void shaSideBySide(ShaCompress compress, std::vector<ShaMessage>& messages) {
  alignas(32) uint32_t state[8][SHA_LANES] = {};
  static const uint8_t idle[SHA_BLOCK] = {};
  ShaMessage* lanes[SHA_LANES] = {};
  size_t next = 0;
  for (;;) {
    const uint8_t* at[SHA_LANES];
    size_t stride[SHA_LANES];
    size_t blocks = SIZE_MAX;
    size_t active = 0;
    for (size_t lane = 0; lane < SHA_LANES; lane++) {
      if (lanes[lane] == nullptr && next < messages.size()) {
        lanes[lane] = &messages[next++];
        for (size_t word = 0; word < 8; word++) state[word][lane] = SHA_START[word];
      }
      at[lane] = lanes[lane] == nullptr ? idle : lanes[lane]->at();
      stride[lane] = lanes[lane] == nullptr ? 0 : SHA_BLOCK;
      if (lanes[lane] == nullptr) continue;
      active++;
      blocks = std::min(blocks, lanes[lane]->blocks());
    }
    if (active == 0) return;
    if (active > 1) compress(state, at, stride, blocks);
    for (size_t lane = 0; lane < SHA_LANES; lane++) {
      if (lanes[lane] == nullptr) continue;
      uint32_t h[8];
      for (size_t word = 0; word < 8; word++) h[word] = state[word][lane];
      if (active == 1) {
        lanes[lane]->finish(h);
      } else {
        lanes[lane]->advance(blocks);
        if (lanes[lane]->blocks() > 0) continue;
        lanes[lane]->write(h);
      }
      lanes[lane] = nullptr;
    }
  }
}
#endif

// The digests of messages, each to where it says.
void shaMany(std::vector<ShaMessage>& messages, bool vectors) {
#ifdef WITH_AVX2
  static const ShaCompress compress = chooseShaLanes();
  if (vectors && compress != nullptr && messages.size() > 1) return shaSideBySide(compress, messages);
#endif
  (void)vectors;
  for (ShaMessage& message : messages) message.finish(SHA_START);
}

// sha256Ranges(data, starts, lengths, count, out): the digests of ranges of one buffer, one behind the other.
napi_value sha256Ranges(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 5);
  const Ranges ranges(args, 0, 1, 2, 3);
  const Bytes out = args.bytes(4);
  if (args.ok() && out.length / SHA_DIGEST < ranges.count) args.fail("the digests do not fit");
  if (args.ok() && overlap(ranges.data.data, ranges.data.length, out.data, out.length)) args.fail("digests would overwrite their own source");
  if (!args.ok()) return nullptr;
  std::vector<uint32_t> order(ranges.count);
  for (size_t i = 0; i < order.size(); i++) order[i] = static_cast<uint32_t>(i);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return ranges.lengths.data[a] > ranges.lengths.data[b]; });
  std::vector<ShaMessage> messages;
  messages.reserve(ranges.count);
  for (const uint32_t i : order) messages.emplace_back(ranges.at(i).data, ranges.at(i).length, out.data + SHA_DIGEST * i);
  shaMany(messages, args.data != nullptr);
  return nullptr;
}

}  // namespace
