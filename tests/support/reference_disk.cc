#include "support/reference_disk.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include <vmdk/units.h>

#include "base/bytes.h"

namespace vmdk::test {
namespace {

// Enough of a sector to recognise it in a message.
std::string start_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte value : bytes.first(std::min<std::size_t>(bytes.size(), 16)))
    text += fmt::format("{:02x}", std::to_integer<unsigned>(value));
  return text;
}

}  // namespace

std::vector<std::byte> ReferenceDisk::read(std::uint64_t at, std::size_t length) const {
  std::vector<std::byte> bytes(length);
  bytes.resize(bytes_.read(at, bytes));
  return bytes;
}

std::optional<std::string> ReferenceDisk::difference(std::uint64_t at,
                                                     std::span<const std::byte> actual) const {
  const std::uint64_t there = at < capacity_ ? capacity_ - at : 0;
  if (there < actual.size())
    return fmt::format("{} bytes from {} where the disk ends after {}", actual.size(), at, there);
  std::size_t count = 0;
  std::optional<std::size_t> first;
  // Piece by piece: most of the time of a test went into fresh memory for whole disks.
  std::array<std::byte, SparseBytes::kChunkSize> chunk{};
  for (std::size_t begin = 0; begin < actual.size(); begin += chunk.size()) {
    const auto shown = actual.subspan(begin, std::min(chunk.size(), actual.size() - begin));
    const auto wanted = std::span(chunk).first(shown.size());
    bytes_.read(at + begin, wanted);
    if (std::memcmp(wanted.data(), shown.data(), shown.size()) == 0)
      continue;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      if (wanted[i] == shown[i])
        continue;
      first = first.value_or(begin + i);
      ++count;
    }
  }
  if (!first)
    return std::nullopt;
  return fmt::format("{} of {} bytes differ, the first at {}: {} instead of {}", count,
                     actual.size(), at + *first, start_of(actual.subspan(*first)),
                     start_of(read(at + *first, actual.size() - *first)));
}

bool ReferenceDisk::is_zero(std::uint64_t at, std::uint64_t length) const {
  const std::uint64_t end = at + length;
  std::array<std::byte, SparseBytes::kChunkSize> chunk{};
  for (auto data = bytes_.next_data(at); data && *data < end; data = bytes_.next_data(at)) {
    const std::size_t step =
        std::min(SparseBytes::kChunkSize - *data % SparseBytes::kChunkSize, end - *data);
    const auto piece = std::span(chunk).first(step);
    bytes_.read(*data, piece);
    if (!all_zero(piece))
      return false;
    at = *data + step;
  }
  return true;
}

void SectorHistory::record(std::size_t point, std::uint64_t at, std::uint64_t length, bool certain,
                           const ReferenceDisk& after) {
  ++order_;
  const std::uint64_t first = at / kSectorSize;
  auto next = sectors_.lower_bound(first);
  for (std::uint64_t sector = first; sector * kSectorSize < at + length; ++sector, ++next) {
    next = sectors_.try_emplace(next, sector);
    next->second.push_back({.point = point,
                            .order = order_,
                            .certain = certain,
                            .value = after.read(sector * kSectorSize, kSectorSize)});
  }
}

void SectorHistory::write(std::size_t point, std::uint64_t at, std::span<const std::byte> bytes) {
  now_.write(at, bytes);
  record(point, at, bytes.size(), true, now_);
}

void SectorHistory::zero(std::size_t point, std::uint64_t at, std::uint64_t length) {
  now_.zero(at, length);
  record(point, at, length, true, now_);
}

void SectorHistory::failed_write(std::size_t point, std::uint64_t at,
                                 std::span<const std::byte> bytes) {
  ReferenceDisk after = now_;
  after.write(at, bytes);
  record(point, at, bytes.size(), false, after);
}

void SectorHistory::flushed(std::size_t point) {
  flushes_.emplace_back(point, ++order_);
}

std::size_t SectorHistory::last_flush(std::size_t point) const {
  std::size_t flush = 0;
  for (const auto& [at_point, order] : flushes_) {
    if (at_point <= point)
      flush = order;
  }
  return flush;
}

std::vector<std::vector<std::byte>> SectorHistory::legal(std::size_t point,
                                                         std::uint64_t sector) const {
  const std::size_t flush = last_flush(point);
  std::vector<std::vector<std::byte>> values = {start_.read(sector * kSectorSize, kSectorSize)};
  const auto events = sectors_.find(sector);
  if (events == sectors_.end())
    return values;
  for (const Event& event : events->second) {
    const bool flushed = event.order < flush;
    if (flushed && event.certain)
      values.clear();
    // A request that began at this very point has written nothing yet.
    if (flushed || event.point < point)
      values.push_back(event.value);
  }
  return values;
}

// The same without a copy of anything: it is asked for very many sectors.
bool SectorHistory::is_legal(std::size_t point, std::size_t flush, const Written& written,
                             std::span<const std::byte> actual) const {
  const auto same = [&](std::span<const std::byte> value) {
    return value.size() == actual.size() &&
           std::memcmp(value.data(), actual.data(), actual.size()) == 0;
  };
  for (auto event = written.second.rbegin(); event != written.second.rend(); ++event) {
    const bool flushed = event->order < flush;
    if ((flushed || event->point < point) && same(event->value))
      return true;
    if (flushed && event->certain)
      return false;
  }
  std::array<std::byte, kSectorSize> start{};
  start_.read_into(written.first * kSectorSize, start);
  return same(start);
}

std::optional<std::string> SectorHistory::check_sector(std::size_t point, std::size_t flush,
                                                       const Written& written,
                                                       std::span<const std::byte> actual) const {
  if (is_legal(point, flush, written, actual))
    return std::nullopt;
  const auto values = legal(point, written.first);
  return fmt::format("sector {} has {}…, none of its {} legal values; the newest is {}…",
                     written.first, start_of(actual), values.size(), start_of(values.back()));
}

std::optional<std::string> SectorHistory::check(std::size_t point, const Read& read) const {
  constexpr std::uint64_t kStep = 64 * kKiB;
  const std::size_t flush = last_flush(point);
  for (std::uint64_t at = 0; at < start_.capacity(); at += kStep) {
    const std::size_t length = std::min(kStep, start_.capacity() - at);
    auto actual = read(at, length);
    if (actual.size() != length)
      return fmt::format("{} of {} bytes could be read at {}", actual.size(), length, at);
    const std::uint64_t end = (at + length) / kSectorSize;
    for (auto written = sectors_.lower_bound(at / kSectorSize);
         written != sectors_.end() && written->first < end; ++written) {
      const std::uint64_t begin = written->first * kSectorSize;
      const auto sector = std::span(actual).subspan(begin - at, kSectorSize);
      if (auto wrong = check_sector(point, flush, *written, sector))
        return wrong;
      // Judged; the rest of the step must be as it was at the start.
      start_.read_into(begin, sector);
    }
    if (auto wrong = start_.difference(at, actual))
      return "never written: " + *wrong;
  }
  return std::nullopt;
}

std::optional<std::string> SectorHistory::check_written(std::size_t point, const Read& read) const {
  constexpr std::uint64_t kMost = 64 * kKiB / kSectorSize;  // sectors read in one go
  const std::size_t flush = last_flush(point);
  for (auto first = sectors_.begin(); first != sectors_.end();) {
    auto end = std::next(first);
    std::uint64_t count = 1;
    while (count < kMost && end != sectors_.end() && end->first == first->first + count) {
      ++count;
      ++end;
    }
    const auto actual = read(first->first * kSectorSize, count * kSectorSize);
    if (actual.size() != count * kSectorSize)
      return fmt::format("{} of {} bytes could be read at {}", actual.size(), count * kSectorSize,
                         first->first * kSectorSize);
    for (std::uint64_t i = 0; first != end; ++first, ++i) {
      const auto sector = std::span(actual).subspan(i * kSectorSize, kSectorSize);
      if (auto wrong = check_sector(point, flush, *first, sector))
        return wrong;
    }
  }
  return std::nullopt;
}

}  // namespace vmdk::test
