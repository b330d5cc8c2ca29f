#include "extent/write_behind.h"

#include <algorithm>
#include <exception>

#include <vmdk/units.h>

namespace vmdk {
namespace {

// Shorter ones are tables, or the requests of somebody who writes here and there: the system would
// begin with pages that are written to again at once.
constexpr std::uint64_t kShortest = 64 * kKiB;
// Long enough for the disk to be busy with, short enough to leave little for the end.
constexpr std::uint64_t kStep = 4 * kMiB;
// Requests of one run may overtake each other on their way here.
constexpr std::uint64_t kSlack = 4 * kMiB;

}  // namespace

WriteBehind::Range WriteBehind::extend(std::uint64_t begin, std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  const bool goes_on = run_ && begin <= run_->end + kSlack && begin + kSlack >= run_->end;
  if (!goes_on)
    run_ = {begin, end};
  run_->end = std::max(run_->end, end);
  if (run_->end - run_->begin < kStep)
    return {};
  const Range due = *run_;
  run_->begin = run_->end;
  return due;
}

void WriteBehind::note(std::uint64_t begin, std::uint64_t end) noexcept {
  if (end - begin < kShortest)
    return;
  const Range due = extend(begin, end);
  if (due.empty())
    return;
  try {
    // A busy disk makes whoever starts a write wait: not the one who answers the kernel.
    helpers_.submit(
        this, [this, due] { file_.start_writing(FileOffset(due.begin), due.end - due.begin); });
  } catch (const std::exception&) {
    // No memory: the sync does it all.
  }
}

}  // namespace vmdk
