// Many random sequences, one after the other, and what happens when one fails.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "vfsx/apart.h"
#include "vfsx/recipe.h"

namespace vmdk::test {

struct CampaignOptions {
  bool mount = false;
  std::uint32_t seed = 1;           // of the first sequence; each following one has the next
  std::vector<std::string> images;  // in turn
  std::size_t length = 0;           // operations of a sequence
  // Ends when there were so many operations, or after so long, whatever is stated.
  std::optional<std::uint64_t> operations;
  std::optional<std::chrono::seconds> time;
};

// How sequences are done.
struct Workshop {
  MakeSubject make;
  std::chrono::seconds patience{0};     // with one sequence
  std::function<void()> too_long = {};  // see exercise_apart()
  std::function<void()> clean = [] {};  // after each
  std::function<bool()> interrupted = [] { return false; };
  std::size_t shrink_trials = 0;        // at most so many
  std::chrono::seconds shrink_time{0};  // and so long
};

struct Found {
  Recipe recipe;      // shrunk
  Failure failure;    // of the shrunk one
  std::string story;  // lines: which sequence it was, and how it was shrunk
};

struct CampaignResult {
  std::uint64_t sequences = 0;
  std::uint64_t operations = 0;
  std::optional<Found> found;  // the first failure ends it
};

// "fails at operation 3 (fsync): …".
std::string describe(const Recipe& recipe, const Failure& failure);

std::optional<Failure> run_once(const Recipe& recipe, const Workshop& workshop);

CampaignResult run_campaign(const CampaignOptions& options, const Workshop& workshop);

// Shrinks a recipe that has failed as `failure` says.
Found shrink_recipe(Recipe recipe, Failure failure, const Workshop& workshop);

}  // namespace vmdk::test
