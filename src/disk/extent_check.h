// The check of one extent with grains.
#pragma once

#include <optional>

#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "disk/checked_extent.h"
#include "disk/findings.h"
#include "extent/open_file.h"
#include "format/extent_line.h"

namespace vmdk {

// Reads all its tables, of a compressed one also its grains, and tells `findings`. What is wrong
// with the header or the directories is damage and ends the check of this extent, not of the image.
// Returns the extent when a repair may change it. An error when reading fails, or for what is not
// served.
Result<std::optional<CheckedExtent>> check_extent(const ExtentLine& line, OpenFile& file,
                                                  Findings& findings, const Progress& progress);

}  // namespace vmdk
