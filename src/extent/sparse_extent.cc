#include "extent/sparse_extent.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

Error refused(const File& file, std::string_view why) {
  return Error::make(ErrorCode::kCorrupt,
                     fmt::format("{}: not opened for writing: {}", file.name(), why));
}

// Whether a writable open may go on after the scan.
Status judge_scan(const File& file, const SparseHeader& header, const TableScan& scan) {
  if (!scan.sound())
    return refused(file,
                   fmt::format("its grain tables are damaged: {}{}", scan.findings.front(),
                               scan.damaged > 1 ? fmt::format(" (and {} more)", scan.damaged - 1)
                                                : std::string()))
        .with_hint("vmdkctl check lists the damage; -r mounts what is sound");
  if (scan.unequal == 0)
    return {};
  if (scan.redundant_damaged != 0)
    return refused(file,
                   "its two copies of the grain tables differ, and the redundant one is damaged")
        .with_hint("-r mounts it by its primary tables");
  if (!header.unclean)
    return refused(file,
                   fmt::format("its two copies of the grain tables differ in {} entries although "
                               "it was closed cleanly",
                               scan.unequal))
        .with_hint(
            "vmdkctl check --repair=tables makes them equal; -r mounts it by its primary tables");
  return {};
}

// Gives claimed grains back, but for the first of them that keep() names: also when memory runs
// out.
class ClaimGuard {
 public:
  ClaimGuard(GrainTables& tables, const GrainClaim& claim) noexcept
      : tables_(tables), claim_(claim) {}

  ClaimGuard(const ClaimGuard&) = delete;
  ClaimGuard& operator=(const ClaimGuard&) = delete;

  ~ClaimGuard() { tables_.abandon(claim_.first + kept_, claim_.count - kept_); }

  void keep(std::uint64_t count) noexcept { kept_ = count; }

 private:
  GrainTables& tables_;
  const GrainClaim& claim_;
  std::uint64_t kept_ = 0;
};

GrainTables::Layout layout_of(const SparseHeader& header, GrainDirectory directory,
                              std::uint64_t size) {
  return {.directory = std::move(directory),
          .grain_count = ceil_div(size, header.grain_bytes()),
          .grain_bytes = header.grain_bytes(),
          .data_begin = header.overhead.count() * kSectorSize,
          .zeroed_grains = header.has_zeroed_grains()};
}

}  // namespace

class SparseExtent::Commit : public ExtentCommit {
 public:
  // The freed list is taken before the dirty sectors: a grain gets on it after its entry was marked
  // dirty, so the removal of every grain taken here is in this snapshot.
  explicit Commit(SparseExtent& extent)
      : extent_(extent),
        freed_(extent.allocator_.take_freed()),
        snapshot_(extent.tables_.take_snapshot()) {}

  ~Commit() override {
    if (!finished_)
      finish(false);
  }

  Status prepare() override {
    return snapshot_.highest_end == 0 ? Status{} : extent_.grow_to(snapshot_.highest_end);
  }

  bool has_tables() const noexcept override { return !snapshot_.empty(); }

  Status write_tables() override { return extent_.tables_.write_copies(snapshot_, extent_.file_); }

  void finish(bool succeeded) override {
    finished_ = true;
    extent_.tables_.finish_commit(snapshot_, succeeded);
    if (!succeeded) {
      extent_.allocator_.freed(freed_);  // again: the next commit takes them
      return;
    }
    punch_freed();
    extent_.allocator_.release(freed_);
  }

 private:
  // Gives the space back to the host. What cannot be punched is still reused later. Nothing depends
  // on it being durable, so the file does not count as unsynced for it.
  void punch_freed() {
    const std::uint64_t grain = extent_.header_.grain_bytes();
    std::sort(freed_.begin(), freed_.end());
    for (std::size_t i = 0; i < freed_.size();) {
      const std::uint64_t begin = freed_[i] * kSectorSize;
      std::uint64_t end = begin + grain;
      while (++i < freed_.size() && freed_[i] * kSectorSize == end)
        end += grain;
      if (!extent_.file_.file().punch_hole(FileOffset(begin), end - begin))
        return;
    }
  }

  SparseExtent& extent_;
  std::vector<std::uint32_t> freed_;
  TableSnapshot snapshot_;
  bool finished_ = false;
};

Result<std::unique_ptr<SparseExtent>> SparseExtent::open(OpenFile& file, const SparseHeader& header,
                                                         const Options& options,
                                                         TableCache& cache) {
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  if (auto valid = validate_against_file(header, file_size); !valid)
    return std::move(valid).error().with_context(file.name());
  if (!cache.admit_tables(header.table_count()))
    return Error::make(
        ErrorCode::kUnsupported,
        fmt::format("{}: the chain has more than 4194304 grain tables", file.name()));
  ASSIGN_OR_RETURN(GrainDirectory directory, read_grain_directory(file.file(), header, file_size));
  if (!options.writable)
    return std::unique_ptr<SparseExtent>(
        new SparseExtent(file, header, options, std::move(directory), nullptr, file_size, cache));
  if (directory.has_missing_tables())
    return Error::make(
               ErrorCode::kUnsupported,
               fmt::format("{}: not opened for writing: some of its grain tables are missing",
                           file.name()))
        .with_hint("-r mounts it read-only");
  ASSIGN_OR_RETURN(const TableScan scan,
                   scan_tables(file.file(), header, directory, options.size, {}));
  RETURN_IF_ERROR(judge_scan(file.file(), header, scan));
  return std::unique_ptr<SparseExtent>(
      new SparseExtent(file, header, options, std::move(directory), &scan, file_size, cache));
}

SparseExtent::SparseExtent(OpenFile& file, const SparseHeader& header, const Options& options,
                           GrainDirectory directory, const TableScan* scan, std::uint64_t file_size,
                           TableCache& cache)
    : file_(file),
      header_(header),
      options_(options),
      size_at_open_(file_size),
      tables_(file.file(), layout_of(header, std::move(directory), options.size), cache),
      allocator_({.grain_bytes = header.grain_bytes(),
                  .grain_count = tables_.grain_count(),
                  .file_size = file_size,
                  .used_end = scan != nullptr ? scan->highest_end : 0,
                  .batch = options.batch_grains},
                 cache.epochs()) {
  if (scan == nullptr)
    return;
  for (const std::uint64_t table : scan->empty_tables)
    tables_.note_empty(table);
  for (const UnusedRange& range : scan->unused)
    allocator_.add_unused(FileOffset(range.begin), range.length / header.grain_bytes());
  unequal_tables_ = scan->unequal_tables;
}

Result<Run> SparseExtent::lookup(ExtentOffset at, std::uint64_t max_length) {
  const std::uint64_t grain_bytes = header_.grain_bytes();
  const std::uint64_t grain = at.bytes() / grain_bytes;
  const std::uint64_t inside = at.bytes() % grain_bytes;
  const std::uint64_t wanted = std::min(max_length, options_.size - at.bytes());
  ASSIGN_OR_RETURN(const GrainRun found,
                   tables_.scan(grain, ceil_div(inside + wanted, grain_bytes)));
  Run run;
  run.length = std::min(wanted, found.count * grain_bytes - inside);
  switch (found.state) {
    case GrainState::kData:
      run.kind = RunKind::kData;
      run.where = FileOffset(found.sector * kSectorSize + inside);
      break;
    case GrainState::kZero:
      run.kind = RunKind::kZero;
      break;
    case GrainState::kBad:
      run.kind = RunKind::kUnreadable;
      break;
    default:
      run.kind = RunKind::kHole;
  }
  return run;
}

Status SparseExtent::read(FileOffset where, std::span<std::byte> into) const {
  ASSIGN_OR_RETURN(const std::size_t got, file_.file().read(where, into));
  if (got == into.size())
    return {};
  // Behind the end that the file had at open there are only our own grains: fresh space, of which
  // just the user's bytes were written, and which the next commit makes the file long enough for.
  const std::uint64_t end = where.bytes() + into.size();
  if (!options_.writable || where.bytes() + got < size_at_open_ || end > allocator_.next())
    return Error::make(ErrorCode::kIo,
                       fmt::format("{}: the file ends at byte {}, in the middle of a "
                                   "grain; it has been cut",
                                   file_.name(), where.bytes() + got));
  std::memset(into.data() + got, 0, into.size() - got);
  return {};
}

Status SparseExtent::overwrite(FileOffset where, std::span<const std::byte> from) {
  const iovec part = part_of(from);
  return file_.write(where, {&part, 1});
}

Result<AllocationAttempt> SparseExtent::allocate(ExtentOffset at, std::uint64_t length) {
  const std::uint64_t grain_bytes = header_.grain_bytes();
  const std::uint64_t end = at.bytes() + length;
  const std::uint64_t first = at.bytes() / grain_bytes;
  ASSIGN_OR_RETURN(GrainClaim claim, tables_.claim(first, ceil_div(end, grain_bytes) - first));
  if (claim.count == 0)
    return AllocationAttempt{std::nullopt, claim.busy};
  const bool partial =
      at.bytes() % grain_bytes != 0 || (end % grain_bytes != 0 && end != options_.size);
  ClaimGuard guard(tables_, claim);
  auto space = allocator_.reserve(first, claim.count, partial);
  if (!space)
    return std::move(space).error().with_context(file_.name());
  // What did not find a place beside the first grains is free again.
  guard.keep(space->count);
  return AllocationAttempt{Allocation(tables_, allocator_, file_, claim, *space), false};
}

Status SparseExtent::wait_until_settled(ExtentOffset at) {
  return tables_.wait_until_settled(at.bytes() / header_.grain_bytes());
}

Status SparseExtent::clear(ExtentOffset at, std::uint64_t length, ClearTo target) {
  const std::uint64_t grain_bytes = header_.grain_bytes();
  std::vector<std::uint32_t> freed;
  const Status status =
      tables_.clear(at.bytes() / grain_bytes, ceil_div(length, grain_bytes),
                    target == ClearTo::kZero ? GrainEntry::zero() : GrainEntry::none(), freed);
  // Also after an error: what was cleared before it is cleared.
  allocator_.freed(freed);
  return status;
}

// Finishes a commit that was cut short: the primary tables are what readers saw all along, so the
// redundant ones become equal to them.
Status SparseExtent::heal() {
  if (!header_.unclean || marked_)
    return {};
  for (const std::uint64_t table : unequal_tables_)
    RETURN_IF_ERROR(copy_primary_table(file_, tables_.layout().directory, table));
  unequal_tables_.clear();
  marked_ = true;
  return {};
}

Status SparseExtent::write_mark(bool unclean) {
  const std::array<std::byte, 1> mark{static_cast<std::byte>(unclean ? 1 : 0)};
  const iovec part = part_of(mark);
  return file_.write(FileOffset(kUncleanMarkOffset), {&part, 1});
}

Status SparseExtent::mark_unclean() {
  if (marked_)
    return {};
  if (!header_.unclean)
    RETURN_IF_ERROR(write_mark(true));
  marked_ = true;
  return {};
}

// Only the end behind the last grain in use goes: reservations that were not needed, space given
// back after failed writes, the leavings of an earlier crash.
Status SparseExtent::trim() {
  if (!marked_)
    return {};
  ASSIGN_OR_RETURN(const std::uint64_t size, file_.file().size());
  const std::uint64_t end = allocator_.settle_end();
  return size > end ? file_.resize(end) : Status{};
}

Status SparseExtent::clear_mark() {
  if (!marked_)
    return {};
  RETURN_IF_ERROR(write_mark(false));
  marked_ = false;
  return {};
}

Status SparseExtent::grow_to(std::uint64_t end) {
  ASSIGN_OR_RETURN(const std::uint64_t size, file_.file().size());
  if (size >= end)
    return {};
  Status grown = file_.grow(end);
  if (grown || grown.error().errno_value() != EOPNOTSUPP)
    return grown;
  return allocator_.extend_file(file_);
}

std::unique_ptr<ExtentCommit> SparseExtent::begin_commit() {
  return std::make_unique<Commit>(*this);
}

}  // namespace vmdk
