#include "extent/allocation.h"

#include <utility>

#include "base/seeded_fault.h"

namespace vmdk {

Allocation::Allocation(GrainTables& tables, GrainAllocator& allocator, OpenFile& file,
                       const GrainClaim& claim, const GrainSpace& space) noexcept
    : tables_(&tables),
      allocator_(&allocator),
      file_(&file),
      first_(claim.first),
      space_(space),
      first_was_none_(claim.first_was_none),
      last_was_none_(claim.last_was_none) {}

Allocation::Allocation(Allocation&& other) noexcept
    : tables_(std::exchange(other.tables_, nullptr)),
      allocator_(other.allocator_),
      file_(other.file_),
      first_(other.first_),
      space_(other.space_),
      first_was_none_(other.first_was_none_),
      last_was_none_(other.last_was_none_),
      touched_(other.touched_) {}

Allocation::~Allocation() {
  if (tables_ == nullptr)
    return;
  if (touched_ && !seeded(SeededFault::kFailedSpaceCalledFresh))
    allocator_->give_back(space_);
  else
    allocator_->unreserve(space_);
  tables_->abandon(first_, space_.count);
}

Status Allocation::fill(std::uint64_t skip, std::span<const iovec> parts) {
  touched_ = true;
  if (seeded(SeededFault::kPublishedBeforeFilled))
    tables_->publish(first_, space_.count, space_.where.bytes() / kSectorSize);
  return file_->write(space_.where + skip, parts);
}

void Allocation::publish() && {
  allocator_->note_used(space_.where.bytes() + length());
  tables_->publish(first_, space_.count, space_.where.bytes() / kSectorSize);
  tables_ = nullptr;
}

}  // namespace vmdk
