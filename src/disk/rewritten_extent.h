// The file that takes the place of a hosted sparse extent.
#pragma once

#include <cstdint>
#include <string>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "disk/create_plan.h"
#include "disk/extent_filler.h"

namespace vmdk {

struct RewrittenExtent {
  NewFile file;            // its path is not looked at
  std::string descriptor;  // embedded; empty: none
};

// Grains that new extents have in place of those of an old one.
std::uint64_t usable_grain(std::uint64_t old_grain) noexcept;  // bytes

// As the old one, which is a hosted sparse `extent` of the image `layer`: capacity, grains, room
// for the descriptor and its text. In the layout that all programs know, with all tables in both
// copies.
Result<RewrittenExtent> plan_rewritten(const File& old, const ExtentInfo& extent,
                                       const LayerInfo& layer);

// The same with another capacity or text.
Status lay_out_again(RewrittenExtent& planned, Sectors capacity);

// Fills the empty file; durable when it returns. [begin, begin + length) of the filler's disk goes
// into it.
Status write_rewritten(File& file, const RewrittenExtent& planned, ExtentFiller& filler,
                       DiskOffset begin, std::uint64_t length, const Progress& progress);

}  // namespace vmdk
