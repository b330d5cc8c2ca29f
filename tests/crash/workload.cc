#include "crash/workload.h"

#include <utility>

namespace vmdk::test {

using Kind = DiskOperation::Kind;

std::vector<DiskOperation> operations_for(const SampleDisk& sample) {
  constexpr std::uint64_t kGrain = kSampleGrain;
  const std::uint64_t border = sample.border;
  std::vector<DiskOperation> operations = {
      {"write a new grain", Kind::kWrite, 8 * kGrain, kGrain},
      {"write a part of a new grain", Kind::kWrite, 9 * kGrain + 700, 900},
      {"write over many grains", Kind::kWrite, 3 * kGrain + 1024, 3 * kGrain},
      {"write over the border", Kind::kWrite, border - kGrain - 512, 2 * kGrain + 1000},
      {"write behind the border", Kind::kWrite, border + 512, 1024},
      {"overwrite in place", Kind::kWrite, kGrain + 300, kGrain},
      {"write the end of the disk", Kind::kWrite, sample.capacity() - kGrain - 100, kGrain + 100},
      {"zero a part of a grain", Kind::kZero, 2 * kGrain + 512, 1024},
      {"zero grains", Kind::kZero, kGrain, 2 * kGrain},
      {"flush", Kind::kFlush},
  };
  if (sample.can_discard) {
    operations.push_back({"discard grains", Kind::kDiscard, 2 * kGrain, 8 * kGrain});
    operations.push_back(
        {"discard over the border", Kind::kDiscard, border - kGrain - 512, 5 * kGrain});
  }
  return operations;
}

OpenOptions quiet_options(Access access) {
  OpenOptions options;
  options.access = access;
  options.commit_interval = std::chrono::milliseconds::zero();
  return options;
}

OpenOptions write_options(const SampleDisk& sample) {
  OpenOptions options = quiet_options();
  options.force_tables = sample.lacks_tables;
  return options;
}

CrashRun::CrashRun(const MemoryFileSystem& initial, SampleDisk sample, const ReferenceDisk& start)
    : sample_(std::move(sample)), files_(initial), history_(start) {}

Status CrashRun::run(const std::vector<DiskOperation>& operations, const Decorate& decorate) {
  const auto between = decorate ? decorate(files_) : nullptr;
  FileSystem& file_system = between != nullptr ? *between : files_;
  ASSIGN_OR_RETURN(auto disk, Disk::open(file_system, sample_.image, write_options(sample_)));
  disk_ = disk.get();
  std::uint32_t number = 0;
  for (const DiskOperation& operation : operations)
    RETURN_IF_ERROR(apply(*disk, operation, ++number));
  files_.marker(kCloseMarker);
  RETURN_IF_ERROR(disk->close());
  files_.marker(kClosedMarker);
  history_.flushed(files_.point_now());
  return {};
}

Status CrashRun::meanwhile(const DiskOperation& operation) {
  if (operation.kind == Kind::kFlush)
    return disk_->flush();
  const bool writes = operation.kind == Kind::kWrite;
  const auto bytes = writes ? tagged('m', ++meanwhile_count_, operation.length)
                            : std::vector<std::byte>(operation.length);
  history_.failed_write(files_.point_now(), operation.at, bytes);
  meanwhile_.push_back({operation.at, bytes});
  const DiskOffset at(operation.at);
  if (writes)
    return disk_->write(at, bytes);
  return operation.kind == Kind::kDiscard ? disk_->discard(at, operation.length)
                                          : disk_->zero(at, operation.length);
}

Status CrashRun::apply(Disk& disk, const DiskOperation& operation, std::uint32_t number) {
  RETURN_IF_ERROR(do_apply(disk, operation, number));
  for (const Change& change : std::exchange(meanwhile_, {}))
    history_.write(files_.point_now(), change.at, change.bytes);
  return {};
}

Status CrashRun::do_apply(Disk& disk, const DiskOperation& operation, std::uint32_t number) {
  const DiskOffset at(operation.at);
  const std::size_t before = files_.point_now();
  switch (operation.kind) {
    case Kind::kWrite: {
      const auto bytes = tagged('w', number, operation.length);
      history_.write(before, operation.at, bytes);
      return disk.write(at, bytes);
    }
    case Kind::kDiscard:
      history_.zero(before, operation.at, operation.length);
      return disk.discard(at, operation.length);
    case Kind::kZero:
      history_.zero(before, operation.at, operation.length);
      return disk.zero(at, operation.length);
    case Kind::kFlush:
      break;
  }
  RETURN_IF_ERROR(disk.flush());
  files_.marker(kFlushMarker);
  history_.flushed(files_.point_now());
  return {};
}

}  // namespace vmdk::test
