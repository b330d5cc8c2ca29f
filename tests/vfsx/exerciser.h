// Does a sequence of operations to a disk and compares all that it shows with a model.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "support/reference_disk.h"
#include "vfsx/operation.h"
#include "vfsx/subject.h"

namespace vmdk::test {

// What an exerciser knows of its subject.
struct DiskFacts {
  ReferenceDisk content{0};  // what it shows, all of it durable
  bool can_punch = true;     // else: EOPNOTSUPP, and nothing changes
};

// One thread.
class Exerciser {
 public:
  // The subject must outlive it.
  Exerciser(Subject& subject, const DiskFacts& facts);

  // What was wrong, or nullopt. After something wrong nothing may follow. A range that lies outside
  // of the disk is cut.
  std::optional<std::string> step(const Operation& operation);
  // Mounts it once more, compares the whole disk, and ends it.
  std::optional<std::string> finish();

 private:
  std::optional<std::string> read(const Operation& operation);
  std::optional<std::string> write(const Operation& operation);
  std::optional<std::string> clear(const Operation& operation);
  std::optional<std::string> seek(std::uint64_t at);
  std::optional<std::string> sync(bool data_only);
  std::optional<std::string> remount(std::uint64_t tag);
  std::optional<std::string> kill(std::uint64_t tag);
  std::optional<std::string> judge(std::size_t point);
  std::optional<std::string> compare(std::uint64_t at, std::uint64_t length, bool mapped);
  std::optional<std::string> compare_all();
  void begin_anew(const ReferenceDisk& durable);

  const ReferenceDisk& now() const noexcept { return history_->now(); }

  Subject& subject_;
  const bool can_punch_;
  const std::uint64_t capacity_;
  std::optional<SectorHistory> history_;  // since the last beginning
  // Where the last but one and the last flush ended: what the history can still judge, and a crash
  // may well hit the inside of the last one.
  std::size_t earliest_ = 0;
  std::size_t last_flush_ = 0;
  std::vector<std::byte> buffer_;
};

struct Failure {
  std::size_t index = 0;  // of the operation; their number when it was the end
  std::string text;
};

// All of them and the end. `progress`, if any, is the number of the operation that runs.
std::optional<Failure> exercise(Subject& subject, const DiskFacts& facts,
                                std::span<const Operation> operations,
                                std::atomic<std::size_t>* progress = nullptr);

}  // namespace vmdk::test
