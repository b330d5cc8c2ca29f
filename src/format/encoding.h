// File names of programs that do not write UTF-8.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace vmdk {

// `text` in UTF-8, from the encoding that a descriptor names: "windows-1252", "GBK", "Shift_JIS",
// "Big5", or whatever else iconv(3) of this system knows. nullopt: UTF-8 already, an encoding that
// is not known here, or bytes that are none of it.
std::optional<std::string> to_utf8(std::string_view text, std::string_view encoding);

}  // namespace vmdk
