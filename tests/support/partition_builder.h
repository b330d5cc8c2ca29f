// Writes tables of partitions into the bytes of a disk: sound ones, and, by hand afterwards,
// others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "format/partition_table.h"

namespace vmdk::test {

using DiskBytes = std::vector<std::byte>;

// At byte `at`, at most four.
inline void put_mbr(std::span<std::byte> disk, std::size_t at,
                    const std::vector<MbrEntry>& entries) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto place = disk.subspan(at + 446 + 16 * i, 16);
    store_u8(place, 0, entries[i].state);
    store_u8(place, 4, entries[i].type);
    store_le32(place, 8, entries[i].first);
    store_le32(place, 12, entries[i].count);
  }
  store_le16(disk, at + 510, 0xAA55);
}

inline MbrEntry used(std::uint8_t type, std::uint32_t first, std::uint32_t count) {
  return {.state = 0, .type = type, .first = first, .count = count};
}

struct GptPart {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::u16string_view name = u"";
  unsigned number = 0;  // 0: behind the one before
};

struct GptSpec {
  std::size_t sector_size = 512;
  std::vector<GptPart> parts = {};
  std::uint32_t entry_count = 128;
  std::uint32_t entry_size = 128;
};

// Makes the header's checksum right again.
inline void seal_gpt_header(std::span<std::byte> header) {
  store_le32(header, 16, 0);
  store_le32(header, 16, gpt_checksum(0, header.first(92)));
}

inline void put_gpt_header(std::span<std::byte> disk, const GptSpec& spec, std::uint64_t own,
                           std::uint64_t other, std::uint64_t entries) {
  const auto header = disk.subspan(own * spec.sector_size, spec.sector_size);
  const auto magic = bytes_of("EFI PART");
  std::copy(magic.begin(), magic.end(), header.begin());
  store_le32(header, 8, 0x10000);
  store_le32(header, 12, 92);
  store_le64(header, 24, own);
  store_le64(header, 32, other);
  store_le64(header, 72, entries);
  store_le32(header, 80, spec.entry_count);
  store_le32(header, 84, spec.entry_size);
  store_le32(header, 88,
             gpt_checksum(0, disk.subspan(entries * spec.sector_size,
                                          std::size_t{spec.entry_count} * spec.entry_size)));
  seal_gpt_header(header);
}

inline void put_gpt_entries(std::span<std::byte> table, const GptSpec& spec) {
  unsigned number = 0;
  for (const GptPart& part : spec.parts) {
    number = part.number != 0 ? part.number : number + 1;
    const auto entry = table.subspan((number - 1) * spec.entry_size, spec.entry_size);
    for (std::size_t i = 0; i < 32; ++i)
      store_u8(entry, i, static_cast<std::uint8_t>(0xA0 + i));
    store_le64(entry, 32, part.first);
    store_le64(entry, 40, part.last);
    for (std::size_t i = 0; i < part.name.size(); ++i)
      store_le16(entry, 56 + 2 * i, part.name[i]);
  }
}

// Both copies, and the MBR before them.
inline void put_gpt(std::span<std::byte> disk, const GptSpec& spec) {
  const std::uint64_t sectors = disk.size() / spec.sector_size;
  const std::size_t length = std::size_t{spec.entry_count} * spec.entry_size;
  const std::uint64_t table = (length + spec.sector_size - 1) / spec.sector_size;
  put_mbr(disk, 0, {used(0xEE, 1, static_cast<std::uint32_t>(sectors - 1))});
  const std::uint64_t last = sectors - 1;
  put_gpt_entries(disk.subspan(2 * spec.sector_size, length), spec);
  put_gpt_entries(disk.subspan((last - table) * spec.sector_size, length), spec);
  put_gpt_header(disk, spec, 1, last, 2);
  put_gpt_header(disk, spec, last, 1, last - table);
}

}  // namespace vmdk::test
