// Makes chosen calls below the seam fail.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "support/intercepting_file_system.h"

namespace vmdk::test {

// Which call fails and how.
struct FaultRule {
  // The calls that the rule counts; empty: all kinds.
  std::vector<OpKind> kinds = {};
  // Empty: all files and places. Called under a lock.
  std::function<bool(const FileOperation&)> matches = {};
  // The call that fails, from 1; 0: none, the rule only counts.
  std::uint64_t nth = 1;
  // Whether every matching call after the n-th fails as well.
  bool for_ever = false;
  int err = EIO;
  // Torn write: so many bytes of a failing write are written all the same.
  std::uint64_t prefix = 0;
};

inline constexpr std::uint64_t kWholeWrite = std::numeric_limits<std::uint64_t>::max();

// For FaultRule::matches.
std::function<bool(const FileOperation&)> on_file(const std::filesystem::path& path);

// A driver first runs its scenario with a rule of nth 0 and asks matched(), then again for each n
// from 1 to that number. Thread-safe.
class FaultyFileSystem : public InterceptingFileSystem {
 public:
  using InterceptingFileSystem::InterceptingFileSystem;

  // Starts counting at once; the first rule that strikes decides. Returns the rule's number.
  std::size_t add(FaultRule rule);
  // Forgets all rules and counts.
  void clear();

  // Calls that the rule matched, failed or not, and calls that it made fail.
  std::uint64_t matched(std::size_t rule = 0) const;
  std::uint64_t failed(std::size_t rule = 0) const;
  // All calls that failed so far, whichever rule did it.
  std::vector<FileOperation> struck() const;

 protected:
  std::optional<Fault> intercept(const FileOperation& operation) override;

 private:
  struct Armed {
    FaultRule rule;
    std::uint64_t matched = 0;
    std::uint64_t failed = 0;
  };

  mutable std::mutex mutex_;
  std::vector<Armed> rules_;           // guarded by mutex_
  std::vector<FileOperation> struck_;  // guarded by mutex_
};

}  // namespace vmdk::test
