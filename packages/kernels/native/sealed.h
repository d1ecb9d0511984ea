// Contents of restic repositories, many in one call: authenticated (Poly1305-AES), decrypted (AES-256-CTR), expanded (zstd) and compared with the SHA-256 that they are named by.

#pragma once

#ifdef WITH_POLY1305
namespace {

// A row of openSealed, as src/batch/open-sealed.ts has it.
constexpr size_t SEALED_ROW = 5;
constexpr size_t SEALED_START = 0, SEALED_LENGTH = 1, PLAIN_START = 2, PLAIN_LENGTH = 3, IS_COMPRESSED = 4;
constexpr size_t SEAL_IV = 16, SEAL_TAG = 16;
// A part of the cache nearest to a core; whole blocks of cipher and authentication.
constexpr size_t SEAL_PIECE = size_t{16} << 10;
// Where the parts of the authentication lie in a key, behind the 32 bytes of the encryption.
constexpr size_t SEAL_K = 32, SEAL_R = 48;

struct BlockCipher {
  const void* (*aes128Ecb)() = reinterpret_cast<const void* (*)()>(dlsym(RTLD_DEFAULT, "EVP_aes_128_ecb"));
  int (*setPadding)(void*, int) = reinterpret_cast<int (*)(void*, int)>(dlsym(RTLD_DEFAULT, "EVP_CIPHER_CTX_set_padding"));
  bool complete = aes128Ecb != nullptr && setPadding != nullptr;
};

const BlockCipher& blockCipher() {
  static const BlockCipher found;
  return found;
}

bool canOpenSealed() { return openSsl().complete && zstd().complete && blockCipher().complete; }

// One block under AES-128, in a context that is made for a call.
class OneTimeKeys {
 public:
  explicit OneTimeKeys(const uint8_t* key) : context_(openSsl().newCipherContext()) {
    valid_ = context_ != nullptr && openSsl().encryptInit(context_, blockCipher().aes128Ecb(), nullptr, key, nullptr) == 1 && blockCipher().setPadding(context_, 0) == 1;
  }
  ~OneTimeKeys() {
    if (context_ != nullptr) openSsl().freeCipherContext(context_);
  }
  OneTimeKeys(const OneTimeKeys&) = delete;
  OneTimeKeys& operator=(const OneTimeKeys&) = delete;

  bool block(const uint8_t* in, uint8_t* out) {
    int written = 0;
    return valid_ && openSsl().encryptUpdate(context_, out, &written, in, 16) == 1 && written == 16;
  }

 private:
  void* context_;
  bool valid_ = false;
};

// In time that does not depend on where they differ.
bool sameTag(const uint8_t* a, const uint8_t* b) {
  uint8_t difference = 0;
  for (size_t i = 0; i < SEAL_TAG; i++) difference = static_cast<uint8_t>(difference | (a[i] ^ b[i]));
  return difference == 0;
}

// Encrypts or decrypts the bytes between iv and tag where they lie.
bool countInPlace(const uint8_t* key, uint8_t* sealed, size_t inner) {
  return startCounted(key, sealed) && countOn(sealed + SEAL_IV, inner, sealed + SEAL_IV);
}

// Authenticates and decrypts `inner` bytes piece by piece, so that the second pass finds them in the cache of the first. `out` may be where they lie; what it holds counts only when
// this is true.
bool decryptAuthentic(const uint8_t* key, OneTimeKeys& keys, const uint8_t* sealed, size_t inner, uint8_t* out) {
  uint8_t oneTime[32];
  uint8_t wanted[SEAL_TAG];
  uint8_t tag[SEAL_TAG];
  std::memcpy(oneTime, key + SEAL_R, 16);
  std::memcpy(wanted, sealed + SEAL_IV + inner, SEAL_TAG);
  if (!keys.block(sealed, oneTime + 16) || !startCounted(key, sealed)) return false;
  Poly1305Message message(oneTime, inner);
  bool done = true;
  for (size_t at = 0; at < inner; at += SEAL_PIECE) {
    const size_t piece = std::min(SEAL_PIECE, inner - at);
    message.add(sealed + SEAL_IV + at, piece);
    done = countOn(sealed + SEAL_IV + at, piece, out + at) && done;
  }
  return message.finish(tag) && done && sameTag(tag, wanted);
}

// What a content was sealed from, at `plain`, where there is room for exactly what it is said to have. Compressed bytes are decrypted where they lie, which saves as much memory again;
// they are as they were when this is false.
bool openContent(const uint8_t* key, OneTimeKeys& keys, uint8_t* sealed, size_t length, bool compressed, uint8_t* plain, size_t plainLength) {
  static const uint8_t zero[SEAL_IV] = {};
  if (length < SEAL_IV + SEAL_TAG || std::memcmp(sealed, zero, SEAL_IV) == 0) return false;
  const size_t inner = length - SEAL_IV - SEAL_TAG;
  if (!compressed) return inner == plainLength && decryptAuthentic(key, keys, sealed, inner, plain);
  if (inner == 0) return false;
  if (decryptAuthentic(key, keys, sealed, inner, sealed + SEAL_IV)) {
    const size_t expanded = zstd().expand(zstdContext.expander, plain, plainLength, sealed + SEAL_IV, inner);
    if (zstd().isError(expanded) == 0 && expanded == plainLength) return true;
  }
  countInPlace(key, sealed, inner);
  return false;
}

// openSealed(key, data, rows, count, ids, out, done): opens the contents that the first `count` rows name, each to its place in `out`. `done[i]` is 1 when what lies there is
// what id i (32 bytes) says. Otherwise nothing is said of what lies there, and whoever opens the content by itself hears why. What was opened does not lie in `data` any more.
napi_value openSealed(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 7);
  const Bytes key = args.bytes(0);
  const Bytes data = args.bytes(1);
  const Doubles rows = args.doubles(2);
  const size_t count = args.number(3, UINT32_MAX);
  const Bytes ids = args.bytes(4);
  const Bytes out = args.bytes(5);
  const Bytes done = args.bytes(6);
  if (args.ok() && key.length != 64) args.fail("a key of 64 bytes is wanted");
  if (args.ok() && (rows.count / SEALED_ROW < count || ids.length / SHA_DIGEST < count || done.length < count)) args.fail("there are fewer rows than said");
  if (args.ok() && overlap(data.data, data.length, out.data, out.length)) args.fail("what is opened would overwrite its own source");
  for (size_t i = 0; i < count && args.ok(); i++) {
    const double* row = rows.data + SEALED_ROW * i;
    if (!isWhole(row[SEALED_START], static_cast<double>(data.length)) || !isWhole(row[SEALED_LENGTH], static_cast<double>(data.length) - row[SEALED_START]) ||
        !isWhole(row[PLAIN_START], static_cast<double>(out.length)) || !isWhole(row[PLAIN_LENGTH], static_cast<double>(out.length) - row[PLAIN_START])) {
      args.fail("a content lies outside of the data, or does not fit");
    }
  }
  if (args.ok() && !canOpenSealed()) args.fail("this Node has no OpenSSL or no zstd to share");
  if (!args.ok()) return nullptr;
  if (zstdContext.expander == nullptr) zstdContext.expander = zstd().newExpander();
  if (zstdContext.expander == nullptr) {
    args.fail("zstd has no memory");
    return nullptr;
  }
  OneTimeKeys keys(key.data + SEAL_K);
  std::vector<uint32_t> opened;
  for (size_t i = 0; i < count; i++) {
    const double* row = rows.data + SEALED_ROW * i;
    const auto length = static_cast<size_t>(row[SEALED_LENGTH]);
    done.data[i] = 0;
    const bool whole = openContent(key.data, keys, data.data + static_cast<size_t>(row[SEALED_START]), length, row[IS_COMPRESSED] != 0,
                                   out.data + static_cast<size_t>(row[PLAIN_START]), static_cast<size_t>(row[PLAIN_LENGTH]));
    if (whole) opened.push_back(static_cast<uint32_t>(i));
  }
  openSsl().clearErrors();
  std::sort(opened.begin(), opened.end(), [&](uint32_t a, uint32_t b) { return rows.data[SEALED_ROW * a + PLAIN_LENGTH] > rows.data[SEALED_ROW * b + PLAIN_LENGTH]; });
  std::vector<uint8_t> digests(SHA_DIGEST * opened.size());
  std::vector<ShaMessage> messages;
  messages.reserve(opened.size());
  for (size_t i = 0; i < opened.size(); i++) {
    const double* row = rows.data + SEALED_ROW * opened[i];
    messages.emplace_back(out.data + static_cast<size_t>(row[PLAIN_START]), static_cast<size_t>(row[PLAIN_LENGTH]), digests.data() + SHA_DIGEST * i);
  }
  shaMany(messages, args.data != nullptr);
  for (size_t i = 0; i < opened.size(); i++) {
    const bool genuine = std::memcmp(digests.data() + SHA_DIGEST * i, ids.data + SHA_DIGEST * opened[i], SHA_DIGEST) == 0;
    const double* row = rows.data + SEALED_ROW * opened[i];
    done.data[opened[i]] = genuine ? 1 : 0;
    if (!genuine && row[IS_COMPRESSED] != 0) {
      countInPlace(key.data, data.data + static_cast<size_t>(row[SEALED_START]), static_cast<size_t>(row[SEALED_LENGTH]) - SEAL_IV - SEAL_TAG);
    }
  }
  return nullptr;
}

}  // namespace
#endif
