// Direct reads that are on their way while their thread does something else, by the kernel's AIO: what reads ahead of ordinary reads does not read ahead of direct ones. The calls are made
// by number, since no library has to be there for them; io_uring, which does more, is what containers are mostly not allowed.
//
// The kernel holds on to the pages that a direct read goes to, and to its file, until it is done: whatever becomes of the memory and the descriptor meanwhile, nothing else is overwritten.

#pragma once

#if defined(__linux__) && __has_include(<linux/aio_abi.h>)
#define WITH_READS_AHEAD 1

#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

class ReadsAhead {
 public:
  static constexpr size_t MAX = 64;
  static constexpr int64_t FAILED = -1;

  explicit ReadsAhead(size_t count) : count_(count), open_(syscall(SYS_io_setup, count, &context_) == 0) {}
  ReadsAhead(const ReadsAhead&) = delete;
  ReadsAhead& operator=(const ReadsAhead&) = delete;
  ~ReadsAhead() { close(); }

  // False where the system has none of this, or no more of it.
  bool isOpen() const { return open_; }
  size_t count() const { return count_; }
  // Whether a read was begun there, and nobody has been told its end.
  bool isTaken(size_t slot) const { return taken_[slot]; }

  // False when the system takes no more reads, or not this one.
  bool begin(size_t slot, int fd, Bytes memory, uint64_t offset) {
    if (!open_) return false;
    iocb& block = blocks_[slot];
    std::memset(&block, 0, sizeof block);
    block.aio_data = slot;
    block.aio_lio_opcode = IOCB_CMD_PREAD;
    block.aio_fildes = static_cast<uint32_t>(fd);
    block.aio_buf = reinterpret_cast<uintptr_t>(memory.data);
    block.aio_nbytes = memory.length;
    block.aio_offset = static_cast<int64_t>(offset);
    iocb* blocks[1] = {&block};
    taken_[slot] = underWay_[slot] = syscall(SYS_io_submit, context_, 1, blocks) == 1;
    return taken_[slot];
  }

  // Waits for a read that was begun: its bytes, or FAILED.
  int64_t end(size_t slot) {
    while (underWay_[slot]) {
      io_event events[MAX];
      const long found = syscall(SYS_io_getevents, context_, 1, count_, events, nullptr);
      if (found < 0 && errno != EINTR) close();
      for (long i = 0; i < found; i++) {
        underWay_[events[i].data] = false;
        results_[events[i].data] = events[i].res < 0 ? FAILED : events[i].res;
      }
    }
    taken_[slot] = false;
    return results_[slot];
  }

 private:
  // Returns when nothing is under way any more.
  void close() {
    if (open_) syscall(SYS_io_destroy, context_);
    open_ = false;
    for (size_t slot = 0; slot < count_; slot++) {
      if (underWay_[slot]) results_[slot] = FAILED;
      underWay_[slot] = false;
    }
  }

  size_t count_;
  aio_context_t context_ = 0;
  bool open_;
  iocb blocks_[MAX];
  bool taken_[MAX] = {};
  bool underWay_[MAX] = {};
  int64_t results_[MAX] = {};
};

constexpr napi_type_tag READS_AHEAD_TAG = {0x2f6d40b1c97e4a08, 0xa8137be2d05c49f6};

// readsAhead(count): what so many reads can be on their way with, of this thread; undefined where the system lets nobody have it.
napi_value readsAhead(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 1);
  const size_t count = args.number(0, ReadsAhead::MAX);
  if (args.ok() && count == 0) args.fail("one read at least is wanted");
  if (!args.ok()) return nullptr;
  auto reads = std::make_unique<ReadsAhead>(count);
  if (!reads->isOpen()) return nullptr;
  return taggedObject(env, std::move(reads), READS_AHEAD_TAG, [](napi_env, void* data, void*) { delete static_cast<ReadsAhead*>(data); });
}

// A slot of what `readsAhead` returned.
struct ReadSlot {
  ReadSlot(napi_env env, Arguments& args, bool isTaken) {
    reads = static_cast<ReadsAhead*>(taggedArgument(env, args, 0, READS_AHEAD_TAG, "what readsAhead returned is wanted"));
    if (!args.ok()) return;
    slot = args.number(1, static_cast<double>(reads->count() - 1));
    if (args.ok() && reads->isTaken(slot) != isTaken) args.fail(isTaken ? "no read was begun there" : "a read was begun there");
  }

  ReadsAhead* reads = nullptr;
  size_t slot = 0;
};

// beginRead(reads, slot, fd, memory, at, length, offset): whether the read is on its way. Nobody else may use this part of the memory before `endRead`.
napi_value beginRead(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 7);
  const ReadSlot in(env, args, false);
  const int fd = static_cast<int>(args.number(2, INT32_MAX));
  const Bytes memory = args.bytes(3);
  const size_t at = args.number(4, static_cast<double>(memory.length));
  const size_t length = args.number(5, static_cast<double>(memory.length - at));
  const uint64_t offset = args.number(6, 9007199254740991.0);
  if (!args.ok()) return nullptr;
  napi_value begun = nullptr;
  napi_get_boolean(env, in.reads->begin(in.slot, fd, {memory.data + at, length}, offset), &begun);
  return begun;
}

// endRead(reads, slot): waits for the read: how many bytes came, or -1 when it failed.
napi_value endRead(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 2);
  const ReadSlot in(env, args, true);
  if (!args.ok()) return nullptr;
  return numberValue(env, static_cast<double>(in.reads->end(in.slot)));
}

}  // namespace
#endif
