#include "extent/table_scan.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

// Tables read by one system call: 1 MiB, which the tables of 16 GiB fill.
constexpr std::uint64_t kTablesPerRead = 512;
constexpr std::size_t kMaxFindings = 1000;
// Bytes that 32-bit entries reach.
constexpr std::uint64_t kEndOfEntries = (std::uint64_t{1} << 32U) * kSectorSize;
constexpr std::size_t kMaxUnusedRanges = 65536;

// Which slots (of one grain each) of the file hold the start of a grain. Two grains overlap exactly
// when they start in one slot, or in neighbouring slots with the first further into its slot than
// the second.
class GrainSlots {
 public:
  GrainSlots(std::uint64_t file_size, std::uint64_t grain_bytes)
      : grain_sectors_(grain_bytes / kSectorSize),
        bits_(ceil_div(ceil_div(file_size, grain_bytes) + 1, 64)) {}

  // False: another grain starts in that slot already.
  bool insert(std::uint32_t sector) {
    const std::uint64_t slot = sector / grain_sectors_;
    auto& word = bits_[slot / 64];
    const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
    if ((word & bit) != 0)
      return false;
    word |= bit;
    if (sector % grain_sectors_ != 0)
      unaligned_.push_back(sector);
    return true;
  }

  bool holds(std::uint64_t slot) const noexcept {
    return slot / 64 < bits_.size() && ((bits_[slot / 64] >> (slot % 64)) & 1U) != 0;
  }

  // The unaligned grains that reach into the grain behind them.
  std::vector<std::uint32_t> overlapping() {
    std::sort(unaligned_.begin(), unaligned_.end());
    std::vector<std::uint32_t> found;
    for (std::size_t i = 0; i < unaligned_.size(); ++i) {
      const std::uint64_t next_slot = unaligned_[i] / grain_sectors_ + 1;
      if (!holds(next_slot))
        continue;
      const bool next_unaligned =
          i + 1 < unaligned_.size() && unaligned_[i + 1] / grain_sectors_ == next_slot;
      const std::uint64_t next_start =
          next_unaligned ? unaligned_[i + 1] : next_slot * grain_sectors_;
      if (unaligned_[i] + grain_sectors_ > next_start)
        found.push_back(unaligned_[i]);
    }
    return found;
  }

  // Slots from `slot` on that are surely untouched, in steps of a whole word; 0 when that is not
  // known at a glance.
  std::uint64_t untouched_from(std::uint64_t slot) const noexcept {
    constexpr std::uint64_t kWord = 64;
    if (slot % kWord != 0 || !unaligned_.empty())
      return 0;
    std::uint64_t word = slot / kWord;
    while (word < bits_.size() && bits_[word] == 0)
      ++word;
    return word * kWord - slot;
  }

  // Whether any grain lies in the slot, wholly or with its tail.
  bool touched(std::uint64_t slot) const {
    if (holds(slot))
      return true;
    if (slot == 0 || unaligned_.empty() || !holds(slot - 1))
      return false;
    const auto first = static_cast<std::uint32_t>((slot - 1) * grain_sectors_);
    const auto found = std::lower_bound(unaligned_.begin(), unaligned_.end(), first);
    return found != unaligned_.end() && *found < slot * grain_sectors_;
  }

 private:
  std::uint64_t grain_sectors_;
  std::vector<std::uint64_t> bits_;
  std::vector<std::uint32_t> unaligned_;
};

class Scanner {
 public:
  Scanner(const File& file, const SparseHeader& header, const GrainDirectory& directory,
          std::uint64_t extent_bytes, std::uint64_t file_size)
      : file_(file),
        header_(header),
        directory_(directory),
        extent_bytes_(extent_bytes),
        file_size_(file_size),
        grain_bytes_(header.grain_bytes()),
        grain_count_(ceil_div(extent_bytes, grain_bytes_)),
        data_begin_(header.overhead.count() * kSectorSize),
        slots_(file_size, grain_bytes_) {
    scan_.highest_end = data_begin_;
  }

  Result<TableScan> run(const Progress& progress) {
    reserve_tables_in_data_area();
    const std::uint64_t tables = directory_.table_count();
    for (std::uint64_t first = 0; first < tables;) {
      const std::uint64_t count = contiguous_tables(first, tables);
      RETURN_IF_ERROR(scan_piece(first, count));
      first += count;
      if (progress)
        progress(first * kGrainTableSize, tables * kGrainTableSize);
    }
    judge_overlaps();
    judge_redundant_only();
    find_unused();
    return std::move(scan_);
  }

 private:
  // Tables that lie outside the metadata area (some programs add them at the end of the file) keep
  // grains off their sectors.
  void reserve_tables_in_data_area() {
    const auto reserve = [&](const std::vector<std::uint32_t>& tables) {
      for (const std::uint32_t table : tables) {
        const std::uint64_t end = table + kGrainTableSize / kSectorSize;
        if (end * kSectorSize <= data_begin_)
          continue;
        tables_in_data_area_.push_back({table, end});
        scan_.highest_end = std::max(scan_.highest_end, end * kSectorSize);
      }
    };
    reserve(directory_.primary);
    reserve(directory_.redundant);
    std::sort(tables_in_data_area_.begin(), tables_in_data_area_.end());
  }

  bool overlaps_table(std::uint64_t begin, std::uint64_t end) const {
    const auto behind = std::lower_bound(tables_in_data_area_.begin(), tables_in_data_area_.end(),
                                         std::pair<std::uint64_t, std::uint64_t>{end, 0});
    return behind != tables_in_data_area_.begin() && std::prev(behind)->second > begin;
  }

  std::uint64_t contiguous_tables(std::uint64_t first, std::uint64_t tables) const {
    constexpr std::uint32_t kTableSectors = kGrainTableSize / kSectorSize;
    const auto follows = [&](const std::vector<std::uint32_t>& list, std::uint64_t i) {
      return list.empty() ||
             (list[i] != 0 && list[i - 1] != 0 && list[i] == list[i - 1] + kTableSectors);
    };
    std::uint64_t count = 1;
    while (count < kTablesPerRead && first + count < tables &&
           follows(directory_.primary, first + count) &&
           follows(directory_.redundant, first + count))
      ++count;
    return count;
  }

  Status read_tables(std::uint32_t sector, std::span<std::byte> into) const {
    if (sector == 0) {
      std::memset(into.data(), 0, into.size());
      return {};
    }
    ASSIGN_OR_RETURN(const std::size_t got, file_.read(FileOffset(sector * kSectorSize), into));
    if (got != into.size())
      return Error::make(ErrorCode::kCorrupt,
                         fmt::format("{}: the grain tables at sector {} are cut off by the end of "
                                     "the file",
                                     file_.name(), sector));
    return {};
  }

  Status scan_piece(std::uint64_t first, std::uint64_t count) {
    primary_.resize(count * kGrainTableSize);
    RETURN_IF_ERROR(read_tables(directory_.primary[first], primary_));
    if (directory_.has_redundant()) {
      redundant_.resize(primary_.size());
      RETURN_IF_ERROR(read_tables(directory_.redundant[first], redundant_));
    }
    for (std::uint64_t i = 0; i < count; ++i)
      scan_table(first + i, i * kGrainTableSize);
    return {};
  }

  void scan_table(std::uint64_t table, std::uint64_t at) {
    const auto primary = std::span<const std::byte>(primary_).subspan(at, kGrainTableSize);
    const auto redundant = directory_.has_redundant()
                               ? std::span<const std::byte>(redundant_).subspan(at, kGrainTableSize)
                               : primary;
    const bool equal = std::memcmp(primary.data(), redundant.data(), kGrainTableSize) == 0;
    if (equal && all_zero(primary)) {
      scan_.empty_tables.push_back(table);
      return;
    }
    const std::uint64_t first = table * kEntriesPerTable;
    const std::uint64_t entries =
        std::min<std::uint64_t>(kEntriesPerTable, grain_count_ - std::min(grain_count_, first));
    const std::uint64_t unequal_before = scan_.unequal;
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint32_t entry = load_le32(primary, i * 4);
      judge_primary(first + i, entry);
      if (!equal)
        judge_copies(first + i, entry, load_le32(redundant, i * 4));
    }
    for (std::uint64_t i = entries; i < kEntriesPerTable; ++i)
      keep_clear_of(load_le32(primary, i * 4));
    if (scan_.unequal != unequal_before)
      scan_.unequal_tables.push_back(table);
  }

  // Entries behind the end of the extent say nothing here, but a reader that goes by the header's
  // capacity sees their grains.
  void keep_clear_of(std::uint32_t entry) {
    const std::uint64_t begin = entry * kSectorSize;
    if (begin < data_begin_ || begin >= file_size_)
      return;
    slots_.insert(entry);
    scan_.highest_end = std::max(scan_.highest_end, begin + grain_bytes_);
  }

  // nullptr: legal by itself.
  const char* fault_of(std::uint64_t grain, std::uint32_t entry) const {
    if (entry == 0 || (entry == 1 && header_.has_zeroed_grains()))
      return nullptr;
    if (entry == 1)
      return "is 1, but the header does not allow zeroed grains";
    const std::uint64_t begin = entry * kSectorSize;
    const std::uint64_t needed = std::min(grain_bytes_, extent_bytes_ - grain * grain_bytes_);
    if (begin < data_begin_)
      return "points into the metadata";
    if (begin >= file_size_)
      return "points behind the end of the file";
    if (begin + needed > file_size_)
      return "is cut off by the end of the file";
    if (overlaps_table(entry, entry + grain_bytes_ / kSectorSize))
      return "points into a grain table";
    return nullptr;
  }

  void note(std::vector<std::string>& findings, std::string text) {
    if (findings.size() < kMaxFindings)
      findings.push_back(std::move(text));
  }

  void judge_primary(std::uint64_t grain, std::uint32_t entry) {
    if (entry == 0)
      return;
    if (entry == 1 && header_.has_zeroed_grains()) {
      ++scan_.zero_grains;
      return;
    }
    const char* fault = fault_of(grain, entry);
    if (fault == nullptr && !slots_.insert(entry))
      fault = "is shared with another grain";
    if (fault != nullptr) {
      ++scan_.damaged;
      note(scan_.findings, fmt::format("grain {} (disk sector {} of the extent): its entry {} {}",
                                       grain, grain * header_.grain_size.count(), entry, fault));
      return;
    }
    ++scan_.data_grains;
    scan_.highest_end = std::max(scan_.highest_end, entry * kSectorSize + grain_bytes_);
  }

  void judge_copies(std::uint64_t grain, std::uint32_t primary, std::uint32_t redundant) {
    if (primary == redundant)
      return;
    ++scan_.unequal;
    note(scan_.copy_findings,
         fmt::format("grain {}: the primary table says {}, the redundant one {}", grain, primary,
                     redundant));
    if (redundant == 0)
      return;
    if (fault_of(grain, redundant) != nullptr)
      ++scan_.redundant_damaged;
    else if (redundant != 1)
      redundant_only_.push_back(redundant);
  }

  void judge_overlaps() {
    for (const std::uint32_t sector : slots_.overlapping()) {
      ++scan_.damaged;
      note(scan_.findings,
           fmt::format("the grain at file sector {} reaches into the next one", sector));
    }
  }

  // Entries that only the redundant tables have must not name a grain that somebody else uses.
  void judge_redundant_only() {
    const std::uint64_t grain_sectors = header_.grain_size.count();
    std::sort(redundant_only_.begin(), redundant_only_.end());
    for (std::size_t i = 0; i < redundant_only_.size(); ++i) {
      const bool shared = slots_.touched(redundant_only_[i] / grain_sectors) ||
                          (i > 0 && redundant_only_[i] - redundant_only_[i - 1] < grain_sectors);
      if (shared)
        ++scan_.redundant_damaged;
    }
  }

  void find_unused() {
    const std::uint64_t first = ceil_div(data_begin_, grain_bytes_);
    const std::uint64_t end = file_size_ / grain_bytes_;
    const std::uint64_t grain_sectors = header_.grain_size.count();
    for (std::uint64_t slot = first; slot < end;) {
      const std::uint64_t many = tables_in_data_area_.empty() ? slots_.untouched_from(slot) : 0;
      if (many != 0) {
        add_unused(slot, std::min(many, end - slot));
        slot += many;
        continue;
      }
      if (!slots_.touched(slot) &&
          !overlaps_table(slot * grain_sectors, (slot + 1) * grain_sectors))
        add_unused(slot, 1);
      ++slot;
    }
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
  const SparseHeader& header_;
  const GrainDirectory& directory_;
  const std::uint64_t extent_bytes_;
  const std::uint64_t file_size_;
  const std::uint64_t grain_bytes_;
  const std::uint64_t grain_count_;
  const std::uint64_t data_begin_;
  GrainSlots slots_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> tables_in_data_area_;  // sectors
  std::vector<std::uint32_t> redundant_only_;
  std::vector<std::byte> primary_;
  std::vector<std::byte> redundant_;
  TableScan scan_;
};

}  // namespace

Result<TableScan> scan_tables(const File& file, const SparseHeader& header,
                              const GrainDirectory& directory, std::uint64_t extent_bytes,
                              const Progress& progress) {
  ASSIGN_OR_RETURN(std::uint64_t file_size, file.size());
  // No entry can name what lies further, however long a sparse file says it is.
  file_size = std::min(file_size, kEndOfEntries + header.grain_bytes());
  return Scanner(file, header, directory, extent_bytes, file_size).run(progress);
}

}  // namespace vmdk
