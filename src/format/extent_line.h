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

// Whether an extent stands in a comment directly behind something that is no blank: then the end of
// the comment's line was damaged, and all extents behind it would move.
bool swallows_extent_line(std::string_view comment);

}  // namespace vmdk
