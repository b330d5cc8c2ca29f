// Text of descriptors: ASCII without case and locale; bytes above 127 pass through untouched.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace vmdk::ascii {

constexpr bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

inline std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) { return lower(c); });
  return result;
}

constexpr bool equal_without_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

constexpr bool starts_without_case(std::string_view text, std::string_view start) noexcept {
  return equal_without_case(text.substr(0, start.size()), start);
}

constexpr std::string_view trim_left(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front()))
    text.remove_prefix(1);
  return text;
}

constexpr std::string_view trim(std::string_view text) noexcept {
  text = trim_left(text);
  while (!text.empty() && is_blank(text.back()))
    text.remove_suffix(1);
  return text;
}

// Text of an image for a message: in quotes, cut when long, without control characters (a terminal
// would obey them).
inline std::string quoted(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  std::string result = "\"";
  for (const char c : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  result += text.size() > kLongest ? "…\"" : "\"";
  return result;
}

}  // namespace vmdk::ascii
