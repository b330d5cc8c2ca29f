// Tables of partitions: MBR, the tables of logical partitions (EBR), and GPT. Bytes to values; what
// the values mean for a disk is judged above.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <vmdk/units.h>

namespace vmdk {

// One of the four places in the first sector of a disk or of an extended partition. Counts are of
// the disk's own sectors, whose size the table does not state.
struct MbrEntry {
  std::uint8_t state = 0;   // 0, or 0x80: the one to boot from
  std::uint8_t type = 0;    // 0: the place is free
  std::uint32_t first = 0;  // in an EBR: from the EBR, or, of a link, from the extended partition
  std::uint32_t count = 0;

  bool is_active() const noexcept { return state == 0x80; }

  bool is_used() const noexcept { return type != 0 && count != 0; }

  bool is_extended() const noexcept { return type == 0x05 || type == 0x0F || type == 0x85; }

  // Stands for all of a disk with a GPT.
  bool is_protective() const noexcept { return type == 0xEE; }
};

using MbrEntries = std::array<MbrEntry, 4>;

// nullopt: the sector, of 512 bytes or more, has no signature.
std::optional<MbrEntries> decode_mbr(std::span<const std::byte> sector) noexcept;

// Whether the states are such as a table has. Boot code of a file system, which has the same
// signature, has other bytes there.
bool has_legal_states(const MbrEntries& entries) noexcept;

// Whether the first sector of a disk is that of a file system without a table around it. FAT, exFAT
// and NTFS end theirs with the same signature as an MBR.
bool is_boot_sector_of_file_system(std::span<const std::byte> sector) noexcept;

struct GptHeader {
  std::uint64_t own_sector = 0;
  std::uint64_t other_sector = 0;  // of the other header
  std::uint64_t entries_sector = 0;
  std::uint32_t entry_count = 0;
  std::uint32_t entry_size = 0;  // bytes: a multiple of 8, 128 or more
  std::uint32_t entries_checksum = 0;
};

// nullopt: none, or one whose checksum or numbers cannot be right. `sector` is one of the disk's.
std::optional<GptHeader> decode_gpt_header(std::span<const std::byte> sector) noexcept;

inline constexpr std::size_t kMinGptEntry = 128;  // bytes

struct GptEntry {
  std::string type;  // a GUID
  std::string id;    // another
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // belongs to it
  std::string name;        // UTF-8
};

// nullopt: the place is free. `bytes` has kMinGptEntry or more.
std::optional<GptEntry> decode_gpt_entry(std::span<const std::byte> bytes);

// The checksum of GPT, continued: begin with 0.
std::uint32_t gpt_checksum(std::uint32_t so_far, std::span<const std::byte> bytes) noexcept;

}  // namespace vmdk
