#include "crash/workload.h"

#include <chrono>
#include <utility>

namespace vmdk::test {

using Kind = DiskOperation::Kind;

std::vector<DiskOperation> operations_for(const SampleDisk& sample) {
  constexpr std::uint64_t kGrain = kSampleGrain;
  const std::uint64_t border = sample.border;
  std::vector<DiskOperation> operations = {
      {"write a new grain", Kind::kWrite, 8 * kGrain, kGrain},
      {"write a part of a new grain", Kind::kWrite, 9 * kGrain + 700, 900},
      {"write the start of a new grain", Kind::kWrite, 10 * kGrain, 512},
      {"write the end of a new grain", Kind::kWrite, 12 * kGrain - 512, 512},
      {"write one byte", Kind::kWrite, 12 * kGrain + 1000, 1},
      {"write new grains side by side", Kind::kWrite, 13 * kGrain, 3 * kGrain},
      {"write over many grains", Kind::kWrite, 3 * kGrain + 1024, 3 * kGrain},
      {"write up to the border", Kind::kWrite, border - 2 * kGrain, 2 * kGrain},
      {"write over the border", Kind::kWrite, border - kGrain - 512, 2 * kGrain + 1000},
      {"write from the border on", Kind::kWrite, border, kGrain},
      {"write behind the border", Kind::kWrite, border + 512, 1024},
      {"overwrite in place", Kind::kWrite, kGrain + 300, kGrain},
      {"overwrite a sector in place", Kind::kWrite, 5 * kGrain + 512, 512},
      // A stated zero, a grain of the parent's, or nothing.
      {"write a part of a grain that is not there", Kind::kWrite, 4 * kGrain + 100, 300},
      {"write the end of the disk", Kind::kWrite, sample.capacity() - kGrain - 100, kGrain + 100},
      {"zero a part of a grain", Kind::kZero, 2 * kGrain + 512, 1024},
      {"zero grains", Kind::kZero, kGrain, 2 * kGrain},
      {"zero the start of the disk", Kind::kZero, 0, 3 * kGrain + 100},
      {"zero over the border", Kind::kZero, border - kGrain - 512, 3 * kGrain},
      {"flush", Kind::kFlush},
      {"commit", Kind::kCommit},
      {"close and open again", Kind::kReopen},
  };
  if (sample.can_discard) {
    operations.push_back({"discard grains", Kind::kDiscard, 2 * kGrain, 8 * kGrain});
    operations.push_back({"discard a part of a grain", Kind::kDiscard, 5 * kGrain + 512, 1024});
    operations.push_back(
        {"discard over the border", Kind::kDiscard, border - kGrain - 512, 5 * kGrain});
  }
  return operations;
}

std::string label_of(const std::vector<DiskOperation>& operations) {
  std::string label;
  for (const DiskOperation& operation : operations)
    label += (label.empty() ? "" : ", then ") + operation.label;
  return label;
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
  Status status = run_on(between != nullptr ? *between : files_, operations);
  disk_.reset();
  return status;
}

Status CrashRun::run_on(FileSystem& file_system, const std::vector<DiskOperation>& operations) {
  RETURN_IF_ERROR(open(file_system));
  std::uint32_t number = 0;
  for (const DiskOperation& operation : operations) {
    begins_.push_back(files_.point_now());
    RETURN_IF_ERROR(apply(file_system, operation, ++number));
  }
  return close();
}

Status CrashRun::open(FileSystem& file_system) {
  ASSIGN_OR_RETURN(disk_, Disk::open(file_system, sample_.image, write_options(sample_)));
  disk_->on_commit([this] {
    {
      const std::lock_guard lock(mutex_);
      ++commits_;
    }
    committed_.notify_all();
  });
  return {};
}

// By the committer's thread, and not beside what comes next: the rules of the order are about
// operations that follow each other.
Status CrashRun::commit_behind() {
  std::unique_lock lock(mutex_);
  const std::size_t before = commits_;
  lock.unlock();
  disk_->request_commit();
  lock.lock();
  // A change that changed nothing is not committed, and nobody tells.
  committed_.wait_for(lock, std::chrono::milliseconds(200), [&] { return commits_ != before; });
  lock.unlock();
  return disk_->flush();
}

Status CrashRun::close() {
  files_.marker(kCloseMarker);
  RETURN_IF_ERROR(disk_->close());
  disk_.reset();
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

Status CrashRun::apply(FileSystem& file_system, const DiskOperation& operation,
                       std::uint32_t number) {
  RETURN_IF_ERROR(do_apply(file_system, operation, number));
  for (const Change& change : std::exchange(meanwhile_, {}))
    history_.write(files_.point_now(), change.at, change.bytes);
  return {};
}

Status CrashRun::do_apply(FileSystem& file_system, const DiskOperation& operation,
                          std::uint32_t number) {
  switch (operation.kind) {
    case Kind::kFlush:
      changed_ = false;
      RETURN_IF_ERROR(disk_->flush());
      files_.marker(kFlushMarker);
      history_.flushed(files_.point_now());
      return {};
    case Kind::kCommit:
      return std::exchange(changed_, false) ? commit_behind() : disk_->flush();
    case Kind::kReopen:
      changed_ = false;
      RETURN_IF_ERROR(close());
      return open(file_system);
    default:
      return change(operation, number);
  }
}

Status CrashRun::change(const DiskOperation& operation, std::uint32_t number) {
  changed_ = true;
  const DiskOffset at(operation.at);
  const std::size_t before = files_.point_now();
  if (operation.kind == Kind::kWrite) {
    const auto bytes = tagged('w', number, operation.length);
    history_.write(before, operation.at, bytes);
    return disk_->write(at, bytes);
  }
  history_.zero(before, operation.at, operation.length);
  return operation.kind == Kind::kDiscard ? disk_->discard(at, operation.length)
                                          : disk_->zero(at, operation.length);
}

}  // namespace vmdk::test
