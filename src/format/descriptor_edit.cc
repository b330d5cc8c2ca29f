// Changes of a descriptor that may change its length: the text is made anew and read back.
#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "format/ascii.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

bool is_database_key(std::string_view key) noexcept {
  return ascii::starts_without_case(key, "ddb.");
}

// As VMware's programs write it; the ids are the only header values without quotes.
std::string assignment_line(std::string_view key, std::string_view value) {
  if (is_database_key(key))
    return fmt::format("{} = \"{}\"", key, value);
  const bool id =
      ascii::equal_without_case(key, "CID") || ascii::equal_without_case(key, "parentCID");
  return id ? fmt::format("{}={}", key, value) : fmt::format("{}=\"{}\"", key, value);
}

// The way its first line ends.
std::string line_end_of(std::string_view text) {
  const std::size_t at = text.find_first_of("\r\n");
  if (at == std::string_view::npos)
    return "\n";
  return std::string(text.substr(at, text.substr(at).starts_with("\r\n") ? 2 : 1));
}

std::size_t end_of_line(std::string_view text, std::size_t at) {
  return std::min(text.find_first_of("\r\n", at), text.size());
}

// Without quotes round it, a value may be read as something else.
Result<Descriptor> read_back(const std::string& text, std::string_view key,
                             std::string_view value) {
  ASSIGN_OR_RETURN(Descriptor descriptor, Descriptor::parse(text));
  if (descriptor.value(key) == value)
    return descriptor;
  return Error::make(ErrorCode::kInvalidArgument,
                     fmt::format("{}: the descriptor cannot hold {}", key, ascii::quoted(value)));
}

// Behind the line that `at` is in, with its end.
std::size_t next_line(std::string_view text, std::size_t at, const std::string& line_end) {
  const std::size_t end = end_of_line(text, at);
  return std::min(end + (text.substr(end).starts_with(line_end) ? line_end.size() : 0),
                  text.size());
}

}  // namespace

Result<Descriptor> Descriptor::with_value(std::string_view key, std::string_view value) const {
  if (value.find_first_of(std::string_view("\"\r\n\0", 4)) != std::string_view::npos)
    return Error::make(ErrorCode::kInvalidArgument,
                       fmt::format("{}: a descriptor cannot hold a quote, a line end or a NUL",
                                   ascii::quoted(value)));
  std::string text = text_;
  const std::string line_end = line_end_of(text);
  if (const auto* found = find(key)) {
    text.replace(found->begin, found->value.size(), value);
    return read_back(text, key, value);
  }
  std::string line = assignment_line(key, value) + line_end;
  if (is_database_key(key)) {
    if (!text.empty() && !text.ends_with('\n') && !text.ends_with('\r'))
      text += line_end;
    return read_back(text + line, key, value);
  }
  // Where QEMU and VMware put what is said of parents.
  const std::size_t at = next_line(text, find("createType")->begin, line_end);
  if (at == text.size() && !text.ends_with(line_end))
    line = line_end + line;
  return read_back(text.insert(at, line), key, value);
}

Result<Descriptor> Descriptor::with_last_extent(Sectors length,
                                                std::span<const ExtentLine> more) const {
  std::string text = text_;
  const std::string line_end = line_end_of(text);
  // To the line with the number of the last extent, counted as the parser does.
  std::size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  for (std::size_t number = 1; number < extents_.back().line_number; ++number) {
    const std::size_t end = end_of_line(text, at);
    at = end + (std::string_view(text).substr(end).starts_with("\r\n") ? 2 : 1);
  }
  // ACCESS SECTORS TYPE
  constexpr std::string_view kBlanks = " \t";
  const std::size_t access = text.find_first_not_of(kBlanks, at);
  const std::size_t digits = text.find_first_not_of(kBlanks, text.find_first_of(kBlanks, access));
  const std::size_t digits_end = text.find_first_of(kBlanks, digits);
  text.replace(digits, digits_end - digits, std::to_string(length.count()));
  std::string lines;
  for (const ExtentLine& extent : more)
    lines += line_end + render_extent(extent);
  text.insert(end_of_line(text, at), lines);
  return parse(text);
}

}  // namespace vmdk
