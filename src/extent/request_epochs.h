// Grace periods: what a running request may still see is not reused before that request has ended.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace vmdk {

// A request enters an epoch before its first lookup and leaves after its last I/O. Something that
// was unlinked (a grain table taken out of memory, a grain freed by a discard) gets the tag now()
// and may be reused once passed(tag): by then every request that could have seen it has left.
//
// At most two epochs are alive, the present one and the one before; each has a count of the
// requests inside, spread over several cache lines. All operations are sequentially consistent and
// there are no fences, so that the thread sanitizer can follow. Any thread, no locks.
class RequestEpochs {
 public:
  // Being inside. Movable, ends with its destruction.
  class Guard {
   public:
    Guard(Guard&& other) noexcept : count_(other.count_) { other.count_ = nullptr; }

    Guard& operator=(Guard&&) = delete;
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    ~Guard() { leave(); }

    void leave() noexcept {
      if (count_ != nullptr)
        count_->fetch_sub(1);
      count_ = nullptr;
    }

   private:
    friend class RequestEpochs;

    explicit Guard(std::atomic<std::uint64_t>* count) noexcept : count_(count) {}

    std::atomic<std::uint64_t>* count_;
  };

  [[nodiscard]] Guard enter() noexcept {
    for (;;) {
      const std::uint64_t epoch = epoch_.load();
      auto& count = counts_[epoch & 1U][shard()].inside;
      count.fetch_add(1);
      // An epoch that has moved on no longer counts its newcomers: try the new one.
      if (epoch_.load() == epoch)
        return Guard(&count);
      count.fetch_sub(1);
    }
  }

  std::uint64_t now() const noexcept { return epoch_.load(); }

  // Whether all requests that had entered when `tag` was now() have left. Moves the epoch on when
  // the older of the two is empty.
  bool passed(std::uint64_t tag) noexcept {
    for (std::uint64_t epoch = epoch_.load(); epoch < tag + 2; ++epoch) {
      for (const auto& shard : counts_[(epoch + 1) & 1U])
        if (shard.inside.load() != 0)
          return false;
      std::uint64_t expected = epoch;
      epoch_.compare_exchange_strong(expected, epoch + 1);
    }
    return true;
  }

 private:
  static constexpr std::size_t kShards = 8;

  struct alignas(64) Shard {
    std::atomic<std::uint64_t> inside{0};
  };

  static std::size_t shard() noexcept {
    static std::atomic<std::size_t> next{0};
    thread_local const std::size_t mine = next.fetch_add(1) % kShards;
    return mine;
  }

  std::atomic<std::uint64_t> epoch_{0};
  std::array<std::array<Shard, kShards>, 2> counts_;
};

}  // namespace vmdk
