#include "format/descriptor.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "base/hints.h"
#include "base/text.h"
#include "format/ascii.h"
#include "format/bounds.h"
#include "format/encoding.h"
#include "format/extent_line.h"

namespace vmdk {
namespace {

constexpr std::size_t kMaxLineBytes = 4096;
constexpr std::size_t kMaxExtents = 65536;
constexpr std::size_t kCidDigits = 8;
constexpr std::size_t kLongContentIdDigits = 32;
constexpr std::string_view kChangeTrackPath = "changeTrackPath";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

Error corrupt(std::string message) {
  return Error::make(ErrorCode::kCorrupt, std::move(message));
}

Error bad_line(std::size_t number, std::string_view what) {
  return corrupt(fmt::format("line {}: {}", number, what));
}

struct Line {
  std::string_view text;  // without its end
  std::size_t begin = 0;  // in the whole text
  std::size_t number = 0;
};

// Cuts a text at LF, CR LF and lone CR; skips a byte-order mark.
class LineReader {
 public:
  explicit LineReader(std::string_view text) noexcept
      : text_(text), at_(text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0) {}

  std::optional<Line> next() noexcept {
    if (at_ >= text_.size())
      return std::nullopt;
    const auto begin = at_;
    const auto end = std::min(text_.find_first_of("\r\n", begin), text_.size());
    at_ = end + (text_.substr(end).starts_with("\r\n") ? 2 : 1);
    return Line{text_.substr(begin, end - begin), begin, ++number_};
  }

 private:
  std::string_view text_;
  std::size_t at_;
  std::size_t number_ = 0;
};

bool is_blank_or_comment(std::string_view trimmed) noexcept {
  return trimmed.empty() || trimmed.front() == '#';
}

bool is_key_char(char c) noexcept {
  const char l = ascii::lower(c);
  return (l >= 'a' && l <= 'z') || ascii::is_digit(c) ||
         std::string_view("._-:").find(c) != std::string_view::npos;
}

bool is_key(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_key_char);
}

// Encrypted disks keep their keys in the descriptor; what lies in their files is cipher text.
bool tells_encryption(std::string_view lower_key) noexcept {
  return lower_key.starts_with("encryption") || lower_key.starts_with("ddb.encryption") ||
         lower_key.find("keysafe") != std::string_view::npos;
}

std::optional<std::uint32_t> content_id_of(std::string_view text) noexcept {
  std::uint32_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, 16);
  if (error != std::errc() || stop != end || text.size() > kCidDigits)
    return std::nullopt;
  return value;
}

bool is_hex(std::string_view text) noexcept {
  return text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

// The part of `field`, a value as it stands in a line, that is the value itself: without quotes.
// ddb values may hold quotes inside: some programs write comments of people without an escape.
Result<std::string_view> unquoted(std::string_view field, bool inner_quotes, std::size_t number) {
  if (field.empty() || field.front() != '"')
    return field;
  if (field.size() < 2 || field.back() != '"')
    return bad_line(number, "the value's closing quote is missing, or text stands behind it");
  const auto value = field.substr(1, field.size() - 2);
  if (!inner_quotes && value.find('"') != std::string_view::npos)
    return bad_line(number, "a quote inside a value");
  return value;
}

}  // namespace

bool Descriptor::looks_like_one(std::string_view text) noexcept {
  constexpr std::string_view kKey = "version";
  LineReader lines(text);
  while (const auto line = lines.next()) {
    auto rest = ascii::trim(line->text);
    if (is_blank_or_comment(rest) && rest.find('\0') == std::string_view::npos)
      continue;
    if (!ascii::starts_without_case(rest, kKey))
      return false;
    rest = ascii::trim_left(rest.substr(kKey.size()));
    if (!rest.starts_with('='))
      return false;
    rest = ascii::trim_left(rest.substr(1));
    if (rest.starts_with('"'))
      rest.remove_prefix(1);
    return !rest.empty() && ascii::is_digit(rest.front());
  }
  return false;
}

Result<Descriptor> Descriptor::parse(std::string_view text) {
  text = text.substr(0, text.find('\0'));
  if (text.size() > kMaxDescriptorBytes) {
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("descriptor of {} bytes: the limit is {} bytes", text.size(),
                                   kMaxDescriptorBytes));
  }
  Descriptor descriptor;
  descriptor.text_ = text;
  LineReader lines(text);
  while (const auto line = lines.next())
    RETURN_IF_ERROR(descriptor.parse_line(line->text, line->begin, line->number));
  RETURN_IF_ERROR(descriptor.finish());
  return descriptor;
}

Status Descriptor::parse_line(std::string_view line, std::size_t begin, std::size_t number) {
  if (line.size() > kMaxLineBytes) {
    return bad_line(number, fmt::format("{} bytes: the limit is {}", line.size(), kMaxLineBytes));
  }
  const auto content = ascii::trim(line);
  if (is_blank_or_comment(content))
    return swallows_extent_line(content)
               ? bad_line(number, "a comment runs into an extent: the end of its line is damaged")
               : Status{};
  if (is_extent_line(content))
    return add_extent(content, number);

  const auto equals = content.find('=');
  const auto key = ascii::trim(content.substr(0, equals));
  if (equals == std::string_view::npos || !is_key(key)) {
    return bad_line(number, fmt::format("{} is no extent, no KEY=VALUE and no comment",
                                        ascii::quoted(content)));
  }
  Assignment assignment;
  assignment.key = ascii::lower(key);
  assignment.line_number = number;
  if (tells_encryption(assignment.key)) {
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("line {}: {}: the disk is encrypted", number, key))
        .with_hint(kEncryptedHint);
  }
  ASSIGN_OR_RETURN(const auto value, unquoted(ascii::trim(content.substr(equals + 1)),
                                              assignment.key.starts_with("ddb."), number));
  assignment.value = value;
  assignment.begin = begin + static_cast<std::size_t>(value.data() - line.data());
  assignments_.push_back(std::move(assignment));
  return {};
}

Status Descriptor::add_extent(std::string_view line, std::size_t number) {
  if (extents_.size() == kMaxExtents) {
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("line {}: more than {} extents", number, kMaxExtents));
  }
  ASSIGN_OR_RETURN(auto extent, parse_extent_line(line, number));
  capacity_ = Sectors(capacity_.count() + extent.length.count());
  if (capacity_.count() >= kSectorLimit) {
    return bad_line(number, fmt::format("the extents up to here have {} sectors: the limit is {}",
                                        capacity_.count(), kSectorLimit - 1));
  }
  extents_.push_back(std::move(extent));
  return {};
}

const Descriptor::Assignment* Descriptor::find(std::string_view key) const noexcept {
  for (const auto& assignment : assignments_) {
    if (ascii::equal_without_case(assignment.key, key))
      return &assignment;
  }
  return nullptr;
}

std::optional<std::string> Descriptor::value(std::string_view key) const {
  const auto* assignment = find(key);
  return assignment != nullptr ? std::optional(assignment->value) : std::nullopt;
}

std::string Descriptor::in_utf8(const std::string& name) const {
  return names_ != nullptr ? names_->to_utf8(name).value_or(name) : name;
}

bool Descriptor::is_text(std::string_view bytes) const {
  if (names_ != nullptr)
    return names_->to_utf8(bytes).has_value();
  if (unknown_encoding_.empty())
    return is_utf8(bytes);
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Takes the known keys over and demands the ones no image can do without.
Status Descriptor::finish() {
  RETURN_IF_ERROR(take_version());
  RETURN_IF_ERROR(take_content_ids());
  RETURN_IF_ERROR(take_create_type());
  parent_hint_ = value("parentFileNameHint").value_or("");
  take_encoding();
  if (extents_.empty())
    return corrupt("the descriptor has no extent line");
  return {};
}

void Descriptor::take_encoding() {
  const std::string encoding = value("encoding").value_or("");
  if (is_utf8_already(encoding))
    return;
  names_ = NameConverter::open(encoding);
  if (names_ == nullptr)
    unknown_encoding_ = encoding;
}

Status Descriptor::take_version() {
  const auto* line = find("version");
  if (line == nullptr)
    return corrupt("the descriptor has no version line");
  const auto& text = line->value;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, version_);
  if (error != std::errc() || stop != end) {
    return bad_line(line->line_number, fmt::format("version {} is no number", ascii::quoted(text)));
  }
  if (version_ < 1 || version_ > 3) {
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("line {}: descriptor version {}: 1 to 3 are known",
                                   line->line_number, version_));
  }
  return {};
}

Status Descriptor::take_content_ids() {
  constexpr std::string_view kRule = "is not 1 to 8 hexadecimal digits";
  const auto* own = find("CID");
  if (own == nullptr)
    return corrupt("the descriptor has no CID line");
  const auto cid = content_id_of(own->value);
  if (!cid)
    return bad_line(own->line_number, fmt::format("CID {} {}", ascii::quoted(own->value), kRule));
  cid_ = *cid;

  const auto* parent = find("parentCID");
  if (parent == nullptr)
    return {};
  const auto parent_cid = content_id_of(parent->value);
  if (!parent_cid) {
    return bad_line(parent->line_number,
                    fmt::format("parentCID {} {}", ascii::quoted(parent->value), kRule));
  }
  if (*parent_cid != kNoParentCid)
    parent_cid_ = parent_cid;
  return {};
}

Status Descriptor::take_create_type() {
  const auto* first = find("createType");
  if (first == nullptr || first->value.empty())
    return corrupt("the descriptor has no createType line");
  for (const auto& other : assignments_) {
    if (other.key == first->key && other.value != first->value) {
      return bad_line(
          other.line_number,
          fmt::format("createType {} contradicts {} in line {}", ascii::quoted(other.value),
                      ascii::quoted(first->value), first->line_number));
    }
  }
  create_type_ = first->value;
  return {};
}

std::pair<std::size_t, std::size_t> Descriptor::set_content_id(
    std::uint32_t cid, const std::array<std::uint32_t, 3>& random) {
  auto* own = find_mutable("CID");
  const auto width = own->value.size();
  if (width < kCidDigits) {
    cid &= (std::uint32_t{1} << (4 * width)) - 1;
    // With few digits left the new id may be the old one by chance, and a child would not notice.
    if (cid == cid_)
      cid ^= 1U;
  }
  cid_ = cid;
  auto [begin, end] = replace_value(*own, fmt::format("{:0{}x}", cid, width));

  auto* long_id = find_mutable("ddb.longContentID");
  if (long_id != nullptr && long_id->value.size() == kLongContentIdDigits &&
      is_hex(long_id->value)) {
    const auto [long_begin, long_end] = replace_value(
        *long_id, fmt::format("{:08x}{:08x}{:08x}{:08x}", random[0], random[1], random[2], cid));
    begin = std::min(begin, long_begin);
    end = std::max(end, long_end);
  }
  return {begin, end};
}

// By one of the same length.
std::pair<std::size_t, std::size_t> Descriptor::replace_value(Assignment& assignment,
                                                              std::string value) {
  text_.replace(assignment.begin, value.size(), value);
  assignment.value = std::move(value);
  return {assignment.begin, assignment.begin + assignment.value.size()};
}

std::size_t Descriptor::cid_digits() const noexcept {
  return find("CID")->value.size();
}

std::size_t Descriptor::parent_cid_digits() const noexcept {
  const auto* line = find("parentCID");
  return line != nullptr ? line->value.size() : 0;
}

std::pair<std::size_t, std::size_t> Descriptor::set_parent_cid(std::uint32_t cid) {
  auto* line = find_mutable("parentCID");
  parent_cid_ = cid;
  return replace_value(*line, fmt::format("{:0{}x}", cid, line->value.size()));
}

bool Descriptor::has_change_tracking() const {
  return version_ == 3 || find(kChangeTrackPath) != nullptr;
}

std::pair<std::size_t, std::size_t> Descriptor::drop_change_tracking() {
  std::size_t begin = text_.size();
  std::size_t end = 0;
  const auto replace = [&](std::size_t at, std::string_view what) {
    text_.replace(at, what.size(), what);
    begin = std::min(begin, at);
    end = std::max(end, at + what.size());
  };
  auto* version = find_mutable("version");
  if (version_ == 3) {
    replace(version->begin + version->value.size() - 1, "1");
    version->value.back() = '1';
    version_ = 1;
  }
  for (auto* path = find_mutable(kChangeTrackPath); path != nullptr;
       path = find_mutable(kChangeTrackPath)) {
    const std::size_t before = text_.find_last_of("\r\n", path->begin - 1);
    const std::size_t line = before == std::string::npos ? 0 : before + 1;
    const std::size_t after = std::min(text_.find_first_of("\r\n", path->begin), text_.size());
    replace(line, "#" + std::string(after - line - 1, ' '));
    assignments_.erase(assignments_.begin() + (path - assignments_.data()));
  }
  return {std::min(begin, end), end};
}

Descriptor::Assignment* Descriptor::find_mutable(std::string_view key) noexcept {
  return const_cast<Assignment*>(std::as_const(*this).find(key));  // NOLINT: own member
}

}  // namespace vmdk
