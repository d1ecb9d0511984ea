// A look at the directories of a tree before anybody can say what to compare them with: what is in each that holds nothing but files is kept, as far as there is memory, until a comparison
// asks for it. Directories are met in the order of the walk.

#pragma once

#include <map>
#include <mutex>
#include <utility>

namespace {

// What was seen in a directory, behind what was seen of itself.
struct SeenDirectory {
  struct stat facts;
  Listing listing;
  std::vector<double> rows;
};

class DirectoryScan {
 public:
  DirectoryScan(std::string path, bool attributes, size_t bytesMax) : path_(std::move(path)), attributes_(attributes), bytesMax_(bytesMax) {}

  void run() {
    const int fd = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0) return;
    // Another file system may be far away.
    if (fstat(fd, &facts) == 0) look(fd, facts.st_dev, 0);
    else close(fd);
  }

  // Ends it where it is.
  void stop() { stopped_.store(true, std::memory_order_relaxed); }

  // Forgets what nobody has taken.
  void drop() {
    stop();
    const std::lock_guard<std::mutex> lock(mutex_);
    seen_.clear();
  }

  // What was seen in the directory that is like this now; null where nothing was, or it has changed since. Once.
  std::unique_ptr<SeenDirectory> take(const struct stat& now) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = seen_.find({now.st_dev, now.st_ino});
    if (found == seen_.end()) return nullptr;
    std::unique_ptr<SeenDirectory> seen = std::move(found->second);
    seen_.erase(found);
    return isSame(seen->facts, now) ? std::move(seen) : nullptr;
  }

 private:
  // Each level holds a descriptor and its names.
  static constexpr size_t DEPTH_MAX = 32;
  static constexpr size_t ENTRIES_MAX = 8192;
  // More are not compared in one call.
  static constexpr size_t FILES_MAX = 1024;

  static bool isSame(const struct stat& a, const struct stat& b) {
    const auto same = [](const struct timespec& x, const struct timespec& y) { return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec; };
    return same(modificationTimeOf(a), modificationTimeOf(b)) && same(changeTimeOf(a), changeTimeOf(b));
  }

  bool isStopped() const { return stopped_.load(std::memory_order_relaxed); }

  // Looks into an open directory, which it closes.
  void look(int fd, dev_t device, size_t depth) {
    const OpenedFile directory{fd};
    auto seen = std::make_unique<SeenDirectory>();
    // Before its names: what comes or goes meanwhile changes it.
    if (isStopped() || fstat(fd, &seen->facts) != 0 || seen->facts.st_dev != device) return;
    Listing& listing = seen->listing;
    if (listing.read(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, ENTRIES_MAX, false) != 0 || listing.items.empty()) return;
    if (!listing.items.front().isDirectory) return lookAtFiles(fd, std::move(seen));
    for (const Item& item : listing.items) {
      if (!item.isDirectory || depth == DEPTH_MAX || isStopped()) return;
      const std::string name(reinterpret_cast<const char*>(listing.text.data() + item.at), item.length);
      const int below = openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (below >= 0) look(below, device, depth + 1);
    }
  }

  void lookAtFiles(int fd, std::unique_ptr<SeenDirectory> seen) {
    const Listing& listing = seen->listing;
    const size_t count = listing.items.size();
    if (count > FILES_MAX) return;
    const size_t bytes = sizeof(SeenDirectory) + listing.text.size() + count * (sizeof(Item) + ROW * sizeof(double));
    if (bytes > bytesMax_ - bytes_) return stop();
    seen->rows.resize(count * ROW);
    std::string path = prefixOf(fd, attributes_);
    const size_t prefix = path.size();
    for (size_t i = 0; i < count; i++) {
      if (isStopped()) return;
      const Item& item = listing.items[i];
      const std::string name(reinterpret_cast<const char*>(listing.text.data() + item.at), item.length);
      path.resize(prefix);
      if (attributes_) path += name;
      examine(fd, name.c_str(), path, Row{seen->rows.data() + ROW * i});
    }
    bytes_ += bytes;
    const std::lock_guard<std::mutex> lock(mutex_);
    // Whoever forgot the others wants no more.
    if (!isStopped()) seen_[{seen->facts.st_dev, seen->facts.st_ino}] = std::move(seen);
  }

  const std::string path_;
  const bool attributes_;
  const size_t bytesMax_;
  size_t bytes_ = 0;
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::map<std::pair<dev_t, ino_t>, std::unique_ptr<SeenDirectory>> seen_;
};

using SharedScan = std::shared_ptr<DirectoryScan>;

constexpr napi_type_tag SCAN_TAG = {0x6b1e83f0d95c427a, 0xa3f7265b80c94e1d};

SharedScan* scanArgument(napi_env env, Arguments& args, size_t index) {
  return static_cast<SharedScan*>(taggedArgument(env, args, index, SCAN_TAG, "what directoryScan returned is wanted"));
}

struct ScanWork {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  SharedScan scan;
};

// Has a thread of the pool scan; `ended` is a promise that it has. False where there is none.
bool beginScan(napi_env env, const SharedScan& scan, napi_value* ended) {
  auto work = std::make_unique<ScanWork>();
  work->scan = scan;
  const auto run = [](napi_env, void* data) {
    try {
      static_cast<ScanWork*>(data)->scan->run();
    } catch (const std::bad_alloc&) {
    }
  };
  const auto end = [](napi_env own, napi_status, void* data) {
    const std::unique_ptr<ScanWork> done(static_cast<ScanWork*>(data));
    napi_value nothing = nullptr;
    napi_get_undefined(own, &nothing);
    napi_resolve_deferred(own, done->deferred, nothing);
    napi_delete_async_work(own, done->work);
  };
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "scanDirectories", NAPI_AUTO_LENGTH, &name) != napi_ok || napi_create_promise(env, &work->deferred, ended) != napi_ok ||
      napi_create_async_work(env, nullptr, name, run, end, work.get(), &work->work) != napi_ok || napi_queue_async_work(env, work->work) != napi_ok) {
    return false;
  }
  work.release();
  return true;
}

// directoryScan(path, attributes, bytesMax): [an object for the calls below, a promise that ends with the scan].
napi_value directoryScan(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 3);
  const Bytes path = args.bytes(0);
  const bool attributes = args.number(1, 1) == 1;
  const size_t bytesMax = args.number(2, std::numeric_limits<uint32_t>::max());
  if (args.ok() && path.length > 0 && std::memchr(path.data, 0, path.length) != nullptr) args.fail("a path has no NUL");
  if (!args.ok()) return nullptr;
  const SharedScan scan = std::make_shared<DirectoryScan>(std::string(reinterpret_cast<const char*>(path.data), path.length), attributes, bytesMax);
  napi_value object = taggedObject(env, std::make_unique<SharedScan>(scan), SCAN_TAG, [](napi_env, void* data, void*) {
    const std::unique_ptr<SharedScan> own(static_cast<SharedScan*>(data));
    (*own)->stop();
  });
  napi_value ended = nullptr;
  napi_value both = nullptr;
  if (object == nullptr || !beginScan(env, scan, &ended) || napi_create_array_with_length(env, 2, &both) != napi_ok || napi_set_element(env, both, 0, object) != napi_ok ||
      napi_set_element(env, both, 1, ended) != napi_ok) {
    return nullptr;
  }
  return both;
}

// stopScan(scan)
napi_value stopScan(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 1);
  const SharedScan* scan = scanArgument(env, args, 0);
  if (args.ok()) (*scan)->stop();
  return nullptr;
}

// dropScan(scan)
napi_value dropScan(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 1);
  const SharedScan* scan = scanArgument(env, args, 0);
  if (args.ok()) (*scan)->drop();
  return nullptr;
}

}  // namespace
