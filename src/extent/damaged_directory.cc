#include "extent/damaged_directory.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "base/shortage.h"

namespace vmdk {
namespace {

struct Area {
  std::uint64_t begin;  // sectors
  std::uint64_t end;

  bool meets(const Area& other) const noexcept { return begin < other.end && other.begin < end; }
};

bool meets_any(const Area& area, const std::vector<Area>& areas) noexcept {
  return std::any_of(areas.begin(), areas.end(),
                     [&](const Area& other) { return area.meets(other); });
}

// Only when all are judged: where they would lie is needed until then.
void forget_lost(std::vector<std::uint32_t>& places, const std::vector<bool>& lost) {
  for (std::size_t i = 0; i < places.size(); ++i)
    if (lost[i])
      places[i] = 0;
}

// Where both copies of the tables are, until each has a place of its own. Four bytes a table: there
// may be millions.
class Places {
 public:
  Places(DamagedDirectory& damaged, std::uint64_t table_sectors, std::uint64_t file_size)
      : damaged_(damaged), table_sectors_(table_sectors), file_sectors_(file_size / kSectorSize) {}

  // `first_usual`: sector where the first table of this copy lies by convention; 0: there is none.
  void add(bool redundant, std::uint64_t first_usual, const std::vector<Area>& metadata) {
    (redundant ? redundant_usual_ : primary_usual_) = first_usual;
    for (std::uint64_t i = 0; i < sectors(redundant).size(); ++i) {
      const TableCopy copy{i, redundant};
      if (is_there(copy) &&
          (area_of(copy).end > file_sectors_ || meets_any(area_of(copy), metadata)))
        lose(copy);
    }
  }

  // Programs that put tables elsewhere do so with both copies.
  void lose_strays() {
    if (!has_usual())
      return;
    for (std::uint64_t i = 0; i < sectors(false).size(); ++i) {
      const auto is_stray = [&](bool redundant) {
        return is_there({i, redundant}) && !is_usual({i, redundant});
      };
      const bool primary = is_stray(false);
      const bool redundant = is_stray(true);
      if (primary != redundant)
        lose({i, redundant});
    }
  }

  // Two tables in one place are both lost, unless one of them alone is where it should be. Ends the
  // work: the places of what is lost become 0.
  void separate() {
    const std::vector<std::uint32_t> order = in_order();
    std::size_t last = 0;
    for (std::size_t i = 1; i < order.size(); ++i) {
      const TableCopy before = copy_of(order[last]);
      const TableCopy here = copy_of(order[i]);
      const bool apart = !area_of(here).meets(area_of(before));
      const bool only_before = is_usual(before) && !is_usual(here);
      const bool only_here = is_usual(here) && !is_usual(before);
      if (!apart && !only_before)
        lose(before);
      if (!apart && !only_here)
        lose(here);
      if (apart || !only_before)
        last = i;
    }
    forget_lost(damaged_.directory.primary, damaged_.primary_lost);
    forget_lost(damaged_.directory.redundant, damaged_.redundant_lost);
  }

 private:
  // One copy of a table.
  struct TableCopy {
    std::uint64_t table;
    bool redundant;
  };

  static TableCopy copy_of(std::uint32_t number) noexcept { return {number / 2, number % 2 != 0}; }

  const std::vector<std::uint32_t>& sectors(bool redundant) const noexcept {
    return redundant ? damaged_.directory.redundant : damaged_.directory.primary;
  }

  std::vector<bool>& lost(bool redundant) const noexcept {
    return redundant ? damaged_.redundant_lost : damaged_.primary_lost;
  }

  bool is_there(TableCopy copy) const noexcept {
    return copy.table < sectors(copy.redundant).size() &&
           sectors(copy.redundant)[copy.table] != 0 && !lost(copy.redundant)[copy.table];
  }

  Area area_of(TableCopy copy) const noexcept {
    const std::uint64_t begin = sectors(copy.redundant)[copy.table];
    return {begin, begin + table_sectors_};
  }

  // Whether it lies where tables of this copy lie by convention.
  bool is_usual(TableCopy copy) const noexcept {
    const std::uint64_t first = copy.redundant ? redundant_usual_ : primary_usual_;
    return first != 0 && area_of(copy).begin == first + copy.table * table_sectors_;
  }

  bool has_usual() const {
    bool found = false;
    visit_all([&](TableCopy copy) { found = found || is_usual(copy); });
    return found;
  }

  void lose(TableCopy copy) const { lost(copy.redundant)[copy.table] = true; }

  template <class Visit>
  void visit_all(Visit visit) const {
    for (const bool redundant : {false, true})
      for (std::uint64_t i = 0; i < sectors(redundant).size(); ++i)
        if (is_there({i, redundant}))
          visit(TableCopy{i, redundant});
  }

  // The copies that are there, in the order of the file: twice the table, and one more for the
  // redundant copy.
  std::vector<std::uint32_t> in_order() const {
    std::vector<std::uint32_t> order;
    std::size_t count = 0;
    visit_all([&](TableCopy) { ++count; });
    order.reserve(count);
    visit_all([&](TableCopy copy) {
      order.push_back(static_cast<std::uint32_t>(2 * copy.table + (copy.redundant ? 1 : 0)));
    });
    const auto lies_before = [this](std::uint32_t a, std::uint32_t b) {
      return area_of(copy_of(a)).begin < area_of(copy_of(b)).begin;
    };
    if (!std::is_sorted(order.begin(), order.end(), lies_before))
      std::sort(order.begin(), order.end(), lies_before);
    return order;
  }

  DamagedDirectory& damaged_;
  const std::uint64_t table_sectors_;
  const std::uint64_t file_sectors_;
  std::uint64_t primary_usual_ = 0;
  std::uint64_t redundant_usual_ = 0;
};

// A hosted directory, its tables behind it.
struct Copy {
  Sectors at;
  std::uint64_t directory_sectors = 0;
  bool there = false;
  std::vector<std::uint32_t>* places = nullptr;

  Area area() const noexcept { return {at.count(), at.count() + directory_sectors}; }

  std::uint64_t first_table() const noexcept { return at.count() + directory_sectors; }

  Area area_with_tables() const noexcept {
    constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
    return {at.count(), first_table() + places->size() * kTableSectors};
  }

  // All tables are where they should be.
  bool convinces() const noexcept {
    constexpr std::uint64_t kTableSectors = kGrainTableSize / kSectorSize;
    std::uint64_t usual = first_table();
    for (const std::uint32_t place : *places) {
      if (place != usual)
        return false;
      usual += kTableSectors;
    }
    return there;
  }
};

// False: it is not to be read, and all its tables are lost.
Result<bool> read_entries(const File& file, Sectors at, std::uint64_t count,
                          std::vector<std::uint32_t>& entries, std::vector<bool>& lost) {
  entries.assign(count, 0);
  const auto bytes = std::as_writable_bytes(std::span(entries));
  const auto got = file.read(FileOffset(at.count() * kSectorSize), bytes);
  if (!got && is_shortage(got.error()))
    return got.error();
  const bool whole = got && *got == bytes.size();
  if (!whole)
    entries.assign(count, 0);
  lost.assign(count, !whole);
  return whole;
}

// Tables that have one place.
void lose_doubles(std::vector<std::uint32_t>& places, std::vector<bool>& lost) {
  std::vector<std::uint32_t> order;
  order.reserve(places.size());
  for (std::size_t i = 0; i < places.size(); ++i)
    if (places[i] != 0)
      order.push_back(static_cast<std::uint32_t>(i));
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return places[a] < places[b]; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (places[order[i]] == places[order[i - 1]])
      lost[order[i]] = lost[order[i - 1]] = true;
  forget_lost(places, lost);
}

Error no_directory(const File& file) {
  return Error::make(ErrorCode::kCorrupt,
                     fmt::format("{}: no grain directory can be read", file.name()));
}

}  // namespace

Result<DamagedDirectory> read_damaged_directory(const File& file, const SparseHeader& header,
                                                std::uint64_t file_size) {
  DamagedDirectory damaged;
  GrainDirectory& directory = damaged.directory;
  const std::uint64_t count = header.table_count();
  const std::uint64_t sectors = header.directory_sectors();
  std::vector<Area> metadata{{0, 1}};
  if (header.descriptor_offset.count() != 0)
    metadata.push_back({header.descriptor_offset.count(),
                        header.descriptor_offset.count() + header.descriptor_size.count()});
  const auto can_be = [&](Sectors at) {
    const Area area{at.count(), at.count() + sectors};
    return at.count() < kDirectoryAtEnd && area.end * kSectorSize <= file_size &&
           !meets_any(area, metadata);
  };
  const bool copies = header.has_redundant_tables();
  Copy primary{header.gd_offset, sectors, can_be(header.gd_offset), &directory.primary};
  Copy redundant{header.rgd_offset, sectors, copies && can_be(header.rgd_offset),
                 &directory.redundant};
  if (!primary.there && !redundant.there)
    return no_directory(file);
  directory.primary_at = FileOffset(header.gd_offset.count() * kSectorSize);
  directory.redundant_at = FileOffset(header.rgd_offset.count() * kSectorSize);
  if (primary.there) {
    ASSIGN_OR_RETURN(primary.there, read_entries(file, primary.at, count, directory.primary,
                                                 damaged.primary_lost));
  }
  if (redundant.there) {
    ASSIGN_OR_RETURN(redundant.there, read_entries(file, redundant.at, count, directory.redundant,
                                                   damaged.redundant_lost));
  }
  // A directory in the midst of the other and its tables: the place in the header is wrong.
  const bool primary_convinces = primary.convinces();
  const bool redundant_convinces = redundant.convinces();
  if (redundant_convinces && !primary_convinces && primary.there)
    primary.there = !primary.area().meets(redundant.area_with_tables());
  if (primary_convinces && !redundant_convinces && redundant.there)
    redundant.there = !redundant.area().meets(primary.area_with_tables());
  if ((!primary.there && !redundant.there) ||
      (primary.there && redundant.there && primary.area().meets(redundant.area())))
    return no_directory(file);
  const auto keep = [&](const Copy& copy, std::vector<bool>& lost) {
    if (copy.there)
      return metadata.push_back(copy.area());
    copy.places->assign(count, 0);
    lost.assign(count, true);
  };
  keep(primary, damaged.primary_lost);
  if (copies)
    keep(redundant, damaged.redundant_lost);
  Places places(damaged, kGrainTableSize / kSectorSize, file_size);
  places.add(false, primary.first_table(), metadata);
  places.add(true, redundant.first_table(), metadata);
  if (copies)
    places.lose_strays();
  places.separate();
  return damaged;
}

Result<DamagedDirectory> read_damaged_directory(const File& file, const CowdHeader& header,
                                                std::uint64_t file_size) {
  if (header.metadata_end() > file_size)
    return no_directory(file);
  DamagedDirectory damaged;
  damaged.directory.primary_at = FileOffset(header.gd_offset.count() * kSectorSize);
  ASSIGN_OR_RETURN(const bool whole, read_entries(file, header.gd_offset, header.table_count(),
                                                  damaged.directory.primary, damaged.primary_lost));
  if (!whole)
    return no_directory(file);
  Places places(damaged, ceil_div(header.entries_per_table() * 4, kSectorSize), file_size);
  places.add(false, 0,
             {{0, kCowdHeaderSize / kSectorSize},
              {header.gd_offset.count(), header.metadata_end() / kSectorSize}});
  places.separate();
  return damaged;
}

Result<DamagedDirectory> read_damaged_directory(const File& file, const SeSparseHeader& header,
                                                std::uint64_t file_size) {
  RETURN_IF_ERROR(validate_against_file(header, file_size));
  DamagedDirectory damaged;
  GrainDirectory& directory = damaged.directory;
  directory.primary_at = FileOffset(header.directory.begin());
  directory.base = header.tables.begin();
  directory.unit = kSeSparseTableSize;
  directory.first = 1;
  const std::uint64_t count = header.table_count();
  constexpr std::uint64_t kEntriesPerRead = 64 * kKiB;
  std::vector<std::byte> bytes;
  directory.primary.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i % kEntriesPerRead == 0) {
      bytes.resize(std::min(count - i, kEntriesPerRead) * kSeSparseEntrySize);
      const auto got = file.read(directory.primary_at + i * kSeSparseEntrySize, bytes);
      if (!got && is_shortage(got.error()))
        return got.error();
      if (!got || *got != bytes.size())
        return no_directory(file);
    }
    const auto place = sesparse_place(
        file, header, i, load_le64(bytes, i % kEntriesPerRead * kSeSparseEntrySize), file_size);
    directory.primary.push_back(place ? *place : 0);
    damaged.primary_lost.push_back(!place);
  }
  lose_doubles(directory.primary, damaged.primary_lost);
  return damaged;
}

}  // namespace vmdk
