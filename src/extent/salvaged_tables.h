// The grain tables of a damaged extent: of each the copy that is sound, else what agrees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>

#include "extent/damaged_directory.h"
#include "extent/grain_judge.h"
#include "extent/grain_layout.h"
#include "extent/salvage_notes.h"
#include "extent/shared_grains.h"
#include "extent/table_source.h"

namespace vmdk {

// A copy is sound when each of its entries is legal and names a grain of its own, and when none of
// its sectors is empty where the other copy has entries: that is what programs that copy failing
// disks leave. A table is read by its primary copy, or by the redundant one when only that is
// sound; what it lacks and the primary one has is unknown then. When neither is, or when both are
// and differ though the extent was closed cleanly, it is read entry by entry: an entry that only
// one copy can tell counts, and so does one that the other copy lacks because its sector is empty
// or because it is the redundant one, which QEMU writes last. Any other difference makes the grain
// unknown, which reads as an error, never as a hole.
class SalvagedTables : public TableSource {
 public:
  // `layout`: with the directory that `damaged` had. Bytes: `extent_bytes` of the disk. `unclean`:
  // the last session did not end. `file` outlives this.
  SalvagedTables(const File& file, GrainLayout layout, DamagedDirectory damaged,
                 std::uint64_t extent_bytes, std::uint64_t file_size, bool unclean);

  // Reads all tables, those that hold something a few times; call it once, before any other. What
  // is not read by its primary copy alone goes to `notes`. Memory: that of the directories, one bit
  // a grain slot near grains in use, and eight bytes for each place that two entries name;
  // kUnsupported when all that is salvaged of a chain would take more than a bound. What this
  // machine has no room for (ENOMEM) is an error, and no damage.
  Status choose(SalvageNotes& notes);

  // No directory names it, and neither entry is lost; or choose() saw that it is empty.
  bool is_absent(std::uint64_t table) const noexcept override;
  Status read(std::uint64_t table, std::span<GrainEntry> into) const override;

 private:
  enum class Choice : std::uint8_t {
    kPrimary,
    kRedundant,
    kRedundantButHoles,  // kRedundant, but where the primary copy has a legal entry is no hole
    kMerged,
    kUnreadable,
    kNothing  // both copies are sound and empty
  };

  // One copy of a table.
  struct Copy {
    bool there = false;      // its entries can be looked at
    std::string fault = {};  // empty: it is sound
    std::vector<std::byte> bytes = {};
  };

  bool has_redundant() const noexcept { return layout_.directory.has_redundant(); }

  GrainEntry entry_of(std::uint64_t grain, const Copy& copy, std::uint64_t index) const noexcept;
  // An error is one of this machine; what cannot be read else is a fault of the copy.
  Result<Copy> read_copy(std::uint64_t table, bool redundant) const;
  Result<Copy> read_bytes(std::uint32_t place) const;
  void judge(std::uint64_t table, Copy& copy) const;
  void find_empty_sectors(std::uint64_t table, Copy& primary, Copy& redundant) const;
  bool tells(std::uint64_t table, const Copy& copy, std::size_t at) const noexcept;
  GrainEntry merged(std::uint64_t grain, const Copy& primary, const Copy& redundant,
                    std::uint64_t index) const noexcept;
  GrainEntry one_lacks(const Copy& lacking, GrainEntry other, bool primary_lacks,
                       std::uint64_t index) const noexcept;
  GrainEntry chosen(Choice choice, std::uint64_t grain, const Copy& primary, const Copy& redundant,
                    std::uint64_t index) const noexcept;
  bool is_empty(const Copy& copy) const noexcept;
  // False: it cannot be read now.
  Result<bool> fill(std::uint64_t table, std::span<GrainEntry> into) const;
  Status choose_copy(std::uint64_t table, SalvageNotes& notes);
  void note(std::uint64_t table, std::string_view text, SalvageNotes& notes) const;
  void note_choice(std::uint64_t table, const Copy& primary, const Copy& redundant,
                   SalvageNotes& notes) const;
  // Finds the grains that more than one entry names.
  Status find_shared();
  Status require_memory() const;
  std::uint64_t kept_memory() const noexcept;
  Result<bool> names_shared(std::uint64_t table) const;
  bool takes_others(std::uint64_t table, const Copy& redundant, const Copy& primary) const;
  // Those of differing_ whose primary copy names what others have are read by the redundant one.
  // The others stay there.
  Status leave_shared(SalvageNotes& notes);
  Status settle_differing(std::uint64_t table, SalvageNotes& notes);
  Status note_shared(SalvageNotes& notes) const;
  void note_redundant(SalvageNotes& notes) const;

  const File& file_;
  const GrainLayout layout_;
  const DamagedDirectory damaged_;
  const std::uint64_t extent_bytes_;
  const std::uint64_t file_size_;
  const bool unclean_;
  const GrainJudge judge_;
  std::vector<Choice> choices_;
  SharedGrains shared_;
  std::vector<std::uint64_t> differing_;  // tables of which both copies are legal and differ
  std::uint64_t kept_by_others_ = 0;      // bytes, of SalvageNotes
  std::uint64_t damaged_redundant_ = 0;   // tables of which only that copy is
};

}  // namespace vmdk
