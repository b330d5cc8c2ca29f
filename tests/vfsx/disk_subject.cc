#include "vfsx/disk_subject.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "support/sparse_bytes.h"
#include "vfsx/random_crash.h"
#include "vfsx/soundness.h"

namespace vmdk::test {

DiskSubject::DiskSubject(const PreparedImage& image, Setup setup, Between between)
    : image_(image), setup_(std::move(setup)), between_(std::move(between)) {}

DiskSubject::~DiskSubject() = default;

Result<std::unique_ptr<DiskSubject>> DiskSubject::open(const PreparedImage& image,
                                                       const Setup& setup, Between between) {
  std::unique_ptr<DiskSubject> subject(new DiskSubject(image, setup, std::move(between)));
  RETURN_IF_ERROR(subject->open_over(image.files->clone()));
  return subject;
}

Status DiskSubject::open_over(std::unique_ptr<MemoryFileSystem> durable) {
  disk_.reset();
  decorated_.reset();
  files_.reset();
  durable_ = std::move(durable);
  files_ = std::make_unique<CrashFileSystem>(*durable_);
  if (between_)
    decorated_ = between_(*files_);
  OpenOptions options;
  options.batch_grains = setup_.tuning.batch_grains;
  options.table_cache = setup_.tuning.table_cache;
  options.commit_interval = std::chrono::milliseconds::zero();
  if (!image_.overlay.empty())
    options.overlay = Overlay{.file = image_.overlay, .scratch_dir = {}};
  FileSystem& file_system = decorated_ ? *decorated_ : *files_;
  ASSIGN_OR_RETURN(disk_, Disk::open(file_system, image_.image, options));
  return {};
}

Status DiskSubject::read(std::uint64_t at, std::span<std::byte> into, bool /*mapped*/) {
  ASSIGN_OR_RETURN(const std::size_t got, disk_->read(DiskOffset(at), into));
  if (got != into.size())
    return Error::make(ErrorCode::kIo, fmt::format("{} of {} bytes at {}", got, into.size(), at));
  return {};
}

Status DiskSubject::write(std::uint64_t at, std::span<const std::byte> from, bool /*mapped*/) {
  return disk_->write(DiskOffset(at), from);
}

Status DiskSubject::punch(std::uint64_t at, std::uint64_t length) {
  return disk_->discard(DiskOffset(at), length);
}

Status DiskSubject::zero(std::uint64_t at, std::uint64_t length) {
  return disk_->zero(DiskOffset(at), length);
}

Result<std::uint64_t> DiskSubject::next_data(std::uint64_t from) {
  ASSIGN_OR_RETURN(const auto data, disk_->next_data(DiskOffset(from)));
  return data ? data->bytes() : disk_->capacity();
}

Result<std::uint64_t> DiskSubject::next_hole(std::uint64_t from) {
  ASSIGN_OR_RETURN(const DiskOffset hole, disk_->next_hole(DiskOffset(from)));
  return hole.bytes();
}

Status DiskSubject::sync(bool /*data_only*/) {
  return disk_->flush();
}

Status DiskSubject::reopen() {
  return remount(0);
}

Status DiskSubject::drop_caches() {
  return {};
}

Status DiskSubject::close() {
  RETURN_IF_ERROR(disk_->close());
  disk_.reset();
  ASSIGN_OR_RETURN(const bool clean, require_sound(*files_, image_.top(), may_leak_));
  may_leak_ = !clean;
  return {};
}

Status DiskSubject::remount(std::uint64_t tag) {
  RETURN_IF_ERROR(close());
  // A power cut directly after a clean end takes nothing away.
  RandomCrash crash = random_crash(*durable_, *files_, files_->log().size(), tag);
  if (const auto clean = require_sound(*crash.files, image_.top(), may_leak_); !clean)
    return Error(clean.error()).with_context("a power cut after the end: " + crash.text);
  return open_over(std::move(crash.files));
}

std::size_t DiskSubject::point() const {
  return files_->point_now();
}

Result<std::size_t> DiskSubject::kill(std::size_t earliest, std::uint64_t tag) {
  constexpr std::uint64_t kRepairEvery = 4;
  RandomCrash crash = random_crash(*durable_, *files_, earliest, tag);
  disk_.reset();
  const auto clean = require_sound(*crash.files, image_.top(), true);
  if (!clean)
    return Error(clean.error()).with_context(crash.text);
  may_leak_ = !*clean;
  if (tag % kRepairEvery == 0) {
    if (const Status repaired = require_repairable(*crash.files, image_.top()); !repaired)
      return Error(repaired.error()).with_context(crash.text);
    may_leak_ = false;
  }
  if (const Status opened = open_over(std::move(crash.files)); !opened)
    return Error(opened.error()).with_context(crash.text);
  return crash.point;
}

Status DiskSubject::finish() {
  RETURN_IF_ERROR(close());
  return require_bases_unchanged();
}

Status DiskSubject::require_bases_unchanged() const {
  for (const std::string& base : image_.bases) {
    if (!files_->live().exists(base) ||
        !same_bytes(files_->live().content(base), image_.files->content(base)))
      return Error::make(ErrorCode::kCorrupt, base + ": a file of a parent was changed");
  }
  return {};
}

}  // namespace vmdk::test
