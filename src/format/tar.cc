#include "format/tar.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "format/ascii.h"

namespace vmdk {
namespace {

using namespace std::string_view_literals;

struct Field {
  std::size_t at, length;
};

constexpr Field kName{0, 100};
constexpr Field kSize{124, 12};
constexpr Field kChecksum{148, 8};
constexpr Field kMagic{257, 8};
constexpr Field kPrefix{345, 155};
constexpr std::size_t kTypeAt = 156;
// Sizes stay below this, so that sums with places in a file do not overflow.
constexpr std::uint64_t kSizeLimit = std::uint64_t{1} << 62U;

Error corrupt(std::string message) {
  return Error::make(ErrorCode::kCorrupt, std::move(message));
}

std::string_view field_of(std::span<const std::byte> block, Field field) noexcept {
  return {reinterpret_cast<const char*>(block.data()) + field.at,  // NOLINT: bytes as characters
          field.length};
}

// A field ends at its first NUL or at its length.
std::string_view text_of(std::span<const std::byte> block, Field field) noexcept {
  const std::string_view text = field_of(block, field);
  return text.substr(0, text.find('\0'));
}

// Octal digits, with blanks before and blanks or NULs behind them.
std::optional<std::uint64_t> octal(std::string_view text) noexcept {
  constexpr std::string_view kFiller = " \0"sv;
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view digits = text.substr(0, text.find_first_of(kFiller));
  if (text.substr(digits.size()).find_first_not_of(kFiller) != std::string_view::npos)
    return std::nullopt;
  std::uint64_t value = 0;
  const auto* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, 8);
  if (digits.empty())
    return 0;
  return error == std::errc{} && stop == end ? std::optional(value) : std::nullopt;
}

// GNU's form for what octal digits cannot say: a first byte of 80 (hexadecimal), then the number,
// the highest byte first. FF begins a negative one.
std::optional<std::uint64_t> base256(std::string_view text) noexcept {
  if (static_cast<unsigned char>(text.front()) != 0x80)
    return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text.substr(1)) {
    if (value >> 56U != 0)
      return std::nullopt;
    value = value << 8U | static_cast<unsigned char>(c);
  }
  return value;
}

std::optional<std::uint64_t> size_of(std::span<const std::byte> block) noexcept {
  const std::string_view text = field_of(block, kSize);
  const bool binary = (static_cast<unsigned char>(text.front()) & 0x80U) != 0;
  const auto size = binary ? base256(text) : octal(text);
  return size && *size < kSizeLimit ? size : std::nullopt;
}

// The sum of all bytes, with blanks in the place of the sum itself. Old programs summed up signed
// bytes.
bool has_right_checksum(std::span<const std::byte> block) noexcept {
  const auto stated = octal(field_of(block, kChecksum));
  std::int64_t plain = 0;
  std::int64_t with_sign = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool inside = i >= kChecksum.at && i < kChecksum.at + kChecksum.length;
    const auto byte =
        inside ? static_cast<unsigned char>(' ') : std::to_integer<unsigned char>(block[i]);
    plain += byte;
    with_sign += static_cast<signed char>(byte);
  }
  return stated && (static_cast<std::int64_t>(*stated) == plain ||
                    static_cast<std::int64_t>(*stated) == with_sign);
}

TarType type_of(char letter) noexcept {
  switch (letter) {
    case '\0':
    case '0':
    case '7':  // contiguous, by now like any other
      return TarType::kFile;
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
      return TarType::kNothing;
    case 'x':
      return TarType::kPax;
    case 'g':
      return TarType::kPaxGlobal;
    case 'L':
      return TarType::kGnuLongName;
    case 'K':
      return TarType::kGnuLongLink;
    case 'S':
      return TarType::kGnuSparse;
    default:
      return TarType::kOther;
  }
}

// Only POSIX archives have the prefix; GNU's own keep times in its place.
std::string name_of(std::span<const std::byte> block) {
  std::string name(text_of(block, kName));
  const std::string_view prefix = text_of(block, kPrefix);
  if (!field_of(block, kMagic).starts_with("ustar\0"sv) || prefix.empty())
    return name;
  return std::string(prefix) + "/" + name;
}

std::optional<std::uint64_t> decimal(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && stop == end && value < kSizeLimit ? std::optional(value)
                                                                   : std::nullopt;
}

Status take_record(std::string_view key, std::string_view value, PaxRecords& records) {
  if (key == "path")
    records.path = value;
  if (key.starts_with("GNU.sparse."))
    records.sparse = true;
  if (key != "size")
    return {};
  records.size = decimal(value);
  if (!records.size)
    return corrupt(fmt::format("a size of {}", ascii::quoted(value)));
  return {};
}

}  // namespace

bool is_tar_header(std::span<const std::byte> first) noexcept {
  return first.size() >= kTarBlock && field_of(first, kMagic).starts_with("ustar"sv) &&
         has_right_checksum(first.first(kTarBlock));
}

Result<std::optional<TarHeader>> decode_tar_header(std::span<const std::byte> block) {
  if (std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; }))
    return std::optional<TarHeader>();
  if (!has_right_checksum(block))
    return corrupt("its checksum is wrong");
  TarHeader header;
  header.type = type_of(static_cast<char>(block[kTypeAt]));
  header.name = name_of(block);
  // Some writers leave what the linked file has in the header of a link.
  if (header.type == TarType::kNothing)
    return std::optional(std::move(header));
  const auto size = size_of(block);
  if (!size)
    return corrupt(
        fmt::format("{}: its size is no number that a file can have", ascii::quoted(header.name)));
  header.size = *size;
  return std::optional(std::move(header));
}

// "LENGTH KEY=VALUE\n", where LENGTH counts the whole record.
Result<PaxRecords> parse_pax_records(std::string_view text) {
  PaxRecords records;
  while (!text.empty()) {
    const std::size_t blank = text.find(' ');
    const auto length = decimal(text.substr(0, std::min(blank, text.size())));
    if (!length || *length > text.size() || *length < blank + 2 || text[*length - 1] != '\n')
      return corrupt("a pax header is not made of records");
    const std::string_view record = text.substr(blank + 1, *length - blank - 2);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos)
      return corrupt("a pax record has no \"=\"");
    RETURN_IF_ERROR(take_record(record.substr(0, equals), record.substr(equals + 1), records));
    text.remove_prefix(*length);
  }
  return records;
}

}  // namespace vmdk
