#include "extent/sparse_extent.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "base/hints.h"
#include "base/seeded_fault.h"
#include "extent/damaged_directory.h"
#include "extent/grain_runs.h"
#include "extent/salvaged_tables.h"
#include "extent/written_kinds.h"

namespace vmdk {
namespace {

// Of what can be mended, so that the hint is the caller's; else not_written().
Error refused(const File& file, ErrorCode code, std::string_view why) {
  return Error::make(code, fmt::format("{}: not opened for writing: {}", file.name(), why));
}

// Whether a writable open may go on after the scan. `copies`: there are two of each table.
Status judge_scan(const File& file, bool unclean, bool copies, const TableScan& scan) {
  if (!scan.sound())
    return refused(file, ErrorCode::kCorrupt,
                   fmt::format("its grain tables are damaged: {}{}", scan.findings.front(),
                               scan.damaged > 1 ? fmt::format(" (and {} more)", scan.damaged - 1)
                                                : std::string()))
        .with_hint(copies ? "vmdkctl check lists the damage, and vmdkctl check --repair mends it "
                            "where the other copy of a table is sound; -r mounts what is sound"
                          : "vmdkctl check lists the damage; -r mounts what is sound");
  if (scan.unequal == 0)
    return {};
  if (scan.redundant_damaged != 0)
    return refused(file, ErrorCode::kCorrupt,
                   "its two copies of the grain tables differ, and the redundant one is damaged")
        .with_hint(
            "vmdkctl check --repair makes it equal to the primary one; -r mounts it by its "
            "primary tables");
  if (!unclean)
    return refused(file, ErrorCode::kCorrupt,
                   fmt::format("its two copies of the grain tables differ in {} entries although "
                               "it was closed cleanly",
                               scan.unequal))
        .with_hint(
            "vmdkctl check --repair=tables makes them equal; -r mounts it by its primary tables");
  return {};
}

// Hands what a clear has freed to the allocator: also after an error, and when memory runs out on
// the way, what was cleared before it is cleared.
class FreedGuard {
 public:
  explicit FreedGuard(GrainAllocator& allocator) : allocator_(allocator), freed_(1) {}

  FreedGuard(const FreedGuard&) = delete;
  FreedGuard& operator=(const FreedGuard&) = delete;

  ~FreedGuard() {
    if (seeded(SeededFault::kFreedReusedBeforeCommit))
      allocator_.release(std::move(freed_));
    else
      allocator_.freed(std::move(freed_));
  }

  std::vector<std::uint32_t>& sectors() noexcept { return freed_.front().sectors; }

 private:
  GrainAllocator& allocator_;
  FreedList freed_;
};

// Tables that a hosted extent lacks can be added, but VMware's programs compute where tables are.
Status prepare_missing(const File& file, const SparseHeader& header,
                       const SparseExtent::Options& options, GrainDirectory& directory) {
  if (!options.add_tables)
    return refused(file, ErrorCode::kUnsupported, "some of its grain tables are missing")
        .with_hint(
            "-r mounts it read-only; --force=tables adds them where they are needed, in "
            "places where QEMU finds them and VMware does not look");
  const HalfNamed half_named = directory.half_named(header.overhead.count() * kSectorSize);
  if (half_named == HalfNamed::kOther || (half_named == HalfNamed::kByCommit && !header.unclean))
    return refused(file, ErrorCode::kUnsupported,
                   "some of its grain tables are named in one of its two directories only")
        .with_hint("-r mounts it by its primary tables");
  directory.drop_half_named();
  return {};
}

template <class Header>
Status judge_against_file(const File& file, const Header& header, std::uint64_t file_size) {
  Status valid = validate_against_file(header, file_size);
  if (!valid)
    return std::move(valid).error().with_context(file.name());
  return {};
}

}  // namespace

class SparseExtent::Commit : public ExtentCommit {
 public:
  explicit Commit(SparseExtent& extent) noexcept : extent_(extent) {}

  ~Commit() override {
    if (!finished_)
      finish(false);
  }

  // The freed list is taken before the dirty sectors: a grain gets on it after its entry was marked
  // dirty, so the removal of every grain taken here is in this snapshot.
  void begin() {
    freed_ = extent_.allocator_.take_freed();
    snapshot_ = extent_.tables_.take_snapshot();
  }

  // Nothing may be named that lies behind the free sector of the header: another writer would take
  // its place. Too high a free sector does no harm.
  Status prepare() override {
    if (seeded(SeededFault::kPunchedBeforeCommit))
      punch_freed();
    if (snapshot_.highest_end == 0)
      return {};
    if (!seeded(SeededFault::kNewTablesWithTheirNames))
      RETURN_IF_ERROR(extent_.tables_.write_new_tables(snapshot_, extent_.file_));
    RETURN_IF_ERROR(extent_.raise_free_sector(snapshot_.highest_end));
    return extent_.grow_to(snapshot_.highest_end);
  }

  bool has_tables() const noexcept override { return !snapshot_.empty(); }

  Status write_tables() override {
    if (seeded(SeededFault::kTablesFromLiveMemory))
      extent_.tables_.encode_anew(snapshot_);
    if (seeded(SeededFault::kNewTablesWithTheirNames))
      RETURN_IF_ERROR(extent_.tables_.write_new_tables(snapshot_, extent_.file_));
    return extent_.tables_.write_copies(snapshot_, extent_.file_);
  }

  bool has_redundant_names() const noexcept override {
    return extent_.tables_.has_redundant_names(snapshot_);
  }

  Status write_names() override { return extent_.tables_.write_names(snapshot_, extent_.file_); }

  void finish(bool succeeded) noexcept override {
    finished_ = true;
    extent_.tables_.finish_commit(snapshot_, succeeded);
    if (!succeeded) {
      extent_.allocator_.freed(std::move(freed_));  // again: the next commit takes them
      return;
    }
    if (seeded(SeededFault::kFreedListTakenTooLate))
      freed_ = extent_.allocator_.take_freed();
    try {
      punch_freed();
    } catch (const std::bad_alloc&) {
      // As what cannot be punched.
    }
    extent_.allocator_.release(std::move(freed_));
  }

 private:
  // Gives the space back to the host. What cannot be punched is still reused later. Nothing depends
  // on it being durable, so the file does not count as unsynced for it.
  void punch_freed() {
    if (freed_.empty())
      return;
    const std::uint64_t grain = extent_.grain_size();
    auto& all = freed_.front().sectors;
    for (auto other = std::next(freed_.begin()); other != freed_.end(); other = freed_.erase(other))
      all.insert(all.end(), other->sectors.begin(), other->sectors.end());
    std::sort(all.begin(), all.end());
    for (std::size_t i = 0; i < all.size();) {
      const std::uint64_t begin = all[i] * kSectorSize;
      std::uint64_t end = begin + grain;
      while (++i < all.size() && all[i] * kSectorSize == end)
        end += grain;
      if (!extent_.file_.file().punch_hole(FileOffset(begin), end - begin))
        return;
    }
  }

  SparseExtent& extent_;
  FreedList freed_;
  TableSnapshot snapshot_;
  bool finished_ = false;
};

Result<std::unique_ptr<SparseExtent>> SparseExtent::open(OpenFile& file, const SparseHeader& header,
                                                         const Options& options,
                                                         TableCache& cache) {
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  Kind kind;
  kind.facts = {.header_version = header.version,
                .zeroed_grains = header.has_zeroed_grains(),
                .unclean = header.unclean};
  if (options.salvage != nullptr)
    return open_salvaged(file, header, kind, options, file_size, cache);
  RETURN_IF_ERROR(judge_against_file(file.file(), header, file_size));
  RETURN_IF_ERROR(cache.require_room(file.name(), header.table_count()));
  ASSIGN_OR_RETURN(GrainDirectory directory, read_grain_directory(file.file(), header, file_size));
  if (options.writable && directory.has_missing_tables())
    RETURN_IF_ERROR(prepare_missing(file.file(), header, options, directory));
  return open_kind(file, kind, options, layout_of(header, std::move(directory), options.size),
                   file_size, cache);
}

Result<std::unique_ptr<SparseExtent>> SparseExtent::open(OpenFile& file, const CowdHeader& header,
                                                         const Options& options,
                                                         TableCache& cache) {
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  Kind kind;
  kind.facts = {.header_version = header.version, .unclean = header.unclean};
  kind.mark_at = kCowdUncleanMarkOffset;
  kind.mark_bytes = 4;
  kind.free_sector = header.free_sector;
  if (options.salvage != nullptr)
    return open_salvaged(file, header, kind, options, file_size, cache);
  RETURN_IF_ERROR(judge_against_file(file.file(), header, file_size));
  if (const std::string why = why_not_written(header); options.writable && !why.empty())
    return not_written(file.file(), why);
  RETURN_IF_ERROR(cache.require_room(file.name(), header.table_count()));
  ASSIGN_OR_RETURN(GrainDirectory directory, read_grain_directory(file.file(), header, file_size));
  return open_kind(file, kind, options, layout_of(header, std::move(directory), options.size),
                   file_size, cache);
}

Result<std::unique_ptr<SparseExtent>> SparseExtent::open(OpenFile& file,
                                                         const SeSparseHeader& header,
                                                         const Options& options,
                                                         TableCache& cache) {
  ASSIGN_OR_RETURN(const std::uint64_t file_size, file.file().size());
  Kind kind;
  kind.facts = {.header_version = 2, .zeroed_grains = true};
  if (options.salvage != nullptr)
    return open_salvaged(file, header, kind, options, file_size, cache);
  RETURN_IF_ERROR(judge_against_file(file.file(), header, file_size));
  RETURN_IF_ERROR(cache.require_room(file.name(), header.table_count()));
  ASSIGN_OR_RETURN(GrainDirectory directory, read_grain_directory(file.file(), header, file_size));
  return open_kind(file, kind, options, layout_of(header, std::move(directory), options.size),
                   file_size, cache);
}

Result<std::unique_ptr<SparseExtent>> SparseExtent::open_kind(OpenFile& file, const Kind& kind,
                                                              const Options& options,
                                                              GrainLayout layout,
                                                              std::uint64_t file_size,
                                                              TableCache& cache) {
  if (!options.writable)
    return std::unique_ptr<SparseExtent>(
        new SparseExtent(file, kind, options, std::move(layout), nullptr, file_size, cache));
  auto scanned = scan_tables(file.file(), layout, options.size, {});
  if (!scanned && scanned.error().code() == ErrorCode::kUnsupported)
    return std::move(scanned).error().with_hint(kReadOnlyHint);
  ASSIGN_OR_RETURN(const TableScan scan, std::move(scanned));
  RETURN_IF_ERROR(
      judge_scan(file.file(), kind.facts.unclean, layout.directory.has_redundant(), scan));
  if (const std::uint64_t end = scan.highest_end / kSectorSize;
      kind.free_sector && end > kCowdLastFreeSector)
    return not_written(
        file.file(),
        fmt::format("its grains end at sector {}, which its free sector cannot say", end));
  Kind known = kind;
  known.facts.interrupted_entries = scan.unequal;
  known.facts.dropped_tables = layout.directory.dropped.size();
  known.facts.unused_bytes = scan.unused_bytes;
  return std::unique_ptr<SparseExtent>(
      new SparseExtent(file, known, options, std::move(layout), &scan, file_size, cache));
}

template <class Header>
Result<std::unique_ptr<SparseExtent>> SparseExtent::open_salvaged(
    OpenFile& file, const Header& header, const Kind& kind, const Options& options,
    std::uint64_t file_size, TableCache& cache) {
  RETURN_IF_ERROR(cache.require_room(file.name(), header.table_count()));
  ASSIGN_OR_RETURN(DamagedDirectory damaged,
                   read_damaged_directory(file.file(), header, file_size));
  GrainLayout layout = layout_of(header, std::move(damaged.directory), options.size);
  auto tables = std::make_unique<SalvagedTables>(file.file(), layout, std::move(damaged),
                                                 options.size, file_size, kind.facts.unclean);
  RETURN_IF_ERROR(tables->choose(*options.salvage));
  return std::unique_ptr<SparseExtent>(new SparseExtent(
      file, kind, options, std::move(layout), nullptr, file_size, cache, std::move(tables)));
}

GrainAllocator::Start SparseExtent::start_of(const Kind& kind, const Options& options,
                                             const GrainLayout& layout, const TableScan* scan,
                                             std::uint64_t file_size) {
  GrainAllocator::Start start{.grain_bytes = layout.grain_bytes,
                              .grain_count = layout.grain_count,
                              .file_size = file_size,
                              .used_end = scan != nullptr ? scan->highest_end : 0,
                              .batch = options.batch_grains};
  if (kind.free_sector) {
    start.alignment = kSectorSize;
    // The free sector behind the last grain has 32 bits too.
    start.end_limit -= kSectorSize;
  }
  return start;
}

// Writable tables were scanned, and salvaged ones chosen.
std::unique_ptr<const TableDoubts> SparseExtent::doubts_of(const File& file, const Kind& kind,
                                                           const Options& options) {
  if (options.writable || options.salvage != nullptr)
    return nullptr;
  return std::make_unique<TableDoubts>(file, kind.facts.unclean, options.log);
}

SparseExtent::SparseExtent(OpenFile& file, const Kind& kind, const Options& options,
                           GrainLayout layout, const TableScan* scan, std::uint64_t file_size,
                           TableCache& cache, std::unique_ptr<const TableSource> source)
    : file_(file),
      kind_(kind),
      options_(options),
      allocator_(start_of(kind, options, layout, scan, file_size), cache.epochs()),
      tables_(
          file.file(), std::move(layout), cache,
          [this](std::uint64_t bytes) -> Result<std::uint32_t> {
            ASSIGN_OR_RETURN(const FileOffset at, allocator_.reserve_table(bytes));
            return static_cast<std::uint32_t>(at.bytes() / kSectorSize);
          },
          std::move(source), doubts_of(file.file(), kind, options)),
      free_sector_(kind.free_sector.value_or(0)) {
  file_.note_size(file_size);
  if (scan == nullptr)
    return;
  for (const std::uint64_t table : scan->empty_tables)
    tables_.note_empty(table);
  for (const UnusedRange& range : scan->unused)
    allocator_.add_unused(FileOffset(range.begin), range.length / grain_size());
  unequal_tables_ = scan->unequal_tables;
  used_end_at_open_ = scan->highest_end;
}

Result<Run> SparseExtent::lookup(ExtentOffset at, std::uint64_t max_length) {
  return run_at(tables_, options_.size, at, max_length);
}

Status SparseExtent::read(FileOffset where, std::span<std::byte> into) const {
  const std::uint64_t known_size = file_.known_size();
  ASSIGN_OR_RETURN(const std::size_t got, file_.file().read(where, into));
  if (got == into.size())
    return {};
  // Behind what was ever written there is only the rest of our own grains: fresh space, which the
  // next commit makes the file long enough for.
  const std::uint64_t end = where.bytes() + into.size();
  if ((!options_.writable || where.bytes() + got < known_size || end > allocator_.next()) &&
      !seeded(SeededFault::kShortReadCalledZeros))
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
  const std::uint64_t grain_bytes = grain_size();
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
  return tables_.wait_until_settled(at.bytes() / grain_size());
}

Status SparseExtent::clear(ExtentOffset at, std::uint64_t length, ClearTo target) {
  const std::uint64_t grain_bytes = grain_size();
  FreedGuard freed(allocator_);
  return tables_.clear(at.bytes() / grain_bytes, ceil_div(length, grain_bytes),
                       target == ClearTo::kZero ? GrainEntry::zero() : GrainEntry::none(),
                       freed.sectors());
}

// Finishes a commit that was cut short: the primary tables and directory are what readers saw all
// along, so the redundant ones become equal to them.
Status SparseExtent::heal() {
  if (!kind_.facts.unclean || healed_ || seeded(SeededFault::kHealForgotten))
    return {};
  const GrainDirectory& directory = tables_.layout().directory;
  RETURN_IF_ERROR(drop_names(file_, directory));
  RETURN_IF_ERROR(copy_primary_tables(file_, directory, unequal_tables_));
  unequal_tables_.clear();
  healed_ = true;
  return {};
}

Status SparseExtent::write_mark(bool unclean) {
  std::array<std::byte, 4> mark{};
  mark[0] = static_cast<std::byte>(unclean ? 1 : 0);
  const iovec part = part_of(std::span(mark).first(kind_.mark_bytes));
  return file_.write(FileOffset(kind_.mark_at), {&part, 1});
}

Status SparseExtent::raise_free_sector(std::uint64_t end) {
  return end / kSectorSize > free_sector_ ? set_free_sector(end) : Status{};
}

// `end`: bytes, in whole sectors.
Status SparseExtent::set_free_sector(std::uint64_t end) {
  const std::uint64_t sector = end / kSectorSize;
  if (!kind_.free_sector || sector == free_sector_)
    return {};
  std::array<std::byte, 4> bytes{};
  store_le32(bytes, 0, static_cast<std::uint32_t>(sector));
  const iovec part = part_of(bytes);
  RETURN_IF_ERROR(file_.write(FileOffset(kCowdFreeSectorOffset), {&part, 1}));
  free_sector_ = sector;
  return {};
}

// Also under the mark of an earlier session: that one may have ended before its free sector was
// right, and may have been another program's.
Status SparseExtent::mark_unclean() {
  if (marked_)
    return {};
  if (!kind_.facts.unclean && !seeded(SeededFault::kMarkForgotten))
    RETURN_IF_ERROR(write_mark(true));
  RETURN_IF_ERROR(raise_free_sector(used_end_at_open_));
  marked_ = true;
  return {};
}

// Only the end behind the last grain in use goes: reservations that were not needed, space given
// back after failed writes, the leavings of an earlier crash. A free sector must become lower
// first, and durably: it never lies behind the end of the file.
Status SparseExtent::trim() {
  if (!owns_mark())
    return {};
  if (!kind_.free_sector)
    return cut_end();
  const std::uint64_t end = allocator_.settle_end();
  // The last grain of another writer may be short; the next one must lie behind a whole one.
  RETURN_IF_ERROR(grow_to(end));
  return set_free_sector(end);
}

Status SparseExtent::cut_end() {
  ASSIGN_OR_RETURN(const std::uint64_t size, file_.file().size());
  const std::uint64_t end = allocator_.settle_end();
  return size > end ? file_.resize(end) : Status{};
}

Status SparseExtent::clear_mark() {
  if (!owns_mark())
    return {};
  if (kind_.free_sector)
    RETURN_IF_ERROR(cut_end());
  RETURN_IF_ERROR(write_mark(false));
  marked_ = healed_ = false;
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
  auto commit = std::make_unique<Commit>(*this);
  commit->begin();
  return commit;
}

}  // namespace vmdk
