// A sequence with all that it takes to do it again, and its file.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/result.h>

#include "conformance/workload.h"
#include "vfsx/operation.h"

namespace vmdk::test {

inline constexpr std::array<Tuning, 4> kTunings = {{
    {.batch_grains = 512, .table_cache = 256 * kMiB},
    {.batch_grains = 1, .table_cache = 0},  // as few tables in memory as can be
    {.batch_grains = 16, .table_cache = 256 * kMiB},
    {.batch_grains = 512, .table_cache = 0},
}};

// How a disk is opened.
struct Setup {
  std::string image;  // one of image_names()
  Tuning tuning;
  bool mount = false;               // a mounted disk, else the library by itself
  std::string cache = "writeback";  // of a mount: as in vmdkfuse --cache=MODE
};

struct Recipe {
  Setup setup;
  std::vector<Operation> operations;
};

// Lines: "image NAME", "batch GRAINS", "table-cache BYTES", "mount CACHE", then the operations.
std::string to_text(const Recipe& recipe);
// Empty lines and what follows a '#' do not count. kInvalidArgument names the line.
Result<Recipe> parse_recipe(std::string_view text);

}  // namespace vmdk::test
