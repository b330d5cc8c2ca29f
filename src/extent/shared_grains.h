// Which grains of a damaged extent more than one entry names.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <vmdk/units.h>

#include "extent/grain_entry.h"
#include "extent/grain_slots.h"

namespace vmdk {

// Used by one thread while it searches; afterwards by any.
class SharedGrains {
 public:
  // `origin`: the sector from which slots are counted; no grain lies before it.
  SharedGrains(std::uint64_t origin, std::uint64_t grain_bytes) noexcept
      : origin_(origin), grain_sectors_(grain_bytes / kSectorSize) {}

  // A search: start(), each entry that there is, finish(). What an earlier one found is forgotten.
  void start();
  void add(GrainEntry entry);
  void finish();
  // Gives back what only a search needs.
  void end() noexcept;

  // Whether the last search found another entry that names the same grain, or a part of it.
  bool has(GrainEntry entry) const noexcept;

  bool empty() const noexcept { return shared_.empty(); }

  // Whether any entry of the last search names a part of the grain at `sector`. Requires: finish()
  // was called, and end() was not.
  bool is_taken(std::uint64_t sector) const { return slots_->touched(sector); }

  // Bytes, about: now, with what a list takes while it grows, and after end().
  std::uint64_t memory() const noexcept;

  std::uint64_t kept_memory() const noexcept { return shared_.size() * sizeof(shared_[0]); }

 private:
  std::uint64_t slot_of(std::uint64_t sector) const noexcept {
    return (sector - origin_) / grain_sectors_;
  }

  void share(std::uint64_t slot);

  const std::uint64_t origin_;
  const std::uint64_t grain_sectors_;
  std::vector<std::uint64_t> shared_;  // slots; ascending after finish()
  // While a search is on.
  std::unique_ptr<GrainSlots> slots_;
  SparseBits known_;  // the slots in shared_
};

}  // namespace vmdk
