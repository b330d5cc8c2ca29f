#include "faults/fault_run.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "crash/oracle.h"

namespace vmdk::test {

using Kind = DiskOperation::Kind;

FaultRun::FaultRun(SampleKind kind)
    : sample_(build_sample_disk(files_, kind)),
      initial_(files_.clone()),
      faults_(files_),
      history_(sample_.content),
      uncertain_(sample_.capacity() / kSectorSize) {}

Status FaultRun::open() {
  ASSIGN_OR_RETURN(disk_, Disk::open(faults_, sample_.image, quiet_options()));
  return {};
}

void FaultRun::note_failure(const DiskOperation& operation, std::span<const std::byte> bytes) {
  history_.failed_write(steps_, operation.at, bytes);
  for (std::uint64_t at = operation.at / kSectorSize;
       at * kSectorSize < operation.at + operation.length; ++at)
    uncertain_[at] = true;
}

Status FaultRun::step(const DiskOperation& operation) {
  const std::uint32_t number = ++steps_;
  if (operation.kind == Kind::kFlush) {
    RETURN_IF_ERROR(disk_->flush());
    history_.flushed(steps_);
    return {};
  }
  const bool is_write = operation.kind == Kind::kWrite;
  const auto bytes =
      is_write ? tagged('w', number, operation.length) : std::vector<std::byte>(operation.length);
  const DiskOffset at(operation.at);
  const Status status = is_write                           ? disk_->write(at, bytes)
                        : operation.kind == Kind::kDiscard ? disk_->discard(at, operation.length)
                                                           : disk_->zero(at, operation.length);
  if (!status) {
    note_failure(operation, bytes);
    return status;
  }
  history_.write(steps_, operation.at, bytes);
  // The whole sectors of the range are certain again.
  const std::uint64_t first = (operation.at + kSectorSize - 1) / kSectorSize;
  const std::uint64_t end = (operation.at + operation.length) / kSectorSize;
  for (std::uint64_t sector = first; sector < end; ++sector)
    uncertain_[sector] = false;
  return status;
}

Status FaultRun::close() {
  ++steps_;
  RETURN_IF_ERROR(disk_->close());
  history_.flushed(steps_);
  return {};
}

std::optional<std::string> FaultRun::wrong_content() {
  std::vector<std::byte> actual(sample_.capacity());
  if (const auto got = disk_->read(DiskOffset(), actual); !got)
    return "reading failed: " + got.error().to_text();
  for (std::uint64_t sector = 0; sector < uncertain_.size(); ++sector)
    if (uncertain_[sector])
      history_.now().read_into(sector * kSectorSize,
                               std::span(actual).subspan(sector * kSectorSize, kSectorSize));
  return history_.now().difference(0, actual);
}

std::optional<std::string> FaultRun::wrong_image() {
  disk_.reset();
  faults_.clear();
  return judge_state(files_, steps_ + std::size_t{1}, sample_, history_, *initial_);
}

std::vector<DiskOperation> fault_steps(const SampleDisk& sample) {
  constexpr std::uint64_t kGrain = kSampleGrain;
  const std::uint64_t border = sample.border;
  return {
      {"a part of a new grain", Kind::kWrite, 9 * kGrain + 512, 1024},
      {"many grains", Kind::kWrite, 3 * kGrain + 1024, 3 * kGrain},
      {"flush", Kind::kFlush},
      {"over the border", Kind::kWrite, border - kGrain - 512, 3 * kGrain},
      {"zero grains", Kind::kZero, kGrain, 3 * kGrain},
      {"flush again", Kind::kFlush},
      {"in place", Kind::kWrite, 4 * kGrain + 512, kGrain},
      {"whole grains where some were freed", Kind::kWrite, kGrain, 2 * kGrain},
      {"the end of the disk", Kind::kWrite, sample.capacity() - 2 * kGrain, 2 * kGrain},
      {"flush at last", Kind::kFlush},
  };
}

}  // namespace vmdk::test
