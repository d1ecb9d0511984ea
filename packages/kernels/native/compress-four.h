// Four messages of BLAKE2b side by side. Included once for each set of instructions, in kernels.cc: COMPRESS_FOUR is its name, FOUR_TARGET what it may use, ROTATE(words, bits) turns words
// to the right.

__attribute__((target(FOUR_TARGET))) void COMPRESS_FOUR(uint64_t (*state)[4], const uint8_t* const* at, const size_t* stride, const uint64_t* counters, const uint64_t* lasts,
                                                         size_t blocks) {
  const __m256i ends = _mm256_load_si256(reinterpret_cast<const __m256i*>(lasts));
  __m256i counter = _mm256_load_si256(reinterpret_cast<const __m256i*>(counters));
  __m256i h[8];
  for (size_t i = 0; i < 8; i++) h[i] = _mm256_load_si256(reinterpret_cast<const __m256i*>(state[i]));
  for (size_t block = 0; block < blocks; block++) {
    __m256i m[16];
    for (size_t i = 0; i < 4; i++) {
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[0] + stride[0] * block) + i);
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[1] + stride[1] * block) + i);
      const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[2] + stride[2] * block) + i);
      const __m256i d = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at[3] + stride[3] * block) + i);
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
    v[12] = _mm256_xor_si256(v[12], counter);
    v[14] = _mm256_xor_si256(v[14], ends);
#define G(a, b, c, d, x, y) MIX(_mm256_add_epi64, _mm256_xor_si256, ROTATE, a, b, c, d, x, y)
#define R(r) ROUND_OF(G, r)
    TWELVE_ROUNDS(R)
#undef R
#undef G
    for (size_t i = 0; i < 8; i++) h[i] = _mm256_xor_si256(h[i], _mm256_xor_si256(v[i], v[i + 8]));
    counter = _mm256_add_epi64(counter, _mm256_set1_epi64x(BLOCK));
  }
  for (size_t i = 0; i < 8; i++) _mm256_store_si256(reinterpret_cast<__m256i*>(state[i]), h[i]);
}
