// The part of scrypt (RFC 7914) that takes all of its time, ROMix, with the vector instructions that every machine has: OpenSSL's takes one word after the other, twice as long.
// It runs on a thread of libuv's pool. Where the machine can turn the bits of a word in one instruction (AVX-512) that is a quarter less time again.

#pragma once

#include <sys/mman.h>

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define WITH_SCRYPT 1
#endif
#endif

#ifdef WITH_SCRYPT
namespace {

typedef uint32_t Four __attribute__((vector_size(16)));

constexpr size_t SALSA_WORDS = 16;

inline __attribute__((always_inline)) Four rotated(Four v, int by) { return (v << by) | (v >> (32 - by)); }

// A block as vectors of its diagonals: the words 0 5 10 15, 4 9 14 3, 8 13 2 7 and 12 1 6 11, so that the rounds of Salsa20 over columns are four lanes wide; those over rows are,
// once the vectors are turned by a lane, two and three.
constexpr uint8_t DIAGONALS[SALSA_WORDS] = {0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11};

inline __attribute__((always_inline)) void salsa20of8(Four x[4]) {
  Four a = x[0], b = x[1], c = x[2], d = x[3];
  for (int round = 0; round < 4; round++) {
    b ^= rotated(a + d, 7);
    c ^= rotated(b + a, 9);
    d ^= rotated(c + b, 13);
    a ^= rotated(d + c, 18);
    b = __builtin_shufflevector(b, b, 3, 0, 1, 2);
    c = __builtin_shufflevector(c, c, 2, 3, 0, 1);
    d = __builtin_shufflevector(d, d, 1, 2, 3, 0);
    d ^= rotated(a + b, 7);
    c ^= rotated(d + a, 9);
    b ^= rotated(c + d, 13);
    a ^= rotated(b + c, 18);
    b = __builtin_shufflevector(b, b, 1, 2, 3, 0);
    c = __builtin_shufflevector(c, c, 2, 3, 0, 1);
    d = __builtin_shufflevector(d, d, 3, 0, 1, 2);
  }
  x[0] += a;
  x[1] += b;
  x[2] += c;
  x[3] += d;
}

// scryptBlockMix of `from` ^ `other`, into `to`: 2r blocks of 64 bytes, those with even numbers first.
inline __attribute__((always_inline)) void blockMix(const Four* from, const Four* other, Four* to, size_t r) {
  Four x[4];
  const size_t last = (2 * r - 1) * 4;
  for (size_t i = 0; i < 4; i++) x[i] = from[last + i] ^ other[last + i];
  for (size_t block = 0; block < 2 * r; block++) {
    for (size_t i = 0; i < 4; i++) x[i] ^= from[4 * block + i] ^ other[4 * block + i];
    salsa20of8(x);
    Four* out = to + 4 * (block / 2 + (block % 2 == 0 ? 0 : r));
    for (size_t i = 0; i < 4; i++) out[i] = x[i];
  }
}

// Ordinary pages: large ones, which random places would ask for, are cleared whole, and where a host takes free memory back they come from there one by one. That took 0.1 s more as
// often as they saved 0.02 s.
class Scratch {
 public:
  explicit Scratch(size_t length) : length_(length) {
    void* found = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) return;
    data_ = found;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (data_ != nullptr) munmap(data_, length_);
  }
  Four* data() const { return static_cast<Four*>(data_); }

 private:
  void* data_ = nullptr;
  size_t length_;
};

// The two loops of scryptROMix over words in the order of `blockMix`; where the result lies, which is `x` or `y`.
inline __attribute__((always_inline)) Four* roMixLoops(Four* v, Four* x, Four* y, const Four* zeros, size_t N, size_t r) {
  const size_t vectors = 8 * r;
  std::memcpy(v, x, vectors * sizeof(Four));
  for (size_t i = 1; i < N; i++) blockMix(v + (i - 1) * vectors, zeros, v + i * vectors, r);
  blockMix(v + (N - 1) * vectors, zeros, x, r);
  for (size_t i = 0; i < N; i++) {
    const size_t j = x[(2 * r - 1) * 4][0] & (N - 1);
    blockMix(x, v + j * vectors, y, r);
    std::swap(x, y);
  }
  return x;
}

Four* roMixBasic(Four* v, Four* x, Four* y, const Four* zeros, size_t N, size_t r) { return roMixLoops(v, x, y, zeros, N, r); }

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vl"))) Four* roMixTurning(Four* v, Four* x, Four* y, const Four* zeros, size_t N, size_t r) {
  return roMixLoops(v, x, y, zeros, N, r);
}
#endif

// scryptROMix over a block of 128 * r bytes, N a power of two. False when there is no memory.
bool roMix(uint8_t* block, size_t N, size_t r) {
  const size_t vectors = 8 * r;
  const Scratch table(N * vectors * sizeof(Four));
  const Scratch space(3 * vectors * sizeof(Four));
  if (table.data() == nullptr || space.data() == nullptr) return false;
  Four* v = table.data();
  Four* x = space.data();
  Four* y = x + vectors;
  const Four* zeros = y + vectors;
  const auto wordAt = [&](size_t i) { return block + 4 * (i / SALSA_WORDS * SALSA_WORDS + DIAGONALS[i % SALSA_WORDS]); };
  auto* words = reinterpret_cast<uint32_t*>(x);
  for (size_t i = 0; i < 4 * vectors; i++) {
    const uint8_t* at = wordAt(i);
    words[i] = static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 | static_cast<uint32_t>(at[2]) << 16 | static_cast<uint32_t>(at[3]) << 24;
  }
#if defined(__x86_64__)
  const bool turns = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
  x = (turns ? roMixTurning : roMixBasic)(v, x, y, zeros, N, r);
#else
  x = roMixBasic(v, x, y, zeros, N, r);
#endif
  words = reinterpret_cast<uint32_t*>(x);
  for (size_t i = 0; i < 4 * vectors; i++) {
    uint8_t* at = wordAt(i);
    for (size_t byte = 0; byte < 4; byte++) at[byte] = static_cast<uint8_t>(words[i] >> (8 * byte));
  }
  openSsl().cleanse(space.data(), 3 * vectors * sizeof(Four));
  return true;
}

struct MixWork {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  std::vector<uint8_t> blocks;
  size_t N = 0;
  size_t r = 0;
  bool done = false;
};

// scryptMix(blocks, N, r): a promise of the blocks of 128 * r bytes each, mixed.
napi_value scryptMix(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 3);
  const Bytes blocks = args.bytes(0);
  const size_t N = args.number(1, 1 << 24);
  const size_t r = args.number(2, 64);
  if (args.ok() && (N < 2 || (N & (N - 1)) != 0 || r == 0 || blocks.length == 0 || blocks.length % (128 * r) != 0)) args.fail("blocks of 128 * r bytes and a power of two are wanted");
  if (args.ok() && !openSsl().complete) args.fail("this Node has no OpenSSL to share");
  if (!args.ok()) return nullptr;
  auto work = std::make_unique<MixWork>();
  work->blocks.assign(blocks.data, blocks.data + blocks.length);
  work->N = N;
  work->r = r;
  const auto run = [](napi_env, void* data) {
    auto* own = static_cast<MixWork*>(data);
    own->done = true;
    for (size_t at = 0; own->done && at < own->blocks.size(); at += 128 * own->r) own->done = roMix(own->blocks.data() + at, own->N, own->r);
  };
  const auto end = [](napi_env own, napi_status status, void* data) {
    const std::unique_ptr<MixWork> work(static_cast<MixWork*>(data));
    napi_value memory = nullptr;
    napi_value result = nullptr;
    void* start = nullptr;
    if (status == napi_ok && work->done && napi_create_arraybuffer(own, work->blocks.size(), &start, &memory) == napi_ok &&
        napi_create_typedarray(own, napi_uint8_array, work->blocks.size(), memory, 0, &result) == napi_ok) {
      std::memcpy(start, work->blocks.data(), work->blocks.size());
      napi_resolve_deferred(own, work->deferred, result);
    } else {
      napi_value message = nullptr;
      napi_value error = nullptr;
      napi_create_string_utf8(own, "there is no memory for scrypt", NAPI_AUTO_LENGTH, &message);
      napi_create_error(own, nullptr, message, &error);
      napi_reject_deferred(own, work->deferred, error);
    }
    openSsl().cleanse(work->blocks.data(), work->blocks.size());
    napi_delete_async_work(own, work->work);
  };
  napi_value name = nullptr;
  napi_value promise = nullptr;
  if (napi_create_string_utf8(env, "scrypt", NAPI_AUTO_LENGTH, &name) != napi_ok || napi_create_promise(env, &work->deferred, &promise) != napi_ok ||
      napi_create_async_work(env, nullptr, name, run, end, work.get(), &work->work) != napi_ok || napi_queue_async_work(env, work->work) != napi_ok) {
    return nullptr;
  }
  work.release();
  return promise;
}

}  // namespace
#endif
