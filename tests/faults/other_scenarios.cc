// Scenarios of which no disk of the samples is what changes: looking at disks, making new ones.

#include <algorithm>
#include <string>
#include <utility>

#include "crash/oracle.h"
#include "faults/steps.h"
#include "support/image_types.h"
#include "support/must.h"
#include "support/stream_builder.h"
#include "support/tar_builder.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = kSampleGrain;
constexpr char kImage[] = "/vm/disk.vmdk";
constexpr char kNew[] = "/vm/new.vmdk";

OpenOptions to_read() {
  return quiet_options(Access::kReadOnly);
}

std::optional<std::string> nothing_changed(FaultRun& run, bool /*complete*/) {
  run.drop();
  return run.changed_file();
}

Scenario reading(std::string name, std::function<SampleDisk(MemoryFileSystem&)> build,
                 std::vector<Step> steps) {
  return {.name = std::move(name),
          .build = std::move(build),
          .steps = std::move(steps),
          .judge = nothing_changed};
}

constexpr std::uint64_t kStreamGrain = 64 * kKiB;

// Grains 0, 1, 2 and 5 of ten.
BuiltStream build_stream_disk(MemoryFileSystem& files, const std::filesystem::path& path,
                              SampleDisk& disk) {
  StreamSpec spec;
  spec.capacity = 10 * kStreamGrain;
  disk.content = ReferenceDisk(spec.capacity);
  for (const std::uint64_t index : {0U, 1U, 2U, 5U}) {
    auto bytes = tagged('s', static_cast<std::uint32_t>(index), kStreamGrain);
    disk.content.write(index * kStreamGrain, bytes);
    spec.grains.push_back({.index = index, .data = std::move(bytes)});
  }
  return must(build_stream(files, path, spec));
}

SampleDisk build_of_stream(MemoryFileSystem& files) {
  SampleDisk disk;
  disk.image = kImage;
  build_stream_disk(files, disk.image, disk);
  return disk;
}

SampleDisk build_of_ova(MemoryFileSystem& files) {
  SampleDisk disk;
  disk.image = "/vm/app.ova";
  MemoryFileSystem unpacked;
  build_stream_disk(unpacked, kImage, disk);
  const std::string bytes = unpacked.text(kImage);
  files.put(disk.image, tar_entry({.name = "app.ovf", .data = "<Envelope/>"}) +
                            tar_entry({.name = "disk1.vmdk", .data = bytes}) + tar_end());
  return disk;
}

SampleDisk build_of_sesparse(MemoryFileSystem& files) {
  SampleDisk disk;
  disk.image = kImage;
  SeSparseSpec spec{.capacity = 64 * kGrain};
  disk.content = ReferenceDisk(spec.capacity);
  for (const std::uint64_t index : {1U, 2U, 40U}) {
    auto bytes = tagged('e', static_cast<std::uint32_t>(index), kGrain);
    disk.content.write(index * kGrain, bytes);
    spec.grains.push_back({.index = index, .data = std::move(bytes)});
  }
  must(build_sesparse_disk(files, disk.image, spec));
  return disk;
}

// The copies of its tables differ in one entry.
SampleDisk build_of_unequal_copies(MemoryFileSystem& files) {
  SampleDisk disk = build_sample_disk(files, SampleKind::kSparse);
  files.poke(disk.image, disk.extents[0].built.entry_at(2, true), std::vector<std::byte>(4));
  return disk;
}

// Before the repair has succeeded the image is damaged, but what it shows is right.
std::optional<std::string> judge_unequal_copies(FaultRun& run, bool complete) {
  if (complete)
    return run.wrong_image();
  run.drop();
  const ReferenceDisk shown = content_of(run.files(), run.sample());
  return run.sample().content.difference(0, shown.read(0, shown.capacity()));
}

// The image is only read: its overlay is what is judged.
std::function<SampleDisk(MemoryFileSystem&)> beneath_overlay(
    std::function<SampleDisk(MemoryFileSystem&)> build) {
  return [build = std::move(build)](MemoryFileSystem& files) {
    SampleDisk disk = build(files);
    disk.parents = {disk.image.string()};
    for (const auto& extent : disk.extents)
      disk.parents.push_back(extent.file);
    disk.image = "/vm/overlay.vmdk";
    disk.extents.clear();
    return disk;
  };
}

Step open_overlay(std::filesystem::path image, const Overlay& overlay) {
  OpenOptions options = quiet_options();
  options.overlay = overlay;
  return {"open", Step::Kind::kLook,
          [image = std::move(image), options](FaultRun& run) { return run.open(options, image); }};
}

// An overlay that could not be made is not there.
std::optional<std::string> judge_overlay(FaultRun& run, bool complete) {
  run.drop();
  if (run.files().exists("/vm/overlay.vmdk"))
    return run.wrong_image();
  if (complete)
    return "the overlay is missing";
  return run.changed_file();
}

// A file that could not be removed after a failure may stay.
std::optional<std::string> judge_new(FaultRun& run, bool complete, std::uint64_t capacity) {
  run.drop();
  const auto struck = run.faults().struck();
  const bool removal_failed = std::any_of(struck.begin(), struck.end(), [](const auto& operation) {
    return operation.kind == OpKind::kRemove;
  });
  run.faults().clear();
  if (!complete)
    return removal_failed ? std::nullopt : run.changed_file();
  const auto disk = Disk::open(run.files(), kNew, to_read());
  if (!disk)
    return disk.error().to_text();
  if ((*disk)->capacity() != capacity)
    return "the new image has another capacity";
  CheckOptions options;
  options.open = to_read();
  const auto report = check_image(run.files(), kNew, options);
  if (!report)
    return report.error().to_text();
  return report->exit_code() == 0 ? std::nullopt : std::optional<std::string>("it is not clean");
}

Scenario creation(ImageType type) {
  CreateOptions options;
  options.type = type;
  options.capacity = kMiB;
  const auto build = [](MemoryFileSystem& files) {
    files.make_directory("/vm");
    SampleDisk disk;
    disk.image = kNew;
    disk.content = ReferenceDisk(kMiB);
    return disk;
  };
  return {.name = "Create_" + std::string(name_of(type)),
          .build = build,
          .steps = {create_step(kNew, options)},
          .judge = [](FaultRun& run, bool complete) { return judge_new(run, complete, kMiB); }};
}

Scenario creation_of_child() {
  CreateOptions options;
  options.parent = kImage;
  options.parent_options = quiet_options(Access::kReadOnly);
  return {.name = "Create_child",
          .build = of_kind(SampleKind::kSplit),
          .steps = {create_step(kNew, options)},
          .judge = [](FaultRun& run, bool complete) {
            return judge_new(run, complete, run.sample().capacity());
          }};
}

void add_overlays(std::vector<Scenario>& scenarios) {
  const Overlay named{.file = "/vm/overlay.vmdk", .scratch_dir = {}};
  const std::vector<Step> writes = {write_step(8 * kGrain + 512, 1024), flush_step()};
  std::vector<Step> made = {open_overlay(kImage, named)};
  made.insert(made.end(), writes.begin(), writes.end());
  scenarios.push_back({.name = "OverlayIsMade",
                       .build = beneath_overlay(of_kind(SampleKind::kSparse)),
                       .steps = made,
                       .judge = judge_overlay});
  scenarios.push_back({.name = "OverlayOverAStream",
                       .build = beneath_overlay(build_of_stream),
                       .steps = made,
                       .judge = judge_overlay});
  std::vector<Step> continued = made;
  continued.push_back(close_step());
  continued.push_back(open_overlay(kImage, named));
  continued.push_back(write_step(20 * kGrain, 1024));
  continued.push_back(close_step());
  const std::vector<Step> first(continued.begin(), continued.begin() + 4);
  scenarios.push_back({.name = "OverlayIsContinued",
                       .build = beneath_overlay(of_kind(SampleKind::kSparse)),
                       .before = first,
                       .steps = {continued.begin() + 4, continued.end()},
                       .judge = judge_overlay});
  std::vector<Step> scratch = {open_overlay(kImage, {.file = {}, .scratch_dir = "/vm"})};
  scratch.insert(scratch.end(), writes.begin(), writes.end());
  scenarios.push_back({.name = "OverlayWithoutAName",
                       .build = of_kind(SampleKind::kSparse),
                       .steps = scratch,
                       .judge = nothing_changed});
}

}  // namespace

std::vector<Scenario> other_scenarios() {
  std::vector<Scenario> scenarios;
  const auto read_some = [](std::uint64_t grain) {
    return std::vector<Step>{open_step(to_read()), read_step(5 * grain, grain),
                             read_step(0, 3 * grain)};
  };
  scenarios.push_back(reading("ReadAChain", of_kind(SampleKind::kChild), read_some(kGrain)));
  scenarios.push_back(reading("ReadFlat", of_kind(SampleKind::kFlat), read_some(kGrain)));
  scenarios.push_back(reading("ReadCowd", of_kind(SampleKind::kCowdChild), read_some(kGrain)));
  scenarios.push_back(reading("ReadAStream", build_of_stream, read_some(kStreamGrain)));
  scenarios.push_back(reading("ReadAnOva", build_of_ova, read_some(kStreamGrain)));
  scenarios.push_back(reading("ReadSeSparse", build_of_sesparse, read_some(kGrain)));
  scenarios.push_back(reading("Check", of_kind(SampleKind::kSplit), {check_step(0)}));
  scenarios.push_back(reading("CheckAChain", of_kind(SampleKind::kChild), {check_step(0)}));
  scenarios.push_back(reading("CheckCowd", of_kind(SampleKind::kCowd), {check_step(0)}));
  scenarios.push_back(reading("CheckAStream", build_of_stream, {check_step(0)}));
  scenarios.push_back({.name = "RepairOfTables",
                       .build = build_of_unequal_copies,
                       .steps = {repair_step(true)},
                       .judge = judge_unequal_copies});
  for (const ImageType type :
       {ImageType::kMonolithicSparse, ImageType::kTwoGbMaxExtentSparse, ImageType::kMonolithicFlat,
        ImageType::kTwoGbMaxExtentFlat, ImageType::kVmfs})
    scenarios.push_back(creation(type));
  scenarios.push_back(creation_of_child());
  add_overlays(scenarios);
  return scenarios;
}

}  // namespace vmdk::test
