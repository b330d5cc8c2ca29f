#include "base/text.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <numeric>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include <vmdk/units.h>

#include "base/checked_math.h"

namespace vmdk {
namespace {

constexpr std::string_view kSuffixes = "KMGTPE";
// More digits behind the point than these cannot give a whole number of bytes anyway.
constexpr std::size_t kMaxFractionDigits = 12;

char lower(char c) noexcept {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

Error bad_size(std::string_view text) {
  return Error::make(ErrorCode::kInvalidArgument,
                     fmt::format("\"{}\" is not a size (examples: 4096, 64K, 1.5G, 2T)", text));
}

// The factor that a suffix means; nullopt for an unknown one.
std::optional<std::uint64_t> factor_of(std::string_view suffix) {
  if (suffix.empty())
    return 1;
  const char first = static_cast<char>(std::toupper(static_cast<unsigned char>(suffix[0])));
  const std::string_view rest = suffix.substr(1);
  if (first == 'B' && rest.empty())
    return 1;
  const std::size_t power = kSuffixes.substr(0, 4).find(first);
  if (power == std::string_view::npos || (!rest.empty() && rest != "iB"))
    return std::nullopt;
  return kKiB << (10 * power);
}

std::optional<std::uint64_t> parse_digits(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size())
    return std::nullopt;
  return value;
}

// 0.`digits` × factor, when that is a whole number.
std::optional<std::uint64_t> fraction_of(std::string_view digits, std::uint64_t factor) {
  if (digits.empty() || digits.size() > kMaxFractionDigits)
    return std::nullopt;
  const auto value = parse_digits(digits);
  if (!value)
    return std::nullopt;
  std::uint64_t denominator = 1;
  for (std::size_t i = 0; i < digits.size(); ++i)
    denominator *= 10;
  const std::uint64_t common = std::gcd(*value, denominator);
  if (factor % (denominator / common) != 0)
    return std::nullopt;
  return checked_mul(*value / common, factor / (denominator / common));
}

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i)
    d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j)
    d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (same ? 0U : 1U)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1]))
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

// How many bytes the first byte of a UTF-8 sequence announces; 0 when none begins with it.
std::size_t announced_length(unsigned first) noexcept {
  if (first < 0x80)
    return 1;
  if (first < 0xC2 || first >= 0xF5)
    return 0;
  if (first < 0xE0)
    return 2;
  return first < 0xF0 ? 3 : 4;
}

// Whether the second byte makes the sequence an overlong form, a surrogate or too large.
bool excluded(unsigned first, unsigned second) noexcept {
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second >= 0xA0;
  const bool beyond = first == 0xF4 && second >= 0x90;
  return overlong || surrogate || beyond;
}

// The length of the UTF-8 sequence that `text` begins with; 0 for none. Overlong forms, surrogates
// and what lies beyond U+10FFFF are none.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t length = announced_length(byte(0));
  if (length <= 1)
    return length;
  if (length > text.size() || excluded(byte(0), byte(1)))
    return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U)
      return 0;
  }
  return length;
}

// How many bytes of `text` are a control character: 1 for those of ASCII, 2 for U+0080 to U+009F,
// 0 for any other text.
std::size_t control_length(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x20 || first == 0x7F)
    return 1;
  const bool high = first == 0xC2 && text.size() > 1 &&
                    static_cast<unsigned char>(text[1]) >= 0x80 &&
                    static_cast<unsigned char>(text[1]) < 0xA0;
  return high ? 2 : 0;
}

std::string escape_controls(std::string_view text, bool keep_line_ends) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const bool kept = keep_line_ends && text[0] == '\n';
    const std::size_t control = kept ? 0 : control_length(text);
    for (std::size_t i = 0; i < control; ++i)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    if (control == 0)
      out += text[0];
    text.remove_prefix(control == 0 ? 1 : control);
  }
  return out;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const std::size_t number_end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, number_end);
  const auto factor = factor_of(text.substr(number_end));
  const std::size_t point = number.find('.');
  const auto whole = parse_digits(number.substr(0, point));
  if (!factor || !whole)
    return bad_size(text);
  std::uint64_t fraction = 0;
  if (point != std::string_view::npos) {
    const auto parsed = fraction_of(number.substr(point + 1), *factor);
    if (!parsed)
      return bad_size(text);
    fraction = *parsed;
  }
  const auto bytes = checked_mul(*whole, *factor);
  const auto sum = bytes ? checked_add(*bytes, fraction) : std::nullopt;
  if (!sum)
    return Error::make(ErrorCode::kInvalidArgument,
                       fmt::format("\"{}\" is too large a size", text));
  return *sum;
}

std::string format_size(std::uint64_t bytes) {
  if (bytes < kKiB)
    return fmt::format("{} bytes", bytes);
  std::size_t power = 0;
  while (power + 1 < kSuffixes.size() && (bytes >> (10 * (power + 1))) >= kKiB)
    ++power;
  const std::uint64_t unit = kKiB << (10 * power);
  if (bytes % unit == 0)
    return fmt::format("{} {}iB", bytes / unit, kSuffixes[power]);
  return fmt::format("{:.1f} {}iB", static_cast<double>(bytes) / static_cast<double>(unit),
                     kSuffixes[power]);
}

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = sequence_length(text.substr(i));
    if (length == 0)
      return false;
    i += length;
  }
  return true;
}

std::string printable(std::string_view text) {
  return escape_controls(text, false);
}

std::string printable_lines(std::string_view text) {
  return escape_controls(text, true);
}

std::string base64(std::string_view bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8U | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += k <= count ? kDigits[group >> (18 - 6 * k) & 0x3FU] : '=';
  }
  return out;
}

std::string comma_list(std::span<const std::string_view> words) {
  std::string list;
  for (const std::string_view word : words) {
    if (!list.empty())
      list += ", ";
    list += word;
  }
  return list;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  // More than a third of the letters wrong is no slip of the fingers any more.
  std::size_t best = std::max<std::size_t>(word.size() / 3, 1) + 1;
  std::string_view found;
  for (const std::string_view candidate : known) {
    const std::size_t d = distance(word, candidate);
    if (d < best) {
      best = d;
      found = candidate;
    }
  }
  return found;
}

}  // namespace vmdk
