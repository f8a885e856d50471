// A loop whose parts are shared by the calling thread and by helpers in a pool of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

namespace tsl_jax {

// Parts are taken from a counter. The caller waits for parts that others have begun, never for a helper to begin (it
// may itself run in the pool, and no thread of it be free): one that comes late finds nothing left, and touches only
// this object.
class Loop {
 public:
  Loop(int parts, std::function<void(int)> body) : parts_(parts), body_(std::move(body)) {}

  void work() {
    for (int part; (part = next_.fetch_add(1)) < parts_;) {
      std::exception_ptr error;
      try {
        body_(part);
      } catch (...) {
        error = std::current_exception();
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      if (error) error_ = error;
      if (++finished_ == parts_) all_finished_.notify_one();
    }
  }

  // Throws what a part has thrown.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_finished_.wait(lock, [&] { return finished_ == parts_; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const int parts_;
  const std::function<void(int)> body_;
  std::atomic<int> next_{0};
  int finished_ = 0;
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable all_finished_;
};

// Calls body(part) for each part. `Pool` has num_threads() and Schedule(task).
template <class Pool>
void parallel_for(Pool& pool, int parts, std::function<void(int)> body) {
  const int helpers = std::min<int64_t>(pool.num_threads(), parts) - 1;
  if (helpers < 1) {
    for (int part = 0; part < parts; ++part) body(part);
    return;
  }
  const auto loop = std::make_shared<Loop>(parts, std::move(body));
  try {
    for (int helper = 0; helper < helpers; ++helper) pool.Schedule([loop] { loop->work(); });
  } catch (const std::bad_alloc&) {  // fewer helpers; those there are use what the caller must keep alive
  }
  loop->work();
  loop->wait();
}

}  // namespace tsl_jax
