#include "crash/tally.h"

#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace vmdk::test {
namespace {

void sum_up(const Sweep& sweep, Sweep& sum) {
  sum.points += sweep.points;
  sum.states += sweep.states;
  sum.after_flush += sweep.after_flush;
  sum.again += sweep.again;
}

std::string to_string(std::size_t sequences, const Sweep& sum) {
  return fmt::format(
      "{} sequences, {} crash points, {} states, {} of them after a flush; {} states of a second "
      "crash",
      sequences, sum.points, sum.states, sum.after_flush, sum.again);
}

// Of all tests of the program.
class Totals : public ::testing::Environment {
 public:
  void TearDown() override {
    if (sequences != 0)
      std::printf("crash states: %s\n", to_string(sequences, sum).c_str());
  }

  std::size_t sequences = 0;
  Sweep sum;
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

void Tally::add(const Sweep& sweep) {
  ++sequences_;
  sum_up(sweep, sum_);
}

void Tally::report() const {
  using ::testing::Test;
  Test::RecordProperty("sequences", std::to_string(sequences_));
  Test::RecordProperty("points", std::to_string(sum_.points));
  Test::RecordProperty("states", std::to_string(sum_.states));
  Test::RecordProperty("states_of_a_second_crash", std::to_string(sum_.again));
  std::printf("%s\n", to_string(sequences_, sum_).c_str());
  totals().sequences += sequences_;
  sum_up(sum_, totals().sum);
}

}  // namespace vmdk::test
