// Reads back what OpenSSL has sealed with AES-256-GCM (NIST SP 800-38D), and compares it with what it was sealed from, in one pass that writes no plaintext: two blocks in a register, eight
// under way. For machines that have these instructions for 256 bits and not for 512, for which OpenSSL has code of its own: on those this takes half of its time.
//
// Nothing that is stored comes from here: a fault of this code could only refuse what is right, or accept what differs, which tests compare with OpenSSL.

#pragma once

#if defined(WITH_AVX2) && (__GNUC__ >= 10 || __clang_major__ >= 10)
#define WITH_VAES 1
#include <cpuid.h>
#endif

namespace {

#ifdef WITH_VAES
bool machineHasVaes() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const unsigned both = (1u << 9) | (1u << 10);
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & both) == both;
}

#define WITH_AES __attribute__((target("avx2,aes,pclmul,vaes,vpclmulqdq")))

class GcmReader {
 public:
  // Pieces but for the last have a multiple of so many bytes.
  static constexpr size_t GROUP = 128;

  WITH_AES GcmReader(const uint8_t key[32], const uint8_t nonce[NONCE], Bytes additional) {
    expandKey(key);
    const __m128i hash = reversed(encrypted(_mm_setzero_si128()));
    // Multiplied by x, so that products need no shift.
    const __m128i carries = _mm_and_si128(_mm_srai_epi32(_mm_shuffle_epi32(hash, 0xd3), 31), _mm_set_epi32(static_cast<int>(0xc2000000), 1, 0, 1));
    powers_[7] = _mm_xor_si128(_mm_add_epi64(hash, hash), carries);
    for (size_t i = 7; i > 0; i--) powers_[i - 1] = product(powers_[i], powers_[7]);
    uint8_t block[16] = {};
    std::memcpy(block, nonce, NONCE);
    block[15] = 1;
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
    tagMask_ = encrypted(first);
    counter_ = _mm_add_epi32(reversed(first), _mm_set_epi32(0, 0, 0, 1));
    sum_ = _mm_setzero_si128();
    additionalBits_ = uint64_t{additional.length} * 8;
    for (size_t at = 0; at < additional.length; at += 16) add(padded(additional.data + at, additional.length - at));
  }
  GcmReader(const GcmReader&) = delete;
  GcmReader& operator=(const GcmReader&) = delete;
  ~GcmReader() {
    openSsl().cleanse(keys_, sizeof keys_);
    openSsl().cleanse(powers_, sizeof powers_);
    openSsl().cleanse(&tagMask_, sizeof tagMask_);
  }

  // Whether the next piece of the ciphertext is that of this plaintext.
  WITH_AES bool opensTo(Bytes ciphertext, const uint8_t* plaintext) {
    bits_ += uint64_t{ciphertext.length} * 8;
    size_t at = 0;
    bool same = true;
    if (ciphertext.length >= GROUP) same = groupsOpenTo(ciphertext.data, plaintext, at, ciphertext.length);
    for (; same && at < ciphertext.length; at += 16) {
      const size_t left = std::min<size_t>(16, ciphertext.length - at);
      const __m128i block = padded(ciphertext.data + at, left);
      uint8_t opened[16];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(opened), _mm_xor_si128(block, encrypted(reversed(counter_))));
      counter_ = _mm_add_epi32(counter_, _mm_set_epi32(0, 0, 0, 1));
      same = std::memcmp(opened, plaintext + at, left) == 0;
      add(block);
    }
    return same;
  }

  WITH_AES bool endsWith(const uint8_t tag[TAG]) {
    sum_ = product(_mm_xor_si128(sum_, _mm_set_epi64x(static_cast<long long>(additionalBits_), static_cast<long long>(bits_))), powers_[7]);
    const __m128i differs = _mm_xor_si128(_mm_xor_si128(reversed(sum_), tagMask_), _mm_loadu_si128(reinterpret_cast<const __m128i*>(tag)));
    return _mm_testz_si128(differs, differs) != 0;
  }

 private:
  WITH_AES bool groupsOpenTo(const uint8_t* ciphertext, const uint8_t* plaintext, size_t& at, size_t length) {
    const __m256i order = _mm256_broadcastsi128_si256(reversal());
    const __m256i two = _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2);
    __m256i counters = _mm256_inserti128_si256(_mm256_castsi128_si256(counter_), _mm_add_epi32(counter_, _mm_set_epi32(0, 0, 0, 1)), 1);
    __m256i keys[15];
    for (size_t i = 0; i < 15; i++) keys[i] = _mm256_broadcastsi128_si256(keys_[i]);
    __m256i powers[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) powers[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(powers_ + 2 * i));
    __m256i differs = _mm256_setzero_si256();
    __m128i sum = sum_;
    for (; length - at >= GROUP; at += GROUP) {
      __m256i stream[4];
      __m256i data[4];
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; i++) {
        stream[i] = _mm256_xor_si256(_mm256_shuffle_epi8(counters, order), keys[0]);
        counters = _mm256_add_epi32(counters, two);
      }
#pragma GCC unroll 13
      for (size_t round = 1; round < 14; round++) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) stream[i] = _mm256_aesenc_epi128(stream[i], keys[round]);
      }
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; i++) {
        data[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ciphertext + at) + i);
        const __m256i opened = _mm256_xor_si256(_mm256_aesenclast_epi128(stream[i], keys[14]), data[i]);
        differs = _mm256_or_si256(differs, _mm256_xor_si256(opened, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(plaintext + at) + i)));
      }
      __m256i low = _mm256_setzero_si256();
      __m256i middle = low;
      __m256i high = low;
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; i++) {
        __m256i block = _mm256_shuffle_epi8(data[i], order);
        if (i == 0) block = _mm256_xor_si256(block, _mm256_inserti128_si256(_mm256_setzero_si256(), sum, 0));
        low = _mm256_xor_si256(low, _mm256_clmulepi64_epi128(block, powers[i], 0x00));
        middle = _mm256_xor_si256(middle, _mm256_xor_si256(_mm256_clmulepi64_epi128(block, powers[i], 0x01), _mm256_clmulepi64_epi128(block, powers[i], 0x10)));
        high = _mm256_xor_si256(high, _mm256_clmulepi64_epi128(block, powers[i], 0x11));
      }
      sum = reduced(halvesTogether(low), halvesTogether(middle), halvesTogether(high));
    }
    sum_ = sum;
    counter_ = _mm256_castsi256_si128(counters);
    return _mm256_testz_si256(differs, differs) != 0;
  }

  WITH_AES static __m128i halvesTogether(__m256i value) { return _mm_xor_si128(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1)); }

  WITH_AES static __m128i reversal() { return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

  WITH_AES static __m128i reversed(__m128i block) { return _mm_shuffle_epi8(block, reversal()); }

  WITH_AES static __m128i padded(const uint8_t* data, size_t left) {
    uint8_t block[16] = {};
    std::memcpy(block, data, std::min<size_t>(16, left));
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
  }

  WITH_AES void add(__m128i block) { sum_ = product(_mm_xor_si128(sum_, reversed(block)), powers_[7]); }

  // In the field of GHASH, bits in the order of the standard; one factor was multiplied by x.
  WITH_AES static __m128i product(__m128i a, __m128i b) {
    const __m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
    return reduced(_mm_clmulepi64_si128(a, b, 0x00), middle, _mm_clmulepi64_si128(a, b, 0x11));
  }

  // low + middle * x^64 + high * x^128, of which the lower half is folded away, 64 bits at a time, by x^128 + x^127 + x^126 + x^121 + 1.
  WITH_AES static __m128i reduced(__m128i low, __m128i middle, __m128i high) {
    const __m128i polynomial = _mm_set_epi64x(static_cast<long long>(0xc200000000000000), 1);
    middle = _mm_xor_si128(middle, _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(polynomial, low, 0x01)));
    return _mm_xor_si128(high, _mm_xor_si128(_mm_shuffle_epi32(middle, 0x4e), _mm_clmulepi64_si128(polynomial, middle, 0x01)));
  }

  WITH_AES __m128i encrypted(__m128i block) const {
    block = _mm_xor_si128(block, keys_[0]);
    for (size_t i = 1; i < 14; i++) block = _mm_aesenc_si128(block, keys_[i]);
    return _mm_aesenclast_si128(block, keys_[14]);
  }

  // FIPS 197, section 5.2, two round keys a step.
  WITH_AES void expandKey(const uint8_t key[32]) {
    keys_[0] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key));
    keys_[1] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key + 16));
    expandTwo<0x01, 2>();
    expandTwo<0x02, 4>();
    expandTwo<0x04, 6>();
    expandTwo<0x08, 8>();
    expandTwo<0x10, 10>();
    expandTwo<0x20, 12>();
    keys_[14] = mixed(keys_[12], _mm_shuffle_epi32(_mm_aeskeygenassist_si128(keys_[13], 0x40), 0xff));
  }

  template <int CONSTANT, size_t AT>
  WITH_AES void expandTwo() {
    keys_[AT] = mixed(keys_[AT - 2], _mm_shuffle_epi32(_mm_aeskeygenassist_si128(keys_[AT - 1], CONSTANT), 0xff));
    keys_[AT + 1] = mixed(keys_[AT - 1], _mm_shuffle_epi32(_mm_aeskeygenassist_si128(keys_[AT], 0), 0xaa));
  }

  WITH_AES static __m128i mixed(__m128i key, __m128i word) {
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, word);
  }

  __m128i keys_[15];
  // Of the hash key, the eighth first.
  __m128i powers_[8];
  __m128i tagMask_;
  // The next counter block and the sum so far, bytes reversed.
  __m128i counter_;
  __m128i sum_;
  uint64_t additionalBits_ = 0;
  uint64_t bits_ = 0;
};
#undef WITH_AES
#endif

}  // namespace
