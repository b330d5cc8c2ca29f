// Any system call may be interrupted, and any read or write may be short: nobody sees it.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "faults/cases.h"
#include "faults/fault_run.h"
#include "faults/rooted_file_system.h"
#include "faults/scenario.h"
#include "io/system_calls.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// The calls of one run, with trouble at one of them.
struct Trouble {
  std::size_t interrupted_call = 0;
  std::size_t short_transfer = 0;
};

class SystemRun {
 public:
  SystemRun(const Prepared& prepared, const TempDir& folder, const Trouble& trouble)
      : prepared_(prepared), root_(folder / "root"), trouble_(trouble) {}

  void go() {
    std::filesystem::remove_all(root_);  // of an earlier run
    const std::size_t before = open_descriptors();
    {
      RootedFileSystem* host = nullptr;
      FaultRun run(prepared_, [&](FileSystem& /*below*/) {
        auto made = std::make_unique<RootedFileSystem>(prepared_.files, root_);
        host = made.get();
        return made;
      });
      const system_calls::Guard guard;
      auto& plan = system_calls::plan();
      plan.syncs_do_nothing = true;
      plan.interrupted_call = trouble_.interrupted_call;
      plan.short_transfer = trouble_.short_transfer;
      for (const auto* steps : {&prepared_.scenario.before, &prepared_.scenario.steps})
        for (const Step& step : *steps)
          ASSERT_OK(step.act(run)) << step.label;
      if (run.disk() != nullptr)
        ASSERT_OK(run.close());
      calls_ = plan.calls;
      transfers_ = plan.transfers;
      host->collect(run.files());
      const auto& judge = prepared_.scenario.judge;
      EXPECT_EQ(judge ? judge(run, true) : run.wrong_image(), std::nullopt);
      EXPECT_EQ(run.wrong_answer(), std::nullopt);
    }
    EXPECT_EQ(open_descriptors(), before);
  }

  std::size_t calls() const { return calls_; }

  std::size_t transfers() const { return transfers_; }

 private:
  const Prepared& prepared_;
  const std::filesystem::path root_;
  const Trouble trouble_;
  std::size_t calls_ = 0;
  std::size_t transfers_ = 0;
};

class SystemCallTest : public ::testing::TestWithParam<Case> {};

TEST_P(SystemCallTest, AnyMayBeInterruptedOrShort) {
  const Prepared prepared(GetParam().scenario);
  const TempDir folder;
  SystemRun counting(prepared, folder, {});
  ASSERT_NO_FATAL_FAILURE(counting.go());
  std::vector<Trouble> troubles;
  for (std::size_t call = 1; call <= counting.calls(); call += GetParam().every)
    troubles.push_back({.interrupted_call = call});
  for (std::size_t call = 1; call <= counting.transfers(); call += GetParam().every)
    troubles.push_back({.short_transfer = call});
  for (const Trouble& trouble : troubles) {
    SCOPED_TRACE(fmt::format("call {} of {} is interrupted, transfer {} of {} is short",
                             trouble.interrupted_call, counting.calls(), trouble.short_transfer,
                             counting.transfers()));
    ASSERT_NO_FATAL_FAILURE(SystemRun(prepared, folder, trouble).go());
    ASSERT_FALSE(HasFailure());
  }
  report_points(troubles.size());
}

INSTANTIATE_TEST_SUITE_P(ManyCalls, SystemCallTest, ::testing::ValuesIn(cases(7, Timers::kWithout)),
                         name_of_case);
// With sanitizers, which make it slower.
INSTANTIATE_TEST_SUITE_P(SomeCalls, SystemCallTest,
                         ::testing::ValuesIn(cases(11, Timers::kWithout)), name_of_case);

}  // namespace
}  // namespace vmdk::test
