// Has the disk begin with long runs of data while they are still coming, so that the sync at their
// end finds less to do. Advice to the system: no sync relies on it.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include <vmdk/io.h>

#include "extent/helper_threads.h"

namespace vmdk {

// Any thread. Sees one run at a time: of several writers that take turns, none gets ahead.
class WriteBehind {
 public:
  // Both must outlive this; no note() once `helpers` ends.
  WriteBehind(File& file, HelperThreads& helpers) noexcept : file_(file), helpers_(helpers) {}

  // The bytes [begin, end) of the file have been written.
  void note(std::uint64_t begin, std::uint64_t end) noexcept;

 private:
  struct Range {
    std::uint64_t begin = 0;  // bytes
    std::uint64_t end = 0;

    bool empty() const noexcept { return begin == end; }
  };

  // What has become due by it.
  Range extend(std::uint64_t begin, std::uint64_t end) noexcept;

  File& file_;
  HelperThreads& helpers_;
  std::mutex mutex_;
  // Guarded by mutex_: where a run has been written to and was not said to be due.
  std::optional<Range> run_;
};

}  // namespace vmdk
