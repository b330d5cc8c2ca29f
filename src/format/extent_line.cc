#include "format/extent_line.h"

#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "format/ascii.h"
#include "format/bounds.h"

namespace vmdk {
namespace {

constexpr std::array kAccessWords = {
    std::pair{ExtentAccess::kReadWrite, std::string_view("RW")},
    std::pair{ExtentAccess::kReadOnly, std::string_view("RDONLY")},
    std::pair{ExtentAccess::kNoAccess, std::string_view("NOACCESS")},
};

constexpr std::array kTypeWords = {
    std::pair{ExtentType::kFlat, std::string_view("FLAT")},
    std::pair{ExtentType::kSparse, std::string_view("SPARSE")},
    std::pair{ExtentType::kZero, std::string_view("ZERO")},
    std::pair{ExtentType::kVmfs, std::string_view("VMFS")},
    std::pair{ExtentType::kVmfsSparse, std::string_view("VMFSSPARSE")},
    std::pair{ExtentType::kVmfsRdm, std::string_view("VMFSRDM")},
    std::pair{ExtentType::kVmfsRaw, std::string_view("VMFSRAW")},
    std::pair{ExtentType::kSeSparse, std::string_view("SESPARSE")},
};

template <class Words, class Value>
std::string_view word_of(const Words& words, Value value) noexcept {
  for (const auto& [candidate, word] : words) {
    if (candidate == value)
      return word;
  }
  return "?";
}

template <class Words>
auto value_of(const Words& words, std::string_view text) noexcept
    -> std::optional<typename Words::value_type::first_type> {
  for (const auto& [value, word] : words) {
    if (ascii::equal_without_case(word, text))
      return value;
  }
  return std::nullopt;
}

Error bad_line(std::size_t number, std::string_view what) {
  return Error::make(ErrorCode::kCorrupt, fmt::format("line {}: {}", number, what));
}

// Takes fields off the front of a line.
class FieldReader {
 public:
  explicit FieldReader(std::string_view line) noexcept : rest_(ascii::trim(line)) {}

  // The next run of bytes that are not blank; empty at the end.
  std::string_view next() noexcept {
    std::size_t length = 0;
    while (length < rest_.size() && !ascii::is_blank(rest_[length]))
      ++length;
    return take(length);
  }

  // The bytes between two quotes; nullopt when no such field comes next.
  std::optional<std::string_view> next_quoted() noexcept {
    if (rest_.empty() || rest_.front() != '"')
      return std::nullopt;
    const auto close = rest_.find('"', 1);
    const bool ends_the_field = close != std::string_view::npos &&
                                (close + 1 == rest_.size() || ascii::is_blank(rest_[close + 1]));
    if (!ends_the_field)
      return std::nullopt;
    const auto field = take(close + 1);
    return field.substr(1, field.size() - 2);
  }

  std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view take(std::size_t length) noexcept {
    const auto field = rest_.substr(0, length);
    rest_ = ascii::trim_left(rest_.substr(length));
    return field;
  }

  std::string_view rest_;
};

// A decimal number below kSectorLimit: digits and nothing else.
std::optional<std::uint64_t> sectors_of(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value >= kSectorLimit)
    return std::nullopt;
  return value;
}

Result<Sectors> read_length(std::string_view text, std::size_t number) {
  const auto length = sectors_of(text);
  if (!length || *length == 0) {
    return bad_line(number, fmt::format("extent length {} is not a number of sectors from 1 to {}",
                                        ascii::quoted(text), kSectorLimit - 1));
  }
  return Sectors(*length);
}

Status check_offset_rules(const ExtentLine& extent, bool has_offset) {
  const auto number = extent.line_number;
  if (extent.type == ExtentType::kFlat) {
    if (!has_offset)
      return bad_line(number, "a FLAT extent needs an offset behind the file name");
    if (extent.offset.count() + extent.length.count() >= kSectorLimit) {
      return bad_line(number,
                      fmt::format("extent offset {} and length {} pass the limit of {} "
                                  "sectors",
                                  extent.offset.count(), extent.length.count(), kSectorLimit - 1));
    }
    return {};
  }
  if (extent.type == ExtentType::kVmfs && has_offset)
    return bad_line(number, "a VMFS extent has no offset, but one is given");
  if (extent.offset.count() != 0) {
    return bad_line(number, fmt::format("extent offset {}: a {} extent begins at 0 of its file",
                                        extent.offset.count(), to_string(extent.type)));
  }
  return {};
}

// What may stand behind the file name: an offset, and for FLAT the "partitionUUID …" that hosted
// products add for partitions of real disks.
Status read_tail(FieldReader& fields, ExtentLine& extent) {
  const auto text = fields.next();
  if (!text.empty()) {
    const auto offset = sectors_of(text);
    if (!offset) {
      return bad_line(extent.line_number,
                      fmt::format("extent offset {} is not a number of sectors below {}",
                                  ascii::quoted(text), kSectorLimit));
    }
    extent.offset = Sectors(*offset);
  }
  RETURN_IF_ERROR(check_offset_rules(extent, !text.empty()));

  const auto rest = fields.rest();
  const bool allowed = rest.empty() || (extent.type == ExtentType::kFlat &&
                                        ascii::starts_without_case(rest, "partitionUUID"));
  if (!allowed) {
    return bad_line(extent.line_number,
                    fmt::format("unexpected text {} behind the extent", ascii::quoted(rest)));
  }
  return {};
}

}  // namespace

std::string_view to_string(ExtentAccess access) noexcept {
  return word_of(kAccessWords, access);
}

std::string_view to_string(ExtentType type) noexcept {
  return word_of(kTypeWords, type);
}

bool is_extent_line(std::string_view line) noexcept {
  return value_of(kAccessWords, FieldReader(line).next()).has_value();
}

bool swallows_extent_line(std::string_view comment) {
  for (const auto& [access, word] : kAccessWords)
    for (auto at = comment.find(word, 1); at != std::string_view::npos;
         at = comment.find(word, at + 1)) {
      const char before = comment[at - 1];
      if (before != '#' && !ascii::is_blank(before) && parse_extent_line(comment.substr(at), 0))
        return true;
    }
  return false;
}

Result<ExtentLine> parse_extent_line(std::string_view line, std::size_t number) {
  FieldReader fields(line);
  ExtentLine extent;
  extent.line_number = number;
  extent.access = value_of(kAccessWords, fields.next()).value_or(ExtentAccess::kNoAccess);
  ASSIGN_OR_RETURN(extent.length, read_length(fields.next(), number));

  const auto type_word = fields.next();
  const auto type = value_of(kTypeWords, type_word);
  if (!type)
    return bad_line(number, fmt::format("unknown extent type {}", ascii::quoted(type_word)));
  extent.type = *type;
  if (extent.type == ExtentType::kZero) {
    if (!fields.rest().empty())
      return bad_line(number, "a ZERO extent has no file, but one is named");
    return extent;
  }

  const auto name = fields.next_quoted();
  if (!name || name->empty()) {
    return bad_line(number, fmt::format("a file name in quotes is expected behind {}, not {}",
                                        to_string(extent.type), ascii::quoted(fields.rest())));
  }
  extent.file_name = *name;
  RETURN_IF_ERROR(read_tail(fields, extent));
  return extent;
}

}  // namespace vmdk
