// Files of which it is known that they have no extended attributes: asking the kernel for each takes as long as examining it. What is known is of an inode as it was at one change of it
// (statx(2): ctime, which every change of an attribute moves), so that it holds for whoever meets the same again, in this process or a later one.
//
// It is the one thing that the threads of a process share here without a lock: a table of keys that only grows. What does not fit is asked for.

#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif
#include <time.h>

#include <atomic>
#include <vector>

namespace {

inline const struct timespec& changeTimeOf(const struct stat& facts) {
#ifdef __APPLE__
  return facts.st_ctimespec;
#else
  return facts.st_ctim;
#endif
}

class Unattributed {
 public:
  // 0 is no key. The lowest bit of a slot says that the file was met by this process.
  using Key = uint64_t;

  Unattributed() : slots_(static_cast<Slot*>(mmap(nullptr, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
#ifdef MADV_HUGEPAGE
    // Looked at all over: large pages are found, and cleared, at once.
    if (hasMemory()) madvise(slots_, BYTES, MADV_HUGEPAGE);
#endif
  }
  Unattributed(const Unattributed&) = delete;
  Unattributed& operator=(const Unattributed&) = delete;
  ~Unattributed() {
    if (hasMemory()) munmap(slots_, BYTES);
  }

  bool hasMemory() const { return slots_ != MAP_FAILED; }

  // Which files are added: changed so long ago at least, and of any file system or only of those that are known to tell each change.
  void admit(int64_t ageMs, bool everywhere) {
    ageMs_.store(ageMs, std::memory_order_relaxed);
    everywhere_.store(everywhere, std::memory_order_relaxed);
  }

  static Key keyOf(const struct stat& facts) {
    const struct timespec& changed = changeTimeOf(facts);
    const uint64_t time = static_cast<uint64_t>(changed.tv_sec) * 1000000000 + static_cast<uint64_t>(changed.tv_nsec);
    const Key key = mix(mix(mix(facts.st_dev) ^ facts.st_ino) ^ time) & ~MET;
    return key == 0 ? ~MET : key;
  }

  bool has(Key key) {
    for (size_t i = 0, at = key >> SHIFT; i < PROBES; i++, at = (at + 1) % SLOTS) {
      const uint64_t found = slots_[at].load(std::memory_order_relaxed);
      if (found == 0) return false;
      if ((found & ~MET) != key) continue;
      if ((found & MET) == 0) slots_[at].store(key | MET, std::memory_order_relaxed);
      return true;
    }
    return false;
  }

  // Of a file of this open directory, that was met. One that was changed just now may be changed again at the same time, as far as its clock can tell.
  void add(Key key, int directory, const struct stat& facts) {
    if (S_ISREG(facts.st_mode) && isOld(facts) && tellsChanges(directory, facts.st_dev)) put(key | MET);
  }

  // Of a file that an earlier process met; 0 is passed over.
  void learn(uint64_t key) {
    if ((key & ~MET) != 0) put(key & ~MET);
  }

  // The keys of files that were met.
  std::vector<Key> met() const {
    std::vector<Key> keys;
    for (size_t at = 0; at < SLOTS; at++) {
      const uint64_t found = slots_[at].load(std::memory_order_relaxed);
      if ((found & MET) != 0) keys.push_back(found & ~MET);
    }
    return keys;
  }

 private:
  using Slot = std::atomic<uint64_t>;
  static_assert(Slot::is_always_lock_free && sizeof(Slot) == sizeof(uint64_t));

  static constexpr uint64_t MET = 1;
  // 4 MiB: half of them taken are a quarter of a million files.
  static constexpr size_t SLOTS = size_t{1} << 19;
  static constexpr size_t BYTES = SLOTS * sizeof(Slot);
  static constexpr size_t SHIFT = 64 - 19;
  static constexpr size_t PROBES = 16;

  // The finalizer of MurmurHash3.
  static uint64_t mix(uint64_t word) {
    word = (word ^ (word >> 33)) * 0xff51afd7ed558ccd;
    word = (word ^ (word >> 33)) * 0xc4ceb9fe1a85ec53;
    return word ^ (word >> 33);
  }

  void put(uint64_t slot) {
    for (size_t i = 0, at = slot >> SHIFT; i < PROBES; i++, at = (at + 1) % SLOTS) {
      uint64_t none = 0;
      if (slots_[at].compare_exchange_strong(none, slot, std::memory_order_relaxed) || (none & ~MET) == (slot & ~MET)) return;
    }
  }

  bool isOld(const struct stat& facts) const {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct timespec& changed = changeTimeOf(facts);
    const int64_t ageMs = (static_cast<int64_t>(now.tv_sec) - changed.tv_sec) * 1000 + (static_cast<int64_t>(now.tv_nsec) - changed.tv_nsec) / 1000000;
    return ageMs >= ageMs_.load(std::memory_order_relaxed);
  }

  // Whether the file system is of this machine, so that its times are of this clock, and one that is known to note every change of an attribute.
  bool tellsChanges(int directory, dev_t device) const {
    static thread_local dev_t seen = 0;
    static thread_local bool tells = false;
    if (everywhere_.load(std::memory_order_relaxed)) return true;
    if (seen == device && device != 0) return tells;
#ifdef __linux__
    struct stat own;
    struct statfs system;
    // A file may be a mount of its own.
    if (fstat(directory, &own) != 0 || own.st_dev != device || fstatfs(directory, &system) != 0) return false;
    seen = device;
    // ext4(5), xfs(5), btrfs(5): statfs(2).
    tells = system.f_type == 0xEF53 || system.f_type == 0x58465342 || static_cast<uint32_t>(system.f_type) == 0x9123683E;
    return tells;
#else
    (void)directory;
    return false;
#endif
  }

  // None, until it is said.
  std::atomic<int64_t> ageMs_{INT64_MAX};
  std::atomic<bool> everywhere_{false};
  Slot* const slots_;
};

// Made when somebody wants it, and there from then on.
std::atomic<Unattributed*> unattributedFiles{nullptr};

inline Unattributed* unattributed() { return unattributedFiles.load(std::memory_order_acquire); }

// rememberUnattributed(keys, ageMs, everywhere): has files without attributes remembered from now on, those of these keys (8 bytes each, as `metUnattributed` returned them) among them; those that were
// changed less than so long ago are not, nor those of file systems that may not tell each change, but where that is said to be the same.
napi_value rememberUnattributed(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 3);
  const Bytes keys = args.bytes(0);
  const auto ageMs = static_cast<int64_t>(args.number(1, UINT32_MAX));
  const bool everywhere = args.number(2, 1) == 1;
  if (!args.ok()) return nullptr;
  if (unattributed() == nullptr) {
    auto made = std::make_unique<Unattributed>();
    Unattributed* none = nullptr;
    // Nothing is remembered where there is no memory for it. Where another thread was first, what that made is as good.
    if (!made->hasMemory()) return nullptr;
    if (unattributedFiles.compare_exchange_strong(none, made.get(), std::memory_order_acq_rel)) made.release();
  }
  unattributed()->admit(ageMs, everywhere);
  for (size_t at = 0; at + sizeof(Unattributed::Key) <= keys.length; at += sizeof(Unattributed::Key)) unattributed()->learn(loadLittle(keys.data + at));
  return nullptr;
}

// metUnattributed(): the keys of files without attributes that this process has met, as an ArrayBuffer; undefined where none are remembered.
napi_value metUnattributed(napi_env env, napi_callback_info) {
  if (unattributed() == nullptr) return nullptr;
  const std::vector<Unattributed::Key> keys = unattributed()->met();
  void* start = nullptr;
  napi_value memory = nullptr;
  if (napi_create_arraybuffer(env, keys.size() * sizeof(Unattributed::Key), &start, &memory) != napi_ok) return nullptr;
  auto* out = static_cast<uint8_t*>(start);
  for (size_t i = 0; i < keys.size(); i++) {
    for (size_t byte = 0; byte < sizeof(Unattributed::Key); byte++) out[i * sizeof(Unattributed::Key) + byte] = static_cast<uint8_t>(keys[i] >> (8 * byte));
  }
  return memory;
}

}  // namespace
