#include "extent/sequence_detector.h"

#include <algorithm>

namespace vmdk {
namespace {

constexpr std::uint64_t kFirstWindow = 8;
// One neighbour of random reads is chance, two are a stream.
constexpr std::uint64_t kStepsOfStream = 2;
// How far from its end a read still belongs to a stream, in reads of its size.
constexpr std::uint64_t kSlackReads = 4;

}  // namespace

SequenceDetector::Stream* SequenceDetector::find(std::uint64_t first,
                                                 std::uint64_t slack) noexcept {
  const auto found = std::find_if(streams_.begin(), streams_.end(), [&](const Stream& stream) {
    return stream.used != 0 && first <= stream.next + slack && first + slack >= stream.next;
  });
  return found != streams_.end() ? &*found : nullptr;
}

SequenceDetector::Stream& SequenceDetector::replace_oldest() noexcept {
  return *std::min_element(streams_.begin(), streams_.end(),
                           [](const Stream& a, const Stream& b) { return a.used < b.used; });
}

SequenceDetector::Ahead SequenceDetector::note(std::uint64_t first, std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  Stream* const stream = find(first, kSlackReads * (end - first));
  if (stream == nullptr) {
    replace_oldest() = {.next = end,
                        .announced = end,
                        .window = std::min(kFirstWindow, most_ahead_),
                        .used = ++clock_};
    return {};
  }
  stream->used = ++clock_;
  if (end <= stream->next)
    return {};
  stream->next = end;
  stream->announced = std::max(stream->announced, end);
  if (++stream->steps < kStepsOfStream)
    return {};
  // Said in pieces of half a window at least, not grain by grain.
  const std::uint64_t target = end + stream->window;
  if (target < stream->announced + (stream->window + 1) / 2)
    return {};
  const Ahead ahead{stream->announced, target - stream->announced};
  stream->announced = target;
  stream->window = std::min(2 * stream->window, most_ahead_);
  return ahead;
}

}  // namespace vmdk
