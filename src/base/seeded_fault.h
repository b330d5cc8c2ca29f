// Faults of the engine that a test build switches on, one at a time, to see that the tests notice.
// Built with the option seeded_faults only; anywhere else nothing of them is left.
#pragma once

#ifdef VMDK_SEEDED_FAULTS
#include <array>
#include <string_view>
#include <utility>
#endif

namespace vmdk {

// What goes wrong: mostly the order of operations of docs/durability.md.
enum class SeededFault {
  // The first write of an open.
  kHealForgotten,       // an interrupted commit is not finished
  kContentIdAfterData,  // the content id changes with the first commit
  kMarkForgotten,       // no mark of an unfinished session
  // A write.
  kPublishedBeforeFilled,
  kCopiedTailForgotten,     // of the parent's bytes around a write, those behind it
  kZeroGrainShowsParent,    // a claim from zero fills up from the parent
  kFailedSpaceCalledFresh,  // space of a write that failed is taken for zeros
  kUnsyncedNotedTooEarly,   // before the write, so that a sync beside it takes the note away
  kShortWriteIgnored,
  kShortReadCalledZeros,
  // Space that a discard freed.
  kFreedReusedBeforeCommit,
  kFreedReusedUnderRequests,  // while a request runs that saw the old entry
  kFreedListTakenTooLate,     // with what was freed after the tables were copied
  kPunchedBeforeCommit,
  // A commit.
  kTablesFromLiveMemory,  // as they are when they are written
  kNewTablesWithTheirNames,
  kFirstBarrierDropped,
  kPrimaryTablesFirst,
  kPrimaryNamesFirst,
  kNameBarrierDropped,
  kSecondBarrierDropped,
  kDirtyForgottenOnFailure,  // sectors count as clean although writing them failed
  kLaterChangesCalledClean,  // what changed while the commit ran
  kEarlierCommitAnswers,     // a flush is answered by a commit that began before it
  kTimerSkipsExtent,
  // Failures and the end.
  kFailedSyncForgotten,  // by the file
  kStickyErrorCleared,   // by the disk
  kMarkTakenAwayTooEarly,
};

#ifdef VMDK_SEEDED_FAULTS

struct SeededFaultName {
  SeededFault fault;
  std::string_view name;
};

// All of them; by these names the environment variable VMDK_SEEDED_FAULT chooses one.
inline constexpr auto kSeededFaults = std::to_array<SeededFaultName>({
    {SeededFault::kHealForgotten, "HealForgotten"},
    {SeededFault::kContentIdAfterData, "ContentIdAfterData"},
    {SeededFault::kMarkForgotten, "MarkForgotten"},
    {SeededFault::kPublishedBeforeFilled, "PublishedBeforeFilled"},
    {SeededFault::kCopiedTailForgotten, "CopiedTailForgotten"},
    {SeededFault::kZeroGrainShowsParent, "ZeroGrainShowsParent"},
    {SeededFault::kFailedSpaceCalledFresh, "FailedSpaceCalledFresh"},
    {SeededFault::kUnsyncedNotedTooEarly, "UnsyncedNotedTooEarly"},
    {SeededFault::kShortWriteIgnored, "ShortWriteIgnored"},
    {SeededFault::kShortReadCalledZeros, "ShortReadCalledZeros"},
    {SeededFault::kFreedReusedBeforeCommit, "FreedReusedBeforeCommit"},
    {SeededFault::kFreedReusedUnderRequests, "FreedReusedUnderRequests"},
    {SeededFault::kFreedListTakenTooLate, "FreedListTakenTooLate"},
    {SeededFault::kPunchedBeforeCommit, "PunchedBeforeCommit"},
    {SeededFault::kTablesFromLiveMemory, "TablesFromLiveMemory"},
    {SeededFault::kNewTablesWithTheirNames, "NewTablesWithTheirNames"},
    {SeededFault::kFirstBarrierDropped, "FirstBarrierDropped"},
    {SeededFault::kPrimaryTablesFirst, "PrimaryTablesFirst"},
    {SeededFault::kPrimaryNamesFirst, "PrimaryNamesFirst"},
    {SeededFault::kNameBarrierDropped, "NameBarrierDropped"},
    {SeededFault::kSecondBarrierDropped, "SecondBarrierDropped"},
    {SeededFault::kDirtyForgottenOnFailure, "DirtyForgottenOnFailure"},
    {SeededFault::kLaterChangesCalledClean, "LaterChangesCalledClean"},
    {SeededFault::kEarlierCommitAnswers, "EarlierCommitAnswers"},
    {SeededFault::kTimerSkipsExtent, "TimerSkipsExtent"},
    {SeededFault::kFailedSyncForgotten, "FailedSyncForgotten"},
    {SeededFault::kStickyErrorCleared, "StickyErrorCleared"},
    {SeededFault::kMarkTakenAwayTooEarly, "MarkTakenAwayTooEarly"},
});

// Whether that one was chosen. Any thread. A name that none of them has ends the process.
bool seeded(SeededFault fault) noexcept;

#else

constexpr bool seeded(SeededFault /*fault*/) noexcept {
  return false;
}

#endif

}  // namespace vmdk
