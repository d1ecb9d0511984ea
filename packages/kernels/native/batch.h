// Many contents in one call: ranges of one buffer are hashed side by side, sealed one behind the other, and read back; and zstd with a context that stays.

#pragma once

namespace {

// Ranges of a buffer. Checked as a whole before anything is read.
struct Ranges {
  Bytes data;
  Words starts;
  Words lengths;
  size_t count;

  Ranges(Arguments& args, size_t dataAt, size_t startsAt, size_t lengthsAt, size_t countAt)
      : data(args.bytes(dataAt)), starts(args.unsignedWords(startsAt)), lengths(args.unsignedWords(lengthsAt)), count(args.number(countAt, UINT32_MAX)) {
    if (!args.ok()) return;
    if (starts.count < count || lengths.count < count) args.fail("there are fewer ranges than said");
    for (size_t i = 0; i < count && args.ok(); i++) {
      if (starts.data[i] > data.length || data.length - starts.data[i] < lengths.data[i]) args.fail("a range lies outside of the data");
    }
  }

  Bytes at(size_t i) const { return {data.data + starts.data[i], lengths.data[i]}; }
};

// blake2bRanges(key, data, starts, lengths, count, out, kept): as blake2bMany, of ranges of one buffer, and the first `kept` bytes of each digest. The longest go first, so that no lane is left with one at the end.
napi_value blake2bRanges(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 7);
  uint8_t keyBlock[BLOCK];
  const Bytes key = keyArgument(args, 0, keyBlock);
  const Ranges ranges(args, 1, 2, 3, 4);
  const Bytes out = args.bytes(5);
  const size_t kept = args.number(6, DIGEST);
  if (args.ok() && (kept == 0 || out.length / kept < ranges.count)) args.fail("the digests do not fit");
  if (!args.ok()) return nullptr;
  std::vector<uint32_t> order(ranges.count);
  for (size_t i = 0; i < order.size(); i++) order[i] = static_cast<uint32_t>(i);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return ranges.lengths.data[a] > ranges.lengths.data[b]; });
  std::vector<Message> messages;
  messages.reserve(ranges.count);
  for (const uint32_t i : order) messages.push_back({ranges.at(i), out.data + kept * i});
  hashMany(messages, KeyedStart(keyBlock, key.length, kept), args.data);
  return nullptr;
}

// aeadSealRanges(aead, nonces, ivs, ivLength, data, starts, lengths, count, out, at): seals range i under iv i, one behind the other from `at` on, and reads each back.
// The index of the first that opens to something else, or -1.
napi_value aeadSealRanges(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 10);
  Aead* aead = aeadArgument(env, args, 0);
  const Bytes nonces = args.bytes(1);
  const Bytes ivs = args.bytes(2);
  const size_t ivLength = args.number(3, 64);
  const Ranges ranges(args, 4, 5, 6, 7);
  const Bytes out = args.bytes(8);
  const size_t at = args.number(9, static_cast<double>(out.length));
  if (!args.ok()) return nullptr;
  uint64_t needed = 0;
  for (size_t i = 0; i < ranges.count; i++) needed += ranges.lengths.data[i] + NONCE + TAG;
  if (nonces.length / NONCE < ranges.count || ivLength == 0 || ivs.length / ivLength < ranges.count) args.fail("there are fewer nonces or ivs than ranges");
  else if (out.length - at < needed) args.fail("what is sealed does not fit");
  else if (overlap(ranges.data.data, ranges.data.length, out.data + at, needed)) args.fail("what is sealed would overwrite its own plaintext");
  if (!args.ok()) return nullptr;
  uint8_t* to = out.data + at;
  for (size_t i = 0; i < ranges.count; i++) {
    const Bytes iv{ivs.data + ivLength * i, ivLength};
    const Bytes plaintext = ranges.at(i);
    const size_t length = plaintext.length + NONCE + TAG;
    const int failure = aead->sealAndCheck(nonces.data + NONCE * i, iv, plaintext, to);
    if (failure == 2) return numberValue(env, static_cast<double>(i));
    if (failure != 0) {
      args.fail("OpenSSL failed to encrypt");
      return nullptr;
    }
    to += length;
  }
  return numberValue(env, -1);
}

// aeadOpensTo(aead, sealed, iv, plaintext): whether the tag matches and the plaintext is this one. Nothing of the length of the plaintext is allocated.
napi_value aeadOpensTo(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 4);
  Aead* aead = aeadArgument(env, args, 0);
  const Bytes sealed = args.bytes(1);
  const Bytes iv = args.bytes(2);
  const Bytes plaintext = args.bytes(3);
  if (!args.ok()) return nullptr;
  const bool same = sealed.length == plaintext.length + NONCE + TAG && aead->opensTo(sealed, iv, plaintext.data);
  napi_value result = nullptr;
  napi_get_boolean(env, same, &result);
  return result;
}

// ---------------------------------------------------------------------------------------------------------------- zstd of Node's own library

struct Zstd {
  void* (*newExpander)();
  size_t (*freeExpander)(void*);
  size_t (*expand)(void*, void*, size_t, const void*, size_t);
  void* (*newContext)();
  size_t (*freeContext)(void*);
  size_t (*compress)(void*, void*, size_t, const void*, size_t, int);
  unsigned (*isError)(size_t);
  bool complete = true;

  Zstd() {
    find(newExpander, "ZSTD_createDCtx");
    find(freeExpander, "ZSTD_freeDCtx");
    find(expand, "ZSTD_decompressDCtx");
    find(newContext, "ZSTD_createCCtx");
    find(freeContext, "ZSTD_freeCCtx");
    find(compress, "ZSTD_compressCCtx");
    find(isError, "ZSTD_isError");
  }

 private:
  template <typename Function>
  void find(Function& into, const char* name) {
    into = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
    complete = complete && into != nullptr;
  }
};

const Zstd& zstd() {
  static const Zstd found;
  return found;
}

// One of each thread: making one anew costs more than compressing a small file.
struct ZstdContext {
  void* context = nullptr;
  void* expander = nullptr;
  // What was expanded last; it keeps the size of the largest.
  std::vector<uint8_t> plain;
  ~ZstdContext() {
    if (context != nullptr) zstd().freeContext(context);
    if (expander != nullptr) zstd().freeExpander(expander);
  }
};
thread_local ZstdContext zstdContext;

// One frame with the size of its content; its length, or 0 when it does not fit.
size_t compressFrame(Bytes data, int level, uint8_t* out, size_t room) {
  ZstdContext& own = zstdContext;
  if (own.context == nullptr) own.context = zstd().newContext();
  if (own.context == nullptr) return 0;
  const size_t length = zstd().compress(own.context, out, room, data.data, data.length, level);
  return zstd().isError(length) != 0 ? 0 : length;
}

bool expandsTo(Bytes frame, Bytes data) {
  ZstdContext& own = zstdContext;
  if (own.expander == nullptr) own.expander = zstd().newExpander();
  if (own.plain.size() < data.length) own.plain.resize(data.length);
  if (own.expander == nullptr || data.length == 0) return false;
  const size_t length = zstd().expand(own.expander, own.plain.data(), data.length, frame.data, frame.length);
  return zstd().isError(length) == 0 && length == data.length && std::memcmp(own.plain.data(), data.data, length) == 0;
}

// zstdCompress(data, level, out, at): one frame with the size of its content, written to `out` from `at` on; its length, or 0 when it does not fit.
napi_value zstdCompress(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 4);
  const Bytes data = args.bytes(0);
  const int level = static_cast<int>(args.number(1, 22));
  const Bytes out = args.bytes(2);
  const size_t at = args.number(3, static_cast<double>(out.length));
  if (args.ok() && !zstd().complete) args.fail("this Node has no zstd to share");
  if (args.ok() && overlap(data.data, data.length, out.data + at, out.length - at)) args.fail("what is compressed would overwrite its own source");
  if (!args.ok()) return nullptr;
  return numberValue(env, static_cast<double>(compressFrame(data, level, out.data + at, out.length - at)));
}

// zstdExpandsTo(frame, data): whether one frame expands to these bytes.
napi_value zstdExpandsTo(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 2);
  const Bytes frame = args.bytes(0);
  const Bytes data = args.bytes(1);
  if (args.ok() && !zstd().complete) args.fail("this Node has no zstd to share");
  if (!args.ok()) return nullptr;
  const bool same = expandsTo(frame, data);
  napi_value result = nullptr;
  napi_get_boolean(env, same, &result);
  return result;
}

}  // namespace
