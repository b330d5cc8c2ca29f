// What the tests share that go through all scenarios, with trouble at one call after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "faults/scenario.h"

namespace vmdk::test {

struct Case {
  Scenario scenario;
  std::uint64_t every;  // of the calls, every so-manieth is in trouble
};

void PrintTo(const Case& tested, std::ostream* out);

enum class Timers { kWith, kWithout };

// All scenarios; with VMDK_SOAK every call.
std::vector<Case> cases(std::uint64_t every, Timers timers);

std::string name_of_case(const ::testing::TestParamInfo<Case>& tested);

// How long trouble goes on, and how it ends.
enum class Course {
  kOnce,     // a step that failed is tried again
  kCleared,  // until all steps were tried; those that failed are then tried again
  kDropped,  // for ever: the program dies without closing the disk
};

inline constexpr Course kCourses[] = {Course::kOnce, Course::kCleared, Course::kDropped};

const char* to_string(Course course) noexcept;

// Prints what a test has injected, records it, and adds it to the sum that the program prints when
// it ends.
void report_points(std::size_t points);

}  // namespace vmdk::test
