// How a table of partitions is found and read. Where tables contradict each other or themselves, it
// is done as Linux and fdisk do it, so that numbers mean the same partitions everywhere.
#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include <vmdk/partitions.h>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "format/partition_table.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kLargeSector = 4096;
constexpr std::size_t kMaxWarnings = 16;
constexpr std::size_t kMaxLogical = 128;
constexpr unsigned kFirstLogical = 5;
constexpr std::uint64_t kMaxGptEntries = 8192;
constexpr std::size_t kPiece = 64 * kKiB;  // of the entries of a GPT

class TableReader {
 public:
  explicit TableReader(Disk& disk) : disk_(disk) {}

  Result<PartitionTable> read();

 private:
  Result<bool> load_sector(std::uint64_t number, std::vector<std::byte>& sector);
  void warn(std::string text);
  void add(Partition partition, std::uint64_t first, std::uint64_t count);

  Status read_mbr(const MbrEntries& entries);
  Status read_logical(std::uint64_t extended, unsigned number);

  Status read_gpt(std::uint64_t stated_sector_size);
  Result<std::optional<GptHeader>> load_gpt_header(std::uint64_t number);
  Result<bool> read_gpt_by(const GptHeader& header);
  Result<bool> read_gpt_in_sectors();
  Status check_other_gpt(const GptHeader& header);
  void add_gpt_entries(std::span<const std::byte> bytes, const GptHeader& header,
                       unsigned first_number);

  std::uint64_t last_sector() const noexcept { return disk_.capacity() / table_.sector_size - 1; }

  Disk& disk_;
  PartitionTable table_;
  std::size_t warnings_left_out_ = 0;
};

// False: it is not, or not whole, on the disk.
Result<bool> TableReader::load_sector(std::uint64_t number, std::vector<std::byte>& sector) {
  sector.resize(table_.sector_size);
  const auto at = checked_mul(number, table_.sector_size);
  if (!at || *at >= disk_.capacity())
    return false;
  ASSIGN_OR_RETURN(const std::size_t got, disk_.read(DiskOffset(*at), sector));
  return got == sector.size();
}

void TableReader::warn(std::string text) {
  if (table_.warnings.size() < kMaxWarnings)
    table_.warnings.push_back(std::move(text));
  else
    ++warnings_left_out_;
}

// As Linux does it, a partition ends where the disk ends, and one that begins behind it is none.
void TableReader::add(Partition partition, std::uint64_t first, std::uint64_t count) {
  const auto begin = checked_mul(first, table_.sector_size);
  if (!begin || *begin >= disk_.capacity()) {
    warn(fmt::format("partition {} begins behind the end of the disk", partition.number));
    return;
  }
  if (table_.partitions.size() >= kMaxPartitions) {
    warn(fmt::format("partition {} is one of more than {}", partition.number, kMaxPartitions));
    return;
  }
  const std::uint64_t room = disk_.capacity() - *begin;
  const auto length = checked_mul(count, table_.sector_size);
  if (!length || *length > room)
    warn(fmt::format("partition {} goes on behind the end of the disk", partition.number));
  partition.begin = DiskOffset(*begin);
  partition.length = std::min(length.value_or(room), room);
  table_.partitions.push_back(std::move(partition));
}

// --- MBR -----------------------------------------------------------------------------------------

Partition partition_of(const MbrEntry& entry, unsigned number) {
  return {.number = number,
          .begin = {},
          .length = 0,
          .type = fmt::format("0x{:02x}", entry.type),
          .id = {},
          .name = {},
          .active = entry.is_active(),
          .extended = entry.is_extended()};
}

Status TableReader::read_mbr(const MbrEntries& entries) {
  table_.kind = PartitionTableKind::kMbr;
  std::optional<std::pair<std::uint64_t, unsigned>> extended;
  for (unsigned i = 0; i < entries.size(); ++i) {
    if (!entries[i].is_used())
      continue;
    add(partition_of(entries[i], i + 1), entries[i].first, entries[i].count);
    if (!entries[i].is_extended())
      continue;
    if (extended)
      warn(
          fmt::format("partition {} is a second extended one: what lies in it is left out", i + 1));
    else
      extended = std::pair(std::uint64_t{entries[i].first}, i + 1);
  }
  return extended ? read_logical(extended->first, extended->second) : Status();
}

struct LogicalTable {
  std::optional<MbrEntry> data;  // the partition
  std::optional<MbrEntry> link;  // to the next table
};

LogicalTable roles_of(const MbrEntries& entries) {
  LogicalTable table;
  for (const MbrEntry& entry : entries) {
    auto& role = entry.is_extended() ? table.link : table.data;
    if (entry.is_used() && !role)
      role = entry;
  }
  return table;
}

// Each logical partition has a table of its own with one entry for it and one for the next table.
// The numbers count what is there: a table without a partition takes none.
Status TableReader::read_logical(std::uint64_t extended, unsigned number) {
  std::vector<std::uint64_t> visited;
  std::vector<std::byte> sector;
  unsigned next_number = kFirstLogical;
  for (std::uint64_t here = extended;;) {
    if (std::find(visited.begin(), visited.end(), here) != visited.end()) {
      warn(fmt::format("the logical partitions of partition {} lead back to themselves", number));
      return {};
    }
    if (visited.size() == kMaxLogical) {
      warn(fmt::format("partition {} has more than {} logical ones", number, kMaxLogical));
      return {};
    }
    ASSIGN_OR_RETURN(const bool there, load_sector(here, sector));
    const auto entries = there ? decode_mbr(sector) : std::nullopt;
    if (!entries) {
      // Without a warning: an extended partition in which nothing was ever made.
      if (!(visited.empty() && there && all_zero(sector)))
        warn(fmt::format("logical partitions are missing: from number {} on", next_number));
      return {};
    }
    visited.push_back(here);
    const LogicalTable table = roles_of(*entries);
    if (table.data)
      add(partition_of(*table.data, next_number++), here + table.data->first, table.data->count);
    if (!table.link)
      return {};
    here = extended + table.link->first;
  }
}

// --- GPT -----------------------------------------------------------------------------------------

Result<std::optional<GptHeader>> TableReader::load_gpt_header(std::uint64_t number) {
  std::vector<std::byte> sector;
  ASSIGN_OR_RETURN(const bool there, load_sector(number, sector));
  if (!there)
    return std::optional<GptHeader>();
  auto header = decode_gpt_header(sector);
  if (header && header->own_sector != number)
    header.reset();
  return header;
}

void TableReader::add_gpt_entries(std::span<const std::byte> bytes, const GptHeader& header,
                                  unsigned first_number) {
  for (std::size_t at = 0; at < bytes.size(); at += header.entry_size) {
    const auto number = first_number + static_cast<unsigned>(at / header.entry_size);
    const auto entry = decode_gpt_entry(bytes.subspan(at, header.entry_size));
    if (!entry)
      continue;
    if (entry->first == 0 || entry->last < entry->first) {
      warn(fmt::format("partition {} ends before it begins", number));
      continue;
    }
    add({.number = number,
         .begin = {},
         .length = 0,
         .type = entry->type,
         .id = entry->id,
         .name = entry->name,
         .active = false,
         .extended = false},
        entry->first, entry->last - entry->first + 1);
  }
}

// False: its entries are not those that it was made for.
Result<bool> TableReader::read_gpt_by(const GptHeader& header) {
  const auto begin = checked_mul(header.entries_sector, table_.sector_size);
  if (!begin || header.entry_count > kMaxGptEntries)
    return false;
  std::vector<std::byte> piece(kPiece / header.entry_size * header.entry_size);
  const std::uint64_t size = std::uint64_t{header.entry_count} * header.entry_size;
  if (*begin > disk_.capacity() || size > disk_.capacity() - *begin)
    return false;
  std::uint32_t sum = 0;
  for (std::uint64_t done = 0; done < size; done += piece.size()) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), size - done));
    ASSIGN_OR_RETURN(const std::size_t got, disk_.read(DiskOffset(*begin + done), part));
    if (got != part.size())
      return false;
    sum = gpt_checksum(sum, part);
    add_gpt_entries(part, header, static_cast<unsigned>(done / header.entry_size) + 1);
  }
  if (sum == header.entries_checksum)
    return true;
  table_.partitions.clear();
  table_.warnings.clear();
  warnings_left_out_ = 0;
  return false;
}

// The first table was read by; a second that says something else is somebody's mistake to come.
Status TableReader::check_other_gpt(const GptHeader& header) {
  ASSIGN_OR_RETURN(const auto other, load_gpt_header(header.other_sector));
  if (!other || other->entries_checksum != header.entries_checksum)
    warn("the second copy of the GPT is missing or differs from the first");
  return {};
}

// By the first header that fits its entries; the second one is in the last sector.
Result<bool> TableReader::read_gpt_in_sectors() {
  if (disk_.capacity() < 3 * table_.sector_size)
    return false;
  ASSIGN_OR_RETURN(const auto primary, load_gpt_header(1));
  if (primary) {
    ASSIGN_OR_RETURN(const bool done, read_gpt_by(*primary));
    if (done) {
      RETURN_IF_ERROR(check_other_gpt(*primary));
      return true;
    }
  }
  ASSIGN_OR_RETURN(const auto backup, load_gpt_header(last_sector()));
  if (!backup)
    return false;
  ASSIGN_OR_RETURN(const bool done, read_gpt_by(*backup));
  if (done)
    warn("the first copy of the GPT is damaged: the second one, at the end of the disk, counts");
  return done;
}

Status TableReader::read_gpt(std::uint64_t stated_sector_size) {
  const std::uint64_t other = stated_sector_size == kSectorSize ? kLargeSector : kSectorSize;
  for (const std::uint64_t size : {stated_sector_size, other}) {
    table_.sector_size = size;
    ASSIGN_OR_RETURN(const bool done, read_gpt_in_sectors());
    if (done) {
      table_.kind = PartitionTableKind::kGpt;
      return {};
    }
  }
  table_.sector_size = stated_sector_size;
  warn("the disk says that it has a GPT, and neither copy of it is sound");
  return {};
}

Result<PartitionTable> TableReader::read() {
  const DiskInfo info = disk_.info();
  if (!info.layers.empty())
    table_.sector_size = info.layers.front().logical_sector_size;
  std::vector<std::byte> sector;
  ASSIGN_OR_RETURN(const bool there, load_sector(0, sector));
  const auto entries = there ? decode_mbr(sector) : std::nullopt;
  if (!entries || !has_legal_states(*entries))
    return std::move(table_);
  // Others beside it are for systems that know no GPT.
  const bool protective = std::any_of(entries->begin(), entries->end(), [](const MbrEntry& entry) {
    return entry.is_protective() && entry.first == 1;
  });
  if (protective)
    RETURN_IF_ERROR(read_gpt(table_.sector_size));
  else if (!is_boot_sector_of_file_system(sector))
    RETURN_IF_ERROR(read_mbr(*entries));
  if (warnings_left_out_ > 0)
    table_.warnings.push_back(fmt::format("{} more warnings about partitions", warnings_left_out_));
  return std::move(table_);
}

}  // namespace

std::string to_string(PartitionTableKind kind) {
  switch (kind) {
    case PartitionTableKind::kNone:
      return "none";
    case PartitionTableKind::kMbr:
      return "mbr";
    case PartitionTableKind::kGpt:
      return "gpt";
  }
  return "?";
}

Result<PartitionTable> read_partition_table(Disk& disk) {
  return TableReader(disk).read();
}

}  // namespace vmdk
