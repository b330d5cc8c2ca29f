// How much the tests do.
#pragma once

#include <cstdlib>

namespace vmdk::test {

// Whether the long and complete forms of the tests are wanted: VMDK_SOAK is set.
inline bool soak() {
  return std::getenv("VMDK_SOAK") != nullptr;  // NOLINT(concurrency-mt-unsafe): nobody sets it
}

}  // namespace vmdk::test
