#include "extent/shared_grains.h"

#include <algorithm>

namespace vmdk {

void SharedGrains::start() {
  slots_ = std::make_unique<GrainSlots>(origin_, grain_sectors_);
  known_ = {};
  shared_.clear();
}

void SharedGrains::add(GrainEntry entry) {
  if (entry.state() == GrainState::kData && !slots_->insert(entry.sector()))
    share(slot_of(entry.sector()));
}

void SharedGrains::finish() {
  slots_->visit_overlapping([this](std::uint64_t sector) {
    share(slot_of(sector));
    share(slot_of(sector) + 1);
  });
  known_ = {};
  std::sort(shared_.begin(), shared_.end());
}

void SharedGrains::end() noexcept {
  slots_.reset();
  known_ = {};
}

void SharedGrains::share(std::uint64_t slot) {
  if (known_.get(slot))
    return;
  known_.set(slot);
  shared_.push_back(slot);
}

bool SharedGrains::has(GrainEntry entry) const noexcept {
  return entry.state() == GrainState::kData &&
         std::binary_search(shared_.begin(), shared_.end(), slot_of(entry.sector()));
}

std::uint64_t SharedGrains::memory() const noexcept {
  return 3 * kept_memory() + known_.memory() + (slots_ != nullptr ? slots_->memory() : 0);
}

}  // namespace vmdk
