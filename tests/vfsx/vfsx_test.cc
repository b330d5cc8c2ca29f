// The exerciser itself: it finds what is wrong, makes it short, and can do it again.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "crash/meddling_file_system.h"
#include "support/matchers.h"
#include "vfsx/apart.h"
#include "vfsx/campaign.h"
#include "vfsx/disk_subject.h"
#include "vfsx/exerciser.h"
#include "vfsx/generator.h"
#include "vfsx/images.h"
#include "vfsx/pattern.h"
#include "vfsx/recipe.h"
#include "vfsx/shrink.h"

namespace vmdk::test {
namespace {

using Op = Operation::Kind;

constexpr std::uint64_t kGrain = 64 * kKiB;

TEST(OperationTest, TextSaysAllThatCounts) {
  for (std::size_t kind = 0; kind < kOperationKinds; ++kind) {
    Operation operation{.kind = static_cast<Op>(kind)};
    if (has_range(operation.kind)) {
      operation.at = 65536;
      operation.length = 513;
    }
    if (has_tag(operation.kind))
      operation.tag = 7;
    EXPECT_EQ(parse_operation(to_text(operation)), operation) << to_text(operation);
  }
  EXPECT_EQ(to_text(Operation{.kind = Op::kWrite, .at = 4096, .length = 512, .tag = 9}),
            "write 4096 512 9");
  for (const char* line : {"", "writ 1 2 3", "write 1 2", "write 1 2 3 4", "fsync 1", "kill x"})
    EXPECT_EQ(parse_operation(line), std::nullopt) << line;
}

TEST(RecipeTest, FileSaysAllThatCounts) {
  Recipe recipe;
  recipe.setup = {.image = "sparse4k",
                  .tuning = {.batch_grains = 16, .table_cache = 4096},
                  .mount = true,
                  .cache = "none"};
  recipe.operations = {{.kind = Op::kWrite, .at = 1, .length = 2, .tag = 3}, {.kind = Op::kFsync}};
  const std::string text = to_text(recipe);
  ASSERT_OK_AND_ASSIGN(const Recipe again, parse_recipe("# a comment\n\n" + text));
  EXPECT_EQ(to_text(again), text);
  EXPECT_EQ(again.operations, recipe.operations);
  EXPECT_EQ(again.setup.tuning.table_cache, 4096U);
  EXPECT_THAT(parse_recipe("image a\nfsynk\n"), HasMessage("line 2"));
  EXPECT_THAT(parse_recipe("image a b\n"), HasMessage("line 1"));
  EXPECT_THAT(parse_recipe("fsync\n"), HasMessage("image"));
}

TEST(PatternTest, PartOfAWriteWritesWhatTheWholeWould) {
  std::vector<std::byte> whole(4096);
  fill_pattern(whole, 1000, 5);
  std::vector<std::byte> part(77);
  fill_pattern(part, 1000 + 333, 5);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 333));
  EXPECT_EQ(std::count(whole.begin(), whole.end(), std::byte{0}), 0);
  std::vector<std::byte> other(4096);
  fill_pattern(other, 1000, 6);
  EXPECT_NE(whole, other);
  fill_pattern(other, 1008, 5);
  EXPECT_NE(whole, other);
}

// ---- Shrinking

bool always(std::size_t /*trials*/) {
  return true;
}

TEST(ShrinkTest, LeavesWhatTheFailureNeeds) {
  constexpr std::uint64_t kByte = 3 * kMiB + 12'345;
  // A write of one byte, and behind it a sync and a kill.
  const Trial trial = [&](std::span<const Operation> operations) -> std::optional<std::size_t> {
    int step = 0;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const auto& [kind, at, length, tag] = operations[i];
      if (step == 0 && kind == Op::kWrite && at <= kByte && kByte < at + length)
        step = 1;
      else if (step == 1 && kind == Op::kFsync)
        step = 2;
      else if (step == 2 && kind == Op::kKill)
        return i;
    }
    return std::nullopt;
  };
  std::vector<Operation> failing = random_recipe("sparse64k", false, 1500, 3).operations;
  failing.push_back({.kind = Op::kWrite, .at = kMiB, .length = 4 * kMiB, .tag = 1});
  failing.push_back({.kind = Op::kFsync});
  failing.push_back({.kind = Op::kKill});
  failing.push_back({.kind = Op::kRead, .at = 0, .length = 1});
  ASSERT_TRUE(trial(failing));
  const ShrinkResult result = shrink(failing, trial, always);
  EXPECT_TRUE(result.complete);
  ASSERT_EQ(result.operations.size(), 3U);
  EXPECT_EQ(result.operations[0].kind, Op::kWrite);
  EXPECT_EQ(result.operations[0].at, kByte);
  EXPECT_EQ(result.operations[0].length, 1U);
  EXPECT_EQ(result.operations[1].kind, Op::kFsync);
  EXPECT_EQ(result.operations[2].kind, Op::kKill);
}

TEST(ShrinkTest, StopsWhenItIsToldTo) {
  constexpr std::size_t kNeeded = 10;
  const Trial trial = [](std::span<const Operation> operations) {
    return operations.size() >= kNeeded ? std::optional(operations.size()) : std::nullopt;
  };
  const std::vector<Operation> failing(100, {.kind = Op::kFsync});
  const ShrinkResult stopped =
      shrink(failing, trial, [](std::size_t trials) { return trials < 3; });
  EXPECT_EQ(stopped.trials, 3U);
  EXPECT_FALSE(stopped.complete);
  EXPECT_LT(stopped.operations.size(), failing.size());
  EXPECT_TRUE(trial(stopped.operations)) << "what is shown fails";
  const ShrinkResult whole = shrink(failing, trial, always);
  EXPECT_TRUE(whole.complete);
  EXPECT_EQ(whole.operations.size(), kNeeded);
}

// ---- Faults that are put in are found, shrunk, and found again from the file

using Meddle = std::function<Meddling()>;

std::optional<Failure> run(const Recipe& recipe, const Meddle& meddle) {
  const PreparedImage& image = *prepared_image(recipe.setup.image);
  Between between;
  if (meddle)
    between = [&](FileSystem& below) {
      return std::make_unique<MeddlingFileSystem>(below, meddle());
    };
  auto subject = DiskSubject::open(image, recipe.setup, between);
  if (!subject)
    return Failure{0, subject.error().to_text()};
  return exercise(**subject, image.facts, recipe.operations);
}

// Expects a fault to be found in few sequences, and returns what it is shrunk to, after it was
// written down, read, and done again.
Recipe find_and_shrink(const std::string& image, const Meddle& meddle) {
  constexpr std::uint32_t kMostSequences = 20;
  for (std::uint32_t seed = 1; seed <= kMostSequences; ++seed) {
    Recipe recipe = random_recipe(image, false, 300, seed);
    if (!run(recipe, meddle))
      continue;
    const Trial trial = [&](std::span<const Operation> operations) -> std::optional<std::size_t> {
      const auto failure = run({recipe.setup, {operations.begin(), operations.end()}}, meddle);
      return failure ? std::optional(failure->index) : std::nullopt;
    };
    recipe.operations = shrink(recipe.operations, trial, always).operations;
    const auto again = parse_recipe(to_text(recipe));
    EXPECT_OK(again);
    if (!again)
      return {};
    EXPECT_TRUE(run(*again, meddle)) << "does not fail again:\n" << to_text(*again);
    const auto without = run(*again, {});
    EXPECT_FALSE(without) << "fails without the fault: " << without->text;
    return *again;
  }
  ADD_FAILURE() << "was not found in " << kMostSequences << " sequences";
  return {};
}

std::uint64_t length_of(std::span<const iovec> parts) {
  std::uint64_t length = 0;
  for (const iovec& part : parts)
    length += part.iov_len;
  return length;
}

bool is_data(const File& file, FileOffset at) {
  return file.name() == "/vm/disk.vmdk" && at.bytes() >= kGrain;
}

// Of a write that crosses the border of a grain, what lies behind it is lost.
Meddling lose_behind_borders() {
  return {.write = [](File& below, FileOffset at, std::span<const iovec> parts) -> Status {
    const std::uint64_t border = (at.bytes() / kGrain + 1) * kGrain;
    if (!is_data(below, at) || at.bytes() + length_of(parts) <= border)
      return below.write(at, parts);
    std::vector<std::byte> bytes;
    for (const iovec& part : parts) {
      const auto* const begin = static_cast<const std::byte*>(part.iov_base);
      bytes.insert(bytes.end(), begin, begin + part.iov_len);
    }
    const iovec first{bytes.data(), border - at.bytes()};
    return below.write(at, {&first, 1});
  }};
}

// A place is written once; later writes are lost.
Meddling lose_second_writes() {
  return {.write = [seen = std::make_shared<std::set<std::uint64_t>>()](
                       File& below, FileOffset at, std::span<const iovec> parts) -> Status {
    if (is_data(below, at) && !seen->insert(at.bytes()).second)
      return {};
    return below.write(at, parts);
  }};
}

Meddling lose_syncs() {
  return {.sync = [](File&) -> Status { return {}; }};
}

std::size_t count(const Recipe& recipe, Op kind) {
  return static_cast<std::size_t>(
      std::count_if(recipe.operations.begin(), recipe.operations.end(),
                    [kind](const Operation& operation) { return operation.kind == kind; }));
}

TEST(SeededFaultTest, WriteLostBehindAGrainBorder) {
  const Recipe recipe = find_and_shrink("sparse64k", lose_behind_borders);
  EXPECT_LE(recipe.operations.size(), 4U) << to_text(recipe);
  ASSERT_EQ(count(recipe, Op::kWrite), 1U) << to_text(recipe);
  const Operation& write = recipe.operations.front();
  EXPECT_LE(write.length, kSectorSize + 1) << "only the border counts: " << to_text(recipe);
}

TEST(SeededFaultTest, SecondWriteLost) {
  const Recipe recipe = find_and_shrink("sparse64k", lose_second_writes);
  EXPECT_LE(recipe.operations.size(), 4U) << to_text(recipe);
  EXPECT_EQ(count(recipe, Op::kWrite), 2U) << to_text(recipe);
}

TEST(SeededFaultTest, SyncLost) {
  const Recipe recipe = find_and_shrink("sparse64k", lose_syncs);
  EXPECT_LE(recipe.operations.size(), 4U) << to_text(recipe);
  EXPECT_EQ(count(recipe, Op::kWrite), 1U) << to_text(recipe);
}

// ---- Sequences in processes of their own

MakeSubject with_writes(const std::function<void()>& instead) {
  return [instead](const PreparedImage& image,
                   const Setup& setup) -> Result<std::unique_ptr<Subject>> {
    const auto write = [instead](File& below, FileOffset at, std::span<const iovec> parts) {
      if (instead)
        instead();
      return below.write(at, parts);
    };
    ASSIGN_OR_RETURN(auto subject, DiskSubject::open(image, setup, [write](FileSystem& below) {
                       return std::make_unique<MeddlingFileSystem>(below, Meddling{.write = write});
                     }));
    return std::unique_ptr<Subject>(std::move(subject));
  };
}

Recipe one_write() {
  Recipe recipe;
  recipe.setup.image = "flat";
  recipe.operations = {{.kind = Op::kRead, .at = 0, .length = 512},
                       {.kind = Op::kWrite, .at = 0, .length = 512, .tag = 1},
                       {.kind = Op::kRead, .at = 0, .length = 512}};
  return recipe;
}

TEST(ApartTest, WhatGoesWellGoesWell) {
  const auto failure = exercise_apart(one_write(), with_writes({}), std::chrono::seconds(60));
  EXPECT_FALSE(failure) << failure->text;
}

TEST(ApartTest, ASignalIsAFailureOfTheOperation) {
  const auto failure =
      exercise_apart(one_write(), with_writes([] { ::raise(SIGKILL); }), std::chrono::seconds(60));
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->index, 1U);
  EXPECT_NE(failure->text.find("signal 9"), std::string::npos) << failure->text;
}

TEST(ApartTest, SoIsAnException) {
  const auto failure =
      exercise_apart(one_write(), with_writes([] { throw std::runtime_error("no more"); }),
                     std::chrono::seconds(60));
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->index, 1U);
  EXPECT_EQ(failure->text, "no more");
}

TEST(ApartTest, SoIsAnOperationThatDoesNotEnd) {
  const auto failure = exercise_apart(one_write(), with_writes([] {
                                        for (;;)
                                          ::pause();
                                      }),
                                      std::chrono::seconds(1));
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->index, 1U);
  EXPECT_NE(failure->text.find("no end"), std::string::npos) << failure->text;
}

// ---- Images

class ImageTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ImageTest, ShortSequences) {
  for (std::uint32_t seed = 1; seed <= 2; ++seed) {
    const Recipe recipe = random_recipe(GetParam(), false, 60, seed);
    const auto failure = run(recipe, {});
    EXPECT_FALSE(failure) << describe(recipe, *failure) << "\n" << to_text(recipe);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ImageTest, ::testing::ValuesIn(image_names()),
                         [](const auto& name) { return name.param; });

TEST(ImagesTest, EveryOneHasEdgesInsideIt) {
  for (const std::string& name : image_names()) {
    const PreparedImage& image = *prepared_image(name);
    EXPECT_GT(image.edges.capacity, 0U) << name;
    for (const std::uint64_t edge : image.edges.extents)
      EXPECT_LT(edge, image.edges.capacity) << name;
    EXPECT_EQ(image.bases.empty(), image.facts.content.is_zero(0, image.edges.capacity)) << name;
  }
  EXPECT_EQ(prepared_image("nothing"), nullptr);
  EXPECT_GE(small_image_names().size(), 10U);
}

// ---- Campaigns

TEST(CampaignTest, CountsAndTellsTheFirstFailure) {
  CampaignOptions options;
  options.images = {"sparse4k"};
  options.length = 50;
  options.operations = 120;
  Workshop workshop;
  workshop.make = with_writes({});
  workshop.patience = std::chrono::seconds(60);
  workshop.shrink_trials = 1000;
  workshop.shrink_time = std::chrono::seconds(60);
  const CampaignResult well = run_campaign(options, workshop);
  EXPECT_FALSE(well.found);
  EXPECT_GE(well.operations, 120U);
  EXPECT_GE(well.sequences, 3U);

  workshop.make = with_writes([] { ::raise(SIGKILL); });
  const CampaignResult ill = run_campaign(options, workshop);
  ASSERT_TRUE(ill.found);
  EXPECT_EQ(ill.found->recipe.operations.size(), 1U) << to_text(ill.found->recipe);
  EXPECT_NE(ill.found->story.find("--image=sparse4k"), std::string::npos) << ill.found->story;
}

}  // namespace
}  // namespace vmdk::test
