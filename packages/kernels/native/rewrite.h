// The listing of a directory of which a few files are not as its parent's listing has them: those are read and hashed, and the text is put together from the parent's and their entries.
// Most of a listing is copied, and nothing of it is decoded. All of it is what the portable code writes; whatever needs more than plain text and files is left to that.

#pragma once

namespace {

// Memory of the caller's for it. Without it nothing is written anew.
struct Rewriting {
  bool given;
  Bytes key;
  size_t digestBytes;
  int level;
  uint64_t most;
  Bytes data;
  Words ranges;
  Bytes hashes;
  Bytes text;
  Bytes payload;

  static constexpr size_t ARGUMENTS = 9;

  Rewriting(Arguments& args, size_t at) : given(args.count() > at), key{}, digestBytes(0), level(0), most(0), data{}, ranges{}, hashes{}, text{}, payload{} {
    if (!given) return;
    if (args.count() < at + ARGUMENTS) {
      args.fail("too few arguments");
      return;
    }
    key = args.bytes(at);
    digestBytes = args.number(at + 1, DIGEST);
    level = static_cast<int>(args.number(at + 2, 22));
    most = args.number(at + 3, std::numeric_limits<uint32_t>::max());
    data = args.bytes(at + 4);
    ranges = args.unsignedWords(at + 5);
    hashes = args.bytes(at + 6);
    text = args.bytes(at + 7);
    payload = args.bytes(at + 8);
    if (args.ok() && (key.length == 0 || key.length > KEY_MAX)) args.fail("a key of 1 to 64 bytes is wanted");
    if (args.ok() && (digestBytes == 0 || hashes.length / digestBytes < files() + 1 || data.length > UINT32_MAX || text.length > UINT32_MAX)) args.fail("the hashes do not fit");
    if (args.ok() && level != 0 && !zstd().complete) args.fail("this Node has no zstd to share");
  }

  bool isWanted() const { return given; }

  // How many may be read: each has a start, and behind all of those its length.
  size_t files() const { return ranges.count / 2; }
};

// Names as a comparison has left them.
struct Listed {
  Bytes names;
  Words ends;
  size_t count;

  const uint8_t* name(size_t i, size_t* length) const {
    const size_t from = i == 0 ? 0 : ends.data[i - 1];
    *length = ends.data[i] - from;
    return names.data + from;
  }
};

class DirectoryRewrite {
 public:
  DirectoryRewrite(int fd, bool attributes, Bytes parent, const Compared& compared, const Listed& listed, const Rewriting& into)
      : fd_(fd), attributes_(attributes), parent_(parent), compared_(compared), listed_(listed), into_(into) {}

  // Whether all of it could be done; `found` then says what the listing is.
  bool run(const double* own, const Comparison& comparison, const void* vectors) {
    const size_t changed = listed_.count - comparison.same();
    // One that is empty has a text of its own.
    if (own[ROW_ATTRIBUTES] != NO_ATTRIBUTES || listed_.count == 0 || changed > into_.files()) return false;
    rows_.resize(ROW * changed);
    if (!readChanged()) return false;
    uint8_t keyBlock[BLOCK] = {};
    std::memcpy(keyBlock, into_.key.data, into_.key.length);
    const KeyedStart start(keyBlock, into_.key.length, into_.digestBytes);
    std::vector<Message> messages;
    for (size_t i = 0; i < changed; i++) messages.push_back({{into_.data.data + into_.ranges.data[i], into_.ranges.data[into_.files() + i]}, hashOf(i)});
    if (changed > 0) hashMany(messages, start, vectors);
    if (!writeText(comparison.runs())) return false;
    hashOne({{into_.text.data, length_}, hashOf(changed)}, start);
    size_t payload = 0;
    if (into_.level != 0 && !writePayload(&payload)) return false;
    double* found = compared_.found.data;
    found[FOUND_CHANGED] = static_cast<double>(changed);
    found[FOUND_PAYLOAD] = static_cast<double>(payload);
    found[FOUND_BYTES] = bytes_;
    found[FOUND_SECONDS] = seconds_;
    found[FOUND_NANOSECONDS] = nanoseconds_;
    found[FOUND_TEXT] = static_cast<double>(length_);
    return true;
  }

 private:
  uint8_t* hashOf(size_t i) const { return into_.hashes.data + into_.digestBytes * i; }

  // Reads the files that are not as they were, each as it is when it is opened. False where one of them is not for this code, has failed, or was written to meanwhile.
  bool readChanged() {
    size_t at = 0;
    size_t done = 0;
    for (size_t i = 0; i < listed_.count; i++) {
      const uint32_t* entry = compared_.entries.data + ENTRY_SLOTS * i;
      if (entry[ENTRY_STATE] == ENTRY_SAME) continue;
      size_t length = 0;
      const uint8_t* name = listed_.name(i, &length);
      const double* seen = compared_.rows.data + ROW * i;
      if (length > NAME_BYTES_MAX || !hasFactsOnly(seen) || !isWrittenAsItIs(name, length)) return false;
      // Of another time it has changed; whether it has otherwise is for code that decodes the entry.
      if (entry[ENTRY_STATE] == ENTRY_OTHER && !isOfAnotherTime(entry[ENTRY_START], entry[ENTRY_END], seen)) return false;
      const std::string text(reinterpret_cast<const char*>(name), length);
      double* row = rows_.data() + ROW * done;
      size_t used = 0;
      readFile(fd_, text.c_str(), Row{row}, attributes_, into_.most, into_.data.data + at, into_.data.length - at, &used);
      if (row[ROW_STATUS] != 0 || row[ROW_GREW] != 0 || !hasFactsOnly(row)) return false;
      // What was read is what the entry says, also of a file that shrank.
      row[ROW_SIZE] = static_cast<double>(used);
      into_.ranges.data[done] = static_cast<uint32_t>(at);
      into_.ranges.data[into_.files() + done] = static_cast<uint32_t>(used);
      at += used;
      done++;
    }
    return true;
  }

  // Whether the parent's entry in [start, end) has a time, as it is always written, that is not the file's.
  bool isOfAnotherTime(size_t start, size_t end, const double* row) const {
    static const char MTIME[] = "\"mtime\":\"";
    constexpr size_t MTIME_BYTES = sizeof MTIME - 1;
    const uint8_t* data = parent_.data;
    const uint8_t* found = std::search(data + start, data + end, MTIME, MTIME + MTIME_BYTES);
    const uint8_t* from = found + MTIME_BYTES;
    if (found == data + end) return false;
    const uint8_t* to = std::find(from, data + end, '"');
    const auto length = static_cast<size_t>(to - from);
    const bool hasPart = std::find(from, to, '.') != to;
    if (to == data + end || length < 20 || to[-1] != 'Z' || (hasPart && to[-2] == '0')) return false;
    const double seconds = row[ROW_SECONDS];
    const double nanoseconds = row[ROW_NANOSECONDS];
    if (!(seconds >= -SECONDS_MAX && seconds <= SECONDS_MAX) || !(nanoseconds >= 0 && nanoseconds <= 999999999)) return false;
    char text[64];
    const char* textEnd = putTime(text, static_cast<int64_t>(seconds), static_cast<uint64_t>(nanoseconds));
    return static_cast<size_t>(textEnd - text) != length || std::memcmp(text, from, length) != 0;
  }

  // The whole listing: runs of the parent's text, and entries of what was read between them. False where there is no room for it.
  bool writeText(size_t runs) {
    static const char DIGITS[] = "0123456789abcdef";
    if (!put(LISTING_HEAD, sizeof LISTING_HEAD - 1)) return false;
    size_t run = 0;
    size_t read = 0;
    for (size_t i = 0; i < listed_.count;) {
      if (i > 0 && !put(",", 1)) return false;
      const double* next = compared_.runs.data + RUN_SLOTS * run;
      if (run < runs && next[RUN_FROM] == static_cast<double>(i)) {
        const auto from = static_cast<size_t>(next[RUN_START]);
        if (!put(parent_.data + from, static_cast<size_t>(next[RUN_END]) - from)) return false;
        see(next[RUN_BYTES], next[RUN_SECONDS], next[RUN_NANOSECONDS]);
        i = static_cast<size_t>(next[RUN_TO]);
        run++;
        continue;
      }
      size_t nameLength = 0;
      const uint8_t* name = listed_.name(i, &nameLength);
      const double* row = rows_.data() + ROW * read;
      if (into_.text.length - length_ < nameLength + ENTRY_BYTES_BESIDE_NAME + 2 * into_.digestBytes + 2) return false;
      auto* entry = reinterpret_cast<char*>(into_.text.data + length_);
      char* id = putNamedEntry(entry, name, nameLength, row);
      if (id == nullptr) return false;
      for (size_t byte = 0; byte < into_.digestBytes; byte++) {
        *id++ = DIGITS[hashOf(read)[byte] >> 4];
        *id++ = DIGITS[hashOf(read)[byte] & 15];
      }
      length_ += static_cast<size_t>(putText(id, "\"}") - entry);
      see(row[ROW_SIZE], row[ROW_SECONDS], row[ROW_NANOSECONDS]);
      read++;
      i++;
    }
    const std::string end = endOfFiles(listed_.count, bytes_, seconds_, nanoseconds_);
    return !end.empty() && put("]", 1) && put(end.data(), end.size());
  }

  bool put(const void* from, size_t length) {
    if (into_.text.length - length_ < length) return false;
    std::memcpy(into_.text.data + length_, from, length);
    length_ += length;
    return true;
  }

  void see(double bytes, double seconds, double nanoseconds) {
    bytes_ += bytes;
    if (seconds < seconds_ || (seconds == seconds_ && nanoseconds <= nanoseconds_)) return;
    seconds_ = seconds;
    nanoseconds_ = nanoseconds;
  }

  // The listing compressed, behind room for the header of a payload; 0 where that is not shorter. False where it does not expand to what it was made of.
  bool writePayload(size_t* length) const {
    if (into_.payload.length < length_ || length_ <= PAYLOAD_HEADER_BYTES) return false;
    const size_t frame = compressFrame({into_.text.data, length_}, into_.level, into_.payload.data + PAYLOAD_HEADER_BYTES, length_ - PAYLOAD_HEADER_BYTES);
    if (frame == 0 || frame + PAYLOAD_HEADER_BYTES >= length_) return true;
    *length = PAYLOAD_HEADER_BYTES + frame;
    return expandsTo({into_.payload.data + PAYLOAD_HEADER_BYTES, frame}, {into_.text.data, length_});
  }

  static constexpr size_t PAYLOAD_HEADER_BYTES = 4;
  int fd_;
  bool attributes_;
  Bytes parent_;
  const Compared& compared_;
  const Listed& listed_;
  const Rewriting& into_;
  // Of the files that were read.
  std::vector<double> rows_;
  size_t length_ = 0;
  double bytes_ = 0;
  double seconds_ = -std::numeric_limits<double>::infinity();
  double nanoseconds_ = 0;
};

}  // namespace
