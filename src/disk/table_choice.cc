#include "disk/table_choice.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/bytes.h"
#include "extent/grain_judge.h"

namespace vmdk {
namespace {

constexpr std::string_view kNeedsAWord =
    "the copies of its grain tables differ, and each can be right: --repair=tables chooses";

// Two copies of one table beside each other.
class CopyReader {
 public:
  explicit CopyReader(const CheckedExtent& extent)
      : file_(extent.file->file()),
        layout_(extent.layout),
        file_size_(extent.file_size),
        judge_(extent.layout, extent.bytes, extent.file_size),
        primary_(layout_.table_bytes()),
        redundant_(layout_.table_bytes()) {}

  // Requires: both directories name the table.
  Result<CopyDifference> compare(std::uint64_t table) {
    RETURN_IF_ERROR(read(layout_.directory.primary_table(table), primary_));
    RETURN_IF_ERROR(read(layout_.directory.redundant_table(table), redundant_));
    const std::uint64_t first = table * layout_.entries_per_table;
    const std::uint64_t entries = std::min<std::uint64_t>(
        layout_.entries_per_table, layout_.grain_count - std::min(layout_.grain_count, first));
    const std::uint64_t in_sector = kSectorSize / layout_.entry_bytes();
    CopyDifference difference;
    for (std::uint64_t i = 0; i < entries; i += in_sector)
      compare_sector(first, i, std::min(i + in_sector, entries), difference);
    return difference;
  }

 private:
  Status read(FileOffset at, std::span<std::byte> into) const {
    ASSIGN_OR_RETURN(const std::size_t got, file_.read(at, into));
    if (got != into.size())
      return Error::make(ErrorCode::kIo,
                         fmt::format("{}: was cut while it was being checked", file_.name()));
    return {};
  }

  // Bad: impossible.
  GrainEntry entry(std::uint64_t grain, std::span<const std::byte> table, std::uint64_t i) const {
    const std::uint64_t raw = layout_.raw_entry(table, i);
    const GrainEntry entry = layout_.decode(raw, file_size_);
    return judge_.fault_of(grain, raw, entry) != nullptr ? GrainEntry::bad(raw) : entry;
  }

  // Entries [begin, end) of the table, all of one sector; `first`: the grain of entry 0.
  void compare_sector(std::uint64_t first, std::uint64_t begin, std::uint64_t end,
                      CopyDifference& difference) const {
    bool impossible = false;
    bool differs = false;
    bool primary_tells = false;
    std::uint64_t primary_lacks = 0;
    for (std::uint64_t i = begin; i < end; ++i) {
      const GrainEntry primary = entry(first + i, primary_, i);
      const GrainEntry redundant = entry(first + i, redundant_, i);
      const GrainState ours = primary.state();
      const GrainState theirs = redundant.state();
      difference.primary_impossible |= ours == GrainState::kBad;
      difference.redundant_impossible |= theirs == GrainState::kBad;
      impossible |= ours == GrainState::kBad || theirs == GrainState::kBad;
      differs |= primary != redundant;
      primary_tells |= ours != GrainState::kNone;
      if (primary == redundant || ours == GrainState::kBad || theirs == GrainState::kBad)
        continue;
      if (ours == GrainState::kNone)
        ++primary_lacks;
      else if (theirs == GrainState::kNone)
        ++difference.redundant_lacks;
      else
        difference.both_tell = true;
    }
    difference.primary_lacks += primary_lacks;
    difference.primary_lacks_single |= primary_lacks != 0 && primary_tells;
    difference.possible_sectors_differ |= differs && !impossible;
  }

  const File& file_;
  const GrainLayout& layout_;
  const std::uint64_t file_size_;
  const GrainJudge judge_;
  std::vector<std::byte> primary_;
  std::vector<std::byte> redundant_;
};

TableVerdict unknown(std::uint64_t table, std::string_view what) {
  return {.why = fmt::format("of grain table {} {}", table, what)};
}

class Chooser {
 public:
  Chooser(CheckedExtent& extent, bool may_choose, const Progress& progress)
      : extent_(extent), may_choose_(may_choose), progress_(progress) {}

  Result<TableChoice> run() {
    RETURN_IF_ERROR(take_back_half_named());
    if (choice_.why.empty() && extent_.scan.unequal != 0 && !extent_.is_interrupted())
      RETURN_IF_ERROR(settle());
    if (choice_.why.empty() && !extent_.scan.sound())
      choice_.why = directory().has_redundant()
                        ? "its grain tables are damaged, and no copy of them is sound"
                        : "its grain tables are damaged, and it has one copy of them only";
    choice_.settled = choice_.why.empty();
    sort_changes();
    return std::move(choice_);
  }

 private:
  GrainDirectory& directory() noexcept { return extent_.layout.directory; }

  void sort_changes() {
    auto& turned = choice_.primary_changes;
    std::sort(turned.begin(), turned.end());
    const auto& unequal = extent_.scan.unequal_tables;  // ascending
    std::set_difference(unequal.begin(), unequal.end(), turned.begin(), turned.end(),
                        std::back_inserter(choice_.redundant_changes));
  }

  // Tables that were being added when their commit was cut short are missing again. What else only
  // one directory names stands in the way when it holds anything.
  Status take_back_half_named() {
    const HalfNamed half_named = extent_.half_named();
    if (half_named == HalfNamed::kByCommit && extent_.unclean) {
      directory().drop_half_named();
      return scan(Namers::kPrimary);
    }
    if (half_named != HalfNamed::kNone && extent_.damage() != 0)
      choice_.why = "some of its grain tables are named in one of its two directories only";
    return {};
  }

  Status scan(Namers namers) {
    ASSIGN_OR_RETURN(extent_.scan, scan_tables(extent_.file->file(), extent_.layout, extent_.bytes,
                                               progress_, namers));
    return {};
  }

  // Copies that differ, and no interrupted commit alone.
  Status settle() {
    CopyReader reader(extent_);
    std::vector<std::uint64_t> turned;
    for (const std::uint64_t table : extent_.scan.unequal_tables) {
      ASSIGN_OR_RETURN(const CopyDifference difference, reader.compare(table));
      TableVerdict verdict = judge_copies(difference, table, extent_.unclean);
      if (verdict.winner == TableWinner::kUnknown) {
        choice_.why = std::move(verdict.why);
        return {};
      }
      is_choice_ |= verdict.is_choice;
      if (verdict.winner == TableWinner::kRedundant)
        turned.push_back(table);
      else if (verdict.may_turn)
        may_turn_.push_back(table);
    }
    turn(turned);
    RETURN_IF_ERROR(scan(Namers::kBoth));
    if (!extent_.scan.sound())
      RETURN_IF_ERROR(leave_shared_grains());
    if (extent_.scan.sound() && is_choice_ && !may_choose_)
      choice_.why = kNeedsAWord;
    return {};
  }

  void turn(const std::vector<std::uint64_t>& tables) {
    for (const std::uint64_t table : tables)
      std::swap(directory().primary[table], directory().redundant[table]);
    auto& turned = choice_.primary_changes;
    turned.insert(turned.end(), tables.begin(), tables.end());
  }

  // Entries that are possible by themselves may name one grain twice. Which of the two is wrong is
  // known when the redundant tables do not.
  Status leave_shared_grains() {
    if (may_turn_.empty())
      return {};
    turn(may_turn_);
    RETURN_IF_ERROR(scan(Namers::kBoth));
    is_choice_ |= !extent_.unclean;
    return {};
  }

  CheckedExtent& extent_;
  const bool may_choose_;
  const Progress& progress_;
  TableChoice choice_;
  bool is_choice_ = false;
  std::vector<std::uint64_t> may_turn_;
};

}  // namespace

// A copy with an impossible entry is replaced as a whole, so the other one must not lack anything
// that it has: what is lost here cannot be found again. Under a clear mark there may be no further
// difference either: one of them would be a second damage. So whatever part of the new copy a crash
// lets through, the next run comes to the same verdict; or, under a set mark, to that of an
// interrupted commit, which the rest then is.
TableVerdict judge_copies(const CopyDifference& difference, std::uint64_t table, bool unclean) {
  if (difference.primary_impossible && difference.redundant_impossible)
    return unknown(table, "both copies are damaged");
  if (difference.primary_impossible) {
    if (difference.redundant_lacks != 0)
      return unknown(table, fmt::format("the primary copy is damaged, and the redundant one lacks "
                                        "{} grains that the primary one has",
                                        difference.redundant_lacks));
    if (!unclean && difference.possible_sectors_differ)
      return unknown(table,
                     "the primary copy is damaged, and the redundant one differs from it where "
                     "both can be right");
    return {.winner = TableWinner::kRedundant};
  }
  if (unclean)
    return {.winner = TableWinner::kPrimary,
            .may_turn = !difference.redundant_impossible && difference.redundant_lacks == 0};
  if (difference.primary_lacks == 0)
    return {.winner = TableWinner::kPrimary,
            .is_choice = difference.possible_sectors_differ,
            .may_turn = !difference.redundant_impossible && difference.redundant_lacks == 0};
  if (!difference.redundant_impossible && difference.redundant_lacks == 0 &&
      !difference.primary_lacks_single && !difference.both_tell)
    return {.winner = TableWinner::kRedundant, .is_choice = true};
  return unknown(table, fmt::format("the primary copy lacks {} grains that the redundant one has, "
                                    "and which of them is right cannot be told",
                                    difference.primary_lacks));
}

Result<TableChoice> choose_tables(CheckedExtent& extent, bool may_choose,
                                  const Progress& progress) {
  return Chooser(extent, may_choose, progress).run();
}

}  // namespace vmdk
