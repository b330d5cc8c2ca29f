// What is asked of grain tables that no scan has seen: those of an extent that is only read, each
// when it is read.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "extent/grain_layout.h"
#include "extent/grain_table.h"

namespace vmdk {

// Any thread. A table is read by its primary copy. Where the redundant one differs although the
// extent was closed cleanly, the log hears of it, once an extent. What no copy can be right about
// reads as an error, never as a hole and never as another grain's bytes.
class TableDoubts {
 public:
  // `unclean`: the last session did not end, so that the copies may differ. `file` outlives this.
  TableDoubts(const File& file, bool unclean, LogSink log);

  // For a table that the primary directory does not name. nullptr: it holds nothing. When the
  // redundant directory names it, and no interrupted commit was about to add it, one of them is
  // damaged: the grains that the redundant table has read as errors.
  Result<GrainTable::Pointer> unnamed_table(const GrainLayout& layout, std::uint64_t index) const;

  // `primary`: the bytes of that table.
  void compare_copies(const GrainLayout& layout, std::uint64_t index,
                      std::span<const std::byte> primary) const;

  // Entries whose grains overlap: at most one of them is right, and nothing tells which.
  static void drop_overlaps(const GrainLayout& layout, std::uint64_t index, GrainTable& table);

 private:
  Status read_redundant(const GrainLayout& layout, std::uint64_t index,
                        std::span<std::byte> into) const;
  void tell(std::uint64_t index, std::string_view what) const;

  const File& file_;
  const bool unclean_;
  const LogSink log_;
  mutable std::atomic<bool> told_{false};
};

}  // namespace vmdk
