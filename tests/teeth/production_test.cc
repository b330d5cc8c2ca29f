// What is built for use has no faults that could be switched on.
#include <gtest/gtest.h>

#include "base/seeded_fault.h"
#include "file_contains.h"

namespace vmdk::test {
namespace {

static_assert(!seeded(SeededFault::kFirstBarrierDropped),
              "a constant: the compiler drops the rest");

TEST(ProductionTest, TheProgramsKnowNoFaults) {
  for (const char* program : {VMDKFUSE, VMDKCTL}) {
    EXPECT_TRUE(file_contains(program, "not opened for writing")) << program << ": the engine";
    EXPECT_FALSE(file_contains(program, kFaultVariable)) << program;
  }
}

}  // namespace
}  // namespace vmdk::test
