#include "crash/oracle.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/check.h>

namespace vmdk::test {
namespace {

constexpr int kClean = 0;
constexpr int kDamaged = 2;

std::string findings_of(const CheckReport& report) {
  std::string text;
  for (const Finding& finding : report.findings)
    text += "\n  " + finding.file + ": " + finding.text;
  return text;
}

Result<CheckReport> check_of(FileSystem& files, const SampleDisk& sample) {
  CheckOptions options;
  options.open = quiet_options(Access::kReadOnly);
  return check_image(files, sample.image, options);
}

// Room for the content of the disk, kept between the states: there are very many of them.
struct Room {
  std::vector<std::byte> content;
  std::vector<std::byte> again;
};

Status read_all(Disk& disk, std::vector<std::byte>& into) {
  into.resize(disk.capacity());
  ASSIGN_OR_RETURN(const std::size_t got, disk.read(DiskOffset(), into));
  into.resize(got);
  return {};
}

// "what: why", for an answer of judge_state().
std::optional<std::string> because(std::string_view what, const Error& error) {
  return fmt::format("{}: {}", what, error.to_text());
}

std::optional<std::string> judge_content(std::span<const std::byte> content, std::size_t point,
                                         const SectorHistory& history) {
  return history.check(point, [&](std::uint64_t at, std::size_t length) {
    const auto piece = content.subspan(at, length);
    return std::vector<std::byte>(piece.begin(), piece.end());
  });
}

// Writes once more, in two grains, and expects that and nothing else to have changed.
std::optional<std::string> judge_recovery(MemoryFileSystem& state, const SampleDisk& sample,
                                          std::unique_ptr<Disk> disk, Room& room) {
  // Where a table may be missing, so that it is added again.
  const std::uint64_t at =
      sample.lacks_tables ? sample.border + 3 * kSampleGrain - 300 : 10 * kSampleGrain - 300;
  const auto bytes = tagged('r', 1, 700);
  std::copy(bytes.begin(), bytes.end(), room.content.begin() + static_cast<std::ptrdiff_t>(at));
  if (const Status status = disk->write(DiskOffset(at), bytes); !status)
    return because("writing to the recovered image", status.error());
  if (const Status status = disk->flush(); !status)
    return because("flushing the recovered image", status.error());
  if (const Status status = disk->close(); !status)
    return because("closing the recovered image", status.error());
  disk.reset();
  const auto report = check_of(state, sample);
  if (!report)
    return because("checking the recovered image", report.error());
  if (report->exit_code() != kClean)
    return "the recovered image is not clean:" + findings_of(*report);
  auto again = Disk::open(state, sample.image, quiet_options(Access::kReadOnly));
  if (!again)
    return because("opening the recovered image", again.error());
  if (const Status status = read_all(**again, room.again); !status)
    return because("reading the recovered image", status.error());
  if (room.again.size() != room.content.size() ||
      std::memcmp(room.again.data(), room.content.data(), room.again.size()) != 0)
    return "the recovered image shows something else than was written to it";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> judge_state(MemoryFileSystem& state, std::size_t point,
                                       const SampleDisk& sample, const SectorHistory& history,
                                       const MemoryFileSystem& initial) {
  const auto report = check_of(state, sample);
  if (!report)
    return because("the check could not run", report.error());
  if (report->exit_code() == kDamaged)
    return "the check finds damage:" + findings_of(*report);
  auto disk = Disk::open(state, sample.image, write_options(sample));
  if (!disk)
    return because("the image does not open", disk.error());
  static thread_local Room room;
  if (const Status status = read_all(**disk, room.content); !status)
    return because("the image cannot be read", status.error());
  if (auto wrong = judge_content(room.content, point, history))
    return wrong;
  if (auto wrong = judge_recovery(state, sample, *std::move(disk), room))
    return wrong;
  for (const std::string& parent : sample.parents)
    if (state.contents(parent) != initial.contents(parent))
      return parent + ": a parent was changed";
  return std::nullopt;
}

Sweep sweep(const CrashRun& run, const CrashLimits& limits, const MemoryFileSystem& initial,
            std::size_t stride) {
  Sweep result;
  for (const std::size_t point : run.files().boundary_points()) {
    std::size_t number = 0;
    run.files().for_each_state(point, limits, [&](CrashState& state) {
      if (result.violation || number++ % stride != 0)
        return;
      ++result.states;
      if (auto wrong = judge_state(*state.file_system, point, run.sample(), run.history(), initial))
        result.violation = state.text + "\n" + *wrong;
    });
    if (result.violation)
      break;
  }
  return result;
}

}  // namespace vmdk::test
