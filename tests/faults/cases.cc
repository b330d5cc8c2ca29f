#include "faults/cases.h"

#include <cstdio>
#include <utility>

#include "support/soak.h"

namespace vmdk::test {
namespace {

class Totals : public ::testing::Environment {
 public:
  void TearDown() override {
    if (scenarios != 0)
      std::printf("injected: %zu points in %zu scenarios\n", points, scenarios);
  }

  std::size_t scenarios = 0;
  std::size_t points = 0;
};

Totals& totals() {
  // GoogleTest owns it.
  static auto* const registered =
      static_cast<Totals*>(::testing::AddGlobalTestEnvironment(new Totals));
  return *registered;
}

// Before the tests begin, so that it is told of their end.
[[maybe_unused]] const Totals& at_start = totals();

}  // namespace

void PrintTo(const Case& tested, std::ostream* out) {
  PrintTo(tested.scenario, out);
}

std::vector<Case> cases(std::uint64_t every, Timers timers) {
  std::vector<Case> all;
  for (auto* list : {write_scenarios, other_scenarios})
    for (Scenario& scenario : list())
      if (timers == Timers::kWith || !scenario.has_timer)
        all.push_back({std::move(scenario), soak() ? 1 : every});
  return all;
}

std::string name_of_case(const ::testing::TestParamInfo<Case>& tested) {
  return tested.param.scenario.name;
}

const char* to_string(Course course) noexcept {
  switch (course) {
    case Course::kOnce:
      return "once";
    case Course::kCleared:
      return "for a while";
    case Course::kDropped:
      return "for ever";
  }
  return "";
}

void report_points(std::size_t points) {
  ::testing::Test::RecordProperty("points", std::to_string(points));
  std::printf("%zu points injected\n", points);
  ++totals().scenarios;
  totals().points += points;
}

}  // namespace vmdk::test
