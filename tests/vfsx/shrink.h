// Makes a sequence that fails as short as it can be.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "vfsx/operation.h"

namespace vmdk::test {

// Tries a sequence; the number of the operation that fails (their number: the end), or nullopt.
using Trial = std::function<std::optional<std::size_t>(std::span<const Operation>)>;

struct ShrinkResult {
  std::vector<Operation> operations;
  std::size_t trials = 0;
  bool complete = false;  // nothing of it can be left out or made shorter
};

// Drops ever smaller pieces of the sequence, then single operations, then shortens what is left,
// as long as it fails. `keep_going` is asked before each trial. Requires: `failing` fails.
ShrinkResult shrink(std::vector<Operation> failing, const Trial& trial,
                    const std::function<bool(std::size_t trials)>& keep_going);

}  // namespace vmdk::test
