#include "workload.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include <vmdk/check.h>

#include "base/bytes.h"
#include "support/matchers.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kSoakFactor = 25;
constexpr std::uint64_t kPiece = kMiB;

std::string findings_of(const CheckReport& report) {
  std::string text;
  for (const Finding& finding : report.findings)
    text += finding.file + ": " + finding.text + "\n";
  return text;
}

}  // namespace

std::uint64_t work(std::uint64_t operations) {
  return soak() ? operations * kSoakFactor : operations;
}

Workload::Workload(FileSystem& file_system, std::filesystem::path image, const Shape& shape,
                   bool has_parent, const Tuning& tuning, Model& model, BoundaryRandom& random)
    : file_system_(file_system),
      image_(std::move(image)),
      can_discard_(!has_parent || (shape.is_sparse() && shape.zeroed_grains)),
      grain_size_(shape.is_sparse() ? shape.grain_size : 4 * kKiB),
      tuning_(tuning),
      touched_model_(model),
      model_(model.disk),
      random_(random) {}

void Workload::run(std::uint64_t operations) {
  open(Access::kReadWrite);
  for (std::uint64_t i = 0; i < operations && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("operation " + std::to_string(i));
    step();
  }
  if (disk_ == nullptr || testing::Test::HasFailure())
    return;
  close();
  check();
  open(Access::kReadOnly);
  if (disk_ == nullptr)
    return;
  compare_all();
  content_id_ = disk_->info().layers[0].cid;
  disk_.reset();
}

void Workload::open(Access access) {
  OpenOptions options;
  options.access = access;
  options.batch_grains = tuning_.batch_grains;
  options.table_cache = tuning_.table_cache;
  options.commit_interval = std::chrono::milliseconds::zero();
  ASSERT_OK_AND_ASSIGN(disk_, Disk::open(file_system_, image_, options));
  ASSERT_EQ(disk_->capacity(), model_.capacity());
  ASSERT_EQ(disk_->grain_size(), grain_size_);
}

void Workload::close() {
  ASSERT_OK(disk_->close());
  disk_.reset();
}

void Workload::check() const {
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(file_system_, image_, {}));
  EXPECT_EQ(report.exit_code(), 0) << findings_of(report);
}

void Workload::step() {
  const DiskRange range = random_.range(random_.one_in(3) ? 5 * grain_size_ : 48 * kKiB);
  switch (random_.below(20)) {
    case 0:
    case 1:
      return discard(range);
    case 2:
      return zero(range);
    case 3:
      EXPECT_OK(disk_->flush());
      return;
    case 4:
      return walk_map(range);
    case 5:
      return write_stream();
    case 6:
      if (random_.one_in(3)) {
        close();
        check();
        open(Access::kReadWrite);
      }
      return;
    case 7:
      return write_behind_the_end();
    case 8:
    case 9:
    case 10:
    case 11:
      return read(range);
    default:
      return write(range);
  }
}

void Workload::write(const DiskRange& range) {
  const auto bytes = random_.fill(range.length);
  ASSERT_OK(disk_->write(DiskOffset(range.at), bytes));
  model_.write(range.at, bytes);
  touch(range);
  read(range);
}

// A sequential stream whose requests arrive out of order.
void Workload::write_stream() {
  constexpr std::uint64_t kRequests = 6;
  const std::uint64_t piece = std::max(16 * kKiB, grain_size_ / 2);
  const std::uint64_t begin = random_.range(piece).at;
  std::array<std::uint64_t, kRequests> order = {0, 2, 1, 3, 5, 4};
  for (const std::uint64_t number : order) {
    const std::uint64_t at = begin + number * piece;
    if (at < model_.capacity())
      write({.at = at, .length = std::min(piece, model_.capacity() - at)});
  }
}

void Workload::read(const DiskRange& range) {
  // More than there is, now and then: the end of the disk makes it shorter.
  const std::uint64_t asked = range.length + (random_.one_in(8) ? 3 * kSectorSize : 0);
  buffer_.assign(asked, std::byte{0xEE});
  ASSERT_OK_AND_ASSIGN(const std::size_t got, disk_->read(DiskOffset(range.at), buffer_));
  ASSERT_EQ(got, std::min(asked, model_.capacity() - range.at));
  EXPECT_EQ(model_.difference(range.at, std::span(buffer_).first(got)), std::nullopt)
      << "read of " << range.length << " bytes at " << range.at;
}

void Workload::discard(const DiskRange& range) {
  const Status status = disk_->discard(DiskOffset(range.at), range.length);
  if (can_discard_) {
    ASSERT_OK(status);
    model_.zero(range.at, range.length);
  } else {
    EXPECT_THAT(status, IsError(ErrorCode::kUnsupported));
    EXPECT_THAT(status, FailsWith(EOPNOTSUPP));
  }
  read(range);
}

void Workload::zero(const DiskRange& range) {
  ASSERT_OK(disk_->zero(DiskOffset(range.at), range.length));
  model_.zero(range.at, range.length);
  read(range);
}

void Workload::write_behind_the_end() {
  const std::uint64_t at = model_.capacity() - random_.below(3 * kSectorSize);
  const auto bytes = random_.fill(model_.capacity() - at + 1);
  EXPECT_THAT(disk_->write(DiskOffset(at), bytes), IsError(ErrorCode::kNoSpace));
  EXPECT_THAT(disk_->discard(DiskOffset(at), bytes.size()),
              IsError(can_discard_ ? ErrorCode::kNoSpace : ErrorCode::kUnsupported));
  EXPECT_THAT(disk_->zero(DiskOffset(at), bytes.size()), IsError(ErrorCode::kNoSpace));
  if (at < model_.capacity())
    read({.at = at, .length = model_.capacity() - at});
}

// The runs cover the range without gaps and say what a read shows.
void Workload::walk_map(const DiskRange& range) {
  for (std::uint64_t at = range.at; at < range.at + range.length;) {
    const std::uint64_t most = range.at + range.length - at;
    ASSERT_OK_AND_ASSIGN(const MapRun run, disk_->map(DiskOffset(at), most));
    ASSERT_EQ(run.begin.bytes(), at);
    ASSERT_GT(run.length, 0U);
    ASSERT_LE(run.length, most);
    check_run(run);
    check_seeks(run);
    at += run.length;
  }
}

void Workload::check_run(const MapRun& run) {
  std::vector<std::byte> bytes(run.length);
  ASSERT_NE(run.kind, MapKind::kUnreadable);
  if (run.kind == MapKind::kData) {
    ASSERT_OK_AND_ASSIGN(const auto file, file_system_.open(run.file, Access::kReadOnly));
    // Behind the end of the file lies the untouched rest of a new grain: zeros.
    ASSERT_OK(file->read(run.where, bytes));
  }
  EXPECT_EQ(model_.difference(run.begin.bytes(), bytes), std::nullopt)
      << "what the map says of " << run.length << " bytes at " << run.begin.bytes();
}

void Workload::check_seeks(const MapRun& run) {
  ASSERT_OK_AND_ASSIGN(const auto data, disk_->next_data(run.begin));
  ASSERT_OK_AND_ASSIGN(const DiskOffset hole, disk_->next_hole(run.begin));
  if (run.kind == MapKind::kData) {
    EXPECT_EQ(data, run.begin);
    EXPECT_GE(hole, run.begin + run.length);
  } else {
    EXPECT_EQ(hole, run.begin);
    EXPECT_GE(data.value_or(DiskOffset(model_.capacity())), run.begin + run.length);
  }
}

// Pieces that nobody ever changed need not be read where the map says that they are holes.
void Workload::compare_all() {
  for (std::uint64_t at = 0; at < model_.capacity() && !testing::Test::HasFailure(); at += kPiece) {
    const std::uint64_t length = std::min(kPiece, model_.capacity() - at);
    if (!touched_model_.touched.contains(at / kPiece)) {
      ASSERT_OK_AND_ASSIGN(const MapRun run, disk_->map(DiskOffset(at), length));
      if (run.kind == MapKind::kHole && run.length == length)
        continue;
    }
    read({.at = at, .length = length});
  }
}

void Workload::touch(const DiskRange& range) {
  for (std::uint64_t piece = range.at / kPiece; piece * kPiece < range.at + range.length; ++piece)
    touched_model_.touched.insert(piece);
}

}  // namespace vmdk::test
