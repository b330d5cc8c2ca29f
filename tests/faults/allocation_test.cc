// Any call of `new` in the engine fails: the caller is told, and nothing else happens.

#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "crash/meddling_file_system.h"
#include "extent/grain_allocator.h"
#include "faults/cases.h"
#include "faults/fault_run.h"
#include "faults/paused_file_system.h"
#include "faults/scenario.h"
#include "faults/steps.h"
#include "support/heap.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

std::unique_ptr<FileSystem> pause_below(FileSystem& below) {
  return std::make_unique<PausedFileSystem>(below);
}

// One run of a scenario, from its first step on, in which memory runs out.
class Ordeal {
 public:
  Ordeal(const Prepared& prepared, Course course, std::uint64_t nth)
      : prepared_(prepared),
        course_(course),
        allocations_(nth, course != Course::kOnce),
        run_(prepared, pause_below) {
    run_.set_around([this](const FaultRun::Call& call) { return with_failures(call); });
  }

  void go() {
    for (const auto* steps : {&prepared_.scenario.before, &prepared_.scenario.steps})
      for (const Step& step : *steps) {
        SCOPED_TRACE(step.label);
        ASSERT_NO_FATAL_FAILURE(take(step));
      }
    if (course_ == Course::kDropped)
      run_.drop();
    calls_ = allocations_.calls();
    failed_ = allocations_.failed();
    over_ = true;
    if (course_ != Course::kDropped)
      end_closed();
    run_.drop();
    EXPECT_EQ(judge(), std::nullopt);
    EXPECT_EQ(run_.faults().open_files(), 0U);
    EXPECT_EQ(run_.wrong_answer(), std::nullopt);
  }

  std::uint64_t calls() const { return calls_; }

  std::uint64_t failed() const { return failed_; }

 private:
  // What the engine throws is what its callers in the daemon and in the tools make ENOMEM of.
  Status with_failures(const FaultRun::Call& call) {
    if (over_)
      return call();
    try {
      allocations_.arm();
      Status status = call();
      allocations_.disarm();
      return status;
    } catch (const std::bad_alloc&) {
      allocations_.disarm();
      return Error::from_errno(ENOMEM, "thrown");
    }
  }

  void take(const Step& step) {
    const std::uint64_t before = allocations_.failed();
    const Status status = step.act(run_);
    if (status)
      return;
    ASSERT_GT(allocations_.failed(), before)
        << "no memory was missing, and yet: " << status.error().to_text();
    EXPECT_THAT(status, FailsWith(ENOMEM));
    if (run_.disk() != nullptr) {
      EXPECT_OK(run_.disk()->sticky_status());
      EXPECT_EQ(run_.wrong_content(), std::nullopt);
    }
    if (course_ == Course::kOnce)
      ASSERT_OK(step.act(run_)) << "tried again";
    else if (step.kind == Step::Kind::kSync && run_.disk() == nullptr)
      close_failed_ = true;
    else
      to_do_.push_back(&step);
  }

  void end_closed() {
    // What was not flushed is lost with a disk that could not be closed.
    if (close_failed_)
      return;
    for (const Step* step : to_do_)
      ASSERT_OK(step->act(run_)) << step->label << " when there is memory again";
    if (run_.disk() == nullptr)
      return;
    if (run_.disk()->writable())
      EXPECT_EQ(run_.wrong_content(), std::nullopt);
    EXPECT_OK(run_.close());
  }

  std::optional<std::string> judge() {
    const bool complete = !close_failed_ && (course_ != Course::kDropped || to_do_.empty());
    return prepared_.scenario.judge ? prepared_.scenario.judge(run_, complete) : run_.wrong_image();
  }

  const Prepared& prepared_;
  const Course course_;
  FailingAllocations allocations_;
  FaultRun run_;
  bool over_ = false;  // memory is there again
  bool close_failed_ = false;
  std::vector<const Step*> to_do_;
  std::uint64_t calls_ = 0;
  std::uint64_t failed_ = 0;
};

class AllocationTest : public ::testing::TestWithParam<Case> {};

TEST_P(AllocationTest, AnyOfThemMayFail) {
  const Prepared prepared(GetParam().scenario);
  // What a thread keeps for ever is taken here.
  ASSERT_NO_FATAL_FAILURE(Ordeal(prepared, Course::kOnce, 0).go());
  Ordeal counting(prepared, Course::kOnce, 0);
  ASSERT_NO_FATAL_FAILURE(counting.go());
  std::size_t points = 0;
  std::uint64_t offset = 0;
  for (const Course course : kCourses)
    for (std::uint64_t nth = 1 + offset++ % GetParam().every; nth <= counting.calls();
         nth += GetParam().every) {
      SCOPED_TRACE(
          fmt::format("allocation {} of {} fails {}", nth, counting.calls(), to_string(course)));
      Ordeal ordeal(prepared, course, nth);
      ASSERT_NO_FATAL_FAILURE(ordeal.go());
      ASSERT_FALSE(HasFailure());
      points += ordeal.failed() != 0 ? 1U : 0U;
    }
  EXPECT_GT(points, 0U);
  report_points(points);
}

INSTANTIATE_TEST_SUITE_P(ManyCalls, AllocationTest,
                         ::testing::ValuesIn(cases(13, Timers::kWithout)), name_of_case);
// With sanitizers, which make it slower.
INSTANTIATE_TEST_SUITE_P(SomeCalls, AllocationTest,
                         ::testing::ValuesIn(cases(31, Timers::kWithout)), name_of_case);

// Hands out and takes back space while memory is short now and then.
class SpaceTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kGrain = 4 * kKiB;
  static constexpr std::uint64_t kGrains = 400;  // of the disk

  // Calls with one failing allocation; false: memory was missing.
  template <class Work>
  bool try_to(Work work) {
    FailingAllocations allocations(1 + random_() % 3, random_() % 2 == 0);
    try {
      if (random_() % 2 == 0)
        allocations.arm();
      work();
      return true;
    } catch (const std::bad_alloc&) {
      ++missing_;
      return false;
    }
  }

  void reserve() {
    const std::uint64_t first = random_() % 2 == 0 ? next_++ % (kGrains - 8) : random_() % 392;
    std::optional<GrainSpace> got;
    try_to([&] {
      if (const auto space = allocator_.reserve(first, 1 + random_() % 4, random_() % 2 == 0))
        got = *space;
    });
    if (!got)
      return;
    const std::uint64_t begin = got->where.bytes();
    for (std::uint64_t at = begin; at < begin + got->count * kGrain; at += kGrain) {
      ASSERT_TRUE(out_.emplace(at, *got).second) << "byte " << at << " was handed out twice";
      ASSERT_FALSE(got->fresh && written_.contains(at)) << "byte " << at << " is not fresh";
    }
  }

  // A grain that is out, and the space of one grain.
  std::pair<std::uint64_t, GrainSpace> take_one() {
    auto one = out_.begin();
    std::advance(one, static_cast<std::ptrdiff_t>(random_() % out_.size()));
    const std::uint64_t at = one->first;
    const GrainSpace space{FileOffset(at), 1, one->second.fresh};
    out_.erase(one);
    return {at, space};
  }

  std::mt19937 random_{7};
  RequestEpochs epochs_;
  GrainAllocator allocator_{{.grain_bytes = kGrain, .grain_count = kGrains, .batch = 32}, epochs_};
  std::map<std::uint64_t, GrainSpace> out_;  // by byte of the file
  std::set<std::uint64_t> written_;
  std::uint64_t next_ = 0;
  std::size_t missing_ = 0;
};

TEST_F(SpaceTest, IsNeverHandedOutTwiceWhenMemoryRunsOut) {
  for (int step = 0; step < 50'000; ++step) {
    ASSERT_NO_FATAL_FAILURE(reserve());
    switch (random_() % 8) {
      case 0:
        try_to([&] { allocator_.tick(); });
        break;
      case 1:
        if (!out_.empty()) {
          const auto [at, space] = take_one();
          try_to([&, space = space] { allocator_.unreserve(space); });
        }
        break;
      case 2:
        if (!out_.empty()) {
          const auto [at, space] = take_one();
          written_.insert(at);
          try_to([&, space = space] { allocator_.give_back(space); });
        }
        break;
      case 3:
        // Written, then freed by a discard and a commit.
        if (out_.size() > 200) {
          FreedList freed(1);
          while (out_.size() > 150) {
            const std::uint64_t at = take_one().first;
            written_.insert(at);
            freed.front().sectors.push_back(static_cast<std::uint32_t>(at / kSectorSize));
          }
          try_to([&] { allocator_.release(std::move(freed)); });
        }
        break;
      default:
        break;
    }
  }
  EXPECT_GT(missing_, 1000U);
  EXPECT_GT(written_.size(), 100U);
}

// What a failed sync has to say takes memory too.
TEST(MemoryTest, AFailedSyncWithoutMemoryToSaySoPoisonsAllTheSame) {
  MemoryFileSystem files;
  const SampleDisk sample = build_sample_disk(files, SampleKind::kSplit);
  bool fails = false;
  MeddlingFileSystem between(files, {.sync = [&](File& file) -> Status {
                               if (fails)
                                 throw std::bad_alloc();
                               return file.sync();
                             }});
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(between, sample.image, quiet_options()));
  const auto bytes = tagged('w', 1, kSampleGrain);
  ASSERT_OK(disk->write(DiskOffset(8 * kSampleGrain), bytes));
  fails = true;
  EXPECT_THAT(disk->flush(), FailsWith(ENOMEM));
  fails = false;
  EXPECT_FALSE(disk->flush()) << "what was to be synced may be lost";
  EXPECT_FALSE(disk->write(DiskOffset(), bytes));
  EXPECT_FALSE(disk->sticky_status());
  EXPECT_FALSE(disk->close());
}

TEST(MemoryTest, CopyingAnErrorThrowsAndDoesNotEndTheProgram) {
  const Status failed = Error::make(ErrorCode::kIo, std::string(100, 'x'));
  Status copy;
  FailingAllocations allocations(1, true);
  allocations.arm();
  bool constructing = false;
  bool assigning = false;
  try {
    const Status other = failed;
    static_cast<void>(other.has_value());
  } catch (const std::bad_alloc&) {
    constructing = true;
  }
  try {
    copy = failed;
  } catch (const std::bad_alloc&) {
    assigning = true;
  }
  allocations.disarm();
  EXPECT_TRUE(constructing);
  EXPECT_TRUE(assigning);
  EXPECT_OK(copy);
}

// A disk that cannot have the thread which commits takes no write, says why, and takes it when
// there is a thread again.
TEST(MemoryTest, WithoutAThreadForCommitsADiskTakesNoWrite) {
  MemoryFileSystem files;
  const SampleDisk sample = build_sample_disk(files, SampleKind::kSparse);
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files, sample.image, quiet_options()));
  const std::vector<std::byte> bytes(kSectorSize, std::byte{0x5A});
  pthread_attr_t usual{};
  ASSERT_EQ(::pthread_getattr_default_np(&usual), 0);
  pthread_attr_t huge = usual;
  ASSERT_EQ(::pthread_attr_setstacksize(&huge, std::size_t{1} << 50U), 0);
  ASSERT_EQ(::pthread_setattr_default_np(&huge), 0);
  const Status refused = disk->write(DiskOffset(0), bytes);
  ASSERT_EQ(::pthread_setattr_default_np(&usual), 0);
  EXPECT_THAT(refused, FailsWith(EAGAIN));
  EXPECT_THAT(refused, HasMessage("thread"));
  EXPECT_OK(disk->write(DiskOffset(0), bytes));
  EXPECT_OK(disk->close());
}

// A timer whose commit fails, with no memory to log it, goes on.
TEST(MemoryTest, TheTimerSurvivesWithoutMemory) {
  MemoryFileSystem files;
  const SampleDisk sample = build_sample_disk(files, SampleKind::kSparse);
  PausedFileSystem paused(files);
  OpenOptions options = quiet_options();
  options.commit_interval = std::chrono::milliseconds(1);
  ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(paused, sample.image, options));
  std::atomic<int> commits{0};
  disk->on_commit([&] { ++commits; });
  const auto bytes = tagged('w', 1, kSampleGrain);
  ASSERT_OK(disk->write(DiskOffset(8 * kSampleGrain), bytes));
  FailingAllocations allocations(1, true);
  allocations.arm();
  for (int tries = 0; tries < 2000 && allocations.failed() < 5; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  allocations.disarm();
  EXPECT_GE(allocations.failed(), 5U) << "the timer has not tried";
  const int before = commits;
  ASSERT_OK(disk->write(DiskOffset(16 * kSampleGrain), bytes));
  for (int tries = 0; tries < 2000 && commits == before; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GT(commits, before) << "the timer has stopped";
  ASSERT_OK(disk->close());
}

}  // namespace
}  // namespace vmdk::test
