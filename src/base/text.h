// What both programs need to read their command lines.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <vmdk/result.h>

namespace vmdk {

// "512", "64K", "1.5G": bytes, or a decimal number with one of the binary suffixes K M G T (either
// case, "KiB" and the like too). kInvalidArgument for anything else, for a fraction that is no
// whole number of bytes, and for what does not fit 64 bits.
Result<std::uint64_t> parse_size(std::string_view text);

// 1610612736 is "1.5 GiB", 100 is "100 bytes": at most one digit behind the point.
std::string format_size(std::uint64_t bytes);

// Whether the bytes are well-formed UTF-8.
bool is_utf8(std::string_view text) noexcept;

// The text with control characters written as \xNN: names come from images, and a terminal would
// obey them.
std::string printable(std::string_view text);
// The same for a text of several lines, whose line ends stay.
std::string printable_lines(std::string_view text);

std::string base64(std::string_view bytes);

// "ide, lsilogic": the words with ", " between them.
std::string comma_list(std::span<const std::string_view> words);

// The known word that `word` most probably was meant to be; empty when none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace vmdk
