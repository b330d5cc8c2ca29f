// The grain tables of a damaged extent: of each the copy that is sound, else what agrees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>

#include "extent/damaged_directory.h"
#include "extent/grain_judge.h"
#include "extent/grain_layout.h"
#include "extent/grain_slots.h"
#include "extent/salvage_notes.h"
#include "extent/table_source.h"

namespace vmdk {

// A copy is sound when each of its entries is legal and names a grain of its own, and when none of
// its sectors is empty where the other copy has entries: that is what a program leaves that copies
// a failing disk. A table is read by its primary copy, by the redundant one when only that is
// sound, and entry by entry when neither is: where just one copy has a legal entry that one counts,
// where both have and differ, none. An entry that is not known reads as an error, never as a hole.
class SalvagedTables : public TableSource {
 public:
  // `layout`: with the directory that `damaged` had. Bytes: `extent_bytes` of the disk. `file`
  // outlives this.
  SalvagedTables(const File& file, GrainLayout layout, DamagedDirectory damaged,
                 std::uint64_t extent_bytes, std::uint64_t file_size);

  // Reads all tables, a few times; call it once, before any other. What is not read by its primary
  // copy alone goes to `notes`. Memory: that of the directories, one bit a grain slot near grains
  // in use, and eight bytes for each place that two entries name.
  void choose(SalvageNotes& notes);

  Status read(std::uint64_t table, std::span<GrainEntry> into) const override;

 private:
  enum class Choice : std::uint8_t { kPrimary, kRedundant, kMerged, kUnreadable };

  // One copy of a table.
  struct Copy {
    bool there = false;      // its entries can be looked at
    std::string fault = {};  // empty: it is sound
    std::vector<std::byte> bytes = {};
  };

  bool has_redundant() const noexcept { return layout_.directory.has_redundant(); }

  // Where slots are counted from, in sectors.
  std::uint64_t origin() const noexcept {
    return layout_.format == EntryFormat::kSectors ? 0 : layout_.data_begin / kSectorSize;
  }

  bool is_shared(GrainEntry entry) const noexcept;

  std::uint64_t entries_of(std::uint64_t table) const noexcept;
  GrainEntry entry_of(std::uint64_t grain, const Copy& copy, std::uint64_t index) const noexcept;
  Copy read_copy(std::uint64_t table, bool redundant) const;
  Copy read_bytes(std::uint32_t place) const;
  void judge(std::uint64_t table, Copy& copy) const;
  void find_empty_sectors(Copy& primary, Copy& redundant) const;
  GrainEntry merged(std::uint64_t grain, const Copy& primary, const Copy& redundant,
                    std::uint64_t index) const noexcept;
  bool fill(std::uint64_t table, std::span<GrainEntry> into) const;
  void choose_copy(std::uint64_t table, SalvageNotes& notes);
  void note_choice(std::uint64_t table, const Copy& primary, const Copy& redundant,
                   SalvageNotes& notes) const;
  // Finds grains that more than one entry names. Returns whether there are any.
  bool find_shared();
  bool can_do_without_shared(std::uint64_t table) const;
  void leave_shared(SalvageNotes& notes);
  void note_shared(SalvageNotes& notes) const;

  const File& file_;
  const GrainLayout layout_;
  const DamagedDirectory damaged_;
  const std::uint64_t extent_bytes_;
  const std::uint64_t file_size_;
  const GrainJudge judge_;
  std::vector<Choice> choices_;
  std::unique_ptr<GrainSlots> slots_;  // while choosing
  std::vector<std::uint64_t> shared_;  // slots that more than one entry names, ascending
};

}  // namespace vmdk
