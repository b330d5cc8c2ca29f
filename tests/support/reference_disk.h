// What the flat disk must show: a model to compare with, and the values that a crash may leave.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/sparse_bytes.h"

namespace vmdk::test {

// A plain range of bytes, sparse: zeros at first. Offsets and lengths in bytes, inside the
// capacity. Not thread-safe. Copies are cheap.
class ReferenceDisk {
 public:
  explicit ReferenceDisk(std::uint64_t capacity) : capacity_(capacity) { bytes_.resize(capacity); }

  std::uint64_t capacity() const noexcept { return capacity_; }

  std::vector<std::byte> read(std::uint64_t at, std::size_t length) const;

  void read_into(std::uint64_t at, std::span<std::byte> into) const { bytes_.read(at, into); }

  void write(std::uint64_t at, std::span<const std::byte> bytes) { bytes_.write(at, bytes); }

  void zero(std::uint64_t at, std::uint64_t length) { bytes_.punch(at, length); }

  // Whether the range shows nothing but zeros. Takes no time for what was never written.
  bool is_zero(std::uint64_t at, std::uint64_t length) const;

  // What `actual`, read from `at`, has wrong: the first byte and how many differ. nullopt: nothing.
  // EXPECT_EQ(model.difference(at, actual), std::nullopt);
  std::optional<std::string> difference(std::uint64_t at, std::span<const std::byte> actual) const;

 private:
  std::uint64_t capacity_;
  SparseBytes bytes_;
};

// The values each 512-byte sector may have after a crash: the one at the last flush before it, or
// one written since. Record every request with the crash point (CrashFileSystem::point_now()) taken
// right before it, every successful flush with the one right after it. Ranges need not be aligned.
// For workloads that have one request at a time; not thread-safe.
class SectorHistory {
 public:
  // All of `start` is durable.
  explicit SectorHistory(const ReferenceDisk& start) : start_(start), now_(start) {}

  void write(std::size_t point, std::uint64_t at, std::span<const std::byte> bytes);
  void zero(std::size_t point, std::uint64_t at, std::uint64_t length);
  // A write that failed: its sectors may be old or new, also after the next flush.
  void failed_write(std::size_t point, std::uint64_t at, std::span<const std::byte> bytes);
  void flushed(std::size_t point);

  // What the disk shows when nothing crashed and nothing failed.
  const ReferenceDisk& now() const noexcept { return now_; }

  // The values that `sector` may have after a crash at `point`, oldest first.
  std::vector<std::vector<std::byte>> legal(std::size_t point, std::uint64_t sector) const;

  using Read = std::function<std::vector<std::byte>(std::uint64_t at, std::size_t length)>;
  // Compares the whole disk after a crash at `point`; nullopt: every sector is legal.
  // EXPECT_EQ(history.check(state.point, read), std::nullopt);
  std::optional<std::string> check(std::size_t point, const Read& read) const;
  // The same for the sectors alone that were ever written.
  std::optional<std::string> check_written(std::size_t point, const Read& read) const;

 private:
  struct Event {
    std::size_t point = 0;
    std::size_t order = 0;  // among all requests and flushes
    bool certain = true;    // false: failed
    std::vector<std::byte> value;
  };

  using Written = std::pair<const std::uint64_t, std::vector<Event>>;  // sector, oldest first

  // Order of the last flush that had ended at the point; 0: none.
  std::size_t last_flush(std::size_t point) const;
  bool is_legal(std::size_t point, std::size_t flush, const Written& written,
                std::span<const std::byte> actual) const;
  std::optional<std::string> check_sector(std::size_t point, std::size_t flush,
                                          const Written& written,
                                          std::span<const std::byte> actual) const;
  void record(std::size_t point, std::uint64_t at, std::uint64_t length, bool certain,
              const ReferenceDisk& after);

  const ReferenceDisk start_;
  ReferenceDisk now_;
  std::size_t order_ = 0;
  std::map<std::uint64_t, std::vector<Event>> sectors_;
  std::vector<std::pair<std::size_t, std::size_t>> flushes_;  // point, order
};

}  // namespace vmdk::test
