// A sequence of operations in the bytes of a fuzzer's input.
#pragma once

#include <cstddef>
#include <span>

#include "vfsx/recipe.h"

namespace vmdk::test {

// Bytes of one operation: kind, edge, distance from it (2), length (2), tag. Any bytes are
// operations; two before them choose the image and how it is opened.
inline constexpr std::size_t kOperationBytes = 7;

// At most 48 operations, on a small disk. `kills`: else there are none.
Recipe recipe_of(std::span<const std::byte> input, bool kills);

// Does it to the library and aborts where something is wrong.
void require_recipe(const Recipe& recipe);

}  // namespace vmdk::test
