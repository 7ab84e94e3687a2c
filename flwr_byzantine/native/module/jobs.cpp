// The queues, their workers, and clients that wait.

#include "jobs.h"

#include "backend_loader.h"
#include "../kernels/parallel.h"
#include "settings.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace fb {
namespace {

// How long the server's shutdown waits for a job that is running.
constexpr auto PATIENCE = std::chrono::seconds(2);

// A job and the client that waits for it.
struct Pending {
  std::unique_ptr<Job> job;
  Queue queue = Queue::execution;
  RedisModuleBlockedClient *client = nullptr;
  uint64_t timer = 0;
  bool has_timer = false;
  bool timed_out = false;
  std::string error;
};

class WorkerPool {
public:
  void start(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ++running_;
      std::thread([this] { work(); }).detach();
    }
  }

  void push(Pending *pending) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      waiting_.push_back(pending);
    }
    changed_.notify_one();
  }

  // Take it out of the queue; false if a worker has it already.
  bool withdraw(const Pending *pending) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = waiting_.begin(); it != waiting_.end(); ++it)
      if (*it == pending) {
        waiting_.erase(it);
        return true;
      }
    return false;
  }

  // Detached threads that have left work() hold nothing; one that is busy for longer is left behind.
  bool stop() {
    std::unique_lock<std::mutex> lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    return ended_.wait_for(lock, PATIENCE, [this] { return running_ == 0; });
  }

private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_)
        break;
      Pending *const pending = waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      run(*pending);
      server::UnblockClient(pending->client, pending);
      lock.lock();
    }
    --running_;
    ended_.notify_all();
  }

  static void run(Pending &pending) {
    try {
      pending.job->run();
    } catch (const Error &error) {
      pending.error = error.what();
    } catch (const std::exception &error) {
      pending.error = std::string("ERR ") + error.what();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable ended_;
  std::deque<Pending *> waiting_;
  size_t running_ = 0;
  bool stopping_ = false;
};

// Never destroyed: a condition variable that somebody waits on would hang the end of the process.
struct Workers {
  WorkerPool execution;
  WorkerPool storing;
  std::unordered_map<RedisModuleBlockedClient *, Pending *> clients; // main thread only
};

Workers &workers() {
  static Workers *const instance = new Workers;
  return *instance;
}

WorkerPool &pool_of(Queue queue) { return queue == Queue::execution ? workers().execution : workers().storing; }

void conclude(RedisModuleCtx *ctx, Pending &pending) {
  try {
    if (!pending.error.empty())
      throw Error(pending.error);
    pending.job->finish(ctx);
  } catch (const Error &error) {
    reply_error(ctx, error.what());
  } catch (const std::exception &error) {
    reply_error(ctx, std::string("ERR ") + error.what());
  }
}

int on_reply(RedisModuleCtx *ctx, RedisModuleString **, int) {
  auto &pending = *static_cast<Pending *>(server::GetBlockedClientPrivateData(ctx));
  if (pending.timed_out)
    server::ReplyWithSimpleString(ctx, "TIMEDOUT");
  else
    conclude(ctx, pending);
  return server::OK;
}

void on_free(RedisModuleCtx *ctx, void *data) {
  const std::unique_ptr<Pending> pending(static_cast<Pending *>(data));
  workers().clients.erase(pending->client);
  if (pending->has_timer)
    server::StopTimer(ctx, pending->timer, nullptr);
}

void on_timeout(RedisModuleCtx *, void *data) {
  auto *const pending = static_cast<Pending *>(data);
  pending->has_timer = false;
  if (!pool_of(pending->queue).withdraw(pending))
    return;
  pending->timed_out = true;
  server::UnblockClient(pending->client, pending);
}

void on_disconnect(RedisModuleCtx *, RedisModuleBlockedClient *client) {
  const auto found = workers().clients.find(client);
  if (found != workers().clients.end() && pool_of(found->second->queue).withdraw(found->second))
    server::UnblockClient(client, found->second);
}

} // namespace

bool can_block(RedisModuleCtx *ctx) {
  constexpr int nobody_waits = server::CONTEXT_LUA | server::CONTEXT_MULTI | server::CONTEXT_DENY_BLOCKING |
                               server::CONTEXT_REPLICATED | server::CONTEXT_LOADING | server::CONTEXT_ASYNC_LOADING;
  return (server::GetContextFlags(ctx) & nobody_waits) == 0;
}

void submit(RedisModuleCtx *ctx, Queue queue, std::unique_ptr<Job> job) {
  auto pending = std::make_unique<Pending>();
  pending->job = std::move(job);
  pending->queue = queue;
  pending->client = server::BlockClient(ctx, on_reply, nullptr, on_free, 0);
  if (!pending->client)
    throw Error("ERR this client cannot wait for a result");
  server::SetDisconnectCallback(pending->client, on_disconnect);
  if (pending->job->timeout_ms > 0) {
    pending->timer = server::CreateTimer(ctx, pending->job->timeout_ms, on_timeout, pending.get());
    pending->has_timer = true;
  }
  workers().clients.emplace(pending->client, pending.get());
  pool_of(queue).push(pending.release()); // on_free has it back
}

void run_at_once(RedisModuleCtx *ctx, std::unique_ptr<Job> job) {
  job->run();
  job->finish(ctx);
}

void start_workers() {
  workers().execution.start(static_cast<size_t>(settings().threads_per_queue));
  workers().storing.start(1);
}

void stop_workers() {
  stop_parallel();
  const bool executed = workers().execution.stop();
  const bool stored = workers().storing.stop();
  if (!executed || !stored)
    leave_without_destructors();
}

} // namespace fb
