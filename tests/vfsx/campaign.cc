#include "vfsx/campaign.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "vfsx/generator.h"
#include "vfsx/shrink.h"

namespace vmdk::test {
namespace {

using Clock = std::chrono::steady_clock;

void cut_behind(Recipe& recipe, const Failure& failure) {
  recipe.operations.resize(std::min(recipe.operations.size(), failure.index + 1));
}

}  // namespace

std::string describe(const Recipe& recipe, const Failure& failure) {
  const std::string where = failure.index < recipe.operations.size()
                                ? fmt::format("operation {} ({})", failure.index + 1,
                                              to_text(recipe.operations[failure.index]))
                                : "the end";
  return fmt::format("fails at {}: {}", where, failure.text);
}

std::optional<Failure> run_once(const Recipe& recipe, const Workshop& workshop) {
  auto failure = exercise_apart(recipe, workshop.make, workshop.patience, workshop.too_long);
  workshop.clean();
  return failure;
}

Found shrink_recipe(Recipe recipe, Failure failure, const Workshop& workshop) {
  Found found;
  found.story = describe(recipe, failure) + "\n";
  cut_behind(recipe, failure);
  const auto again = run_once(recipe, workshop);
  if (!again) {
    found.story += "The same sequence does not fail each time; it is shown whole.\n";
    found.recipe = std::move(recipe);
    found.failure = std::move(failure);
    return found;
  }
  failure = *again;
  cut_behind(recipe, failure);
  const auto end = Clock::now() + workshop.shrink_time;
  const std::size_t before = recipe.operations.size();
  const Trial trial = [&](std::span<const Operation> operations) -> std::optional<std::size_t> {
    auto failed = run_once({recipe.setup, {operations.begin(), operations.end()}}, workshop);
    if (!failed || workshop.interrupted())
      return std::nullopt;
    failure = *std::move(failed);
    return failure.index;
  };
  ShrinkResult shrunk = shrink(recipe.operations, trial, [&](std::size_t trials) {
    return trials < workshop.shrink_trials && Clock::now() < end && !workshop.interrupted();
  });
  found.story += fmt::format("{} operations were shrunk to {} in {} trials{}.\n", before,
                             shrunk.operations.size(), shrunk.trials,
                             shrunk.complete ? "" : "; it might become shorter still");
  recipe.operations = std::move(shrunk.operations);
  found.story += describe(recipe, failure) + "\n";
  found.recipe = std::move(recipe);
  found.failure = std::move(failure);
  return found;
}

CampaignResult run_campaign(const CampaignOptions& options, const Workshop& workshop) {
  CampaignResult result;
  const auto begin = Clock::now();
  while (!workshop.interrupted() &&
         (!options.operations || result.operations < *options.operations) &&
         (!options.time || Clock::now() - begin < *options.time)) {
    const auto seed = static_cast<std::uint32_t>(options.seed + result.sequences);
    const std::string& image = options.images[result.sequences % options.images.size()];
    Recipe recipe = random_recipe(image, options.mount, options.length, seed);
    auto failure = run_once(recipe, workshop);
    ++result.sequences;
    result.operations += recipe.operations.size();
    if (failure && !workshop.interrupted()) {
      result.found = shrink_recipe(std::move(recipe), *std::move(failure), workshop);
      result.found->story =
          fmt::format("--seed={} --image={} {}", seed, image, result.found->story);
      return result;
    }
  }
  return result;
}

}  // namespace vmdk::test
