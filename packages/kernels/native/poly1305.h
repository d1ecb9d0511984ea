// Poly1305 with a key given as it is: by OpenSSL's code, which takes four blocks or more at once, for messages that are longer than a few of them; by the code below for short ones, and
// where this Node shares none. Included by kernels.cc, whose rules for arguments hold here as well. Left out where the compiler has no integers of 128 bits.

#pragma once

#ifdef __SIZEOF_INT128__
#define WITH_POLY1305 1
namespace {

__extension__ typedef unsigned __int128 Wide;

// Compilers do not always make one load of a loop over bytes, and this is called twice a block.
inline uint64_t loadLittleEndian(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

// Numbers modulo 2^130 - 5 as limbs of 44, 44 and 42 bits: the nine products of two limbs, of which some count twenty times (5 * 2^2), fit 128 bits with room for their sum.
class Poly1305 {
 public:
  explicit Poly1305(const uint8_t* key) {
    const uint64_t low = loadLittleEndian(key) & 0x0ffffffc0fffffff;
    const uint64_t high = loadLittleEndian(key + 8) & 0x0ffffffc0ffffffc;
    r0_ = low & LIMB;
    r1_ = ((low >> 44) | (high << 20)) & LIMB;
    r2_ = high >> 24;
  }

  // `above` is 2^128 for a whole block, 0 for the last one, which carries its own end.
  void absorb(const uint8_t* data, size_t blocks, uint64_t above) {
    const uint64_t s1 = r1_ * 20;
    const uint64_t s2 = r2_ * 20;
    for (; blocks > 0; blocks--, data += 16) {
      const uint64_t low = loadLittleEndian(data);
      const uint64_t high = loadLittleEndian(data + 8);
      h0_ += low & LIMB;
      h1_ += ((low >> 44) | (high << 20)) & LIMB;
      h2_ += (high >> 24) | above;
      Wide d0 = static_cast<Wide>(h0_) * r0_ + static_cast<Wide>(h1_) * s2 + static_cast<Wide>(h2_) * s1;
      Wide d1 = static_cast<Wide>(h0_) * r1_ + static_cast<Wide>(h1_) * r0_ + static_cast<Wide>(h2_) * s2;
      Wide d2 = static_cast<Wide>(h0_) * r2_ + static_cast<Wide>(h1_) * r1_ + static_cast<Wide>(h2_) * r0_;
      d1 += static_cast<uint64_t>(d0 >> 44);
      d2 += static_cast<uint64_t>(d1 >> 44);
      h0_ = (static_cast<uint64_t>(d0) & LIMB) + static_cast<uint64_t>(d2 >> 42) * 5;
      h1_ = (static_cast<uint64_t>(d1) & LIMB) + (h0_ >> 44);
      h0_ &= LIMB;
      h2_ = static_cast<uint64_t>(d2) & TOP;
    }
  }

  // (h mod 2^130 - 5) + s, modulo 2^128.
  void finish(const uint8_t* s, uint8_t* tag) {
    carry();
    carry();
    // h - (2^130 - 5), taken when it does not go below zero: chosen without a branch.
    const uint64_t g0 = h0_ + 5;
    const uint64_t g1 = h1_ + (g0 >> 44);
    const uint64_t g2 = h2_ + (g1 >> 44);
    const uint64_t mask = 0 - (g2 >> 42);
    h0_ = (h0_ & ~mask) | (g0 & LIMB & mask);
    h1_ = (h1_ & ~mask) | (g1 & LIMB & mask);
    h2_ = (h2_ & ~mask) | (g2 & TOP & mask);
    const Wide sum = (static_cast<Wide>(h0_) | (static_cast<Wide>(h1_) << 44) | (static_cast<Wide>(h2_) << 88)) +
                     (static_cast<Wide>(loadLittleEndian(s)) | (static_cast<Wide>(loadLittleEndian(s + 8)) << 64));
    for (int index = 0; index < 16; index++) tag[index] = static_cast<uint8_t>(sum >> (8 * index));
  }

 private:
  static constexpr uint64_t LIMB = 0xfffffffffff;
  static constexpr uint64_t TOP = 0x3ffffffffff;

  void carry() {
    h1_ += h0_ >> 44;
    h0_ &= LIMB;
    h2_ += h1_ >> 44;
    h1_ &= LIMB;
    h0_ += (h2_ >> 42) * 5;
    h2_ &= TOP;
    h1_ += h0_ >> 44;
    h0_ &= LIMB;
  }

  uint64_t r0_, r1_, r2_;
  uint64_t h0_ = 0, h1_ = 0, h2_ = 0;
};

// OpenSSL's, by its general interface for message authentication. Not there in a Node that shares no OpenSSL, nor where a policy (FIPS) forbids the algorithm.
struct OpenSslMac {
  void* (*fetch)(void*, const char*, const char*) = reinterpret_cast<void* (*)(void*, const char*, const char*)>(dlsym(RTLD_DEFAULT, "EVP_MAC_fetch"));
  void* (*newContext)(void*) = reinterpret_cast<void* (*)(void*)>(dlsym(RTLD_DEFAULT, "EVP_MAC_CTX_new"));
  void (*freeContext)(void*) = reinterpret_cast<void (*)(void*)>(dlsym(RTLD_DEFAULT, "EVP_MAC_CTX_free"));
  int (*init)(void*, const uint8_t*, size_t, const void*) = reinterpret_cast<int (*)(void*, const uint8_t*, size_t, const void*)>(dlsym(RTLD_DEFAULT, "EVP_MAC_init"));
  int (*update)(void*, const uint8_t*, size_t) = reinterpret_cast<int (*)(void*, const uint8_t*, size_t)>(dlsym(RTLD_DEFAULT, "EVP_MAC_update"));
  int (*final)(void*, uint8_t*, size_t*, size_t) = reinterpret_cast<int (*)(void*, uint8_t*, size_t*, size_t)>(dlsym(RTLD_DEFAULT, "EVP_MAC_final"));
  void* algorithm = nullptr;

  OpenSslMac() {
    if (fetch == nullptr || newContext == nullptr || freeContext == nullptr || init == nullptr || update == nullptr || final == nullptr) return;
    algorithm = fetch(nullptr, "POLY1305", nullptr);
    if (algorithm == nullptr) openSsl().clearErrors();
  }
};

const OpenSslMac& openSslMac() {
  static const OpenSslMac found;
  return found;
}

// One of each thread: a context costs more to make than a small message to authenticate.
struct MacContext {
  void* context = openSslMac().algorithm == nullptr ? nullptr : openSslMac().newContext(openSslMac().algorithm);
  ~MacContext() {
    if (context != nullptr) openSslMac().freeContext(context);
  }
};
thread_local MacContext macContext;

// Below this the ways into OpenSSL cost more than its code saves.
constexpr size_t OPENSSL_MAC_MIN = 512;

// A message that comes in parts, all but the last of them whole blocks. The key has 32 bytes: r, which is clamped here, then s; it is kept until the end. One at a time in a thread.
class Poly1305Message {
 public:
  Poly1305Message(const uint8_t* key, size_t length) : key_(key), own_(key) {
    void* context = length < OPENSSL_MAC_MIN || !openSsl().complete ? nullptr : macContext.context;
    if (context == nullptr) return;
    if (openSslMac().init(context, key, 32, nullptr) == 1) shared_ = context;
    else openSsl().clearErrors();
  }

  void add(const uint8_t* data, size_t length) {
    if (shared_ != nullptr) {
      failed_ = failed_ || openSslMac().update(shared_, data, length) != 1;
      return;
    }
    const size_t blocks = length / 16;
    own_.absorb(data, blocks, uint64_t{1} << 40);
    if (length % 16 == 0) return;
    uint8_t last[16] = {};
    std::memcpy(last, data + blocks * 16, length % 16);
    last[length % 16] = 1;
    own_.absorb(last, 1, 0);
  }

  // False, and no tag, when OpenSSL failed on the way.
  bool finish(uint8_t* tag) {
    if (shared_ == nullptr) {
      own_.finish(key_ + 16, tag);
      return true;
    }
    size_t length = 0;
    return !failed_ && openSslMac().final(shared_, tag, &length, 16) == 1 && length == 16;
  }

 private:
  const uint8_t* key_;
  Poly1305 own_;
  void* shared_ = nullptr;
  bool failed_ = false;
};

// poly1305(key, data, out): writes the tag of `data` to the start of `out`.
napi_value poly1305(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 3);
  const Bytes key = args.bytes(0);
  const Bytes data = args.bytes(1);
  const Bytes out = args.bytes(2);
  if (args.ok() && (key.length != 32 || out.length < 16)) args.fail("a key of 32 bytes and room for a tag of 16 are wanted");
  if (!args.ok()) return nullptr;
  uint8_t tag[16];
  Poly1305Message message(key.data, data.length);
  message.add(data.data, data.length);
  if (message.finish(tag)) {
    std::memcpy(out.data, tag, sizeof tag);
  } else {
    openSsl().clearErrors();
    args.fail("OpenSSL failed to authenticate");
  }
  return nullptr;
}

}  // namespace
#endif
