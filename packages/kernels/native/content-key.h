// Keys of contents: HMAC-SHA256 (RFC 2104) of an iv under the secret of the repository. With the states behind the two blocks of the secret kept, an iv takes two blocks; through
// OpenSSL's interface the same takes several times as long, since it copies and looks up its contexts each time, and a small content notices.

#pragma once

#include "sha256-block.h"

namespace {

class ContentKeys {
 public:
  static constexpr size_t KEY = SHA_DIGEST;

  explicit ContentKeys(Bytes secret) {
    uint8_t block[SHA_BLOCK] = {};
    if (secret.length <= SHA_BLOCK) std::memcpy(block, secret.data, secret.length);
    else digestBehind(SHA_START, 0, secret, block);
    for (uint8_t& byte : block) byte ^= 0x36;
    std::memcpy(inner_, SHA_START, sizeof inner_);
    takeBlock(inner_, block);
    for (uint8_t& byte : block) byte ^= 0x36 ^ 0x5c;
    std::memcpy(outer_, SHA_START, sizeof outer_);
    takeBlock(outer_, block);
    wipe(block, sizeof block);
  }
  ContentKeys(const ContentKeys&) = delete;
  ContentKeys& operator=(const ContentKeys&) = delete;
  ~ContentKeys() {
    wipe(inner_, sizeof inner_);
    wipe(outer_, sizeof outer_);
  }

  // The key of an iv of any length.
  void derive(Bytes iv, uint8_t key[KEY]) const {
    uint8_t digest[SHA_DIGEST];
    digestBehind(inner_, SHA_BLOCK, iv, digest);
    digestBehind(outer_, SHA_BLOCK, {digest, sizeof digest}, key);
    wipe(digest, sizeof digest);
  }

 private:
  static void takeBlock(uint32_t h[8], const uint8_t* block) {
    const OpenSslSha& ssl = openSslSha();
    if (ssl.block == nullptr) return shaBlocks(h, block, 1);
    ShaState state;
    std::memcpy(state.h, h, sizeof state.h);
    ssl.block(&state, block);
    std::memcpy(h, state.h, sizeof state.h);
  }

  // The digest of a message whose first bytes, whole blocks, led to a state.
  static void digestBehind(const uint32_t start[8], uint64_t before, Bytes data, uint8_t out[SHA_DIGEST]) {
    uint32_t h[8];
    uint8_t block[SHA_BLOCK];
    std::memcpy(h, start, sizeof h);
    size_t at = 0;
    for (; data.length - at >= SHA_BLOCK; at += SHA_BLOCK) takeBlock(h, data.data + at);
    const size_t rest = data.length - at;
    std::memset(block, 0, sizeof block);
    if (rest > 0) std::memcpy(block, data.data + at, rest);
    block[rest] = 0x80;
    if (rest >= SHA_BLOCK - 8) {
      takeBlock(h, block);
      std::memset(block, 0, sizeof block);
    }
    const uint64_t bits = (before + data.length) * 8;
    for (size_t i = 0; i < 8; i++) block[SHA_BLOCK - 1 - i] = static_cast<uint8_t>(bits >> (8 * i));
    takeBlock(h, block);
    for (size_t i = 0; i < SHA_DIGEST; i++) out[i] = static_cast<uint8_t>(h[i / 4] >> (24 - 8 * (i % 4)));
    wipe(block, sizeof block);
    wipe(h, sizeof h);
  }

  // A compiler may leave out writing what nobody reads; not through a volatile pointer.
  static void wipe(void* memory, size_t length) {
    auto* byte = static_cast<volatile uint8_t*>(memory);
    for (size_t i = 0; i < length; i++) byte[i] = 0;
  }

  uint32_t inner_[8];
  uint32_t outer_[8];
};

}  // namespace
