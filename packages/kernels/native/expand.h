// What a restore turns stored bytes into data with, written where the caller has memory for it: Node's own calls allocate for each content, and its collector then works as much as the cipher.

#pragma once

namespace {

// One of each thread: a context costs more to make than a small content to decrypt.
struct CtrContext {
  void* context = nullptr;
  ~CtrContext() {
    if (context != nullptr) openSsl().freeCipherContext(context);
  }
};
thread_local CtrContext ctrContext;

// Begins to encrypt or decrypt with this thread's context. `iv` is the whole first counter block. Errors of OpenSSL are left for the caller to clear.
bool startCounted(const uint8_t* key, const uint8_t* iv) {
  const OpenSsl& ssl = openSsl();
  if (ctrContext.context == nullptr) ctrContext.context = ssl.newCipherContext();
  return ctrContext.context != nullptr && ssl.encryptInit(ctrContext.context, ssl.aes256Ctr(), nullptr, key, iv) == 1;
}

// Goes on with what was begun. `out` may be `data`.
bool countOn(const uint8_t* data, size_t length, uint8_t* out) {
  bool done = true;
  for (size_t at = 0; done && at < length; at += UPDATE_MAX) {
    int written = 0;
    done = openSsl().encryptUpdate(ctrContext.context, out + at, &written, data + at, static_cast<int>(std::min(UPDATE_MAX, length - at))) == 1;
  }
  return done;
}

// aes256Ctr(key, iv, data, out): writes `data`, encrypted or decrypted, to the start of `out`. `iv` is the whole first counter block.
napi_value aes256Ctr(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 4);
  const Bytes key = args.bytes(0);
  const Bytes iv = args.bytes(1);
  const Bytes data = args.bytes(2);
  const Bytes out = args.bytes(3);
  if (args.ok() && (key.length != 32 || iv.length != 16)) args.fail("a key of 32 bytes and a counter block of 16 are wanted");
  if (args.ok() && out.length < data.length) args.fail("what is decrypted does not fit");
  if (args.ok() && overlap(data.data, data.length, out.data, data.length)) args.fail("what is decrypted would overwrite its own source");
  if (args.ok() && !openSsl().complete) args.fail("this Node has no OpenSSL to share");
  if (!args.ok()) return nullptr;
  if (startCounted(key.data, iv.data) && countOn(data.data, data.length, out.data)) return nullptr;
  openSsl().clearErrors();
  args.fail("OpenSSL failed to decrypt");
  return nullptr;
}

// zstdExpand(frames, out): expands all frames, one behind the other, to the start of `out`; how many bytes that are, or -1 when they are damaged or do not fit.
napi_value zstdExpand(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 2);
  const Bytes frames = args.bytes(0);
  const Bytes out = args.bytes(1);
  if (args.ok() && overlap(frames.data, frames.length, out.data, out.length)) args.fail("what is expanded would overwrite its own source");
  if (args.ok() && !zstd().complete) args.fail("this Node has no zstd to share");
  if (!args.ok()) return nullptr;
  if (zstdContext.expander == nullptr) zstdContext.expander = zstd().newExpander();
  if (zstdContext.expander == nullptr) {
    args.fail("zstd has no memory");
    return nullptr;
  }
  const size_t length = zstd().expand(zstdContext.expander, out.data, out.length, frames.data, frames.length);
  return numberValue(env, zstd().isError(length) != 0 ? -1 : static_cast<double>(length));
}

}  // namespace
