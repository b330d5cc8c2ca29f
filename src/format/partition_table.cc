#include "format/partition_table.h"

#include <libdeflate.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "base/bytes.h"

namespace vmdk {
namespace {

constexpr std::size_t kMbrEntriesAt = 446;
constexpr std::size_t kMbrEntrySize = 16;
constexpr std::size_t kSignatureAt = 510;
constexpr std::uint16_t kSignature = 0xAA55;

constexpr std::string_view kGptMagic = "EFI PART";
constexpr std::size_t kMinGptHeader = 92;
constexpr std::size_t kGptChecksumAt = 16;
constexpr std::uint32_t kMaxGptEntry = 4096;
constexpr std::size_t kGptNameUnits = 36;

bool has_text(std::span<const std::byte> bytes, std::size_t at, std::string_view text) noexcept {
  return std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

// Of the GUIDs on disk the first three groups are little-endian numbers.
std::string guid_text(std::span<const std::byte> bytes) {
  std::string text = fmt::format("{:08X}-{:04X}-{:04X}-", load_le32(bytes, 0), load_le16(bytes, 4),
                                 load_le16(bytes, 6));
  for (std::size_t i = 8; i < 16; ++i)
    text += fmt::format("{}{:02X}", i == 10 ? "-" : "", load_u8(bytes, i));
  return text;
}

void append_utf8(std::string& text, char32_t character) {
  const auto byte = [&](char32_t value) { text.push_back(static_cast<char>(value)); };
  if (character < 0x80) {
    byte(character);
  } else if (character < 0x800) {
    byte(0xC0 | (character >> 6U));
    byte(0x80 | (character & 0x3FU));
  } else if (character < 0x10000) {
    byte(0xE0 | (character >> 12U));
    byte(0x80 | ((character >> 6U) & 0x3FU));
    byte(0x80 | (character & 0x3FU));
  } else {
    byte(0xF0 | (character >> 18U));
    byte(0x80 | ((character >> 12U) & 0x3FU));
    byte(0x80 | ((character >> 6U) & 0x3FU));
    byte(0x80 | (character & 0x3FU));
  }
}

bool is_high_surrogate(char32_t unit) noexcept {
  return unit >= 0xD800 && unit < 0xDC00;
}

bool is_low_surrogate(char32_t unit) noexcept {
  return unit >= 0xDC00 && unit < 0xE000;
}

// Up to its first zero; half a pair of surrogates becomes U+FFFD.
std::string gpt_name(std::span<const std::byte> bytes) {
  constexpr char32_t kReplacement = 0xFFFD;
  std::string name;
  for (std::size_t i = 0; i < kGptNameUnits; ++i) {
    char32_t unit = load_le16(bytes, 2 * i);
    if (unit == 0)
      break;
    if (is_high_surrogate(unit) && i + 1 < kGptNameUnits) {
      const char32_t next = load_le16(bytes, 2 * (i + 1));
      if (is_low_surrogate(next)) {
        unit = 0x10000 + ((unit - 0xD800) << 10U) + (next - 0xDC00);
        ++i;
      }
    }
    append_utf8(name, is_high_surrogate(unit) || is_low_surrogate(unit) ? kReplacement : unit);
  }
  return name;
}

bool is_checksum_right(std::span<const std::byte> header) noexcept {
  constexpr std::array<std::byte, 4> kZeros{};
  std::uint32_t sum = gpt_checksum(0, header.first(kGptChecksumAt));
  sum = gpt_checksum(sum, kZeros);
  sum = gpt_checksum(sum, header.subspan(kGptChecksumAt + kZeros.size()));
  return sum == load_le32(header, kGptChecksumAt);
}

}  // namespace

std::uint32_t gpt_checksum(std::uint32_t so_far, std::span<const std::byte> bytes) noexcept {
  return libdeflate_crc32(so_far, bytes.data(), bytes.size());
}

std::optional<MbrEntries> decode_mbr(std::span<const std::byte> sector) noexcept {
  if (load_le16(sector, kSignatureAt) != kSignature)
    return std::nullopt;
  MbrEntries entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto bytes = sector.subspan(kMbrEntriesAt + i * kMbrEntrySize, kMbrEntrySize);
    entries[i] = {load_u8(bytes, 0), load_u8(bytes, 4), load_le32(bytes, 8), load_le32(bytes, 12)};
  }
  return entries;
}

bool has_legal_states(const MbrEntries& entries) noexcept {
  return std::all_of(entries.begin(), entries.end(),
                     [](const MbrEntry& entry) { return entry.state == 0 || entry.is_active(); });
}

bool is_boot_sector_of_file_system(std::span<const std::byte> sector) noexcept {
  constexpr std::size_t kNameAt = 3;
  // FAT16 and FAT32 have the kind behind their parameters, which differ in length.
  constexpr std::size_t kFat16At = 54;
  constexpr std::size_t kFat32At = 82;
  return has_text(sector, kNameAt, "NTFS    ") || has_text(sector, kNameAt, "EXFAT   ") ||
         has_text(sector, kFat16At, "FAT") || has_text(sector, kFat32At, "FAT32");
}

std::optional<GptHeader> decode_gpt_header(std::span<const std::byte> sector) noexcept {
  if (!has_text(sector, 0, kGptMagic))
    return std::nullopt;
  const std::uint32_t size = load_le32(sector, 12);
  if (size < kMinGptHeader || size > sector.size() || !is_checksum_right(sector.first(size)))
    return std::nullopt;
  const GptHeader header{.own_sector = load_le64(sector, 24),
                         .other_sector = load_le64(sector, 32),
                         .entries_sector = load_le64(sector, 72),
                         .entry_count = load_le32(sector, 80),
                         .entry_size = load_le32(sector, 84),
                         .entries_checksum = load_le32(sector, 88)};
  if (header.entry_size < kMinGptEntry || header.entry_size > kMaxGptEntry ||
      header.entry_size % 8 != 0)
    return std::nullopt;
  return header;
}

std::optional<GptEntry> decode_gpt_entry(std::span<const std::byte> bytes) {
  constexpr std::size_t kGuid = 16;
  if (all_zero(bytes.first(kGuid)))
    return std::nullopt;
  return GptEntry{.type = guid_text(bytes.first(kGuid)),
                  .id = guid_text(bytes.subspan(kGuid, kGuid)),
                  .first = load_le64(bytes, 32),
                  .last = load_le64(bytes, 40),
                  .name = gpt_name(bytes.subspan(56, 2 * kGptNameUnits))};
}

}  // namespace vmdk
