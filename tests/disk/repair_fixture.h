// Short forms for tests of repairs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "check_fixture.h"

namespace vmdk::test {

class RepairFixture : public CheckFixture {
 protected:
  static constexpr const char* kImage = "/vm/d.vmdk";

  static std::vector<RepairKind> kinds_of(const CheckReport& report) {
    std::vector<RepairKind> kinds;
    for (const Repair& repair : report.repairs)
      kinds.push_back(repair.kind);
    return kinds;
  }

  static std::size_t count(const CheckReport& report, RepairState state) {
    return static_cast<std::size_t>(
        std::count_if(report.repairs.begin(), report.repairs.end(),
                      [&](const Repair& repair) { return repair.state == state; }));
  }

  static CheckOptions repairing() {
    CheckOptions options;
    options.repair = true;
    return options;
  }

  // Another grain at the end of the file, which no entry names. Returns its sector.
  std::uint32_t append_grain(unsigned value) {
    const std::uint64_t at = memory_.size(kImage);
    memory_.poke(kImage, at, filled(kGrain, value));
    return static_cast<std::uint32_t>(at / kSectorSize);
  }

  void expect_nothing_changed(const CheckReport& report, const std::string& why) {
    EXPECT_EQ(count(report, RepairState::kDone), 0U) << text_of(report);
    expect_says(report, "nothing is changed: ");
    expect_says(report, why);
  }

  void expect_reads(std::uint64_t grain, unsigned value) {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly(kImage));
    EXPECT_EQ(read(*disk, grain * kGrain, 3), std::string(3, static_cast<char>(value)));
  }
};

}  // namespace vmdk::test
