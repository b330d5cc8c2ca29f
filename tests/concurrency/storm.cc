#include "concurrency/storm.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <vmdk/units.h>

#include "base/bytes.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kLongest = 40;  // sectors of one request: ten grains of 4 KiB over two ends

class Storm {
 public:
  Storm(Disk& disk, const StormPlan& plan, std::vector<std::uint64_t>& versions)
      : disk_(disk), plan_(plan), versions_(versions) {}

  std::optional<std::string> run() {
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < plan_.writers; ++i)
      workers.emplace_back([this, i] { write(i); });
    for (unsigned i = 0; i < plan_.discarders; ++i)
      workers.emplace_back([this, i] { discard(i); });
    std::vector<std::thread> others;
    for (unsigned i = 0; i < plan_.readers; ++i)
      others.emplace_back([this, i] { read(i); });
    for (unsigned i = 0; i < plan_.flushers; ++i)
      others.emplace_back([this] { flush(); });
    for (std::thread& thread : workers)
      thread.join();
    done_.store(true);
    for (std::thread& thread : others)
      thread.join();
    return failure_;
  }

 private:
  struct Range {
    std::uint64_t first;  // sectors
    std::uint64_t count;
  };

  void fail(std::string why) {
    const std::lock_guard lock(mutex_);
    if (!failure_)
      failure_ = std::move(why);
    done_.store(true);
  }

  void require(const Status& status, const char* what) {
    if (!status)
      fail(fmt::format("{}: {}", what, status.error().to_text()));
  }

  // Half of them where everybody works.
  static Range pick(std::mt19937_64& random, std::uint64_t begin, std::uint64_t end,
                    std::uint64_t hot) {
    const std::uint64_t limit = random() % 2 == 0 ? std::min(end, begin + hot) : end;
    const std::uint64_t first = (begin + random() % (limit - begin)) / kSectorSize;
    return {first, std::min(1 + random() % kLongest, limit / kSectorSize - first)};
  }

  // Mostly: only requests for whole grains take space that discards have freed.
  static Range whole_grains(Range range) {
    constexpr std::uint64_t kSectorsOfGrain = 8;
    if (range.first % 4 == 0 || range.count < kSectorsOfGrain)
      return range;
    return {range.first / kSectorsOfGrain * kSectorsOfGrain,
            range.count / kSectorsOfGrain * kSectorsOfGrain};
  }

  void write(unsigned writer) {
    std::mt19937_64 random(plan_.seed * 1000 + writer);
    for (std::uint64_t i = 1; i <= plan_.operations && !done_.load(); ++i) {
      if (random() % 2 == 0 || plan_.kept == disk_.capacity())
        write_kept(pick(random, 0, plan_.kept, plan_.hot), writer, i);
      else
        write_shared(whole_grains(pick(random, plan_.kept, disk_.capacity(), plan_.hot)), i);
    }
  }

  // Only the writer's own sectors: the grains are shared with the other writers, the bytes are not.
  void write_kept(Range range, unsigned writer, std::uint64_t version) {
    for (std::uint64_t sector = range.first; sector < range.first + range.count; ++sector) {
      if (sector % plan_.writers != writer)
        continue;
      require(disk_.write(DiskOffset(sector * kSectorSize), marked(sector, 1, version)), "write");
      versions_[sector] = version;
    }
  }

  void write_shared(Range range, std::uint64_t version) {
    require(disk_.write(DiskOffset(range.first * kSectorSize),
                        marked(range.first, range.count, version)),
            "write");
  }

  void discard(unsigned number) {
    std::mt19937_64 random(plan_.seed * 2000 + number);
    for (std::uint64_t i = 0; i < plan_.operations && !done_.load(); ++i) {
      const Range range = pick(random, plan_.kept, disk_.capacity(), plan_.hot);
      const DiskOffset at(range.first * kSectorSize);
      const std::uint64_t length = range.count * kSectorSize;
      require(i % 4 == 0 ? disk_.zero(at, length) : disk_.discard(at, length), "discard");
    }
  }

  void read(unsigned number) {
    std::mt19937_64 random(plan_.seed * 3000 + number);
    std::array<std::byte, kLongest * kSectorSize> room;
    while (!done_.load()) {
      const Range range = pick(random, 0, disk_.capacity(), plan_.hot);
      const auto bytes = std::span(room).first(range.count * kSectorSize);
      const auto got = disk_.read(DiskOffset(range.first * kSectorSize), bytes);
      if (!got || *got != bytes.size())
        return fail(got ? "short read" : "read: " + got.error().to_text());
      if (auto foreign = foreign_sector(bytes, range.first * kSectorSize))
        return fail(*std::move(foreign));
    }
  }

  void flush() {
    while (!done_.load())
      require(disk_.flush(), "flush");
  }

  Disk& disk_;
  const StormPlan& plan_;
  std::vector<std::uint64_t>& versions_;  // each element belongs to one writer
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  std::optional<std::string> failure_;  // guarded by mutex_ while threads run
};

}  // namespace

void mark_sector(std::span<std::byte> sector, std::uint64_t number, std::uint64_t version) {
  for (std::size_t at = 0; at < sector.size(); at += 16) {
    std::memcpy(sector.data() + at, &number, 8);
    std::memcpy(sector.data() + at + 8, &version, 8);
  }
}

std::vector<std::byte> marked(std::uint64_t first_sector, std::size_t sectors,
                              std::uint64_t version) {
  std::vector<std::byte> bytes(sectors * kSectorSize);
  for (std::size_t i = 0; i < sectors; ++i)
    mark_sector(std::span(bytes).subspan(i * kSectorSize, kSectorSize), first_sector + i, version);
  return bytes;
}

std::optional<std::uint64_t> version_of(std::span<const std::byte> sector, std::uint64_t number) {
  const std::uint64_t version = load_le64(sector, 8);
  const std::uint64_t wanted = version == 0 ? 0 : number;
  for (std::size_t at = 0; at < sector.size(); at += 16)
    if (load_le64(sector, at) != wanted || load_le64(sector, at + 8) != version)
      return std::nullopt;
  return version;
}

std::optional<std::string> foreign_sector(std::span<const std::byte> bytes, std::uint64_t at) {
  for (std::size_t i = 0; i < bytes.size(); i += kSectorSize) {
    const std::uint64_t number = (at + i) / kSectorSize;
    const auto sector = bytes.subspan(i, kSectorSize);
    if (!version_of(sector, number))
      return fmt::format("sector {} shows sector {}, version {}", number, load_le64(sector, 0),
                         load_le64(sector, 8));
  }
  return std::nullopt;
}

std::optional<std::string> storm(Disk& disk, const StormPlan& plan,
                                 std::vector<std::uint64_t>& kept_versions) {
  kept_versions.resize(plan.kept / kSectorSize);
  return Storm(disk, plan, kept_versions).run();
}

}  // namespace vmdk::test
