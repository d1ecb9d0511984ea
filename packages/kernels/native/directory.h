// Whole directories beside their parents' listings, each in one call: opened, listed, examined, compared, and where a few files have changed written anew.

#pragma once

namespace {

// Whether a name is one of those that `list` has, each with a slash behind it.
bool isIn(Bytes list, const uint8_t* name, size_t length) {
  for (size_t at = 0; at < list.length;) {
    const void* slash = std::memchr(list.data + at, '/', list.length - at);
    const size_t end = slash == nullptr ? list.length : static_cast<size_t>(static_cast<const uint8_t*>(slash) - list.data);
    if (end - at == length && std::memcmp(list.data + at, name, length) == 0) return true;
    at = end + 1;
  }
  return false;
}

// One call of compareDirectory: what it is given, all of it memory of the caller's.
class DirectoryComparison {
 public:
  static constexpr size_t BASE_ARGUMENTS = 13;

  explicit DirectoryComparison(Arguments& args)
      : fd_(static_cast<int>(args.number(0, INT32_MAX))), name_(args.bytes(1)), attributes_(args.number(2, 1) == 1), avoid_(args.bytes(3)), parent_(args.bytes(4)),
        keyBytes_(args.number(5, 65)), names_(args.bytes(6)), ends_(args.unsignedWords(7)), compared_(args, 8), rewriting_(args, BASE_ARGUMENTS) {
    if (args.ok() && (keyBytes_ < 2 || compared_.found.count < FOUND_SLOTS || parent_.length > UINT32_MAX)) args.fail("what is found does not fit");
  }

  // Whether it could be told. What was seen in the directory before is not looked at again. Calls nothing of Node.
  bool run(const void* vectors, DirectoryScan* scan) const {
    compared_.found.data[FOUND_FD] = -1;
    compared_.found.data[FOUND_TEXT] = 0;
    const std::string path(reinterpret_cast<const char*>(name_.data), name_.length);
    if (path.empty() || path == "." || path == ".." || path.find('/') != std::string::npos || path.find('\0') != std::string::npos) return false;
    const bool isEmptyInParent = parent_.length >= sizeof EMPTY_LISTING_HEAD - 1 && std::memcmp(parent_.data, EMPTY_LISTING_HEAD, sizeof EMPTY_LISTING_HEAD - 1) == 0;
    const size_t first = sizeof LISTING_HEAD - 1;
    if (!isEmptyInParent && (parent_.length <= first || std::memcmp(parent_.data, LISTING_HEAD, first) != 0)) return false;
    OpenedFile directory{openat(fd_, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    struct stat facts;
    if (directory.fd < 0 || fstat(directory.fd, &facts) != 0) return false;
    Row own{compared_.found.data + FOUND_ROW};
    char list[ATTRIBUTE_LIST_BYTES];
    own.number(ROW_STATUS, 0);
    own.facts(facts);
    own.number(ROW_ATTRIBUTES, attributes_ ? attributesOf(listAttributesOf(directory.fd, list, sizeof list), list) : NO_ATTRIBUTES);
    const std::unique_ptr<SeenDirectory> seen = scan == nullptr ? nullptr : scan->take(facts);
    const size_t room = std::min(compared_.room(keyBytes_), ends_.count);
    Listing fresh;
    // Its position does not matter: whoever lists it again opens it anew.
    if (seen == nullptr && fresh.read(fcntl(directory.fd, F_DUPFD_CLOEXEC, 0), directory.fd, room, true) != 0) return false;
    const Listing& listing = seen == nullptr ? fresh : seen->listing;
    if (listing.items.size() > room || listing.text.size() > names_.length || (isEmptyInParent && !listing.items.empty())) return false;
    Comparison comparison(parent_, isEmptyInParent ? 0 : first, keyBytes_, compared_.keys.data, compared_.entries.data, compared_.runs.data);
    std::string reached = prefixOf(directory.fd, attributes_);
    const size_t prefix = reached.size();
    size_t end = 0;
    const size_t count = listing.items.size();
    for (size_t i = 0; i < count; i++) {
      const Item& item = listing.items[i];
      uint8_t* put = names_.data + end;
      std::memcpy(put, listing.text.data() + item.at, item.length);
      end += item.length;
      ends_.data[i] = static_cast<uint32_t>(end);
      if (isIn(avoid_, put, item.length)) return false;
      double* row = compared_.rows.data + ROW * i;
      if (seen != nullptr) {
        std::memcpy(row, seen->rows.data() + ROW * i, ROW * sizeof(double));
      } else {
        const std::string entry(reinterpret_cast<const char*>(put), item.length);
        reached.resize(prefix);
        if (attributes_) reached += entry;
        examine(directory.fd, entry.c_str(), reached, Row{row});
      }
      if (!comparison.take(i, put, item.length, row)) return false;
    }
    compared_.tell(comparison, count);
    compared_.found.data[FOUND_COUNT] = static_cast<double>(count);
    const bool whole = isWhole(comparison, count, compared_.runs.data, own.slots, parent_);
    compared_.found.data[FOUND_WHOLE] = whole ? 1 : 0;
    if (!whole) {
      if (rewriting_.isWanted() && DirectoryRewrite(directory.fd, attributes_, parent_, compared_, Listed{names_, ends_, count}, rewriting_).run(own.slots, comparison, vectors)) return true;
      compared_.found.data[FOUND_FD] = directory.fd;
      directory.fd = -1;
    }
    return true;
  }

 private:
  int fd_;
  Bytes name_;
  bool attributes_;
  Bytes avoid_;
  Bytes parent_;
  size_t keyBytes_;
  Bytes names_;
  Words ends_;
  Compared compared_;
  Rewriting rewriting_;
};

// compareDirectory(fd, name, attributes, avoid, parent, keyBytes, names, ends, rows, keys, entries, runs, found[, key, digestBytes, level, bytesMax, data, ranges, hashes, text, payload]):
// how src/batch/batch-files.ts says it. Whether it could be told.
napi_value compareDirectory(napi_env env, napi_callback_info info) {
  Arguments args(env, info, DirectoryComparison::BASE_ARGUMENTS);
  const DirectoryComparison comparison(args);
  if (!args.ok()) return nullptr;
  napi_value told = nullptr;
  napi_get_boolean(env, comparison.run(args.data, nullptr), &told);
  return told;
}

}  // namespace
