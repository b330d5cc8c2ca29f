#include "vfsx/exerciser.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "vfsx/pattern.h"

namespace vmdk::test {
namespace {

using Kind = Operation::Kind;

constexpr std::uint64_t kPiece = kMiB;  // of the whole disk, compared in one go

std::optional<std::string> because(std::string_view what, const Error& error) {
  return fmt::format("{}: {}", what, error.to_text());
}

}  // namespace

Exerciser::Exerciser(Subject& subject, const DiskFacts& facts)
    : subject_(subject), can_punch_(facts.can_punch), capacity_(facts.content.capacity()) {
  begin_anew(facts.content);
}

void Exerciser::begin_anew(const ReferenceDisk& durable) {
  history_.emplace(ReferenceDisk(durable));
  earliest_ = last_flush_ = subject_.point();
}

std::optional<std::string> Exerciser::step(const Operation& given) {
  Operation operation = given;
  if (has_range(operation.kind)) {
    operation.at = std::min(operation.at, capacity_ - 1);
    operation.length = std::clamp<std::uint64_t>(operation.length, 1, capacity_ - operation.at);
  }
  switch (operation.kind) {
    case Kind::kRead:
    case Kind::kMappedRead:
      return read(operation);
    case Kind::kWrite:
    case Kind::kMappedWrite:
      return write(operation);
    case Kind::kPunch:
    case Kind::kZero:
      return clear(operation);
    case Kind::kSeek:
      return seek(operation.at);
    case Kind::kFsync:
    case Kind::kFdatasync:
      return sync(operation.kind == Kind::kFdatasync);
    case Kind::kReopen:
      if (const Status status = subject_.reopen(); !status)
        return because("closing and opening", status.error());
      return std::nullopt;
    case Kind::kDropCaches:
      if (const Status status = subject_.drop_caches(); !status)
        return because("dropping the caches", status.error());
      return std::nullopt;
    case Kind::kRemount:
      return remount(operation.tag);
    case Kind::kKill:
      return kill(operation.tag);
  }
  return "an operation of no kind";
}

std::optional<std::string> Exerciser::read(const Operation& operation) {
  return compare(operation.at, operation.length, operation.kind == Kind::kMappedRead);
}

std::optional<std::string> Exerciser::compare(std::uint64_t at, std::uint64_t length, bool mapped) {
  // Neither zeros nor what anybody writes: a byte that was not filled in is seen.
  buffer_.assign(length, std::byte{0xEE});
  if (const Status status = subject_.read(at, buffer_, mapped); !status)
    return because("reading", status.error());
  return now().difference(at, buffer_);
}

std::optional<std::string> Exerciser::write(const Operation& operation) {
  buffer_.resize(operation.length);
  fill_pattern(buffer_, operation.at, operation.tag);
  history_->write(subject_.point(), operation.at, buffer_);
  const bool mapped = operation.kind == Kind::kMappedWrite;
  if (const Status status = subject_.write(operation.at, buffer_, mapped); !status)
    return because("writing", status.error());
  return std::nullopt;
}

std::optional<std::string> Exerciser::clear(const Operation& operation) {
  const auto [kind, at, length, tag] = operation;
  if (kind == Kind::kPunch && !can_punch_) {
    const Status status = subject_.punch(at, length);
    if (status)
      return "punching succeeded where it cannot be done";
    if (status.error().code() != ErrorCode::kUnsupported)
      return because("punching where it cannot be done", status.error());
    return std::nullopt;
  }
  history_->zero(subject_.point(), at, length);
  const Status status =
      kind == Kind::kPunch ? subject_.punch(at, length) : subject_.zero(at, length);
  if (!status)
    return because(kind == Kind::kPunch ? "punching" : "zeroing", status.error());
  return std::nullopt;
}

// What is between here and the next data must be zeros.
std::optional<std::string> Exerciser::seek(std::uint64_t at) {
  const auto data = subject_.next_data(at);
  if (!data)
    return because("seeking data", data.error());
  const auto hole = subject_.next_hole(at);
  if (!hole)
    return because("seeking a hole", hole.error());
  if (*data < at || *data > capacity_ || *hole < at || *hole > capacity_)
    return fmt::format("from {} the next data is at {}, the next hole at {}", at, *data, *hole);
  if (*data != at && *hole != at)
    return fmt::format("at {} is neither data nor a hole", at);
  if (*data == at && *hole == at)
    return fmt::format("at {} is both data and a hole", at);
  if (!now().is_zero(at, *data - at))
    return fmt::format("{} to {} is said to be a hole, and is not all zeros", at, *data);
  return std::nullopt;
}

std::optional<std::string> Exerciser::sync(bool data_only) {
  if (const Status status = subject_.sync(data_only); !status)
    return because("syncing", status.error());
  earliest_ = std::exchange(last_flush_, subject_.point());
  history_->flushed(last_flush_);
  return std::nullopt;
}

std::optional<std::string> Exerciser::remount(std::uint64_t tag) {
  if (const Status status = subject_.remount(tag); !status)
    return because("mounting anew", status.error());
  const std::size_t end = subject_.point();
  history_->flushed(end);
  return judge(end);
}

std::optional<std::string> Exerciser::kill(std::uint64_t tag) {
  constexpr std::uint64_t kSeldom = 8;
  const auto point = subject_.kill(earliest_, tag);
  if (!point)
    return because("after the kill", point.error());
  if (auto wrong = judge(*point))
    return "after the kill: " + *wrong;
  return tag % kSeldom == 0 ? compare_all() : std::nullopt;
}

// Takes what is found for what is durable from now on, if it may be there.
std::optional<std::string> Exerciser::judge(std::size_t point) {
  ReferenceDisk found = now();
  std::optional<std::string> unreadable;
  auto wrong = history_->check_written(point, [&](std::uint64_t at, std::size_t length) {
    std::vector<std::byte> bytes(length, std::byte{0xEE});
    if (const Status status = subject_.read(at, bytes, false); !status) {
      unreadable = because("reading", status.error());
      return std::vector<std::byte>();
    }
    found.write(at, bytes);
    return bytes;
  });
  if (unreadable || wrong)
    return unreadable ? unreadable : wrong;
  begin_anew(found);
  return std::nullopt;
}

// Where the disk says that there is nothing the model has nothing; the rest is read.
std::optional<std::string> Exerciser::compare_all() {
  for (std::uint64_t at = 0; at < capacity_;) {
    const auto data = subject_.next_data(at);
    if (!data)
      return because("seeking data", data.error());
    if (*data < at || *data > capacity_ || !now().is_zero(at, *data - at))
      return fmt::format("data is missing between {} and {}", at, *data);
    at = *data;
    if (at == capacity_)
      break;
    const auto hole = subject_.next_hole(at);
    if (!hole)
      return because("seeking a hole", hole.error());
    if (*hole <= at || *hole > capacity_)
      return fmt::format("the hole behind the data at {} is at {}", at, *hole);
    for (; at < *hole; at += std::min(kPiece, *hole - at)) {
      if (auto wrong = compare(at, std::min(kPiece, *hole - at), false))
        return wrong;
    }
  }
  return std::nullopt;
}

std::optional<std::string> Exerciser::finish() {
  if (auto wrong = remount(0))
    return wrong;
  if (auto wrong = compare_all())
    return wrong;
  if (const Status status = subject_.finish(); !status)
    return because("at the end", status.error());
  return std::nullopt;
}

std::optional<Failure> exercise(Subject& subject, const DiskFacts& facts,
                                std::span<const Operation> operations,
                                std::atomic<std::size_t>* progress) {
  Exerciser exerciser(subject, facts);
  for (std::size_t i = 0; i <= operations.size(); ++i) {
    if (progress != nullptr)
      progress->store(i, std::memory_order_relaxed);
    auto wrong = i < operations.size() ? exerciser.step(operations[i]) : exerciser.finish();
    if (wrong)
      return Failure{i, *std::move(wrong)};
  }
  return std::nullopt;
}

}  // namespace vmdk::test
