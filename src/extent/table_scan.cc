#include "extent/table_scan.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <unordered_map>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk {
namespace {

// Of tables, read by one system call: the tables of 16 GiB in grains of 64 KiB.
constexpr std::uint64_t kBytesPerRead = kMiB;
constexpr std::size_t kMaxFindings = 1000;
// Bytes that 32-bit entries reach.
constexpr std::uint64_t kEndOfEntries = (std::uint64_t{1} << 32U) * kSectorSize;
constexpr std::size_t kMaxUnusedRanges = 65536;

// One bit a number, in chunks that take memory only where bits are set.
class SparseBits {
 public:
  static constexpr std::uint64_t kWordBits = 64;

  bool get(std::uint64_t bit) const noexcept {
    const Chunk* const chunk = find(bit);
    return chunk != nullptr && ((word(*chunk, bit) >> (bit % kWordBits)) & 1U) != 0;
  }

  void set(std::uint64_t bit) { word(make(bit), bit) |= std::uint64_t{1} << (bit % kWordBits); }

  // From `bit`, the first of a word, to the first word that is not zero, at most to `end`.
  std::uint64_t zeros_from(std::uint64_t bit, std::uint64_t end) const noexcept {
    const std::uint64_t begin = bit;
    while (bit < end) {
      const Chunk* const chunk = find(bit);
      if (chunk == nullptr)
        bit += kChunkBits - bit % kChunkBits;
      else if (word(*chunk, bit) == 0)
        bit += kWordBits;
      else
        break;
    }
    return std::min(bit, end) - begin;
  }

 private:
  static constexpr std::uint64_t kChunkBits = std::uint64_t{1} << 19U;  // 64 KiB
  using Chunk = std::vector<std::uint64_t>;

  static std::uint64_t word(const Chunk& chunk, std::uint64_t bit) noexcept {
    return chunk[bit % kChunkBits / kWordBits];
  }

  static std::uint64_t& word(Chunk& chunk, std::uint64_t bit) noexcept {
    return chunk[bit % kChunkBits / kWordBits];
  }

  const Chunk* find(std::uint64_t bit) const noexcept {
    const std::uint64_t number = bit / kChunkBits;
    if (last_ == nullptr || last_number_ != number) {
      const auto found = chunks_.find(number);
      if (found == chunks_.end())
        return nullptr;
      last_ = &found->second;
      last_number_ = number;
    }
    return last_;
  }

  Chunk& make(std::uint64_t bit) {
    const std::uint64_t number = bit / kChunkBits;
    if (last_ == nullptr || last_number_ != number) {
      Chunk& chunk = chunks_[number];
      chunk.resize(kChunkBits / kWordBits);
      last_ = &chunk;
      last_number_ = number;
    }
    return const_cast<Chunk&>(*last_);  // NOLINT: ours
  }

  std::unordered_map<std::uint64_t, Chunk> chunks_;
  mutable const Chunk* last_ = nullptr;  // elements of the map stay where they are
  mutable std::uint64_t last_number_ = 0;
};

// Which slots (of one grain each) of the file hold the start of a grain. Two grains overlap exactly
// when they start in one slot, or in neighbouring slots with the first further into its slot than
// the second. Slots are counted from `origin` (sectors), before which no grain lies.
class GrainSlots {
 public:
  GrainSlots(std::uint64_t origin, std::uint64_t grain_sectors)
      : origin_(origin), grain_sectors_(grain_sectors) {}

  // False: another grain starts in that slot already.
  bool insert(std::uint64_t sector) {
    const std::uint64_t slot = (sector - origin_) / grain_sectors_;
    if (bits_.get(slot))
      return false;
    bits_.set(slot);
    if ((sector - origin_) % grain_sectors_ != 0)
      unaligned_.push_back(static_cast<std::uint32_t>(sector - origin_));
    return true;
  }

  // The unaligned grains that reach into the grain behind them, by their sectors.
  std::vector<std::uint64_t> overlapping() {
    std::sort(unaligned_.begin(), unaligned_.end());
    std::vector<std::uint64_t> found;
    for (std::size_t i = 0; i < unaligned_.size(); ++i) {
      const std::uint64_t next_slot = unaligned_[i] / grain_sectors_ + 1;
      if (!bits_.get(next_slot))
        continue;
      const bool next_unaligned =
          i + 1 < unaligned_.size() && unaligned_[i + 1] / grain_sectors_ == next_slot;
      const std::uint64_t next_start =
          next_unaligned ? unaligned_[i + 1] : next_slot * grain_sectors_;
      if (unaligned_[i] + grain_sectors_ > next_start)
        found.push_back(origin_ + unaligned_[i]);
    }
    return found;
  }

  // Whether any grain touches [sector, sector + a grain). Requires: overlapping() was called.
  bool touched(std::uint64_t sector) const {
    const std::uint64_t slot = (sector - origin_) / grain_sectors_;
    if (bits_.get(slot))
      return true;
    return slot != 0 && bits_.get(slot - 1) && reaches_behind(slot - 1);
  }

  // From here on a slot counts as in use when any part of a grain, or of what occupy() names, lies
  // in it. Requires: overlapping() was called.
  void occupy_tails() {
    for (const std::uint32_t sector : unaligned_)
      bits_.set(sector / grain_sectors_ + 1);
  }

  void occupy(std::uint64_t begin, std::uint64_t end) {
    begin -= std::min(begin, origin_);
    end -= std::min(end, origin_);
    for (std::uint64_t slot = begin / grain_sectors_; slot * grain_sectors_ < end; ++slot)
      bits_.set(slot);
  }

  // Slots from `slot` on that are not in use, at most to `end`; 0: that one is. Not always all.
  std::uint64_t unused_from(std::uint64_t slot, std::uint64_t end) const noexcept {
    if (slot % SparseBits::kWordBits == 0)
      if (const std::uint64_t many = bits_.zeros_from(slot, end); many != 0)
        return many;
    return bits_.get(slot) ? 0 : 1;
  }

 private:
  bool reaches_behind(std::uint64_t slot) const {
    const auto first = static_cast<std::uint32_t>(slot * grain_sectors_);
    const auto found = std::lower_bound(unaligned_.begin(), unaligned_.end(), first);
    return found != unaligned_.end() && *found < (slot + 1) * grain_sectors_;
  }

  std::uint64_t origin_;
  std::uint64_t grain_sectors_;
  SparseBits bits_;
  std::vector<std::uint32_t> unaligned_;  // counted from origin_, as all kinds with such have
};

class Scanner {
 public:
  Scanner(const File& file, const GrainLayout& layout, std::uint64_t extent_bytes,
          std::uint64_t file_size)
      : file_(file),
        layout_(layout),
        directory_(layout.directory),
        extent_bytes_(extent_bytes),
        file_size_(file_size),
        grain_bytes_(layout.grain_bytes),
        grain_sectors_(grain_bytes_ / kSectorSize),
        table_bytes_(layout.table_bytes()),
        data_begin_(layout.data_begin),
        slots_(has_sectors() ? 0 : data_begin_ / kSectorSize, grain_sectors_) {
    scan_.highest_end = data_begin_;
  }

  Result<TableScan> run(const Progress& progress) {
    reserve_tables_in_data_area();
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
      find_unused();
    return std::move(scan_);
  }

 private:
  bool has_sectors() const noexcept { return layout_.format == EntryFormat::kSectors; }

  // Holds nothing, and costs nothing: large disks have very many of them.
  bool is_missing(std::uint64_t table) const noexcept {
    return directory_.primary[table] == 0 &&
           (!directory_.has_redundant() || directory_.redundant[table] == 0);
  }

  // Tables that lie outside the metadata area (some programs add them at the end of the file) keep
  // grains off their sectors.
  void reserve_tables_in_data_area() {
    const auto reserve = [&](const std::vector<std::uint32_t>& tables) {
      for (const std::uint32_t table : tables) {
        if (table == 0)
          continue;
        const std::uint64_t begin = directory_.offset_of(table).bytes();
        const std::uint64_t end = begin + table_bytes_;
        if (end <= data_begin_)
          continue;
        tables_in_data_area_.push_back({begin / kSectorSize, end / kSectorSize});
        scan_.highest_end = std::max(scan_.highest_end, end);
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
    for (std::uint64_t i = 0; i < count; ++i)
      scan_table(first + i, i * table_bytes_);
    return {};
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
    const std::uint64_t entries = std::min<std::uint64_t>(
        layout_.entries_per_table, layout_.grain_count - std::min(layout_.grain_count, first));
    const std::uint64_t unequal_before = scan_.unequal;
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t entry = layout_.raw_entry(primary, i);
      judge_primary(first + i, entry);
      if (!equal)
        judge_copies(first + i, entry, layout_.raw_entry(redundant, i));
    }
    for (std::uint64_t i = entries; i < layout_.entries_per_table; ++i)
      keep_clear_of(layout_.raw_entry(primary, i));
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

  // nullptr: legal by itself. `entry`: what `raw` means.
  const char* fault_of(std::uint64_t grain, std::uint64_t raw, GrainEntry entry) const {
    if (entry.state() == GrainState::kBad)
      return fault_of_bad(raw);
    if (entry.state() != GrainState::kData)
      return nullptr;
    const std::uint64_t begin = entry.sector() * kSectorSize;
    const std::uint64_t needed = std::min(grain_bytes_, extent_bytes_ - grain * grain_bytes_);
    if (begin + needed > file_size_)
      return "is cut off by the end of the file";
    if (overlaps_table(entry.sector(), entry.sector() + grain_sectors_))
      return "points into a grain table";
    return nullptr;
  }

  const char* fault_of_bad(std::uint64_t raw) const {
    if (!has_sectors())
      return "is of no known kind, or points behind the end of the file or of its grains";
    if (raw == 1)
      return "is 1, but the header does not allow zeroed grains";
    return raw * kSectorSize < data_begin_ ? "points into the metadata"
                                           : "points behind the end of the file";
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
    const char* fault = fault_of(grain, raw, entry);
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
    if (fault_of(grain, redundant, entry) != nullptr)
      ++scan_.redundant_damaged;
    else if (entry.state() == GrainState::kData)
      redundant_only_.push_back(entry.sector());
  }

  void judge_overlaps() {
    for (const std::uint64_t sector : slots_.overlapping()) {
      ++scan_.damaged;
      note(scan_.findings,
           fmt::format("the grain at file sector {} reaches into the next one", sector));
    }
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

  void find_unused() {
    slots_.occupy_tails();
    for (const auto& [begin, end] : tables_in_data_area_)
      slots_.occupy(begin, end);
    const std::uint64_t end = file_size_ / grain_bytes_;
    for (std::uint64_t slot = ceil_div(data_begin_, grain_bytes_); slot < end;) {
      const std::uint64_t count = slots_.unused_from(slot, end);
      if (count != 0)
        add_unused(slot, count);
      slot += std::max<std::uint64_t>(count, 1);
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
  const GrainLayout& layout_;
  const GrainDirectory& directory_;
  const std::uint64_t extent_bytes_;
  const std::uint64_t file_size_;
  const std::uint64_t grain_bytes_;
  const std::uint64_t grain_sectors_;
  const std::uint64_t table_bytes_;
  const std::uint64_t data_begin_;
  GrainSlots slots_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> tables_in_data_area_;  // sectors
  std::vector<std::uint64_t> redundant_only_;
  std::vector<std::byte> primary_;
  std::vector<std::byte> redundant_;
  TableScan scan_;
};

}  // namespace

Result<TableScan> scan_tables(const File& file, const GrainLayout& layout,
                              std::uint64_t extent_bytes, const Progress& progress) {
  ASSIGN_OR_RETURN(std::uint64_t file_size, file.size());
  // No entry can name what lies further, however long a sparse file says it is.
  if (layout.format == EntryFormat::kSectors)
    file_size = std::min(file_size, kEndOfEntries + layout.grain_bytes);
  return Scanner(file, layout, extent_bytes, file_size).run(progress);
}

}  // namespace vmdk
