#include "fuse/listeners.h"

#include <algorithm>

namespace vmdkfuse {

bool Listeners::try_enter() noexcept {
  unsigned now = listening_.load();
  while (now < most_) {
    if (listening_.compare_exchange_weak(now, now + 1))
      return true;
  }
  return false;
}

bool Listeners::enter() {
  if (try_enter())
    return true;
  std::unique_lock lock(mutex_);
  // Again: who left since then may have looked for a parked thread already. Who leaves from here on
  // will find this one.
  if (ended_ || try_enter())
    return !ended_;
  Parked here;
  parked_.push_back(&here);
  here.called.wait(lock, [&] { return here.listens || ended_; });
  if (here.listens)
    return true;
  std::erase(parked_, &here);
  return false;
}

bool Listeners::needs_listener() {
  if (listening_.load() != 0)
    return false;
  const std::lock_guard lock(mutex_);
  if (ended_ || listening_.load() != 0)
    return false;
  listening_.fetch_add(1);
  if (parked_.empty())
    return true;
  Parked& next = *parked_.back();
  parked_.pop_back();
  next.listens = true;
  next.called.notify_one();
  return false;
}

void Listeners::end() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  for (Parked* each : parked_)
    each->called.notify_one();
}

}  // namespace vmdkfuse
