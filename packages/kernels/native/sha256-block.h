// SHA-256 (FIPS 180-4), a block at a time: OpenSSL's code where this Node shares it, else the plain one.

#pragma once

namespace {

constexpr size_t SHA_BLOCK = 64;
constexpr size_t SHA_DIGEST = 32;

constexpr uint32_t SHA_START[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
alignas(64) constexpr uint32_t SHA_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74,
    0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d,
    0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e,
    0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
    0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

// OpenSSL's state of one digest, which its public header lays out (SHA256_CTX).
struct ShaState {
  uint32_t h[8];
  uint32_t bitsLow, bitsHigh;
  uint32_t data[16];
  unsigned held, digestLength;
};

struct OpenSslSha {
  int (*init)(ShaState*) = reinterpret_cast<int (*)(ShaState*)>(dlsym(RTLD_DEFAULT, "SHA256_Init"));
  int (*update)(ShaState*, const void*, size_t) = reinterpret_cast<int (*)(ShaState*, const void*, size_t)>(dlsym(RTLD_DEFAULT, "SHA256_Update"));
  int (*final)(uint8_t*, ShaState*) = reinterpret_cast<int (*)(uint8_t*, ShaState*)>(dlsym(RTLD_DEFAULT, "SHA256_Final"));
  // Whole blocks, one at a time.
  void (*block)(ShaState*, const uint8_t*) = reinterpret_cast<void (*)(ShaState*, const uint8_t*)>(dlsym(RTLD_DEFAULT, "SHA256_Transform"));
  bool complete = init != nullptr && update != nullptr && final != nullptr;
};

const OpenSslSha& openSslSha() {
  static const OpenSslSha found;
  return found;
}

inline uint32_t rotr32(uint32_t value, unsigned by) { return (value >> by) | (value << (32 - by)); }

void shaBlocks(uint32_t h[8], const uint8_t* data, size_t blocks) {
  for (; blocks > 0; blocks--, data += SHA_BLOCK) {
    uint32_t w[64];
    for (size_t i = 0; i < 16; i++) {
      w[i] = static_cast<uint32_t>(data[4 * i]) << 24 | static_cast<uint32_t>(data[4 * i + 1]) << 16 | static_cast<uint32_t>(data[4 * i + 2]) << 8 | data[4 * i + 3];
    }
    for (size_t i = 16; i < 64; i++) {
      const uint32_t s0 = rotr32(w[i - 15], 7) ^ rotr32(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const uint32_t s1 = rotr32(w[i - 2], 17) ^ rotr32(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8];
    std::memcpy(v, h, sizeof v);
    for (size_t i = 0; i < 64; i++) {
      const uint32_t t1 = v[7] + (rotr32(v[4], 6) ^ rotr32(v[4], 11) ^ rotr32(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + SHA_K[i] + w[i];
      const uint32_t t2 = (rotr32(v[0], 2) ^ rotr32(v[0], 13) ^ rotr32(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
      std::memmove(v + 1, v, 7 * sizeof v[0]);
      v[4] += t1;
      v[0] = t1 + t2;
    }
    for (size_t i = 0; i < 8; i++) h[i] += v[i];
  }
}

}  // namespace
