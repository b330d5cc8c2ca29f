// Which copy of a grain table counts, where the two say different things.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "disk/checked_extent.h"

namespace vmdk {

// How two copies of one table differ. An entry is impossible when it cannot be right by itself
// (GrainJudge); a copy lacks what the other one has when it says "none" and the other has a
// possible entry.
struct CopyDifference {
  bool primary_impossible = false;
  bool redundant_impossible = false;
  std::uint64_t primary_lacks = 0;
  std::uint64_t redundant_lacks = 0;
  // Some of what the primary copy lacks is in a sector in which it has entries: no sector of zeros
  // that somebody left in the place of a lost one.
  bool primary_lacks_single = false;
  bool both_tell = false;  // two possible entries, neither of them none
  // There is a difference in a sector in which neither has an impossible entry.
  bool possible_sectors_differ = false;
};

// Whose table counts; the other one is made equal to it.
enum class TableWinner : std::uint8_t { kPrimary, kRedundant, kUnknown };

struct TableVerdict {
  TableWinner winner = TableWinner::kUnknown;
  // Both copies can be right, and readers see the primary one: to settle it is a choice, which
  // somebody has to ask for.
  bool is_choice = false;
  // The redundant copy would do as well, should the primary one share grains with other tables.
  bool may_turn = false;
  std::string why = {};  // of kUnknown: "of grain table 7 ..."
};

// The rules, from the difference alone. `unclean`: the extent carries the mark, so that what
// differs may be an interrupted commit, of which readers see the primary tables.
TableVerdict judge_copies(const CopyDifference& difference, std::uint64_t table, bool unclean);

// Where `settled`, `extent.layout` has as primary the copies that count, as redundant those that
// are to become equal to them, without tables that one directory alone names by an interrupted
// commit; and `extent.scan` is of those tables, which are sound.
struct TableChoice {
  bool settled = false;
  std::string why = {};  // it is not: a clause
  // Tables of which the redundant copy, and of which the primary one, is to change.
  std::vector<std::uint64_t> redundant_changes = {};
  std::vector<std::uint64_t> primary_changes = {};
};

// Reads the tables that differ, and scans once or twice more where one is damaged. Writes nothing.
// `may_choose`: somebody asked for the choices. An error only when reading fails.
Result<TableChoice> choose_tables(CheckedExtent& extent, bool may_choose, const Progress& progress);

}  // namespace vmdk
