#include "extent/inflated_cache.h"

#include <functional>
#include <utility>

#include "base/wait_watch.h"

namespace vmdk {

InflatedCache::Bytes InflatedCache::Work::wait() {
  WaitWatch::about_to_wait();
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return done_; });
  return bytes_;
}

void InflatedCache::Work::finish(Bytes bytes) {
  {
    const std::lock_guard lock(mutex_);
    bytes_ = std::move(bytes);
    done_ = true;
  }
  ended_.notify_all();
}

std::size_t InflatedCache::Hash::operator()(const Key& key) const noexcept {
  constexpr std::uint64_t kSpread = 0x9E3779B97F4A7C15;  // neighbours get buckets far apart
  return std::hash<const void*>{}(key.extent) ^ static_cast<std::size_t>(key.grain * kSpread);
}

InflatedCache::Look InflatedCache::look(const Key& key) {
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = entries_.try_emplace(key);
  Entry& entry = at->second;
  if (fresh)
    return {};
  if (entry.bytes == nullptr) {
    // Most grains are waited for by nobody: the first who does makes what to wait for.
    if (entry.work == nullptr)
      entry.work = std::make_shared<Work>();
    return {nullptr, entry.work};
  }
  ages_.splice(ages_.begin(), ages_, entry.age);
  return {entry.bytes, nullptr};
}

bool InflatedCache::try_claim(const Key& key) {
  const std::lock_guard lock(mutex_);
  return entries_.try_emplace(key).second;
}

void InflatedCache::publish(const Key& key, Bytes bytes, std::uint64_t size) {
  std::list<Bytes> gone;  // freed behind the lock
  std::shared_ptr<Work> work;
  {
    const std::lock_guard lock(mutex_);
    make_room(size, gone);
    ages_.push_front(key);
    // Nothing fails from here on: until here the claim is as it was.
    Entry& entry = entries_.find(key)->second;
    entry.bytes = bytes;
    entry.size = size;
    entry.age = ages_.begin();
    work = std::exchange(entry.work, nullptr);
    bytes_ += size;
  }
  if (work != nullptr)
    work->finish(std::move(bytes));
}

// Takes out the oldest until there is room. Requests that copy from them keep theirs.
void InflatedCache::make_room(std::uint64_t size, std::list<Bytes>& gone) {
  while (bytes_ + size > budget_ && !ages_.empty()) {
    const auto oldest = entries_.find(ages_.back());
    gone.push_back(std::move(oldest->second.bytes));
    bytes_ -= oldest->second.size;
    entries_.erase(oldest);
    ages_.pop_back();
  }
}

void InflatedCache::abandon(const Key& key) noexcept {
  std::shared_ptr<Work> work;
  {
    const std::lock_guard lock(mutex_);
    const auto at = entries_.find(key);
    work = std::move(at->second.work);
    entries_.erase(at);
  }
  if (work != nullptr)
    work->finish(nullptr);
}

void InflatedCache::forget(const void* extent) noexcept {
  const std::lock_guard lock(mutex_);
  for (auto age = ages_.begin(); age != ages_.end();) {
    if (age->extent != extent) {
      ++age;
      continue;
    }
    const auto entry = entries_.find(*age);
    bytes_ -= entry->second.size;
    entries_.erase(entry);
    age = ages_.erase(age);
  }
}

std::uint64_t InflatedCache::bytes_in_memory() const noexcept {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace vmdk
