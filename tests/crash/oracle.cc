#include "crash/oracle.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/check.h>

#include "support/matchers.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

constexpr int kClean = 0;
constexpr int kDamaged = 2;

using Verdict = std::optional<std::string>;  // what is wrong

std::string text_of(const CheckReport& report) {
  std::string text;
  for (const Finding& finding : report.findings)
    text += "\n  " + finding.file + ": " + finding.text;
  return text;
}

Result<CheckReport> check_of(FileSystem& files, const SampleDisk& sample, bool repair = false) {
  CheckOptions options;
  options.repair = repair;
  options.open = quiet_options(Access::kReadOnly);
  return check_image(files, sample.image, options);
}

// "what: why".
Verdict because(std::string_view what, const Error& error) {
  return fmt::format("{}: {}", what, error.to_text());
}

Status read_all(Disk& disk, std::vector<std::byte>& into) {
  into.resize(disk.capacity());
  ASSIGN_OR_RETURN(const std::size_t got, disk.read(DiskOffset(), into));
  into.resize(got);
  return {};
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

// The write with which an image is shown to be in order again: in two grains, where a table may be
// missing, so that it is added again.
struct Mending {
  std::uint64_t at;
  std::vector<std::byte> bytes = tagged('r', 1, 700);

  explicit Mending(const SampleDisk& sample)
      : at((sample.lacks_tables ? sample.border + 3 * kSampleGrain : 10 * kSampleGrain) - 300) {}

  void apply(std::span<std::byte> content) const {
    std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(at));
  }

  // Whether `found` is `before` with some, or if `all` with all, of the sectors changed.
  bool explains(std::span<const std::byte> found, std::span<const std::byte> before,
                std::span<const std::byte> after, bool all) const {
    const std::uint64_t begin = at / kSectorSize * kSectorSize;
    const std::uint64_t end = (at + bytes.size() + kSectorSize - 1) / kSectorSize * kSectorSize;
    if (all || found.size() != before.size())
      return same(found, after);
    for (std::uint64_t sector = begin; sector < end; sector += kSectorSize) {
      const auto here = [&](std::span<const std::byte> content) {
        return content.subspan(sector, kSectorSize);
      };
      if (!same(here(found), here(before)) && !same(here(found), here(after)))
        return false;
    }
    return same(found.first(begin), before.first(begin)) &&
           same(found.subspan(end), before.subspan(end));
  }
};

// Looks at one state, and puts it in order.
class StateJudge {
 public:
  StateJudge(const SampleDisk& sample, const MemoryFileSystem& initial)
      : sample_(sample), initial_(initial), mending_(sample) {}

  // What the check and a reader find. Leaves the disk open for writing.
  Verdict look(FileSystem& files) {
    const auto report = check_of(files, sample_);
    if (!report)
      return because("the check could not run", report.error());
    if (report->exit_code() == kDamaged)
      return "the check finds damage:" + text_of(*report);
    auto disk = Disk::open(files, sample_.image, write_options(sample_));
    if (!disk)
      return because("the image does not open", disk.error());
    disk_ = *std::move(disk);
    if (const Status status = read_all(*disk_, content()); !status)
      return because("the image cannot be read", status.error());
    return std::nullopt;
  }

  // What look() has read; kept between the states: there are very many of them.
  static std::vector<std::byte>& content() {
    static thread_local std::vector<std::byte> bytes;
    return bytes;
  }

  Verdict write_and_flush() {
    if (const Status status = disk_->write(DiskOffset(mending_.at), mending_.bytes); !status)
      return because("writing to the recovered image", status.error());
    if (const Status status = disk_->flush(); !status)
      return because("flushing the recovered image", status.error());
    mending_.apply(content());
    return std::nullopt;
  }

  Verdict close(FileSystem& files) {
    if (const Status status = disk_->close(); !status)
      return because("closing the recovered image", status.error());
    disk_.reset();
    const auto report = check_of(files, sample_);
    if (!report)
      return because("checking the recovered image", report.error());
    if (report->exit_code() != kClean)
      return "the recovered image is not clean:" + text_of(*report);
    auto again = Disk::open(files, sample_.image, quiet_options(Access::kReadOnly));
    if (!again)
      return because("opening the recovered image", again.error());
    static thread_local std::vector<std::byte> found;
    if (const Status status = read_all(**again, found); !status)
      return because("reading the recovered image", status.error());
    if (!same(found, content()))
      return "the recovered image shows something else than was written to it";
    return std::nullopt;
  }

  Verdict parents(const MemoryFileSystem& files) const {
    for (const std::string& parent : sample_.parents)
      if (files.contents(parent) != initial_.contents(parent))
        return parent + ": a parent was changed";
    return std::nullopt;
  }

  void drop() { disk_.reset(); }

  const Mending& mending() const { return mending_; }

 private:
  const SampleDisk& sample_;
  const MemoryFileSystem& initial_;
  const Mending mending_;
  std::unique_ptr<Disk> disk_;
};

// Of what look() has read.
Verdict wrong_content(const SectorHistory& history, std::size_t point) {
  const std::span<const std::byte> content = StateJudge::content();
  return history.check(point, [&](std::uint64_t at, std::size_t length) {
    const auto piece = content.subspan(at, length);
    return std::vector<std::byte>(piece.begin(), piece.end());
  });
}

// Writes, flushes and closes.
Verdict mend(StateJudge& judge, MemoryFileSystem& state) {
  if (auto wrong = judge.write_and_flush())
    return wrong;
  if (auto wrong = judge.close(state))
    return wrong;
  return judge.parents(state);
}

enum class Second { kAfterTheFlush, kAtAnyMoment };

// Writes and flushes on a file system that crashes, and judges what is left then. `judge` has
// looked at the state through `files`.
Verdict mend_and_crash(StateJudge& judge, CrashFileSystem& files, const SampleDisk& sample,
                       const MemoryFileSystem& initial, Second moment, std::uint64_t seed,
                       Sweep& result) {
  static thread_local std::vector<std::byte> before;
  static thread_local std::vector<std::byte> after;
  before = StateJudge::content();
  if (auto wrong = judge.write_and_flush())
    return wrong;
  files.marker(kFlushMarker);
  judge.drop();
  after = StateJudge::content();
  const auto points = files.boundary_points();
  const std::size_t point =
      moment == Second::kAfterTheFlush ? points.back() : points[seed % points.size()];
  // After the flush nothing should be open any more, so these are one state or few.
  const CrashLimits limits =
      moment == Second::kAfterTheFlush
          ? CrashLimits{.exhaustive_pieces = 0, .of_each_family = 0, .random_subsets = 0}
          : CrashLimits{.of_each_family = 8, .random_subsets = 8, .seed = seed, .most = 1};
  Verdict verdict;
  files.for_each_state(point, limits, [&](CrashState& state) {
    if (verdict)
      return;
    ++result.again;
    StateJudge second(sample, initial);
    verdict = second.look(*state.file_system);
    if (!verdict &&
        !judge.mending().explains(StateJudge::content(), before, after, point == points.back()))
      verdict = "the image shows what was never written to it";
    if (!verdict)
      verdict = mend(second, *state.file_system);
    if (verdict)
      verdict = "after the second " + state.text + "\n" + *verdict;
  });
  return verdict;
}

// One of a sweep's states; `number` counts them.
Verdict judge_and_mend(MemoryFileSystem& state, std::size_t point, const CrashRun& run,
                       const MemoryFileSystem& initial, std::uint64_t number, Sweep& result) {
  const SampleDisk& sample = run.sample();
  const bool closes = soak() ? number % 4 == 0 : number % 4 != 2;
  std::optional<CrashFileSystem> crashing;
  if (!closes)
    crashing.emplace(state);
  FileSystem& files = closes ? static_cast<FileSystem&>(state) : *crashing;
  StateJudge judge(sample, initial);
  if (auto wrong = judge.look(files))
    return wrong;
  if (auto wrong = wrong_content(run.history(), point))
    return wrong;
  if (closes)
    return mend(judge, state);
  const bool any = soak() ? number % 4 == 2 : number % 8 == 2;
  const Second moment = any ? Second::kAtAnyMoment : Second::kAfterTheFlush;
  return mend_and_crash(judge, *crashing, sample, initial, moment, number / 4, result);
}

std::vector<std::size_t> points_of(const CrashRun& run, const SweepPlan& plan) {
  std::vector<std::size_t> points = run.files().boundary_points();
  points.erase(points.begin(), std::lower_bound(points.begin(), points.end(), plan.from));
  if (points.size() > plan.points) {
    std::vector<std::size_t> chosen;
    std::mt19937_64 random(plan.limits.seed);
    std::sample(points.begin(), points.end(), std::back_inserter(chosen), plan.points, random);
    return chosen;
  }
  return points;
}

// The first crash point at which a flush has returned.
std::size_t first_flushed(const CrashFileSystem& files) {
  const auto& log = files.log();
  const auto is_flush = [](const LogEntry& entry) {
    return entry.kind == LogEntry::Kind::kMarker && entry.text == kFlushMarker;
  };
  return static_cast<std::size_t>(std::find_if(log.begin(), log.end(), is_flush) - log.begin()) + 1;
}

}  // namespace

Verdict judge_state(MemoryFileSystem& state, std::size_t point, const SampleDisk& sample,
                    const SectorHistory& history, const MemoryFileSystem& initial) {
  StateJudge judge(sample, initial);
  if (auto wrong = judge.look(state))
    return wrong;
  if (auto wrong = wrong_content(history, point))
    return wrong;
  return mend(judge, state);
}

ReferenceDisk content_of(const MemoryFileSystem& state, const SampleDisk& sample) {
  const auto files = state.clone();
  ReferenceDisk content(sample.capacity());
  auto disk = Disk::open(*files, sample.image, quiet_options(Access::kReadOnly));
  EXPECT_OK(disk);
  std::vector<std::byte> bytes;
  if (disk) {
    EXPECT_OK(read_all(**disk, bytes));
  }
  content.write(0, bytes);
  return content;
}

std::string findings_of(const MemoryFileSystem& state, const SampleDisk& sample) {
  const auto report = check_of(*state.clone(), sample);
  if (!report)
    return report.error().to_text();
  std::string text = std::to_string(report->exit_code());
  for (const Finding& finding : report->findings)
    for (const char letter : "; " + finding.text)
      if (std::isdigit(static_cast<unsigned char>(letter)) == 0)
        text += letter;
  return text;
}

std::function<bool(const std::string&, std::uint64_t)> metadata_of(const SampleDisk& sample) {
  using Range = std::pair<std::uint64_t, std::uint64_t>;
  constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  std::map<std::string, std::vector<Range>> ranges;
  ranges[sample.image.string()] = {{0, kAll}};
  for (const SampleDisk::Extent& extent : sample.extents) {
    std::vector<Range> areas;
    if (extent.cowd) {
      areas.emplace_back(0, extent.cowd->directory + kSectorSize);
      for (const auto& [number, at] : extent.cowd->tables)
        areas.emplace_back(at, at + extent.cowd->entries_per_table * 4);
    } else if (!extent.flat) {
      areas.emplace_back(0, extent.built.layout.header.overhead.count() * kSectorSize);
    }
    ranges[extent.file] = std::move(areas);
  }
  return [ranges = std::move(ranges)](const std::string& file, std::uint64_t offset) {
    const auto areas = ranges.find(file);
    return areas != ranges.end() &&
           std::any_of(areas->second.begin(), areas->second.end(), [&](const Range& area) {
             return offset >= area.first && offset < area.second;
           });
  };
}

Sweep sweep_points(const CrashRun& run, const SweepPlan& plan, const MemoryFileSystem& initial) {
  Sweep result;
  const auto points = points_of(run, plan);
  result.points = points.size();
  const std::size_t flushed = first_flushed(run.files());
  run.files().for_each_state(points, plan.limits, [&](CrashState& state) {
    if (result.violation)
      return;
    const std::uint64_t number = plan.limits.seed + result.states++;
    result.after_flush += state.point >= flushed ? 1U : 0U;
    if (auto wrong = judge_and_mend(*state.file_system, state.point, run, initial, number, result))
      result.violation = state.text + "\n" + *wrong;
  });
  return result;
}

Sweep sweep(const CrashRun& run, const CrashLimits& limits, const MemoryFileSystem& initial) {
  return sweep_points(run, {.limits = limits}, initial);
}

Sweep sweep_repair(const MemoryFileSystem& state, const SampleDisk& sample,
                   const CrashLimits& limits, const MemoryFileSystem& initial) {
  Sweep result;
  const SectorHistory history(content_of(state, sample));
  CrashFileSystem files(state);
  const auto repair_of = [&](FileSystem& there) -> Verdict {
    const auto report = check_of(there, sample, true);
    if (!report)
      return because("the repair could not run", report.error());
    if (report->exit_code() != kClean)
      return "the repair leaves:" + text_of(*report);
    return std::nullopt;
  };
  result.violation = repair_of(files);
  const auto points = files.boundary_points();
  result.points = points.size();
  files.for_each_state(points, limits, [&](CrashState& crashed) {
    if (result.violation)
      return;
    Verdict wrong;
    if (result.states++ % 2 == 1)
      wrong = repair_of(*crashed.file_system);
    if (!wrong)
      wrong = judge_state(*crashed.file_system, crashed.point, sample, history, initial);
    if (wrong)
      result.violation = crashed.text + "\n" + *wrong;
  });
  return result;
}

}  // namespace vmdk::test
