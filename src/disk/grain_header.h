// The header of a file that holds an extent in grains, whichever kind it is.
#pragma once

#include <variant>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "format/cowd_header.h"
#include "format/sesparse_header.h"
#include "format/sparse_header.h"

namespace vmdk {

using GrainHeader = std::variant<SparseHeader, CowdHeader, SeSparseHeader>;

// The kind is the file's, whatever word its extent line has. An error says what else the file is.
Result<GrainHeader> read_grain_header(const File& file);

Sectors capacity_of(const GrainHeader& header) noexcept;
// Whether an extent line is shorter than the capacity by more than programs round that up: to
// 64 KiB or to a grain. The line counts, but one of them may be damaged. Requires: it is not
// longer.
bool is_line_short(const GrainHeader& header, Sectors line) noexcept;

// Whether the journal of an SESparse extent holds changes that its tables do not have yet.
Result<bool> has_dirty_journal(const File& file, const SeSparseHeader& header);

}  // namespace vmdk
