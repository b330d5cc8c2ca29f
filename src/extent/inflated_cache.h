// The inflated grains of all compressed extents of a disk: one budget, least recently used go
// first.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace vmdk {

// Any thread. A grain that is not here is claimed by the first who looks: that one inflates it,
// without a lock, and publishes or abandons it; whoever comes meanwhile waits for that. A thread
// waits only while it holds no claim itself, so there is no cycle of waits.
//
// The budget bounds the grains that are kept (one is kept always). Those being inflated come on
// top: at most what the running requests ask for.
class InflatedCache {
 public:
  using Bytes = std::shared_ptr<const std::byte[]>;

  struct Key {
    const void* extent = nullptr;
    std::uint64_t grain = 0;
    bool operator==(const Key&) const noexcept = default;
  };

  // A grain that somebody is inflating.
  class Work {
   public:
    // nullptr: it was abandoned; look again.
    Bytes wait();

   private:
    friend class InflatedCache;
    void finish(Bytes bytes);

    std::mutex mutex_;
    std::condition_variable ended_;
    bool done_ = false;  // guarded by mutex_
    Bytes bytes_;        // guarded by mutex_
  };

  struct Look {
    Bytes bytes;                 // here it is
    std::shared_ptr<Work> work;  // somebody is inflating it
    // Neither: the caller has claimed it.
  };

  explicit InflatedCache(std::uint64_t budget_bytes) noexcept : budget_(budget_bytes) {}

  InflatedCache(const InflatedCache&) = delete;
  InflatedCache& operator=(const InflatedCache&) = delete;

  Look look(const Key& key);
  // Claims a grain that is neither here nor in work; returns whether it did.
  bool try_claim(const Key& key);

  // How a claim ends.
  void publish(const Key& key, Bytes bytes, std::uint64_t size);
  void abandon(const Key& key) noexcept;

  // Drops what an extent has here. Requires: none of its grains is claimed.
  void forget(const void* extent) noexcept;

  std::uint64_t bytes_in_memory() const noexcept;

 private:
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };

  struct Entry {
    Bytes bytes;                 // null while it is in work
    std::shared_ptr<Work> work;  // null when it is here
    std::uint64_t size = 0;
    std::list<Key>::iterator age;  // meaningful when it is here
  };

  void make_room(std::uint64_t size, std::list<Bytes>& gone);

  const std::uint64_t budget_;
  mutable std::mutex mutex_;
  // Guarded by mutex_, which is never held over I/O, inflating or a wait.
  std::unordered_map<Key, Entry, Hash> entries_;
  std::list<Key> ages_;  // of the grains that are here; the latest use first
  std::uint64_t bytes_ = 0;
};

}  // namespace vmdk
