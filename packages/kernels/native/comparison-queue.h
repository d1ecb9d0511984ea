// Comparisons of directories that threads of Node's pool make beside the one that wants them. Each lies in a place of its own; those that wait are made in the order in which they were
// put there, by whoever is free, the thread that wants one of them included. A thread of the pool goes on as long as one waits: waking it for each would cost more than many of them take.

#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

namespace {

class ComparisonQueue {
 public:
  ComparisonQueue(size_t places, size_t threads, SharedScan scan, const void* vectors) : places_(places), threads_(threads), scan_(std::move(scan)), vectors_(vectors) {}

  size_t places() const { return places_.size(); }

  // Whether it is free. Only the thread that wants the comparisons puts them there and takes them.
  bool isFree(size_t place) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return places_[place].state == State::FREE;
  }

  // Whether a further thread is wanted for it.
  bool put(size_t place, const DirectoryComparison& comparison, napi_ref held) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Place& own = places_[place];
    own.comparison.emplace(comparison);
    own.held = held;
    own.number = ++numbers_;
    own.state = State::WAITS;
    if (working_ >= threads_) return false;
    working_++;
    return true;
  }

  // Makes what waits until nothing does.
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (Place* next = oldest(); next != nullptr; next = oldest()) make(*next, lock);
    working_--;
  }

  // A thread that was wanted is not to be had.
  void workNot() {
    const std::lock_guard<std::mutex> lock(mutex_);
    working_--;
  }

  // Ends the comparison in this place, or waits until who has begun it has ended it, and makes others meanwhile, the last of them first. The place is free then. Whether it could be told.
  bool finish(size_t place, napi_ref* held) {
    std::unique_lock<std::mutex> lock(mutex_);
    Place& own = places_[place];
    if (own.state == State::WAITS) make(own, lock);
    while (own.state == State::BEGUN) {
      Place* other = newest();
      if (other != nullptr) make(*other, lock);
      else ended_.wait(lock);
    }
    return clear(own, held);
  }

  // The same of one that nobody wants: it is not begun any more.
  bool drop(size_t place, napi_ref* held) {
    std::unique_lock<std::mutex> lock(mutex_);
    Place& own = places_[place];
    if (own.state == State::WAITS) own.state = State::NOT_TOLD;
    ended_.wait(lock, [&own] { return own.state != State::BEGUN; });
    return clear(own, held);
  }

  // What is held for those that nobody has taken.
  std::vector<napi_ref> clearAll() {
    std::vector<napi_ref> all;
    for (Place& place : places_) {
      napi_ref held = nullptr;
      clear(place, &held);
      if (held != nullptr) all.push_back(held);
    }
    return all;
  }

 private:
  enum class State { FREE, WAITS, BEGUN, TOLD, NOT_TOLD };

  struct Place {
    std::optional<DirectoryComparison> comparison;
    State state = State::FREE;
    // Keeps the memory that it reads and writes.
    napi_ref held = nullptr;
    uint64_t number = 0;
  };

  Place* oldest() {
    Place* found = nullptr;
    for (Place& place : places_) {
      if (place.state == State::WAITS && (found == nullptr || place.number < found->number)) found = &place;
    }
    return found;
  }

  Place* newest() {
    Place* found = nullptr;
    for (Place& place : places_) {
      if (place.state == State::WAITS && (found == nullptr || place.number > found->number)) found = &place;
    }
    return found;
  }

  void make(Place& place, std::unique_lock<std::mutex>& lock) {
    place.state = State::BEGUN;
    lock.unlock();
    bool told = false;
    try {
      told = place.comparison->run(vectors_, scan_.get());
    } catch (const std::bad_alloc&) {
    }
    lock.lock();
    place.state = told ? State::TOLD : State::NOT_TOLD;
    ended_.notify_all();
  }

  static bool clear(Place& place, napi_ref* held) {
    const bool told = place.state == State::TOLD;
    place.comparison.reset();
    place.state = State::FREE;
    *held = place.held;
    place.held = nullptr;
    return told;
  }

  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Place> places_;
  const size_t threads_;
  const SharedScan scan_;
  const void* const vectors_;
  size_t working_ = 0;
  uint64_t numbers_ = 0;
};

constexpr napi_type_tag QUEUE_TAG = {0x2f6d0c1ab7e94d53, 0x9c41e87f3b5a02d6};
constexpr double QUEUE_PLACES_MAX = 1024;

// The first argument.
ComparisonQueue* queueArgument(napi_env env, Arguments& args) {
  return static_cast<ComparisonQueue*>(taggedArgument(env, args, 0, QUEUE_TAG, "what comparisonQueue returned is wanted"));
}

// comparisonQueue(places, threads[, scan]): an object for the calls below, of the thread that makes it.
napi_value comparisonQueue(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 2);
  const size_t places = args.number(0, QUEUE_PLACES_MAX);
  const size_t threads = args.number(1, QUEUE_PLACES_MAX);
  const SharedScan* scan = args.count() > 2 ? scanArgument(env, args, 2) : nullptr;
  if (!args.ok()) return nullptr;
  auto queue = std::make_unique<ComparisonQueue>(places, threads, scan == nullptr ? nullptr : *scan, args.data);
  // A thread at work holds the object: nobody is in the queue any more.
  return taggedObject(env, std::move(queue), QUEUE_TAG, [](napi_env own, void* data, void*) {
    const std::unique_ptr<ComparisonQueue> ended(static_cast<ComparisonQueue*>(data));
    for (napi_ref held : ended->clearAll()) napi_delete_reference(own, held);
  });
}

struct QueueWork {
  napi_async_work work = nullptr;
  // Keeps the queue.
  napi_ref held = nullptr;
  ComparisonQueue* queue = nullptr;
};

// Has a thread of the pool work in the queue. False where there is none.
bool beginWork(napi_env env, napi_value object, ComparisonQueue* queue) {
  auto work = std::make_unique<QueueWork>();
  work->queue = queue;
  const auto run = [](napi_env, void* data) { static_cast<QueueWork*>(data)->queue->work(); };
  const auto end = [](napi_env own, napi_status status, void* data) {
    const std::unique_ptr<QueueWork> ended(static_cast<QueueWork*>(data));
    if (status == napi_cancelled) ended->queue->workNot();
    napi_delete_reference(own, ended->held);
    napi_delete_async_work(own, ended->work);
  };
  napi_value name = nullptr;
  if (napi_create_reference(env, object, 1, &work->held) != napi_ok) return false;
  if (napi_create_string_utf8(env, "compareDirectories", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, nullptr, name, run, end, work.get(), &work->work) != napi_ok || napi_queue_async_work(env, work->work) != napi_ok) {
    if (work->work != nullptr) napi_delete_async_work(env, work->work);
    napi_delete_reference(env, work->held);
    return false;
  }
  work.release();
  return true;
}

// putComparison(queue, place, call): how src/batch/batch-files.ts says it. `call` has the arguments of compareDirectory.
napi_value putComparison(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 3);
  ComparisonQueue* queue = queueArgument(env, args);
  const size_t place = args.number(1, QUEUE_PLACES_MAX);
  if (args.ok() && (place >= queue->places() || !queue->isFree(place))) args.fail("a free place is wanted");
  if (!args.ok()) return nullptr;
  Arguments call(env, args.value(2), DirectoryComparison::BASE_ARGUMENTS);
  const DirectoryComparison comparison(call);
  napi_ref held = nullptr;
  if (!call.ok() || napi_create_reference(env, args.value(2), 1, &held) != napi_ok) return nullptr;
  // Without a thread for it, whoever wants it makes it.
  if (queue->put(place, comparison, held) && !beginWork(env, args.value(0), queue)) queue->workNot();
  return nullptr;
}

napi_value takeComparison(napi_env env, napi_callback_info info, bool (ComparisonQueue::*take)(size_t, napi_ref*)) {
  Arguments args(env, info, 2);
  ComparisonQueue* queue = queueArgument(env, args);
  const size_t place = args.number(1, QUEUE_PLACES_MAX);
  if (args.ok() && (place >= queue->places() || queue->isFree(place))) args.fail("a place with a comparison is wanted");
  if (!args.ok()) return nullptr;
  napi_ref held = nullptr;
  napi_value told = nullptr;
  napi_get_boolean(env, (queue->*take)(place, &held), &told);
  napi_delete_reference(env, held);
  return told;
}

// finishComparison(queue, place): whether it could be told.
napi_value finishComparison(napi_env env, napi_callback_info info) { return takeComparison(env, info, &ComparisonQueue::finish); }

// dropComparison(queue, place): the same of one that nobody wants.
napi_value dropComparison(napi_env env, napi_callback_info info) { return takeComparison(env, info, &ComparisonQueue::drop); }

}  // namespace
