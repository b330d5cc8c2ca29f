#include "extent/grain_allocator.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <optional>
#include <utility>

#include "base/checked_math.h"
#include "base/seeded_fault.h"

namespace vmdk {
namespace {

// Streams that are told apart at one time; more of them are served without windows.
constexpr std::size_t kMaxWindows = 64;
constexpr std::size_t kRecentReservations = 32;
// How far ahead of a stream's end a request still belongs to it, in requests of its size and at
// least in grains: requests of one stream overtake each other on their way here.
constexpr std::uint64_t kSlackRequests = 16;
constexpr std::uint64_t kLeastSlack = 4;
// A stream's first window, in grains, and how much longer the next one is.
constexpr std::uint64_t kLeastWindow = 8;
constexpr std::uint64_t kWindowGrowth = 4;
// Ranges looked at for one reservation: bounds the time under the lock.
constexpr std::ptrdiff_t kMaxRangesTried = 256;
// Spare space is plenty when it is more than this part of the file, and more than a batch.
constexpr std::uint64_t kSpareShare = 4;

using Ranges = std::map<std::uint64_t, std::uint64_t>;

// Only a range that touches no other takes memory; when there is none, nothing has changed.
void add_range(Ranges& ranges, std::uint64_t begin, std::uint64_t length) {
  if (length == 0)
    return;
  const auto next = ranges.lower_bound(begin);
  const bool touches_next = next != ranges.end() && begin + length == next->first;
  if (next != ranges.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == begin) {
      before->second += length;
      if (touches_next) {
        before->second += next->second;
        ranges.erase(next);
      }
      return;
    }
  }
  if (!touches_next) {
    ranges.emplace_hint(next, begin, length);
    return;
  }
  auto joined = ranges.extract(next);
  joined.key() = begin;
  joined.mapped() += length;
  ranges.insert(std::move(joined));
}

// The first `length` bytes of a range that has them; what is left of it stays.
std::uint64_t take_from(Ranges& ranges, Ranges::iterator found, std::uint64_t length) {
  const std::uint64_t begin = found->first;
  auto rest = ranges.extract(found);
  if (rest.mapped() > length) {
    rest.key() += length;
    rest.mapped() -= length;
    ranges.insert(std::move(rest));
  }
  return begin;
}

// Of the first range that holds `length`.
std::optional<std::uint64_t> take_first_fit(Ranges& ranges, std::uint64_t length) {
  const auto fits = [&](const auto& range) { return range.second >= length; };
  const auto last = std::next(
      ranges.begin(), std::min(kMaxRangesTried, static_cast<std::ptrdiff_t>(ranges.size())));
  const auto found = std::find_if(ranges.begin(), last, fits);
  return found == last ? std::nullopt : std::optional(take_from(ranges, found, length));
}

Error full() {
  return Error::make(ErrorCode::kNoSpace,
                     "the extent file is full: a grain cannot start behind sector 4294967295");
}

}  // namespace

GrainAllocator::GrainAllocator(const Start& start, RequestEpochs& epochs)
    : grain_bytes_(start.grain_bytes),
      alignment_(start.alignment != 0 ? start.alignment : start.grain_bytes),
      end_limit_(start.end_limit),
      grain_count_(start.grain_count),
      batch_(start.batch),
      epochs_(epochs),
      next_(align_up(std::max(start.file_size, start.used_end), alignment_)),
      used_end_(start.used_end) {}

std::uint64_t GrainAllocator::grains_left_at_end() const noexcept {
  return next_ >= end_limit_ ? 0 : (end_limit_ - next_) / grain_bytes_;
}

std::optional<GrainSpace> GrainAllocator::from_window(std::uint64_t first, std::uint64_t count) {
  for (Window& window : windows_) {
    if (first < window.first || first >= window.first + window.taken.size())
      continue;
    const std::uint64_t begin = first - window.first;
    std::uint64_t end = begin;
    while (end < window.taken.size() && end - begin < count && !window.taken[end])
      window.taken[end++] = true;
    if (end == begin)
      return std::nullopt;  // the grain had this place before it was discarded
    window.active = true;
    return GrainSpace{FileOffset(window.where + begin * grain_bytes_), end - begin, window.fresh};
  }
  return std::nullopt;
}

bool GrainAllocator::is_in_window(std::uint64_t grain) const noexcept {
  return std::any_of(windows_.begin(), windows_.end(), [&](const Window& window) {
    return grain >= window.first && grain < window.first + window.taken.size();
  });
}

// The stream that a request for `count` grains at `first` continues, if there is one: of those
// whose end is near, the nearest. A window that still waits for an early request is behind the
// stream.
std::optional<GrainAllocator::StreamEnd> GrainAllocator::stream_before(std::uint64_t first,
                                                                       std::uint64_t count) const {
  const std::uint64_t slack = std::max(kLeastSlack, kSlackRequests * count);
  std::optional<StreamEnd> nearest;
  const auto consider = [&](const StreamEnd& stream) {
    if (stream.end > first || first - stream.end > slack || is_in_window(stream.end))
      return;
    if (!nearest)
      nearest = stream;
    nearest->end = std::max(nearest->end, stream.end);
    nearest->next_length = std::max(nearest->next_length, stream.next_length);
  };
  for (const Window& window : windows_)
    consider({window.first + window.taken.size(), kWindowGrowth * window.taken.size()});
  for (const StreamEnd& stream : recent_)
    consider(stream);
  return nearest;
}

bool GrainAllocator::open_window(std::uint64_t first, std::uint64_t count, bool wants_fresh) {
  if (batch_ <= 1)
    return false;
  const auto stream = stream_before(first, count);
  if (!stream || is_in_window(first))
    return false;
  // A window whose grains are all used has done its work.
  std::erase_if(windows_, [](const Window& window) {
    return std::find(window.taken.begin(), window.taken.end(), false) == window.taken.end();
  });
  if (windows_.size() >= kMaxWindows)
    return false;
  const std::uint64_t needed = first + count - stream->end;
  if (needed > batch_)
    return false;
  const std::uint64_t wanted = std::max(std::min(batch_, stream->next_length), needed);
  std::uint64_t length = std::min(wanted, grain_count_ - stream->end);
  // Two windows never cover one grain.
  for (const Window& window : windows_)
    if (window.first >= stream->end)
      length = std::min(length, window.first - stream->end);
  if (stream->end + length <= first)
    return false;
  // Memory first, space behind it.
  std::vector<bool> taken(length);
  windows_.reserve(windows_.size() + 1);
  auto space = wants_fresh ? std::nullopt : from_spare(length);
  if (!space)
    space = from_end(length);
  if (!space)
    return false;
  std::erase_if(recent_, [&](const StreamEnd& recent) { return recent.end == stream->end; });
  windows_.push_back({.first = stream->end,
                      .where = space->where.bytes(),
                      .taken = std::move(taken),
                      .fresh = space->fresh});
  return true;
}

std::optional<GrainSpace> GrainAllocator::from_end(std::uint64_t count) {
  if (grains_left_at_end() < count)
    return std::nullopt;
  const FileOffset where(next_);
  next_ += count * grain_bytes_;
  return GrainSpace{where, count, true};
}

std::optional<GrainSpace> GrainAllocator::from_spare(std::uint64_t count) {
  const auto begin = take_first_fit(spare_, count * grain_bytes_);
  if (!begin)
    return std::nullopt;
  spare_bytes_ -= count * grain_bytes_;
  return GrainSpace{FileOffset(*begin), count, false};
}

// As many as the first range has, so that space in pieces is used too.
std::optional<GrainSpace> GrainAllocator::from_spare_pieces(std::uint64_t count) {
  if (spare_.empty())
    return std::nullopt;
  return from_spare(std::min(count, spare_.begin()->second / grain_bytes_));
}

bool GrainAllocator::has_plenty_of_spare() const noexcept {
  return spare_bytes_ > std::max(batch_ * grain_bytes_, next_ / kSpareShare);
}

void GrainAllocator::add_spare(std::uint64_t begin, std::uint64_t length) {
  add_range(spare_, begin, length);
  spare_bytes_ += length;
}

void GrainAllocator::add_or_lose(bool fresh, std::uint64_t begin, std::uint64_t length) noexcept {
  try {
    if (fresh)
      add_range(fresh_rest_, begin, length);
    else
      add_spare(begin, length);
  } catch (const std::bad_alloc&) {
  }
}

std::optional<GrainSpace> GrainAllocator::from_fresh_rest(std::uint64_t count) {
  if (const auto begin = take_first_fit(fresh_rest_, count * grain_bytes_))
    return GrainSpace{FileOffset(*begin), count, true};
  return std::nullopt;
}

void GrainAllocator::note_reservation(std::uint64_t first, std::uint64_t count) {
  recent_.push_back({first + count, std::max(kLeastWindow, kWindowGrowth * count)});
  if (recent_.size() > kRecentReservations)
    recent_.pop_front();
}

Result<GrainSpace> GrainAllocator::reserve(std::uint64_t first, std::uint64_t count, bool partial) {
  const std::lock_guard lock(mutex_);
  collect_released();
  if (auto space = from_window(first, count))
    return *space;
  const bool plenty = has_plenty_of_spare();
  const bool wants_fresh = partial && !plenty;
  if (open_window(first, count, wants_fresh))
    if (auto space = from_window(first, count))
      return *space;
  note_reservation(first, count);
  if (!wants_fresh)
    if (auto space = from_spare(count))
      return *space;
  if (plenty)
    if (auto space = from_spare_pieces(count))
      return *space;
  if (auto space = from_fresh_rest(count))
    return *space;
  if (auto space = from_end(count))
    return *space;
  // Space is short: nobody keeps reservations, and grains go wherever one fits.
  close_windows();
  for (const std::uint64_t wanted : {count, std::uint64_t{1}}) {
    if (auto space = from_fresh_rest(wanted))
      return *space;
    if (auto space = from_spare(wanted))
      return *space;
    if (auto space = from_end(wanted))
      return *space;
  }
  return full();
}

Result<FileOffset> GrainAllocator::reserve_table(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (table_end_ - table_next_ < bytes) {
    const std::uint64_t length = align_up(bytes, alignment_);
    if (next_ >= end_limit_ || length > end_limit_ - next_)
      return full();
    table_next_ = next_;
    table_end_ = next_ += length;
  }
  const FileOffset where(table_next_);
  table_next_ += bytes;
  used_end_ = std::max(used_end_, table_next_);
  return where;
}

void GrainAllocator::unreserve(const GrainSpace& space) noexcept {
  const std::lock_guard lock(mutex_);
  const std::uint64_t begin = space.where.bytes();
  // Spare space may lie inside a window too; it stays spare.
  for (Window& window : windows_) {
    const std::uint64_t end = window.where + window.taken.size() * grain_bytes_;
    if (!space.fresh || begin < window.where || begin >= end)
      continue;
    const auto from = static_cast<std::ptrdiff_t>((begin - window.where) / grain_bytes_);
    std::fill_n(window.taken.begin() + from, space.count, false);
    return;
  }
  add_or_lose(space.fresh, begin, space.count * grain_bytes_);
}

void GrainAllocator::give_back(const GrainSpace& space) noexcept {
  const std::lock_guard lock(mutex_);
  add_or_lose(false, space.where.bytes(), space.count * grain_bytes_);
}

void GrainAllocator::note_used(std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  used_end_ = std::max(used_end_, end);
}

void GrainAllocator::add_unused(FileOffset where, std::uint64_t grains) {
  // A file of others may be longer than entries reach.
  const std::uint64_t begin = std::min(where.bytes(), end_limit_);
  const std::uint64_t usable = std::min(grains, (end_limit_ - begin) / grain_bytes_);
  const std::lock_guard lock(mutex_);
  add_spare(begin, usable * grain_bytes_);
}

void GrainAllocator::freed(FreedList&& grains) noexcept {
  grains.remove_if([](const FreedGrains& none) { return none.sectors.empty(); });
  const std::lock_guard lock(mutex_);
  freed_.splice(freed_.end(), grains);
}

FreedList GrainAllocator::take_freed() noexcept {
  FreedList taken;
  const std::lock_guard lock(mutex_);
  taken.swap(freed_);
  return taken;
}

void GrainAllocator::release(FreedList&& grains) noexcept {
  const std::lock_guard lock(mutex_);
  for (FreedGrains& some : grains)
    some.tag = epochs_.now();
  waiting_.splice(waiting_.end(), grains);
}

void GrainAllocator::collect_released() {
  const bool hurried = seeded(SeededFault::kFreedReusedUnderRequests);
  while (!waiting_.empty() && (hurried || epochs_.passed(waiting_.front().tag))) {
    // One by one: what has become spare must not do so again when memory runs out on the way.
    for (auto& sectors = waiting_.front().sectors; !sectors.empty(); sectors.pop_back()) {
      // A grain of a foreign image may start anywhere.
      const std::uint64_t at = sectors.back() * kSectorSize;
      if (at % alignment_ == 0)
        add_spare(at, grain_bytes_);
    }
    waiting_.pop_front();
  }
}

// What has been given away counts as taken at once, whether memory lasts for the rest or not.
void GrainAllocator::close_window(Window& window) {
  for (std::uint64_t i = 0; i < window.taken.size(); ++i)
    if (!window.taken[i]) {
      const std::uint64_t where = window.where + i * grain_bytes_;
      if (window.fresh)
        add_range(fresh_rest_, where, grain_bytes_);
      else
        add_spare(where, grain_bytes_);
      window.taken[i] = true;
    }
}

void GrainAllocator::close_windows() {
  for (Window& window : windows_)
    close_window(window);
  windows_.clear();
}

void GrainAllocator::tick() {
  const std::lock_guard lock(mutex_);
  for (Window& window : windows_)
    if (!window.active)
      close_window(window);
  std::erase_if(windows_, [](const Window& window) { return !window.active; });
  for (Window& window : windows_)
    window.active = false;
}

Status GrainAllocator::extend_file(OpenFile& file) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const std::uint64_t size, file.file().size());
  return size >= next_ ? Status{} : file.resize(next_);
}

std::uint64_t GrainAllocator::next() const {
  const std::lock_guard lock(mutex_);
  return next_;
}

std::uint64_t GrainAllocator::settle_end() {
  const std::lock_guard lock(mutex_);
  collect_released();
  close_windows();
  // Ranges of one kind are never adjacent, those of the two kinds may be.
  const auto lower_over = [&](const Ranges& ranges) {
    const auto behind = ranges.lower_bound(used_end_);
    if (behind == ranges.begin())
      return false;
    const auto& [begin, length] = *std::prev(behind);
    if (begin + length < used_end_)
      return false;
    used_end_ = begin;
    return true;
  };
  while (lower_over(spare_) || lower_over(fresh_rest_)) {
  }
  return used_end_;
}

}  // namespace vmdk
