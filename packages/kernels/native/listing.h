// A directory beside its listing in a parent snapshot: which of its files are as the parent has them. One call for a stretch of its names; directory.h has one for whole directories.
//
// The parent's text is whatever a repository holds, and nothing in it is trusted: what is not in the form that this program and Kopia write is told as "not to be judged here",
// and left to code that decodes it. It is read front to back once, so the time is that of its length.

#pragma once

namespace {

// What is said of entry i, in ENTRY_SLOTS words: whether the parent has it, and where. src/batch/batch-files.ts has the same.
constexpr size_t ENTRY_STATE = 0, ENTRY_START = 1, ENTRY_END = 2, ENTRY_SLOTS = 3;
constexpr uint32_t ENTRY_ABSENT = 0, ENTRY_SAME = 1, ENTRY_OTHER = 2;
// Entries that are as they were one behind the other, in the parent's text too.
constexpr size_t RUN_FROM = 0, RUN_TO = 1, RUN_START = 2, RUN_END = 3, RUN_BYTES = 4, RUN_SECONDS = 5, RUN_NANOSECONDS = 6, RUN_SLOTS = 7;
constexpr size_t FOUND_DONE = 0, FOUND_AT = 1, FOUND_SAME = 2, FOUND_RUNS = 3, FOUND_ENDED = 4, FOUND_WHOLE = 5, FOUND_COUNT = 6, FOUND_FD = 7, FOUND_ROW = 8;
constexpr size_t FOUND_CHANGED = FOUND_ROW + ROW, FOUND_TEXT = FOUND_CHANGED + 1, FOUND_PAYLOAD = FOUND_CHANGED + 2, FOUND_BYTES = FOUND_CHANGED + 3,
                 FOUND_SECONDS = FOUND_CHANGED + 4, FOUND_NANOSECONDS = FOUND_CHANGED + 5, FOUND_SLOTS = FOUND_CHANGED + 6;

constexpr size_t NAME_BYTES_MAX = 255;

// The value of a lower-case hex digit, or 16 and more.
uint8_t digitOf(uint8_t c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
  return 0xff;
}

// Whether an entry has nothing but facts: one name, no attributes, no holes.
bool hasFactsOnly(const double* row) {
  return row[ROW_STATUS] == 0 && S_ISREG(static_cast<mode_t>(row[ROW_MODE])) && row[ROW_LINKS] < 2 && row[ROW_ATTRIBUTES] == NO_ATTRIBUTES &&
         row[ROW_BLOCKS] * static_cast<double>(BLOCK_UNIT) >= row[ROW_SIZE];
}

// How many bytes the valid UTF-8 sequence at `text` has, or 0.
size_t sequenceLength(const uint8_t* text, size_t length) {
  const uint8_t lead = text[0];
  if (lead < 0x80) return 1;
  const size_t wanted = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (wanted == 0 || wanted > length) return 0;
  // Overlong forms, surrogates and what lies beyond U+10FFFF differ from valid text in the second byte.
  const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (text[1] < low || text[1] > high) return 0;
  for (size_t i = 2; i < wanted; i++) {
    if ((text[i] & 0xc0) != 0x80) return 0;
  }
  return wanted;
}

// Whether this is the mark that Kopia writes for bytes that are not UTF-8: a listing does not tell whether it was in the name itself.
bool isReplacement(const uint8_t* text, size_t length) { return length > 2 && text[0] == 0xef && text[1] == 0xbf && text[2] == 0xbd; }

// Whether a name stands in a listing as it is, and means nothing else: valid UTF-8, of which Go escapes some characters of ASCII and the two separators of lines.
bool isWrittenAsItIs(const uint8_t* name, size_t length) {
  for (size_t i = 0; i < length;) {
    if (name[i] < 0x80) {
      if (!isPlain(name + i, 1)) return false;
      i++;
      continue;
    }
    const size_t sequence = sequenceLength(name + i, length - i);
    if (sequence == 0 || isReplacement(name + i, length - i) || (name[i] == 0xe2 && name[i + 1] == 0x80 && (name[i + 2] == 0xa8 || name[i + 2] == 0xa9))) return false;
    i += sequence;
  }
  return true;
}

int compareNames(const uint8_t* a, size_t aLength, const uint8_t* b, size_t bLength) {
  const int order = std::memcmp(a, b, std::min(aLength, bLength));
  return order != 0 ? order : aLength < bLength ? -1 : aLength > bLength ? 1 : 0;
}

// Goes along a parent's listing beside the names of a directory, which ascend.
class Comparison {
 public:
  // `at` is where an entry of the text begins. Nothing is known of what may follow the text.
  Comparison(Bytes parent, size_t at, size_t keyBytes, uint8_t* keys, uint32_t* entries, double* runs)
      : parent_(parent), at_(at), keyBytes_(keyBytes), keys_(keys), entries_(entries), runs_(runs) {}

  // Says of entry i what the parent has; false where the text ends before that is known, or is not in the usual form. Then nothing is said of i.
  bool take(size_t i, const uint8_t* name, size_t length, const double* row) {
    char text[NAME_BYTES_MAX + ENTRY_BYTES_BESIDE_NAME];
    const char* end = length <= NAME_BYTES_MAX && hasFactsOnly(row) && isWrittenAsItIs(name, length) ? putNamedEntry(text, name, length, row) : nullptr;
    const size_t textLength = end == nullptr ? 0 : static_cast<size_t>(end - text);
    for (;;) {
      if (ended_) return say(i, ENTRY_ABSENT, 0, 0);
      const size_t start = at_;
      const size_t entryEnd = textLength == 0 ? 0 : endOfSame(text, textLength);
      if (entryEnd != 0) {
        note(i, start, entryEnd, row);
        pass(entryEnd);
        return say(i, ENTRY_SAME, start, entryEnd);
      }
      if (!look()) return false;
      // Directories come first, and are none of the names asked for.
      const int order = isDirectory_ ? -1 : compareNames(parent_.data + nameAt_, nameLength_, name, length);
      if (order > 0) return say(i, ENTRY_ABSENT, 0, 0);
      const size_t otherEnd = end_;
      pass(otherEnd);
      if (order == 0) return say(i, ENTRY_OTHER, start, otherEnd);
      hasPassed_ = true;
    }
  }

  size_t at() const { return at_; }
  // Whether the last entry of the listing was passed; `at` is then where the list is closed.
  bool ended() const { return ended_; }
  size_t same() const { return same_; }
  size_t runs() const { return count_; }
  // Whether an entry was passed that the directory has no more.
  bool hasPassed() const { return hasPassed_; }

 private:
  bool say(size_t i, uint32_t state, size_t start, size_t end) {
    uint32_t* entry = entries_ + ENTRY_SLOTS * i;
    entry[ENTRY_STATE] = state;
    entry[ENTRY_START] = static_cast<uint32_t>(start);
    entry[ENTRY_END] = static_cast<uint32_t>(end);
    return true;
  }

  // Where the next entry ends when it is this text, the id of one content, and nothing more; else 0. The key of the content is then behind those of the others.
  size_t endOfSame(const char* text, size_t length) {
    const size_t idLength = 2 * (keyBytes_ - 1);
    // The id, its quote, the brace, and what follows the entry.
    if (parent_.length - at_ < length + idLength + 3 || std::memcmp(parent_.data + at_, text, length) != 0) return 0;
    const uint8_t* id = parent_.data + at_ + length;
    const uint8_t next = id[idLength + 2];
    if (id[idLength] != '"' || id[idLength + 1] != '}' || (next != ',' && next != ']')) return 0;
    uint8_t* key = keys_ + keyBytes_ * same_;
    uint8_t wrong = 0;
    key[0] = 0;
    for (size_t byte = 0; byte + 1 < keyBytes_; byte++) {
      const uint8_t high = digitOf(id[2 * byte]);
      const uint8_t low = digitOf(id[2 * byte + 1]);
      wrong |= (high | low) & 0xf0;
      key[1 + byte] = static_cast<uint8_t>(high << 4 | (low & 0x0f));
    }
    return wrong == 0 ? at_ + length + idLength + 2 : 0;
  }

  // Counts an entry that is as it was, in the run that it goes on or in one of its own.
  void note(size_t i, size_t start, size_t end, const double* row) {
    same_++;
    const double* last = runs_ + RUN_SLOTS * (count_ == 0 ? 0 : count_ - 1);
    const bool goesOn = count_ > 0 && last[RUN_TO] == static_cast<double>(i) && last[RUN_END] + 1 == static_cast<double>(start);
    if (!goesOn) count_++;
    double* run = runs_ + RUN_SLOTS * (count_ - 1);
    if (!goesOn) {
      run[RUN_FROM] = static_cast<double>(i);
      run[RUN_START] = static_cast<double>(start);
      run[RUN_BYTES] = 0;
      run[RUN_SECONDS] = row[ROW_SECONDS];
      run[RUN_NANOSECONDS] = row[ROW_NANOSECONDS];
    }
    run[RUN_TO] = static_cast<double>(i + 1);
    run[RUN_END] = static_cast<double>(end);
    run[RUN_BYTES] += row[ROW_SIZE];
    if (row[ROW_SECONDS] > run[RUN_SECONDS] || (row[ROW_SECONDS] == run[RUN_SECONDS] && row[ROW_NANOSECONDS] > run[RUN_NANOSECONDS])) {
      run[RUN_SECONDS] = row[ROW_SECONDS];
      run[RUN_NANOSECONDS] = row[ROW_NANOSECONDS];
    }
  }

  // Moves behind an entry: to the next one, or to where the list is closed.
  void pass(size_t end) {
    ended_ = parent_.data[end] == ']';
    at_ = ended_ ? end : end + 1;
  }

  // Looks at the next entry: its name, its kind, its end. False where it is cut off, or anything about it is unusual.
  bool look() {
    static const char HEAD[] = "{\"name\":\"";
    static const char TYPE[] = "\",\"type\":\"";
    constexpr size_t HEAD_BYTES = sizeof HEAD - 1, TYPE_BYTES = sizeof TYPE - 1;
    const uint8_t* data = parent_.data;
    const size_t length = parent_.length;
    if (length - at_ < HEAD_BYTES || std::memcmp(data + at_, HEAD, HEAD_BYTES) != 0) return false;
    nameAt_ = at_ + HEAD_BYTES;
    size_t i = nameAt_;
    for (; i < length && data[i] != '"'; i++) {
      // An escape, and the mark in the place of bytes that are not known: both need more than a comparison of bytes.
      if (data[i] == '\\' || data[i] < 0x20 || isReplacement(data + i, length - i)) return false;
    }
    nameLength_ = i - nameAt_;
    if (length - i < TYPE_BYTES + 2 || std::memcmp(data + i, TYPE, TYPE_BYTES) != 0) return false;
    const uint8_t type = data[i + TYPE_BYTES];
    if ((type != 'd' && type != 'f' && type != 's') || data[i + TYPE_BYTES + 1] != '"') return false;
    isDirectory_ = type == 'd';
    size_t depth = 1;
    bool inText = false;
    for (i += TYPE_BYTES + 2; i < length; i++) {
      const uint8_t c = data[i];
      if (inText) {
        if (c == '\\') i++;
        else if (c == '"') inText = false;
      } else if (c == '"') inText = true;
      else if (c == '{') depth++;
      else if (c == '}' && --depth == 0) break;
    }
    if (i >= length) return false;
    end_ = i + 1;
    return end_ < length && (data[end_] == ',' || data[end_] == ']');
  }

  Bytes parent_;
  size_t at_;
  size_t keyBytes_;
  uint8_t* keys_;
  uint32_t* entries_;
  double* runs_;
  bool ended_ = false;
  bool hasPassed_ = false;
  size_t same_ = 0;
  size_t count_ = 0;
  // Of the entry that `look` saw.
  size_t nameAt_ = 0;
  size_t nameLength_ = 0;
  size_t end_ = 0;
  bool isDirectory_ = false;
};

// Where results of comparing up to so many entries go.
struct Compared {
  Doubles rows;
  Bytes keys;
  Words entries;
  Doubles runs;
  Doubles found;

  Compared(Arguments& args, size_t at) : rows(args.doubles(at)), keys(args.bytes(at + 1)), entries(args.unsignedWords(at + 2)), runs(args.doubles(at + 3)), found(args.doubles(at + 4)) {}

  // For how many entries there is room.
  size_t room(size_t keyBytes) const { return std::min({rows.count / ROW, keys.length / keyBytes, entries.count / ENTRY_SLOTS, runs.count / RUN_SLOTS}); }

  void tell(const Comparison& comparison, size_t done) const {
    found.data[FOUND_DONE] = static_cast<double>(done);
    found.data[FOUND_AT] = static_cast<double>(comparison.at());
    found.data[FOUND_SAME] = static_cast<double>(comparison.same());
    found.data[FOUND_RUNS] = static_cast<double>(comparison.runs());
    found.data[FOUND_ENDED] = comparison.ended() ? 1 : 0;
  }
};

std::string prefixOf(int fd, bool attributes) { return attributes ? "/proc/self/fd/" + std::to_string(fd) + "/" : std::string(); }

// compareEntries(names, ends, from, to, parent, at, keyBytes, rows, keys, entries, runs, found): how src/batch/batch-files.ts says it.
napi_value compareEntries(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 12);
  Names names(args, 0);
  const size_t to = args.number(3, static_cast<double>(names.count()));
  const size_t from = args.number(2, static_cast<double>(to));
  const Bytes parent = args.bytes(4);
  const size_t at = args.number(5, static_cast<double>(std::min<size_t>(parent.length, UINT32_MAX)));
  const size_t keyBytes = args.number(6, 65);
  const Compared compared(args, 7);
  if (args.ok() && (keyBytes < 2 || compared.room(keyBytes) < to - from || compared.found.count < FOUND_SLOTS || parent.length > UINT32_MAX)) args.fail("what is found does not fit");
  if (!args.ok()) return nullptr;
  Comparison comparison(parent, at, keyBytes, compared.keys.data, compared.entries.data, compared.runs.data);
  size_t done = 0;
  for (; done < to - from; done++) {
    size_t length = 0;
    const uint8_t* name = names.raw(from + done, &length);
    if (name == nullptr || !comparison.take(done, name, length, compared.rows.data + ROW * done)) break;
  }
  compared.tell(comparison, done);
  return nullptr;
}

constexpr char LISTING_HEAD[] = "{\"stream\":\"kopia:directory\",\"entries\":[";
constexpr char EMPTY_LISTING_HEAD[] = "{\"stream\":\"kopia:directory\",\"entries\":null";

// What follows the entries of a listing of nothing but files, of which there may be none; empty for what is left to the portable code.
std::string endOfFiles(size_t files, double bytes, double seconds, double nanoseconds) {
  if (bytes > EXACT_MAX || !(seconds >= -SECONDS_MAX && seconds <= SECONDS_MAX) || !(nanoseconds >= 0 && nanoseconds <= 999999999)) return {};
  char text[200];
  char* put = putDecimal(putText(text, ",\"summary\":{\"size\":"), static_cast<uint64_t>(bytes));
  put = putDecimal(putText(put, ",\"files\":"), files);
  put = putTime(putText(put, ",\"symlinks\":0,\"dirs\":1,\"maxTime\":\""), static_cast<int64_t>(seconds), static_cast<uint64_t>(nanoseconds));
  put = putText(put, "\",\"numFailed\":0}}\n");
  return std::string(text, static_cast<size_t>(put - text));
}

bool isText(const uint8_t* data, size_t length, const std::string& text) { return length == text.size() && std::memcmp(data, text.data(), length) == 0; }

// Whether the whole listing is what would be written of the directory: its files are as they were, each and no other, and it has nothing of its own to tell.
bool isWhole(const Comparison& comparison, size_t count, const double* run, const double* own, Bytes parent) {
  if (own[ROW_ATTRIBUTES] != NO_ATTRIBUTES) return false;
  if (count == 0) {
    const std::string end = endOfFiles(0, 0, own[ROW_SECONDS], own[ROW_NANOSECONDS]);
    return !end.empty() && isText(parent.data, parent.length, EMPTY_LISTING_HEAD + end);
  }
  if (comparison.same() != count || comparison.runs() != 1 || comparison.hasPassed() || !comparison.ended()) return false;
  const std::string end = endOfFiles(count, run[RUN_BYTES], run[RUN_SECONDS], run[RUN_NANOSECONDS]);
  return !end.empty() && isText(parent.data + comparison.at(), parent.length - comparison.at(), "]" + end);
}

}  // namespace
