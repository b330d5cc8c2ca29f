// Builds a chain link by link and works on each while it is the top.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>

#include <vmdk/io.h>

#include "shapes.h"

namespace vmdk::test {

// `before_link(i)` and `after_link(i)` run around the work on link i: there a test keeps and
// compares what the links beneath consist of. Stops at the first failure.
void work_through_chain(FileSystem& file_system, const std::filesystem::path& folder,
                        const Shape& base, std::size_t depth,
                        const std::function<void()>& before_link,
                        const std::function<void()>& after_link);

std::string scenario_name(const Shape& base, std::size_t depth);

}  // namespace vmdk::test
