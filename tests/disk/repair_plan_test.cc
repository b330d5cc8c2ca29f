// Repairs: what they say before, and what they do when something fails.
#include <cerrno>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repair_fixture.h"
#include "support/faulty_file_system.h"

namespace vmdk::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using RepairTest = RepairFixture;

TEST_F(RepairTest, ADryRunOnlyReads) {
  make_image(true);
  set_entry(600, false, 0);
  set_entry(0, false, 0);
  set_entry(0, true, 0);
  const auto before = all_bytes();
  memory_.set_permissions(kImage, 0400);
  const CheckReport plan = check(true, false, true);
  EXPECT_EQ(plan.exit_code(), 3) << "the state that it is in";
  EXPECT_TRUE(all_bytes() == before);
  EXPECT_THAT(check_image(memory_, kImage, repairing()), IsError(ErrorCode::kDenied));
  memory_.set_permissions(kImage, 0600);
  const CheckReport done = check(true);
  EXPECT_EQ(done.exit_code(), 0);
  ASSERT_EQ(plan.repairs.size(), done.repairs.size());
  for (std::size_t i = 0; i < plan.repairs.size(); ++i) {
    EXPECT_EQ(plan.repairs[i].state, RepairState::kPlanned);
    EXPECT_EQ(done.repairs[i].state, RepairState::kDone);
    EXPECT_EQ(plan.repairs[i].kind, done.repairs[i].kind);
    EXPECT_EQ(plan.repairs[i].text, done.repairs[i].text);
    EXPECT_EQ(plan.repairs[i].bytes, done.repairs[i].bytes);
  }
  EXPECT_THAT(kinds_of(plan), ElementsAre(RepairKind::kTables, RepairKind::kEnd, RepairKind::kMark))
      << "both grains are at the end";
}

TEST_F(RepairTest, ThePlanIsToldBeforeTheFirstChange) {
  make_image(true);
  const auto before = all_bytes();
  CheckOptions options = repairing();
  std::string told;
  options.planned = [&](const CheckReport& report) {
    EXPECT_TRUE(all_bytes() == before);
    EXPECT_EQ(count(report, RepairState::kPlanned), report.repairs.size());
    EXPECT_EQ(report.leak_count, 1U);
    told += text_of(report);
  };
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(memory_, kImage, options));
  EXPECT_EQ(report.exit_code(), 0);
  EXPECT_THAT(told, HasSubstr("planned: /vm/d.vmdk: the mark of an unfinished session"));
  told.clear();
  ASSERT_OK(check_image(memory_, kImage, options));
  EXPECT_EQ(told, "") << "there is nothing to tell any more";
}

TEST_F(RepairTest, WhoCannotTellThePlanStopsIt) {
  make_image(true);
  const auto before = all_bytes();
  CheckOptions options = repairing();
  options.planned = [](const CheckReport&) { throw std::runtime_error("nobody listens"); };
  EXPECT_THROW(static_cast<void>(check_image(memory_, kImage, options)), std::runtime_error);
  EXPECT_TRUE(all_bytes() == before);
  EXPECT_EQ(check(true).exit_code(), 0) << "and its locks are gone";
}

// Whatever call fails, and for ever: what was done is told, and a second run ends it.
TEST_F(RepairTest, AFailureIsToldAndCanBeRepaired) {
  const std::vector<OpKind> changes = {OpKind::kWrite, OpKind::kResize, OpKind::kPunch,
                                       OpKind::kSync};
  std::uint64_t calls = 1;
  for (std::uint64_t nth = 0; nth <= calls; ++nth) {
    SCOPED_TRACE(nth);
    make_image(true);
    const std::uint32_t sound = entry(600, true);
    append_grain('-');
    set_entry(600, false, 3);
    set_entry(0, false, 0);
    set_entry(0, true, 0);
    FaultyFileSystem host(memory_);
    host.add({.kinds = changes, .nth = nth, .for_ever = true, .err = EIO});
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(host, kImage, repairing()));
    if (nth == 0) {
      calls = host.matched();
      EXPECT_THAT(kinds_of(report), ElementsAre(RepairKind::kTables, RepairKind::kEnd,
                                                RepairKind::kHoles, RepairKind::kMark));
      EXPECT_EQ(report.exit_code(), 0);
    } else {
      ASSERT_TRUE(report.failure);
      EXPECT_EQ(report.failure->errno_value(), EIO);
      EXPECT_EQ(report.exit_code(), 1);
      EXPECT_EQ(report.repairs.back().state, RepairState::kPlanned) << "the mark goes last";
      const CheckReport again = check(true);
      EXPECT_EQ(again.exit_code(), 0) << text_of(again);
    }
    EXPECT_EQ(entry(600, false), sound);
    EXPECT_FALSE(marked(kImage));
    EXPECT_EQ(memory_.size(kImage), built_.file_size);
    ASSERT_OK(memory_.remove(kImage));
  }
  EXPECT_GE(calls, 8U);
}

}  // namespace
}  // namespace vmdk::test
