// A sparse image whose entries a test changes, and the check of it.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "disk_fixture.h"

namespace vmdk::test {

class CheckFixture : public DiskFixture {
 protected:
  static constexpr std::uint64_t kGrain = 64 * kKiB;

  CheckReport check(bool repair = false, bool repair_tables = false, bool dry_run = false) {
    CheckOptions options;
    options.repair = repair;
    options.repair_tables = repair_tables;
    options.dry_run = dry_run;
    auto report = check_image(memory_, "/vm/d.vmdk", options);
    EXPECT_OK(report);
    return report ? *report : CheckReport{};
  }

  // Grains 0 and 600, in two tables.
  void make_image(bool unclean, bool zeroed_grains = false) {
    SparseSpec spec;
    spec.capacity = 64 * kMiB;
    spec.unclean = unclean;
    spec.zeroed_grains = zeroed_grains;
    for (const std::uint64_t index : {0U, 600U}) {
      GrainSpec grain;
      grain.index = index;
      grain.data = filled(kGrain, 'a' + static_cast<unsigned>(index / 600));
      spec.grains.push_back(grain);
    }
    built_ = make("/vm/d.vmdk", spec);
  }

  std::uint32_t entry(std::uint64_t grain, bool redundant) const {
    return peek("/vm/d.vmdk", built_.entry_at(grain, redundant));
  }

  void set_entry(std::uint64_t grain, bool redundant, std::uint32_t value) {
    poke_entry("/vm/d.vmdk", built_.entry_at(grain, redundant), value);
  }

  static std::string state_text(RepairState state) {
    if (state == RepairState::kLeft)
      return "left: ";
    return state == RepairState::kDone ? "done: " : "planned: ";
  }

  static std::string text_of(const CheckReport& report) {
    std::string text;
    for (const Finding& finding : report.findings)
      text += finding.file + ": " + finding.text + "\n";
    for (const Repair& repair : report.repairs)
      text += state_text(repair.state) + repair.file + ": " + repair.text + "\n";
    return text;
  }

  static void expect_says(const CheckReport& report, const std::string& words) {
    EXPECT_NE(text_of(report).find(words), std::string::npos) << words << " in:\n"
                                                              << text_of(report);
  }

  BuiltSparse built_;
};

}  // namespace vmdk::test
