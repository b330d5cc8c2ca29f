#include "faults/fault_run.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "crash/oracle.h"

namespace vmdk::test {

using Kind = DiskOperation::Kind;

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

FaultRun::FaultRun(const Prepared& prepared, const Decorate& decorate)
    : prepared_(prepared),
      crash_(prepared.files),
      faults_(crash_),
      between_(decorate ? decorate(faults_) : nullptr),
      top_(between_ != nullptr ? *between_ : faults_),
      history_(prepared.sample.content),
      uncertain_(prepared.sample.capacity() / kSectorSize) {}

FaultRun::~FaultRun() = default;

void FaultRun::note_log(LogLevel level, std::string_view text) {
  if (level != LogLevel::kError)
    return;
  const std::lock_guard lock(mutex_);
  if (std::exchange(late_failure_, false))
    return;
  commit_failure_ = text;
  told_.notify_all();
}

void FaultRun::note_commit() {
  const std::lock_guard lock(mutex_);
  ++commits_;
  told_.notify_all();
}

Status FaultRun::open(OpenOptions options, const std::filesystem::path& image) {
  RETURN_IF_ERROR(close());
  options_ = std::move(options);
  image_ = image.empty() ? sample().image : image;
  options_.log = [this](LogLevel level, std::string_view text) { note_log(level, text); };
  return call([&]() -> Status {
    ASSIGN_OR_RETURN(disk_, Disk::open(top_, image_, options_));
    disk_->on_commit([this] { note_commit(); });
    return {};
  });
}

void FaultRun::note_failure(std::size_t before, const DiskOperation& operation,
                            std::span<const std::byte> bytes) {
  history_.failed_write(before, operation.at, bytes);
  for (std::uint64_t at = operation.at / kSectorSize;
       at * kSectorSize < operation.at + operation.length; ++at)
    uncertain_[at] = true;
}

Status FaultRun::apply(const DiskOperation& operation) {
  if (disk_ == nullptr)
    RETURN_IF_ERROR(open(options_, image_));
  ++steps_;
  if (operation.kind != Kind::kFlush)
    return change(operation);
  RETURN_IF_ERROR(call([&] { return disk_->flush(); }));
  history_.flushed(crash_.point_now());
  return {};
}

Status FaultRun::change(const DiskOperation& operation) {
  const bool is_write = operation.kind == Kind::kWrite;
  const auto bytes =
      is_write ? tagged('w', steps_, operation.length) : std::vector<std::byte>(operation.length);
  const DiskOffset at(operation.at);
  const std::size_t before = crash_.point_now();
  const Status status = call([&] {
    return is_write                           ? disk_->write(at, bytes)
           : operation.kind == Kind::kDiscard ? disk_->discard(at, operation.length)
                                              : disk_->zero(at, operation.length);
  });
  to_commit_ = status.has_value();
  if (!status) {
    note_failure(before, operation, bytes);
    return status;
  }
  history_.write(before, operation.at, bytes);
  // The whole sectors of the range are certain again.
  const std::uint64_t first = (operation.at + kSectorSize - 1) / kSectorSize;
  const std::uint64_t end = (operation.at + operation.length) / kSectorSize;
  for (std::uint64_t sector = first; sector < end; ++sector)
    uncertain_[sector] = false;
  return status;
}

Status FaultRun::read(std::uint64_t at, std::size_t length) {
  if (disk_ == nullptr)
    RETURN_IF_ERROR(open(options_, image_));
  std::vector<std::byte> bytes(length);
  std::size_t got = 0;
  RETURN_IF_ERROR(call([&]() -> Status {
    ASSIGN_OR_RETURN(got, disk_->read(DiskOffset(at), bytes));
    return {};
  }));
  bytes.resize(got);
  if (!wrong_answer_)
    wrong_answer_ = difference(at, bytes);
  return {};
}

Status FaultRun::close() {
  if (disk_ == nullptr)
    return {};
  const Status status = call([&] { return disk_->close(); });
  drop();
  RETURN_IF_ERROR(status);
  history_.flushed(crash_.point_now());
  return {};
}

void FaultRun::drop() {
  // Also what a destructor does is the engine's.
  static_cast<void>(call([&]() -> Status {
    disk_.reset();
    return {};
  }));
}

Status FaultRun::check(CheckOptions options, int exit_code) {
  options.open = quiet_options();
  return call([&]() -> Status {
    ASSIGN_OR_RETURN(CheckReport report, check_image(top_, sample().image, options));
    if (report.failure)
      return *std::move(report.failure);
    if (report.exit_code() != exit_code && !wrong_answer_)
      wrong_answer_ =
          fmt::format("the check ends with status {}: {}", report.exit_code(),
                      report.findings.empty() ? "no findings" : report.findings[0].text);
    return {};
  });
}

Status FaultRun::create(const std::filesystem::path& image, const CreateOptions& options) {
  return call([&]() -> Status {
    RETURN_IF_ERROR(create_image(top_, image, options));
    return {};
  });
}

Status FaultRun::await_commit() {
  if (!to_commit_)
    return {};
  std::unique_lock lock(mutex_);
  const auto told = [&] { return commit_failure_ || commits_ > commits_seen_; };
  if (!told_.wait_for(lock, std::chrono::seconds(20), told))
    return Error::make(ErrorCode::kInvalidArgument, "the timer does not commit");
  if (const auto failure = std::exchange(commit_failure_, std::nullopt)) {
    // Its errno is only in the text.
    for (const int err : {EIO, ENOSPC, EDQUOT, EFBIG, EMFILE, EOPNOTSUPP})
      if (failure->find(std::generic_category().message(err)) != std::string::npos)
        return Error::from_errno(err, *failure);
    return Error::make(ErrorCode::kInvalidArgument, *failure);
  }
  commits_seen_ = commits_;
  return {};
}

void FaultRun::let_calls_succeed() {
  faults_.clear();
  const std::lock_guard lock(mutex_);
  commit_failure_.reset();
  late_failure_ = true;
}

std::optional<std::string> FaultRun::difference(std::uint64_t at,
                                                std::span<std::byte> actual) const {
  for (std::uint64_t sector = at / kSectorSize; sector < uncertain_.size(); ++sector) {
    const std::uint64_t begin = std::max(sector * kSectorSize, at);
    const std::uint64_t end = std::min((sector + 1) * kSectorSize, at + actual.size());
    if (begin >= end)
      break;
    if (uncertain_[sector])
      history_.now().read_into(begin, actual.subspan(begin - at, end - begin));
  }
  return history_.now().difference(at, actual);
}

std::optional<std::string> FaultRun::wrong_content() {
  static thread_local std::vector<std::byte> actual;  // it is large, and wanted very often
  actual.resize(sample().capacity());
  if (const auto got = disk_->read(DiskOffset(), actual); !got)
    return "reading failed: " + got.error().to_text();
  return difference(0, actual);
}

std::optional<std::string> FaultRun::wrong_image() {
  drop();
  faults_.clear();
  return judge_state(*files().clone(), crash_.point_now(), sample(), history_, prepared_.files);
}

std::optional<std::string> FaultRun::wrong_after_power_cut(std::uint64_t seed) {
  std::optional<std::string> wrong;
  const std::size_t point = crash_.point_now();
  const CrashLimits limits{.of_each_family = 8, .random_subsets = 8, .seed = seed, .most = 3};
  crash_.for_each_state(point, limits, [&](CrashState& state) {
    if (wrong)
      return;
    wrong = judge_state(*state.file_system, point, sample(), history_, prepared_.files);
    if (wrong)
      wrong = state.text + "\n" + *wrong;
  });
  return wrong;
}

std::optional<std::string> FaultRun::changed_file() const {
  const MemoryFileSystem& now = crash_.live();
  if (now.files() != prepared_.files.files())
    return fmt::format("there are {} files, not {}", now.files().size(),
                       prepared_.files.files().size());
  for (const std::string& name : now.files())
    if (now.contents(name) != prepared_.files.contents(name))
      return name + " was changed";
  return std::nullopt;
}

}  // namespace vmdk::test
