// Helpers that take pieces of a computation beside its caller.

#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>

#include <pthread.h>

namespace fb {
namespace {

// Held by the caller and by every helper that was asked.
struct Task {
  const std::function<void(size_t)> *work; // valid while pieces are left
  size_t count;
  std::atomic<size_t> next{0};
  std::atomic<size_t> done{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable finished;
};

// Never destroyed: helpers wait on it until the process ends.
struct Helpers {
  std::mutex mutex;
  std::condition_variable wanted;
  std::deque<std::shared_ptr<Task>> tasks;
  size_t started = 0;
  std::atomic<bool> stopping{false};
};

// Replaced in a child of this process: it has none of its parent's threads, and a lock may be held by one of them.
Helpers *&helpers_place() {
  static Helpers *instance = [] {
    pthread_atfork(nullptr, nullptr, [] { helpers_place() = new Helpers; });
    return new Helpers;
  }();
  return instance;
}

Helpers &helpers() { return *helpers_place(); }

void take_pieces(Task &task) {
  for (size_t piece; (piece = task.next.fetch_add(1)) < task.count;) {
    try {
      if (!helpers().stopping && !task.failed)
        (*task.work)(piece);
    } catch (const std::exception &) { // of an allocation
      task.failed = true;
    }
    if (task.done.fetch_add(1) + 1 == task.count) {
      const std::lock_guard<std::mutex> lock(task.mutex);
      task.finished.notify_all();
    }
  }
}

void help() {
  Helpers &h = helpers();
  std::unique_lock<std::mutex> lock(h.mutex);
  while (!h.stopping) {
    h.wanted.wait(lock, [&h] { return h.stopping || !h.tasks.empty(); });
    if (h.stopping)
      break;
    const std::shared_ptr<Task> task = std::move(h.tasks.front());
    h.tasks.pop_front();
    lock.unlock();
    take_pieces(*task);
    lock.lock();
  }
}

void ask_helpers(const std::shared_ptr<Task> &task, size_t number) {
  Helpers &h = helpers();
  const std::lock_guard<std::mutex> lock(h.mutex);
  for (size_t i = 0; i < number; ++i)
    h.tasks.push_back(task);
  for (; h.started < number; ++h.started)
    std::thread(help).detach();
  h.wanted.notify_all();
}

} // namespace

void parallel_for(size_t count, size_t threads, const std::function<void(size_t)> &work) {
  if (count == 0)
    return;
  const auto task = std::make_shared<Task>();
  task->work = &work;
  task->count = count;
  const size_t others = std::min(threads, count) - 1;
  if (others > 0)
    ask_helpers(task, others);
  take_pieces(*task);
  std::unique_lock<std::mutex> lock(task->mutex);
  task->finished.wait(lock, [&task] { return task->done == task->count; });
  if (helpers().stopping)
    throw std::runtime_error("the server is shutting down");
  if (task->failed)
    throw std::bad_alloc();
}

void for_ranges(size_t columns, size_t range, size_t threads, const std::function<void(size_t, size_t)> &work) {
  parallel_for((columns + range - 1) / range, threads, [&](size_t i) {
    const size_t from = i * range;
    work(from, std::min(range, columns - from));
  });
}

void stop_parallel() {
  Helpers &h = helpers();
  h.stopping = true;
  const std::lock_guard<std::mutex> lock(h.mutex);
  h.wanted.notify_all();
}

} // namespace fb
