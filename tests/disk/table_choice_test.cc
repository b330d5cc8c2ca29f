// Which copy of a grain table counts: the rules by themselves.
#include "disk/table_choice.h"

#include <string>

#include <gtest/gtest.h>

namespace vmdk::test {
namespace {

struct Row {
  std::string what;
  CopyDifference difference;
  // Under a clear mark, and under a set one: p, r, ? for the winner; C: somebody has to ask for it.
  std::string clear;
  std::string unclean;
};

std::string text_of(const TableVerdict& verdict) {
  std::string text;
  switch (verdict.winner) {
    case TableWinner::kPrimary:
      text = "p";
      break;
    case TableWinner::kRedundant:
      text = "r";
      break;
    case TableWinner::kUnknown:
      text = "?";
      EXPECT_TRUE(verdict.why.starts_with("of grain table 7 ")) << verdict.why;
      break;
  }
  return verdict.is_choice ? text + "C" : text;
}

const Row kRows[] = {
    {"both damaged", {.primary_impossible = true, .redundant_impossible = true}, "?", "?"},
    {"the primary one damaged", {.primary_impossible = true}, "r", "r"},
    {"the primary one damaged, and something is only there",
     {.primary_impossible = true, .redundant_lacks = 1},
     "?",
     "?"},
    {"the primary one damaged, and it lacks something as well",
     {.primary_impossible = true, .primary_lacks = 1, .primary_lacks_single = true},
     "r",
     "r"},
    {"the primary one damaged, and a second difference",
     {.primary_impossible = true, .both_tell = true, .possible_sectors_differ = true},
     "?",
     "r"},
    {"the redundant one damaged", {.redundant_impossible = true}, "p", "p"},
    {"the redundant one damaged, and a second difference",
     {.redundant_impossible = true, .both_tell = true, .possible_sectors_differ = true},
     "pC",
     "p"},
    {"the redundant one damaged, and something is only there",
     {.redundant_impossible = true, .primary_lacks = 1},
     "?",
     "p"},
    {"a grain in two places", {.both_tell = true, .possible_sectors_differ = true}, "pC", "p"},
    {"the redundant one was not written any more",
     {.redundant_lacks = 3, .possible_sectors_differ = true},
     "pC",
     "p"},
    {"a sector of the primary one is lost",
     {.primary_lacks = 3, .possible_sectors_differ = true},
     "rC",
     "p"},
    {"an entry of the primary one is lost",
     {.primary_lacks = 1, .primary_lacks_single = true, .possible_sectors_differ = true},
     "?",
     "p"},
    {"a sector of the primary one is lost, and a second difference",
     {.primary_lacks = 3, .both_tell = true, .possible_sectors_differ = true},
     "?",
     "p"},
    {"each lacks a sector",
     {.primary_lacks = 1, .redundant_lacks = 1, .possible_sectors_differ = true},
     "?",
     "p"},
};

TEST(TableChoiceTest, EachDifferenceHasItsVerdict) {
  for (const Row& row : kRows) {
    EXPECT_EQ(text_of(judge_copies(row.difference, 7, false)), row.clear) << row.what;
    EXPECT_EQ(text_of(judge_copies(row.difference, 7, true)), row.unclean) << row.what;
  }
}

// A copy that would make grains disappear is no way out of shared ones.
TEST(TableChoiceTest, OnlyACopyThatLacksNothingMayStandIn) {
  const CopyDifference plain{.both_tell = true, .possible_sectors_differ = true};
  CopyDifference lacking = plain;
  lacking.redundant_lacks = 1;
  CopyDifference damaged = plain;
  damaged.redundant_impossible = true;
  for (const bool unclean : {false, true}) {
    EXPECT_TRUE(judge_copies(plain, 7, unclean).may_turn);
    EXPECT_FALSE(judge_copies(lacking, 7, unclean).may_turn);
    EXPECT_FALSE(judge_copies(damaged, 7, unclean).may_turn);
  }
}

}  // namespace
}  // namespace vmdk::test
