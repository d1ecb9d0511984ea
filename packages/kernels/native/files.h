// Directories and small files many at a time: one call lists a directory, one examines its entries, one reads files, one writes the beginnings of their entries in a listing.
//
// A row is ROW slots of 8 bytes, as src/batch/rows.ts has it. Names are bytes, one after the other; `ends[i]` is where name i ends. All names are looked up from an open
// directory, so nothing outside of it is reached, whatever becomes of its path.

#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <limits>

namespace {

constexpr size_t ROW = 16;
constexpr size_t ROW_STATUS = 0, ROW_MODE = 1, ROW_SIZE = 2, ROW_SECONDS = 3, ROW_NANOSECONDS = 4, ROW_UID = 5, ROW_GID = 6, ROW_LINKS = 7, ROW_BLOCKS = 8,
                 ROW_ATTRIBUTES = 9, ROW_INODE = 10, ROW_DEVICE = 11, ROW_SPECIAL = 12, ROW_START = 13, ROW_LENGTH = 14, ROW_GREW = 15;
constexpr double NOT_REGULAR = -1, TOO_LARGE = -2, HAS_HOLES = -3;
constexpr double NO_ATTRIBUTES = 0, HAS_ATTRIBUTES = 1, ATTRIBUTES_UNKNOWN = 2;
constexpr off_t BLOCK_UNIT = 512;

inline const struct timespec& modificationTimeOf(const struct stat& facts) {
#ifdef __APPLE__
  return facts.st_mtimespec;
#else
  return facts.st_mtim;
#endif
}

struct Row {
  double* slots;
  void number(size_t at, double value) { slots[at] = value; }
  void word(size_t at, uint64_t value) { std::memcpy(slots + at, &value, 8); }

  void facts(const struct stat& facts) {
    number(ROW_MODE, facts.st_mode);
    number(ROW_SIZE, static_cast<double>(facts.st_size));
    number(ROW_SECONDS, static_cast<double>(modificationTimeOf(facts).tv_sec));
    number(ROW_NANOSECONDS, static_cast<double>(modificationTimeOf(facts).tv_nsec));
    number(ROW_UID, facts.st_uid);
    number(ROW_GID, facts.st_gid);
    number(ROW_LINKS, static_cast<double>(facts.st_nlink));
    number(ROW_BLOCKS, static_cast<double>(facts.st_blocks));
    word(ROW_INODE, facts.st_ino);
    word(ROW_DEVICE, facts.st_dev);
    word(ROW_SPECIAL, facts.st_rdev);
  }
};

// Names as they are passed between the calls; `name` gives one with a NUL behind it, valid until the next call.
class Names {
 public:
  Names(Arguments& args, size_t at) : bytes_(args.bytes(at)), ends_(args.unsignedWords(at + 1)) {}

  size_t count() const { return ends_.count; }

  // Null for an index, or bounds, that are none, and for a name with a slash or NUL in it.
  const char* name(size_t index) {
    size_t length = 0;
    const uint8_t* start = raw(index, &length);
    if (start == nullptr || length == 0 || length > NAME_MAX_BYTES || std::memchr(start, '/', length) != nullptr || std::memchr(start, 0, length) != nullptr) return nullptr;
    std::memcpy(buffer_, start, length);
    buffer_[length] = 0;
    return buffer_;
  }

  const uint8_t* raw(size_t index, size_t* length) const {
    if (index >= ends_.count) return nullptr;
    const size_t from = index == 0 ? 0 : ends_.data[index - 1];
    const size_t to = ends_.data[index];
    if (from > to || to > bytes_.length) return nullptr;
    *length = to - from;
    return bytes_.data + from;
  }

 private:
  static constexpr size_t NAME_MAX_BYTES = 1023;
  Bytes bytes_;
  Words ends_;
  char buffer_[NAME_MAX_BYTES + 1];
};

// A name in a text of names.
struct Item {
  uint32_t at;
  uint32_t length;
  bool isDirectory;
};

// Names of a directory, directories first, each part by bytes.
class Listing {
 public:
  std::vector<uint8_t> text;
  std::vector<Item> items;
  // Whether everything that is no directory is a regular file.
  bool areFiles = true;

  // Reads what an open directory holds; 0 or the number of the error. Ends early, with EOVERFLOW, behind `most` names, and with EISDIR at a directory where only files are wanted.
  // Takes the descriptor over: entries are looked up by another one.
  int read(int own, int fd, size_t most, bool filesOnly) {
    DIR* directory = own < 0 ? nullptr : fdopendir(own);
    if (directory == nullptr) {
      const int why = errno;
      if (own >= 0) close(own);
      return why;
    }
    const int failure = readAll(directory, fd, most, filesOnly);
    closedir(directory);
    if (failure != 0) return failure;
    std::sort(items.begin(), items.end(), [this](const Item& a, const Item& b) {
      if (a.isDirectory != b.isDirectory) return a.isDirectory;
      const int order = std::memcmp(text.data() + a.at, text.data() + b.at, std::min(a.length, b.length));
      return order != 0 ? order < 0 : a.length < b.length;
    });
    return 0;
  }

 private:
  int readAll(DIR* directory, int fd, size_t most, bool filesOnly) {
    for (;;) {
      errno = 0;
      const struct dirent* entry = readdir(directory);
      if (entry == nullptr) return errno;
      const char* name = entry->d_name;
      const size_t length = std::strlen(name);
      if (length == 0 || (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')))) continue;
      if (text.size() + length > UINT32_MAX || items.size() == most) return EOVERFLOW;
      bool isDirectory = entry->d_type == DT_DIR;
      bool isFile = entry->d_type == DT_REG;
      if (entry->d_type == DT_UNKNOWN) {
        struct stat facts;
        const bool isKnown = fstatat(fd, name, &facts, AT_SYMLINK_NOFOLLOW) == 0;
        isDirectory = isKnown && S_ISDIR(facts.st_mode);
        isFile = isKnown && S_ISREG(facts.st_mode);
      }
      areFiles = areFiles && (isFile || isDirectory);
      if (isDirectory && filesOnly) return EISDIR;
      items.push_back({static_cast<uint32_t>(text.size()), static_cast<uint32_t>(length), isDirectory});
      text.insert(text.end(), name, name + length);
    }
  }
};

// listDirectory(fd): {names, ends, directories, areFiles}, directories first, each part by bytes; or the number of the error.
napi_value listDirectory(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 1);
  const int fd = static_cast<int>(args.number(0, INT32_MAX));
  if (!args.ok()) return nullptr;
  Listing listing;
  // An open directory has one position: another descriptor leaves it to its owner.
  const int failure = listing.read(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, SIZE_MAX, false);
  if (failure != 0) return numberValue(env, failure);
  const std::vector<uint8_t>& text = listing.text;
  const std::vector<Item>& items = listing.items;
  napi_value result = nullptr;
  napi_value names = nullptr;
  napi_value ends = nullptr;
  napi_value memory = nullptr;
  void* start = nullptr;
  if (napi_create_object(env, &result) != napi_ok || napi_create_arraybuffer(env, text.size(), &start, &memory) != napi_ok) return nullptr;
  auto* out = static_cast<uint8_t*>(start);
  size_t at = 0;
  for (const Item& item : items) {
    std::memcpy(out + at, text.data() + item.at, item.length);
    at += item.length;
  }
  if (napi_create_typedarray(env, napi_uint8_array, text.size(), memory, 0, &names) != napi_ok ||
      napi_create_arraybuffer(env, items.size() * 4, &start, &memory) != napi_ok) {
    return nullptr;
  }
  auto* endsOut = static_cast<uint32_t*>(start);
  size_t directories = 0;
  at = 0;
  for (size_t i = 0; i < items.size(); i++) {
    at += items[i].length;
    endsOut[i] = static_cast<uint32_t>(at);
    directories += items[i].isDirectory ? 1 : 0;
  }
  if (napi_create_typedarray(env, napi_uint32_array, items.size(), memory, 0, &ends) != napi_ok || napi_set_named_property(env, result, "names", names) != napi_ok ||
      napi_set_named_property(env, result, "ends", ends) != napi_ok ||
      napi_set_named_property(env, result, "directories", numberValue(env, static_cast<double>(directories))) != napi_ok ||
      !defineBoolean(env, result, "areFiles", listing.areFiles)) {
    return nullptr;
  }
  return result;
}

// Whether a list of names, as the kernel gives it, has one besides the label that Kubernetes puts on a volume for its node.
double attributesIn(const char* list, ssize_t length) {
  static const char OF_THE_NODE[] = "security.selinux";
  for (ssize_t at = 0; at < length;) {
    const size_t one = strnlen(list + at, static_cast<size_t>(length - at));
    if (one != sizeof OF_THE_NODE - 1 || std::memcmp(list + at, OF_THE_NODE, one) != 0) return HAS_ATTRIBUTES;
    at += static_cast<ssize_t>(one) + 1;
  }
  return NO_ATTRIBUTES;
}

double attributesOf(ssize_t length, const char* list) {
  if (length >= 0) return attributesIn(list, length);
  if (errno == ENOTSUP || errno == ENOSYS) return NO_ATTRIBUTES;
  return errno == ERANGE ? HAS_ATTRIBUTES : ATTRIBUTES_UNKNOWN;
}

constexpr size_t ATTRIBUTE_LIST_BYTES = 512;

#ifdef __APPLE__
inline ssize_t listAttributes(const char* path, char* list, size_t size) { return listxattr(path, list, size, XATTR_NOFOLLOW); }
inline ssize_t listAttributesOf(int fd, char* list, size_t size) { return flistxattr(fd, list, size, 0); }
#else
inline ssize_t listAttributes(const char* path, char* list, size_t size) { return llistxattr(path, list, size); }
inline ssize_t listAttributesOf(int fd, char* list, size_t size) { return flistxattr(fd, list, size); }
#endif

// The names of the attributes of an entry of an open directory. `path` leads to the same entry: for a system without a call that begins at a descriptor, at three times the cost.
ssize_t listAttributesAt(int fd, const char* name, const std::string& path, char* list, size_t size) {
#ifdef __linux__
  // listxattrat(2), of Linux 6.13; with one number on every architecture that Node runs on. A filter of system calls may answer EPERM to what it does not know.
  constexpr long LISTXATTRAT = 465;
  static std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    const long length = syscall(LISTXATTRAT, fd, name, AT_SYMLINK_NOFOLLOW, list, size);
    if (length >= 0 || (errno != ENOSYS && errno != EPERM)) return length;
    const ssize_t byPath = listAttributes(path.c_str(), list, size);
    if (byPath >= 0) missing.store(true, std::memory_order_relaxed);
    return byPath;
  }
#else
  (void)fd;
  (void)name;
#endif
  return listAttributes(path.c_str(), list, size);
}

// What a row says of the attributes of an entry with these facts, of an open directory; `list` asks the kernel for their names.
template <typename List>
double attributesBy(int directory, const struct stat& facts, List list) {
  Unattributed* known = unattributed();
  const Unattributed::Key key = known == nullptr ? 0 : Unattributed::keyOf(facts);
  if (known != nullptr && known->has(key)) return NO_ATTRIBUTES;
  char names[ATTRIBUTE_LIST_BYTES];
  const double found = attributesOf(list(names, sizeof names), names);
  if (known != nullptr && found == NO_ATTRIBUTES) known->add(key, directory, facts);
  return found;
}

// The row of one entry. Attributes are not looked for where the path, which leads to the same entry, is empty.
void examine(int fd, const char* name, const std::string& path, Row row) {
  struct stat facts;
  if (name == nullptr || fstatat(fd, name, &facts, AT_SYMLINK_NOFOLLOW) != 0) return row.number(ROW_STATUS, name == nullptr ? EINVAL : errno);
  row.number(ROW_STATUS, 0);
  row.facts(facts);
  const auto list = [&](char* names, size_t size) { return listAttributesAt(fd, name, path, names, size); };
  row.number(ROW_ATTRIBUTES, path.empty() ? NO_ATTRIBUTES : attributesBy(fd, facts, list));
}

// statEntries(fd, names, ends, from, to, prefix, rows): rows of the entries [from, to). `prefix` is the path, with a slash behind it, by which system calls without an
// `at` form reach into the directory; with an empty one attributes are not looked for.
napi_value statEntries(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 7);
  const int fd = static_cast<int>(args.number(0, INT32_MAX));
  Names names(args, 1);
  const size_t to = args.number(4, static_cast<double>(names.count()));
  const size_t from = args.number(3, static_cast<double>(to));
  const Bytes prefix = args.bytes(5);
  const Doubles rows = args.doubles(6);
  if (args.ok() && rows.count / ROW < to - from) args.fail("the rows do not fit");
  if (!args.ok()) return nullptr;
  std::string path(reinterpret_cast<const char*>(prefix.data), prefix.length);
  for (size_t i = from; i < to; i++) {
    const char* name = names.name(i);
    path.resize(prefix.length);
    if (prefix.length > 0 && name != nullptr) path += name;
    examine(fd, name, path, Row{rows.data + ROW * (i - from)});
  }
  return nullptr;
}

struct OpenedFile {
  int fd;
  ~OpenedFile() {
    if (fd >= 0) close(fd);
  }
};

// Reads one file to where it ended when it was opened; one with `most` bytes or more is too large. One byte more than there should be shows growth.
void readFile(int directory, const char* name, Row row, bool attributes, uint64_t most, uint8_t* arena, size_t room, size_t* used) {
  *used = 0;
  const OpenedFile file{openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
  struct stat facts;
  if (file.fd < 0 || fstat(file.fd, &facts) != 0) return row.number(ROW_STATUS, errno);
  if (!S_ISREG(facts.st_mode)) return row.number(ROW_STATUS, NOT_REGULAR);
  row.facts(facts);
  row.number(ROW_GREW, 0);
  row.number(ROW_LENGTH, 0);
  const auto size = static_cast<uint64_t>(facts.st_size);
  if (size >= room || size >= most) return row.number(ROW_STATUS, TOO_LARGE);
#ifdef SEEK_HOLE
  if (size > 0 && facts.st_blocks < (facts.st_size + BLOCK_UNIT - 1) / BLOCK_UNIT) {
    // Compression takes fewer blocks, too: only the file system knows.
    const off_t hole = lseek(file.fd, 0, SEEK_HOLE);
    // What it cannot tell is asked again where the file is read by itself: reading would name the disk for what is wrong with the file system.
    if (hole < 0 ? errno != EINVAL && errno != ENXIO : hole < facts.st_size) return row.number(ROW_STATUS, HAS_HOLES);
  }
#endif
  const auto list = [&](char* names, size_t size) { return listAttributesOf(file.fd, names, size); };
  row.number(ROW_ATTRIBUTES, attributes ? attributesBy(directory, facts, list) : NO_ATTRIBUTES);
  size_t done = 0;
  while (done < size) {
    const ssize_t count = pread(file.fd, arena + done, size - done + 1, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return row.number(ROW_STATUS, errno);
    if (count == 0) break;
    if (static_cast<size_t>(count) > size - done) row.number(ROW_GREW, 1);
    done += std::min(static_cast<size_t>(count), static_cast<size_t>(size - done));
  }
  row.number(ROW_STATUS, 0);
  row.number(ROW_LENGTH, static_cast<double>(done));
  *used = done;
}

// readFiles(fd, names, ends, picks, attributes, most, rows, arena): reads the files of the picked names one after the other into the arena; how many were dealt with, since the
// arena may be full before the last. Row i is that of pick i. A file of `most` bytes or more is too large.
napi_value readFiles(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 8);
  const int fd = static_cast<int>(args.number(0, INT32_MAX));
  Names names(args, 1);
  const Words picks = args.unsignedWords(3);
  const bool attributes = args.number(4, 1) == 1;
  const uint64_t most = args.number(5, std::numeric_limits<uint32_t>::max());
  const Doubles rows = args.doubles(6);
  const Bytes arena = args.bytes(7);
  if (args.ok() && rows.count / ROW < picks.count) args.fail("the rows do not fit");
  if (!args.ok()) return nullptr;
  size_t at = 0;
  size_t i = 0;
  for (; i < picks.count; i++) {
    Row row{rows.data + ROW * i};
    const char* name = names.name(picks.data[i]);
    size_t used = 0;
    row.number(ROW_START, static_cast<double>(at));
    if (name == nullptr) row.number(ROW_STATUS, EINVAL);
    else readFile(fd, name, row, attributes, most, arena.data + at, arena.length - at, &used);
    // Too large for what is left, not for the arena: the next call has room.
    if (row.slots[ROW_STATUS] == TOO_LARGE && at > 0 && row.slots[ROW_SIZE] < static_cast<double>(most)) break;
    at += used;
  }
  return numberValue(env, static_cast<double>(i));
}

// ---------------------------------------------------------------------------------------------------------------- entries of a listing

// Text that JSON writes as it is. What is beyond ASCII is left to the portable code: it must be valid UTF-8, and two of its characters are escaped.
bool isPlain(const uint8_t* text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    const uint8_t c = text[i];
    if (c < 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&') return false;
  }
  return true;
}

char* putText(char* out, const char* text) {
  const size_t length = std::strlen(text);
  std::memcpy(out, text, length);
  return out + length;
}

char* putDecimal(char* out, uint64_t value) {
  char digits[20];
  size_t count = 0;
  do digits[count++] = static_cast<char>('0' + value % 10);
  while ((value /= 10) != 0);
  while (count > 0) *out++ = digits[--count];
  return out;
}

char* putPadded(char* out, uint64_t value, size_t width) {
  for (size_t i = width; i-- > 0; value /= 10) out[i] = static_cast<char>('0' + value % 10);
  return out + width;
}

// RFC 3339 in UTC as Go writes it. Days to a date by the usual arithmetic on years that begin in March.
char* putTime(char* out, int64_t seconds, uint64_t nanoseconds) {
  int64_t days = seconds / 86400;
  int64_t rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    days--;
  }
  const int64_t z = days + 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const auto dayOfEra = static_cast<uint64_t>(z - era * 146097);
  const uint64_t yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const uint64_t dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const uint64_t shifted = (5 * dayOfYear + 2) / 153;
  const uint64_t day = dayOfYear - (153 * shifted + 2) / 5 + 1;
  const uint64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  const int64_t year = static_cast<int64_t>(yearOfEra) + era * 400 + (month <= 2 ? 1 : 0);
  out = putPadded(out, static_cast<uint64_t>(year), 4);
  *out++ = '-';
  out = putPadded(out, month, 2);
  *out++ = '-';
  out = putPadded(out, day, 2);
  *out++ = 'T';
  out = putPadded(out, static_cast<uint64_t>(rest / 3600), 2);
  *out++ = ':';
  out = putPadded(out, static_cast<uint64_t>(rest / 60 % 60), 2);
  *out++ = ':';
  out = putPadded(out, static_cast<uint64_t>(rest % 60), 2);
  if (nanoseconds != 0) {
    *out++ = '.';
    out = putPadded(out, nanoseconds, 9);
    while (out[-1] == '0') out--;
  }
  *out++ = 'Z';
  return out;
}

char* putMode(char* out, uint32_t mode) {
  // Go keeps these three far above the permissions.
  const uint32_t bits = (mode & 0777) | ((mode & 04000) != 0 ? 1u << 23 : 0) | ((mode & 02000) != 0 ? 1u << 22 : 0) | ((mode & 01000) != 0 ? 1u << 20 : 0);
  char digits[12];
  size_t count = 0;
  for (uint32_t rest = bits; rest != 0; rest >>= 3) digits[count++] = static_cast<char>('0' + (rest & 7));
  *out++ = '0';
  while (count > 0) *out++ = digits[--count];
  return out;
}

// Nanoseconds since 1970 in 63 bits: what lies outside is left to the portable code.
constexpr double SECONDS_MAX = 9223372035;
constexpr double EXACT_MAX = 9007199254740991;
constexpr size_t ENTRY_BYTES_BESIDE_NAME = 200;

// The text of a regular file's entry up to its object id, for a name that JSON writes as it is. Where it ends, or null for facts that are left to the portable code.
// There must be room for the name and ENTRY_BYTES_BESIDE_NAME.
char* putNamedEntry(char* put, const uint8_t* name, size_t length, const double* row) {
  const double size = row[ROW_SIZE];
  const double seconds = row[ROW_SECONDS];
  const double nanoseconds = row[ROW_NANOSECONDS];
  const auto inRange = [](double value, double max) { return value >= 0 && value <= max; };
  if (length == 0 || !inRange(size, EXACT_MAX) || !(seconds >= -SECONDS_MAX && seconds <= SECONDS_MAX) || !inRange(nanoseconds, 999999999) ||
      !inRange(row[ROW_UID], UINT32_MAX) || !inRange(row[ROW_GID], UINT32_MAX) || !inRange(row[ROW_MODE], UINT32_MAX)) {
    return nullptr;
  }
  put = putText(put, "{\"name\":\"");
  std::memcpy(put, name, length);
  put = putText(put + length, "\",\"type\":\"f\",");
  const auto mode = static_cast<uint32_t>(row[ROW_MODE]) & 07777;
  if (mode != 0) put = putText(putMode(putText(put, "\"mode\":\""), mode), "\",");
  if (size != 0) put = putText(putDecimal(putText(put, "\"size\":"), static_cast<uint64_t>(size)), ",");
  if (seconds != 0 || nanoseconds != 0) {
    put = putText(putTime(putText(put, "\"mtime\":\""), static_cast<int64_t>(seconds), static_cast<uint64_t>(nanoseconds)), "\",");
  }
  if (row[ROW_UID] != 0) put = putText(putDecimal(putText(put, "\"uid\":"), static_cast<uint64_t>(row[ROW_UID])), ",");
  if (row[ROW_GID] != 0) put = putText(putDecimal(putText(put, "\"gid\":"), static_cast<uint64_t>(row[ROW_GID])), ",");
  return putText(put, "\"obj\":\"");
}

// The same for any name; nothing where it takes more than plain text.
char* putEntry(char* out, const uint8_t* name, size_t length, const double* row) {
  char* end = name != nullptr && isPlain(name, length) ? putNamedEntry(out, name, length, row) : nullptr;
  return end == nullptr ? out : end;
}

// encodeEntries(names, ends, picks, rows, out, outEnds): the text of each regular file's entry up to its object id. An entry that this code leaves to others has no bytes.
// How many entries there was room for.
napi_value encodeEntries(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 6);
  const Names names(args, 0);
  const Words picks = args.unsignedWords(2);
  const Doubles rows = args.doubles(3);
  const Bytes out = args.bytes(4);
  const Words ends = args.unsignedWords(5);
  if (args.ok() && (rows.count / ROW < picks.count || ends.count < picks.count)) args.fail("the rows do not fit");
  if (!args.ok()) return nullptr;
  size_t at = 0;
  size_t i = 0;
  for (; i < picks.count; i++) {
    size_t length = 0;
    const uint8_t* name = names.raw(picks.data[i], &length);
    if (name != nullptr && out.length - at < length + ENTRY_BYTES_BESIDE_NAME) break;
    auto* start = reinterpret_cast<char*>(out.data + at);
    at += static_cast<size_t>(putEntry(start, name, length, rows.data + ROW * i) - start);
    ends.data[i] = static_cast<uint32_t>(at);
  }
  return numberValue(env, static_cast<double>(i));
}

// encodeStored(names, ends, from, to, rows, hashes, digestBytes, out, at, outEnds): how src/batch/batch-files.ts says it.
napi_value encodeStored(napi_env env, napi_callback_info info) {
  static const char DIGITS[] = "0123456789abcdef";
  Arguments args(env, info, 10);
  const Names names(args, 0);
  const size_t to = args.number(3, static_cast<double>(names.count()));
  const size_t from = args.number(2, static_cast<double>(to));
  const Doubles rows = args.doubles(4);
  const Bytes hashes = args.bytes(5);
  const size_t digestBytes = args.number(6, 64);
  const Bytes out = args.bytes(7);
  size_t at = args.number(8, static_cast<double>(out.length));
  const Words ends = args.unsignedWords(9);
  if (args.ok() && (digestBytes == 0 || rows.count / ROW < to - from || hashes.length / digestBytes < to - from || ends.count < to)) args.fail("the rows do not fit");
  if (!args.ok()) return nullptr;
  for (size_t i = from; i < to; i++) {
    const double* row = rows.data + ROW * (i - from);
    size_t length = 0;
    const uint8_t* name = names.raw(i, &length);
    if (row[ROW_STATUS] == 0) {
      if (name == nullptr || out.length - at < 1 + length + ENTRY_BYTES_BESIDE_NAME + 2 * digestBytes + 2) return numberValue(env, -1);
      auto* put = reinterpret_cast<char*>(out.data + at);
      if (at > 0) *put++ = ',';
      char* id = putEntry(put, name, length, row);
      if (id == put) return numberValue(env, -1);
      const uint8_t* hash = hashes.data + digestBytes * (i - from);
      for (size_t byte = 0; byte < digestBytes; byte++) {
        *id++ = DIGITS[hash[byte] >> 4];
        *id++ = DIGITS[hash[byte] & 15];
      }
      id = putText(id, "\"}");
      at = static_cast<size_t>(reinterpret_cast<uint8_t*>(id) - out.data);
    }
    ends.data[i] = static_cast<uint32_t>(at);
  }
  return numberValue(env, static_cast<double>(at));
}

}  // namespace
