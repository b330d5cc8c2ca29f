// Random sequences that look for trouble at edges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "vfsx/images.h"
#include "vfsx/recipe.h"

namespace vmdk::test {

// A sequence of so many operations and how its disk is opened, all by `seed`, on the image named.
// Requires: there is such an image.
Recipe random_recipe(const std::string& image, bool mount, std::size_t operations,
                     std::uint32_t seed);

}  // namespace vmdk::test
