// Scenarios that write to a disk.

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "crash/oracle.h"
#include "faults/steps.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = kSampleGrain;
constexpr std::uint64_t kBorder = 512 * kGrain;      // of disks of one extent
constexpr std::uint64_t kSplitBorder = 24 * kGrain;  // of those in two
constexpr std::uint64_t kCapacity = kBorder + 8 * kGrain + 3 * kSectorSize;

using Steps = std::vector<Step>;

// Some of everything: new grains, parts of grains, in place, zeros, over the border, three commits.
Steps some_of_everything(std::uint64_t border, std::uint64_t capacity) {
  return {
      write_step(9 * kGrain + 512, 1024, "write a part of a new grain"),
      write_step(3 * kGrain + 1024, 3 * kGrain, "write many grains"),
      flush_step(),
      write_step(border - kGrain - 512, 3 * kGrain, "write over the border"),
      zero_step(kGrain, 3 * kGrain),
      flush_step(),
      write_step(4 * kGrain + 512, kGrain, "write in place"),
      write_step(kGrain, 2 * kGrain, "write whole grains where some were freed"),
      write_step(capacity - 2 * kGrain, 2 * kGrain, "write the end of the disk"),
      flush_step(),
  };
}

Scenario everything_on(SampleKind kind) {
  MemoryFileSystem files;
  const SampleDisk sample = build_sample_disk(files, kind);
  const Step open = sample.lacks_tables ? open_by_force() : open_step();
  return {.name = "SomeOfEverything" + to_string(kind),
          .build = of_kind(kind),
          .before = {open},
          .steps = some_of_everything(sample.border, sample.capacity())};
}

// A state that a crash of a run left, of which the check says this.
std::function<SampleDisk(MemoryFileSystem&)> crashed(SampleKind kind, std::string_view finding,
                                                     std::vector<DiskOperation> operations) {
  return [=](MemoryFileSystem& files) {
    MemoryFileSystem initial;
    SampleDisk sample = build_sample_disk(initial, kind);
    CrashRun run(initial, sample, sample.content);
    if (const Status status = run.run(operations); !status)
      throw std::runtime_error(status.error().to_text());
    bool found = false;
    run.files().for_each_state(
        run.files().boundary_points(), {.exhaustive_pieces = 4}, [&](const CrashState& state) {
          if (found || findings_of(*state.file_system, sample).find(finding) == std::string::npos)
            return;
          found = true;
          for (const std::string& name : state.file_system->files())
            files.put_content(name, state.file_system->content(name));
        });
    if (!found)
      throw std::runtime_error("no crash leaves what is wanted");
    sample.content = content_of(files, sample);
    return sample;
  };
}

DiskOperation over_the_border() {
  return {"write", DiskOperation::Kind::kWrite, kBorder - 3 * kGrain - 512, 6 * kGrain};
}

constexpr std::uint64_t kMembers = 20;
constexpr std::uint64_t kMemberGrains = 4;

// More tables than are kept in memory.
SampleDisk build_of_many_members(MemoryFileSystem& files) {
  SampleDisk disk;
  disk.kind = SampleKind::kSplit;
  disk.image = "/vm/disk.vmdk";
  disk.content = ReferenceDisk(kMembers * kMemberGrains * kGrain);
  std::vector<SparseSpec> parts(kMembers);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].capacity = kMemberGrains * kGrain;
    parts[i].grain_size = kGrain;
    const auto bytes = tagged('i', static_cast<std::uint32_t>(i), kGrain);
    parts[i].grains.push_back({.index = 1, .data = bytes});
    disk.content.write((i * kMemberGrains + 1) * kGrain, bytes);
  }
  const auto built = build_split_sparse(files, disk.image, parts);
  if (!built)
    throw std::runtime_error(built.error().to_text());
  return disk;
}

Scenario eviction() {
  OpenOptions options = quiet_options();
  options.table_cache = 1;
  Steps steps;
  for (const std::uint64_t member : {0U, 7U, 19U}) {
    steps.push_back(write_step((member * kMemberGrains + 2) * kGrain + 512, kGrain));
    steps.push_back(flush_step());
    steps.push_back(read_step(0, kMembers * kMemberGrains * kGrain));
  }
  return {.name = "WritesWhileTablesAreEvicted",
          .build = build_of_many_members,
          .before = {open_step(options), read_step(0, kMembers * kMemberGrains * kGrain)},
          .steps = std::move(steps)};
}

Scenario timer() {
  OpenOptions options = quiet_options();
  options.commit_interval = std::chrono::milliseconds(2);
  return {.name = "TimerCommit",
          .build = of_kind(SampleKind::kSparse),
          .before = {open_step(options)},
          .steps = {write_step(8 * kGrain, kGrain), await_commit_step()},
          .has_timer = true};
}

Scenario dropped_tracking() {
  OpenOptions options = quiet_options();
  options.drop_change_tracking = true;
  const auto build = [](MemoryFileSystem& files) {
    SampleDisk disk;
    disk.image = "/vm/disk.vmdk";
    disk.content = ReferenceDisk(64 * kGrain);
    DescriptorSpec text;
    text.more_lines = {"changeTrackPath=\"disk-ctk.vmdk\""};
    const auto built = build_sparse(
        files, disk.image,
        {.capacity = disk.capacity(), .grain_size = kGrain, .descriptor = std::move(text)});
    if (!built)
      throw std::runtime_error(built.error().to_text());
    return disk;
  };
  return {.name = "FirstWriteDropsChangeTracking",
          .build = build,
          .before = {open_step(options)},
          .steps = {write_step(8 * kGrain, kGrain), flush_step()},
          .judge = [](FaultRun& run, bool complete) -> std::optional<std::string> {
            run.drop();
            // Before that the image refuses to be written to.
            if (!complete)
              return std::nullopt;
            if (run.files().text("/vm/disk.vmdk").find("\nchangeTrackPath") != std::string::npos)
              return "change tracking goes on";
            return run.wrong_image();
          }};
}

}  // namespace

std::vector<Scenario> write_scenarios() {
  using Kind = DiskOperation::Kind;
  std::vector<Scenario> scenarios;
  for (const SampleKind kind : writable_sample_kinds())
    scenarios.push_back(everything_on(kind));
  for (const SampleKind kind : kForcedSampleKinds)
    scenarios.push_back(everything_on(kind));
  const auto add = [&](std::string name, SampleKind kind, Steps before, Steps steps) {
    scenarios.push_back({.name = std::move(name),
                         .build = of_kind(kind),
                         .before = std::move(before),
                         .steps = std::move(steps)});
  };
  Steps sequential;
  for (std::uint64_t grain = 16; grain < 24; ++grain)
    sequential.push_back(write_step(grain * kGrain, kGrain));
  sequential.push_back(flush_step());

  add("OpenToWrite", SampleKind::kSparse, {}, {open_step()});
  add("OpenASplitDiskToWrite", SampleKind::kSplit, {}, {open_step()});
  add("OpenAChainToWrite", SampleKind::kChild, {}, {open_step()});
  add("OpenCowdToWrite", SampleKind::kCowd, {}, {open_step()});
  add("OpenFlatToWrite", SampleKind::kFlat, {}, {open_step()});
  add("FirstWrite", SampleKind::kSparse, {open_step()}, {write_step(8 * kGrain + 512, 1024)});
  add("FirstWriteToBothExtents", SampleKind::kSplit, {open_step()},
      {write_step(kSplitBorder - kGrain, 2 * kGrain)});
  add("SequentialWriteAndFlush", SampleKind::kSparse, {open_step()}, sequential);
  add("CopyOnWrite", SampleKind::kChild, {open_step()},
      {write_step(8 * kGrain + 512, 512), write_step(4 * kGrain - 512, 1024), flush_step()});
  add("CopyOnWriteOverTheBorder", SampleKind::kChildZeroedGrains, {open_step()},
      {write_step(kBorder - 512, 1024), flush_step()});
  add("OverwriteInPlace", SampleKind::kSparse, {open_step()},
      {write_step(kGrain, 2 * kGrain), flush_step()});
  add("PunchAndReuse", SampleKind::kSparse, {open_step()},
      {discard_step(kGrain, 5 * kGrain), flush_step(), write_step(8 * kGrain, 2 * kGrain),
       flush_step()});
  add("PunchOverAParent", SampleKind::kChildZeroedGrains, {open_step()},
      {discard_step(0, 6 * kGrain), flush_step(), write_step(8 * kGrain, kGrain), flush_step()});
  add("PunchFlat", SampleKind::kFlat, {open_step()},
      {discard_step(kGrain, 4 * kGrain), flush_step()});
  add("ZeroOverAParent", SampleKind::kChild, {open_step()},
      {zero_step(0, 6 * kGrain), flush_step()});
  add("ZeroFlat", SampleKind::kFlat, {open_step()},
      {zero_step(kSplitBorder - 2 * kGrain, 5 * kGrain), flush_step()});
  add("CloseAfterWrite", SampleKind::kSparse, {open_step(), write_step(8 * kGrain, kGrain)},
      {close_step()});
  add("CloseAfterWriteToBothExtents", SampleKind::kSplit,
      {open_step(), write_step(kSplitBorder - kGrain, 2 * kGrain)}, {close_step()});
  add("CloseCowdAfterWrite", SampleKind::kCowd, {open_step(), write_step(8 * kGrain, kGrain)},
      {close_step()});
  add("CowdTableAllocation", SampleKind::kCowd, {open_step()},
      {write_step(kBorder + 512, 1024), flush_step()});
  add("CowdDirectoryGrows", SampleKind::kCowdChild, {open_step()},
      {write_step(10 * kGrain, kGrain), write_step(kBorder, 1024), flush_step()});
  add("TablesByForce", SampleKind::kMissingTable, {},
      {open_by_force(), write_step(kBorder + 512, 1024), flush_step(), close_step()});
  add("TablesByForceInOneDirectory", SampleKind::kMissingTableWithoutRedundant, {open_by_force()},
      {write_step(kBorder - kGrain, 2 * kGrain), flush_step()});
  add("SplitAcrossTheBorder", SampleKind::kSplit, {open_step()},
      {write_step(kSplitBorder - 512, 1024), flush_step(),
       write_step(kSplitBorder - kGrain, 2 * kGrain), flush_step()});
  add("TheEndOfTheDisk", SampleKind::kSparse, {open_step()},
      {write_step(kCapacity - 512, 512), flush_step(), close_step()});
  scenarios.push_back(timer());
  scenarios.push_back(eviction());
  scenarios.push_back(dropped_tracking());
  scenarios.push_back(
      {.name = "FirstWriteHeals",
       .build = crashed(SampleKind::kSparse, "a commit was interrupted", {over_the_border()}),
       .steps = {open_step(), write_step(12 * kGrain, kGrain), flush_step()}});
  scenarios.push_back(
      {.name = "RepairOfAnInterruptedCommit",
       .build = crashed(SampleKind::kSparse, "a commit was interrupted", {over_the_border()}),
       .steps = {repair_step()}});
  scenarios.push_back({.name = "RepairOfLeaks",
                       .build = crashed(SampleKind::kSparse, "leaked",
                                        {over_the_border(),
                                         {"flush", Kind::kFlush},
                                         {"discard", Kind::kDiscard, kGrain, 5 * kGrain},
                                         {"flush", Kind::kFlush},
                                         {"write", Kind::kWrite, 8 * kGrain, kGrain}}),
                       .steps = {repair_step()}});
  scenarios.push_back({.name = "RepairOfCowd",
                       .build = crashed(SampleKind::kCowd, "free sector", {over_the_border()}),
                       .steps = {repair_step()}});
  return scenarios;
}

}  // namespace vmdk::test
