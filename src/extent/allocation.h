// A claim on whole grains and the space for them: filled once, then published.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/grain_allocator.h"
#include "extent/grain_tables.h"
#include "extent/open_file.h"

namespace vmdk {

// Move-only, used by one thread. Dropped unpublished, the claim ends, the entries are again what
// they were, and the space goes back.
class Allocation {
 public:
  Allocation(GrainTables& tables, GrainAllocator& allocator, OpenFile& file,
             const GrainClaim& claim, const GrainSpace& space) noexcept;
  Allocation(Allocation&& other) noexcept;
  Allocation& operator=(Allocation&&) = delete;
  Allocation(const Allocation&) = delete;
  Allocation& operator=(const Allocation&) = delete;
  ~Allocation();

  // Grain-aligned; the end may pass the end of the extent.
  ExtentOffset begin() const noexcept { return ExtentOffset(first_ * grain_bytes()); }

  std::uint64_t length() const noexcept { return space_.count * grain_bytes(); }

  std::uint64_t grain_bytes() const noexcept { return tables_->layout().grain_bytes; }

  // The space reads as zero where nothing is written.
  bool fresh() const noexcept { return space_.fresh; }

  // The first / last grain showed the parent before the claim, so what the user does not write of
  // it must be the parent's bytes; otherwise zeros.
  bool first_shows_parent() const noexcept { return first_was_none_; }

  bool last_shows_parent() const noexcept { return last_was_none_; }

  // Writes the parts one behind the other, from `skip` bytes behind begin(): one vectored write.
  Status fill(std::uint64_t skip, std::span<const iovec> parts);
  // Readers see the grains from now on. Requires: every byte was filled or is fresh and zero.
  void publish() &&;

 private:
  GrainTables* tables_;  // nullptr: published, or moved from
  GrainAllocator* allocator_;
  OpenFile* file_;
  std::uint64_t first_;
  GrainSpace space_;
  bool first_was_none_;
  bool last_was_none_;
  bool touched_ = false;  // something may have been written to the space
};

// `allocation` empty: the first grain is not free; `busy` says that another thread is filling it
// right now (else: look it up again).
struct AllocationAttempt {
  std::optional<Allocation> allocation;
  bool busy = false;
};

}  // namespace vmdk
