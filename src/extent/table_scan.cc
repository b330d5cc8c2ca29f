#include "extent/table_scan.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "extent/grain_judge.h"
#include "extent/grain_slots.h"

namespace vmdk {
namespace {

// Of tables, read by one system call: the tables of 16 GiB in grains of 64 KiB.
constexpr std::uint64_t kBytesPerRead = kMiB;
constexpr std::size_t kMaxFindings = 1000;
// Bytes that 32-bit entries reach.
constexpr std::uint64_t kEndOfEntries = (std::uint64_t{1} << 32U) * kSectorSize;
constexpr std::size_t kMaxUnusedRanges = 65536;
// Bytes, of what is kept of the grains. More would be grains of one sector all over 768 GiB, or a
// terabyte of grains of 64 KiB that are not aligned, or an image made to take our memory.
constexpr std::uint64_t kMostMemory = 192 * kMiB;

class Scanner {
 public:
  Scanner(const File& file, const GrainLayout& layout, std::uint64_t extent_bytes,
          std::uint64_t file_size, Namers namers)
      : file_(file),
        layout_(layout),
        namers_(namers),
        directory_(layout.directory),
        file_size_(file_size),
        grain_bytes_(layout.grain_bytes),
        grain_sectors_(grain_bytes_ / kSectorSize),
        table_bytes_(layout.table_bytes()),
        data_begin_(layout.data_begin),
        judge_(layout, extent_bytes, file_size),
        slots_(has_sectors() ? 0 : data_begin_ / kSectorSize, grain_sectors_) {
    scan_.highest_end = data_begin_;
    if (const auto tables = judge_.tables_in_data_area(); !tables.empty())
      scan_.highest_end =
          std::max(scan_.highest_end, judge_.sectors_of(tables.back()).second * kSectorSize);
  }

  Result<TableScan> run(const Progress& progress) {
    const std::uint64_t tables = directory_.table_count();
    for (std::uint64_t first = 0; first < tables;) {
      const std::uint64_t count = contiguous_tables(first, tables);
      if (!is_missing(first))
        RETURN_IF_ERROR(scan_piece(first, count));
      first += count;
      if (progress)
        progress(first * table_bytes_, tables * table_bytes_);
    }
    judge_overlaps();
    judge_redundant_only();
    // SESparse files are never written, and keep their own map of free space.
    if (has_sectors())
      RETURN_IF_ERROR(find_unused());
    return std::move(scan_);
  }

 private:
  bool has_sectors() const noexcept { return layout_.format == EntryFormat::kSectors; }

  // Holds nothing, and costs nothing: large disks have very many of them.
  bool is_missing(std::uint64_t table) const noexcept {
    return directory_.primary[table] == 0 &&
           (!directory_.has_redundant() || directory_.redundant[table] == 0);
  }

  // Tables that can be read at once, or are all missing.
  std::uint64_t contiguous_tables(std::uint64_t first, std::uint64_t tables) const {
    const auto follows = [&](const std::vector<std::uint32_t>& list, std::uint64_t i) {
      if (list.empty())
        return true;
      if (list[i] == 0 || list[i - 1] == 0)
        return list[i] == list[i - 1];
      return directory_.offset_of(list[i]) == directory_.offset_of(list[i - 1]) + table_bytes_;
    };
    std::uint64_t count = 1;
    while (count < kBytesPerRead / table_bytes_ && first + count < tables &&
           follows(directory_.primary, first + count) &&
           follows(directory_.redundant, first + count))
      ++count;
    return count;
  }

  Status read_tables(std::uint32_t place, std::span<std::byte> into) const {
    if (place == 0) {
      std::memset(into.data(), 0, into.size());
      return {};
    }
    const FileOffset at = directory_.offset_of(place);
    ASSIGN_OR_RETURN(const std::size_t got, file_.read(at, into));
    if (got != into.size())
      return Error::make(ErrorCode::kCorrupt,
                         fmt::format("{}: the grain tables at sector {} are cut off by the end of "
                                     "the file",
                                     file_.name(), at.bytes() / kSectorSize));
    return {};
  }

  Status scan_piece(std::uint64_t first, std::uint64_t count) {
    primary_.resize(count * table_bytes_);
    RETURN_IF_ERROR(read_tables(directory_.primary[first], primary_));
    if (directory_.has_redundant()) {
      redundant_.resize(primary_.size());
      RETURN_IF_ERROR(read_tables(directory_.redundant[first], redundant_));
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      scan_table(first + i, i * table_bytes_);
      RETURN_IF_ERROR(require_memory());
    }
    return {};
  }

  Status require_memory() const {
    if (slots_.memory() + 3 * (redundant_only_.size() + kept_.size()) * sizeof(kept_[0]) +
            judge_.tables_in_data_area().size_bytes() <=
        kMostMemory)
      return {};
    return Error::make(
        ErrorCode::kUnsupported,
        fmt::format("{}: too many grains, or grains too far from each other, for a check of its "
                    "tables: it would take more than {} MiB of memory",
                    file_.name(), kMostMemory / kMiB));
  }

  void scan_table(std::uint64_t table, std::uint64_t at) {
    const auto primary = std::span<const std::byte>(primary_).subspan(at, table_bytes_);
    const auto redundant = directory_.has_redundant()
                               ? std::span<const std::byte>(redundant_).subspan(at, table_bytes_)
                               : primary;
    const bool equal = std::memcmp(primary.data(), redundant.data(), table_bytes_) == 0;
    if (equal && all_zero(primary)) {
      scan_.empty_tables.push_back(table);
      return;
    }
    const std::uint64_t first = table * layout_.entries_per_table;
    const std::uint64_t entries = layout_.entries_of(table);
    const std::uint64_t unequal_before = scan_.unequal;
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t entry = layout_.raw_entry(primary, i);
      judge_primary(first + i, entry);
      if (!equal)
        judge_copies(first + i, entry, layout_.raw_entry(redundant, i));
    }
    for (std::uint64_t i = entries; i < layout_.entries_per_table; ++i) {
      keep_clear_of(layout_.raw_entry(primary, i));
      if (!equal)
        keep_redundant(layout_.decode(layout_.raw_entry(redundant, i), file_size_));
    }
    if (scan_.unequal != unequal_before)
      scan_.unequal_tables.push_back(table);
  }

  // Entries behind the end of the extent say nothing here, but a reader that goes by the header's
  // capacity sees their grains.
  void keep_clear_of(std::uint64_t raw) {
    const GrainEntry entry = layout_.decode(raw, file_size_);
    if (entry.state() != GrainState::kData)
      return;
    slots_.insert(entry.sector());
    scan_.highest_end = std::max(scan_.highest_end, entry.sector() * kSectorSize + grain_bytes_);
  }

  // The same for a grain that no primary table has.
  void keep_redundant(GrainEntry entry) {
    if (entry.state() != GrainState::kData)
      return;
    kept_.push_back(static_cast<std::uint32_t>(entry.sector()));
    scan_.highest_end = std::max(scan_.highest_end, entry.sector() * kSectorSize + grain_bytes_);
  }

  std::string text_of(std::uint64_t raw) const {
    return has_sectors() ? fmt::format("{}", raw) : fmt::format("{:#018x}", raw);
  }

  void note(std::vector<std::string>& findings, std::string text) {
    if (findings.size() < kMaxFindings)
      findings.push_back(std::move(text));
  }

  void judge_primary(std::uint64_t grain, std::uint64_t raw) {
    const GrainEntry entry = layout_.decode(raw, file_size_);
    if (entry.state() == GrainState::kNone)
      return;
    if (entry.state() == GrainState::kZero) {
      ++scan_.zero_grains;
      return;
    }
    const char* fault = judge_.fault_of(grain, raw, entry);
    if (fault == nullptr && !slots_.insert(entry.sector()))
      fault = "is shared with another grain";
    if (fault != nullptr) {
      ++scan_.damaged;
      note(scan_.findings, fmt::format("grain {} (disk sector {} of the extent): its entry {} {}",
                                       grain, grain * grain_sectors_, text_of(raw), fault));
      return;
    }
    ++scan_.data_grains;
    scan_.highest_end = std::max(scan_.highest_end, entry.sector() * kSectorSize + grain_bytes_);
  }

  void judge_copies(std::uint64_t grain, std::uint64_t primary, std::uint64_t redundant) {
    if (primary == redundant)
      return;
    ++scan_.unequal;
    note(scan_.copy_findings,
         fmt::format("grain {}: the primary table says {}, the redundant one {}", grain, primary,
                     redundant));
    const GrainEntry entry = layout_.decode(redundant, file_size_);
    if (judge_.fault_of(grain, redundant, entry) != nullptr) {
      ++scan_.redundant_damaged;
      return;
    }
    if (entry.state() == GrainState::kData)
      redundant_only_.push_back(static_cast<std::uint32_t>(entry.sector()));
    if (namers_ == Namers::kBoth)
      keep_redundant(entry);
  }

  void judge_overlaps() {
    slots_.visit_overlapping([&](std::uint64_t sector) {
      ++scan_.damaged;
      note(scan_.findings,
           fmt::format("the grain at file sector {} reaches into the next one", sector));
    });
  }

  // Entries that only the redundant tables have must not name a grain that somebody else uses.
  void judge_redundant_only() {
    std::sort(redundant_only_.begin(), redundant_only_.end());
    for (std::size_t i = 0; i < redundant_only_.size(); ++i) {
      const bool shared = slots_.touched(redundant_only_[i]) ||
                          (i > 0 && redundant_only_[i] - redundant_only_[i - 1] < grain_sectors_);
      if (shared)
        ++scan_.redundant_damaged;
    }
  }

  Status find_unused() {
    slots_.occupy_tails();
    for (const std::uint32_t place : judge_.tables_in_data_area()) {
      const auto [begin, end] = judge_.sectors_of(place);
      slots_.occupy(begin, end);
      RETURN_IF_ERROR(require_memory());
    }
    for (const std::uint32_t sector : kept_) {
      slots_.occupy(sector, sector + grain_sectors_);
      RETURN_IF_ERROR(require_memory());
    }
    const std::uint64_t end = file_size_ / grain_bytes_;
    for (std::uint64_t slot = ceil_div(data_begin_, grain_bytes_); slot < end;) {
      const std::uint64_t count = slots_.unused_from(slot, end);
      if (count != 0)
        add_unused(slot, count);
      slot += std::max<std::uint64_t>(count, 1);
    }
    return {};
  }

  void add_unused(std::uint64_t slot, std::uint64_t count) {
    const std::uint64_t begin = slot * grain_bytes_;
    const std::uint64_t length = count * grain_bytes_;
    scan_.unused_bytes += length;
    auto& unused = scan_.unused;
    if (!unused.empty() && unused.back().begin + unused.back().length == begin)
      unused.back().length += length;
    else if (unused.size() < kMaxUnusedRanges)
      unused.push_back({begin, length});
  }

  const File& file_;
  const GrainLayout& layout_;
  const Namers namers_;
  const GrainDirectory& directory_;
  const std::uint64_t file_size_;
  const std::uint64_t grain_bytes_;
  const std::uint64_t grain_sectors_;
  const std::uint64_t table_bytes_;
  const std::uint64_t data_begin_;
  const GrainJudge judge_;
  GrainSlots slots_;
  std::vector<std::uint32_t> redundant_only_;  // sectors; only entries of 32 bits have two copies
  std::vector<std::uint32_t> kept_;            // sectors: not unused although no primary table
                                               // names them
  std::vector<std::byte> primary_;
  std::vector<std::byte> redundant_;
  TableScan scan_;
};

}  // namespace

Result<TableScan> scan_tables(const File& file, const GrainLayout& layout,
                              std::uint64_t extent_bytes, const Progress& progress, Namers namers) {
  ASSIGN_OR_RETURN(std::uint64_t file_size, file.size());
  // No entry can name what lies further, however long a sparse file says it is.
  if (layout.format == EntryFormat::kSectors)
    file_size = std::min(file_size, kEndOfEntries + layout.grain_bytes);
  return Scanner(file, layout, extent_bytes, file_size, namers).run(progress);
}

}  // namespace vmdk
