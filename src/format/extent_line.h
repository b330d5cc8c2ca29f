// One extent line of a descriptor: ACCESS SECTORS TYPE ["NAME" [OFFSET [more]]].
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <vmdk/result.h>

#include "format/descriptor.h"

namespace vmdk {

// Whether the first word says "extent": RW, RDONLY or NOACCESS, in any case. Requires: trimmed.
bool is_extent_line(std::string_view line) noexcept;

// Requires: is_extent_line(line). Errors (kCorrupt) begin with "line NUMBER: ".
Result<ExtentLine> parse_extent_line(std::string_view line, std::size_t number);

}  // namespace vmdk
