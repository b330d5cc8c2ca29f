// The tests have teeth: each fault that a test build can switch on makes a test fail, which passes
// without it.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/seeded_fault.h"
#include "file_contains.h"
#include "support/command.h"

namespace vmdk::test {
namespace {

// A test that does not let the fault pass.
struct Tooth {
  SeededFault fault;
  const char* program;
  const char* test;
};

constexpr auto kTeeth = std::to_array<Tooth>({
    {SeededFault::kHealForgotten, DISK_TESTS,
     "FirstWriteTest.AnInterruptedCommitIsHealedByTheFirstWriteAnywhere"},
    {SeededFault::kContentIdAfterData, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Split"},
    {SeededFault::kMarkForgotten, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Split"},
    {SeededFault::kPublishedBeforeFilled, CRASH_TESTS,
     "Kinds/MeanwhileCrashTest.AFlushWhileAGrainIsFilled/Child"},
    {SeededFault::kCopiedTailForgotten, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Child"},
    {SeededFault::kZeroGrainShowsParent, EXTENT_TESTS,
     "SparseExtentTest.AllocationsTellWhatShowedBefore"},
    {SeededFault::kFailedSpaceCalledFresh, FAULT_TESTS,
     "StaleSpaceTest.WhatAFailedWriteLeftDoesNotShow"},
    {SeededFault::kUnsyncedNotedTooEarly, CRASH_TESTS,
     "Kinds/MeanwhileCrashTest.AFlushWhileAGrainIsOverwritten/Sparse"},
    {SeededFault::kShortWriteIgnored, IO_TESTS,
     "PosixFileTest.WriteGoesOnAfterShortAndInterruptedCalls"},
    {SeededFault::kShortReadCalledZeros, EXTENT_TESTS,
     "SparseExtentTest.ShortReadsAnywhereElseFail"},
    {SeededFault::kFreedReusedBeforeCommit, EXTENT_TESTS,
     "SparseExtentTest.ACommitDroppedUnfinishedCountsAsFailed"},
    {SeededFault::kFreedReusedUnderRequests, FAULT_TESTS,
     "InFlightTest.AWriteInPlaceDoesNotHitTheNextOwner"},
    {SeededFault::kFreedListTakenTooLate, CRASH_TESTS,
     "Kinds/MeanwhileDiscardTest.ADiscardWhileACommitRuns/Sparse"},
    {SeededFault::kPunchedBeforeCommit, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Split"},
    {SeededFault::kTablesFromLiveMemory, CRASH_TESTS,
     "Kinds/MeanwhileCrashTest.AWriteWhileACommitRuns/Sparse"},
    {SeededFault::kNewTablesWithTheirNames, CRASH_TESTS,
     "Kinds/CommitCrashTest.OneOperation/CowdChild"},
    {SeededFault::kFirstBarrierDropped, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Split"},
    {SeededFault::kPrimaryTablesFirst, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Split"},
    {SeededFault::kPrimaryNamesFirst, CRASH_TESTS, "HalfNamedTableTest.IsAnInterruptedCommit"},
    {SeededFault::kNameBarrierDropped, CRASH_TESTS, "HalfNamedTableTest.IsAnInterruptedCommit"},
    {SeededFault::kSecondBarrierDropped, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Split"},
    {SeededFault::kDirtyForgottenOnFailure, FAULT_TESTS,
     "SomeCalls/FaultTest.AnyCallMayFail/CopyOnWrite"},
    {SeededFault::kLaterChangesCalledClean, CRASH_TESTS,
     "Kinds/MeanwhileCrashTest.AWriteWhileACommitRuns/Sparse"},
    {SeededFault::kEarlierCommitAnswers, FAULT_TESTS,
     "SyncWaitTest.AFlushIsNotAnsweredByACommitThatBeganBeforeItsWrite"},
    {SeededFault::kTimerSkipsExtent, DISK_TESTS,
     "TimedCommitTest.EachExtentIsCommittedThoughNobodyFlushes"},
    {SeededFault::kFailedSyncForgotten, FAULT_TESTS,
     "Outcomes/OtherWriteTest.AFlushWaitsForASyncThatAnotherWriteStarted/1"},
    {SeededFault::kStickyErrorCleared, FAULT_TESTS,
     "SomeCalls/FaultTest.AnyCallMayFail/CopyOnWrite"},
    {SeededFault::kMarkTakenAwayTooEarly, CRASH_TESTS, "Kinds/CommitCrashTest.OneOperation/Split"},
});

std::string_view name_of(SeededFault fault) {
  return std::find_if(kSeededFaults.begin(), kSeededFaults.end(),
                      [&](const auto& one) { return one.fault == fault; })
      ->name;
}

void PrintTo(const Tooth& tooth, std::ostream* out) {
  *out << name_of(tooth.fault);
}

CommandResult run_tests(const std::string& environment, const char* program,
                        const std::string& filter) {
  return run_command(fmt::format("{} {} --gtest_color=no --gtest_filter={}", environment,
                                 shell_word(program), shell_word(filter)),
                     std::chrono::minutes(5));
}

class TeethTest : public ::testing::TestWithParam<Tooth> {};

TEST_P(TeethTest, TheFaultIsCaught) {
  const Tooth& tooth = GetParam();
  const CommandResult result = run_tests(fmt::format("{}={}", kFaultVariable, name_of(tooth.fault)),
                                         tooth.program, tooth.test);
  ASSERT_FALSE(result.timed_out) << result.to_text();
  // A test that fails, not a program that dies.
  EXPECT_EQ(result.status, 1) << result.to_text();
  EXPECT_NE(result.out.find(fmt::format("[  FAILED  ] {}", tooth.test)), std::string::npos)
      << result.to_text();
  std::printf("%s: caught by %s\n", std::string(name_of(tooth.fault)).c_str(), tooth.test);
}

INSTANTIATE_TEST_SUITE_P(Faults, TeethTest, ::testing::ValuesIn(kTeeth),
                         [](const auto& tooth) { return std::string(name_of(tooth.param.fault)); });

TEST(TeethTest, WithoutAFaultTheTestsPass) {
  std::map<const char*, std::set<std::string>> tests;
  for (const Tooth& tooth : kTeeth)
    tests[tooth.program].insert(tooth.test);
  for (const auto& [program, names] : tests) {
    std::string filter;
    for (const std::string& name : names)
      filter += (filter.empty() ? "" : ":") + name;
    const CommandResult result = run_tests("", program, filter);
    EXPECT_EQ(result.status, 0) << result.to_text();
    EXPECT_NE(result.out.find(fmt::format("[  PASSED  ] {} test", names.size())), std::string::npos)
        << result.to_text();
  }
}

TEST(TeethTest, ThereIsOneForEachFault) {
  for (const auto& [fault, name] : kSeededFaults)
    EXPECT_EQ(std::count_if(kTeeth.begin(), kTeeth.end(),
                            [fault = fault](const Tooth& tooth) { return tooth.fault == fault; }),
              1)
        << name;
  EXPECT_EQ(kTeeth.size(), kSeededFaults.size());
}

TEST(TeethTest, AFaultThatThereIsNotIsRefused) {
  const CommandResult result = run_tests(fmt::format("{}=Nonsense", kFaultVariable), EXTENT_TESTS,
                                         "SparseExtentTest.ShortReadsAnywhereElseFail");
  EXPECT_EQ(result.status, 128 + SIGABRT) << result.to_text();
  EXPECT_NE(result.err.find("no fault has that name"), std::string::npos) << result.to_text();
}

// So that the test of the programs, which must not have it, looks for the right thing.
TEST(TeethTest, TheTestsKnowTheVariable) {
  EXPECT_TRUE(file_contains(EXTENT_TESTS, kFaultVariable));
}

// | `Fault` | what goes wrong | `Test` |
TEST(TeethTest, TheTableOfTheDocumentIsTrue) {
  const std::string text = text_of_file(SOURCE_ROOT "/docs/durability.md");
  const std::size_t section = text.find("\n## What the tests would notice\n");
  ASSERT_NE(section, std::string::npos);
  std::istringstream document(text.substr(section));
  std::map<std::string, std::string> rows;
  for (std::string line; std::getline(document, line);) {
    if (!line.starts_with("| `"))
      continue;
    const std::size_t end = line.find('`', 3);
    ASSERT_TRUE(rows.emplace(line.substr(3, end - 3), line.substr(end)).second) << line;
  }
  EXPECT_EQ(rows.size(), kTeeth.size());
  for (const Tooth& tooth : kTeeth) {
    const std::string name(name_of(tooth.fault));
    EXPECT_NE(rows[name].find(fmt::format("`{}`", tooth.test)), std::string::npos)
        << name << ": the document says " << rows[name];
  }
}

}  // namespace
}  // namespace vmdk::test
