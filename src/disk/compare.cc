#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <vmdk/compare.h>

#include "base/bytes.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kPieceBytes = kMiB;

// One of the two disks, walked from its beginning.
class Side {
 public:
  explicit Side(ByteSource& source) : source_(source) {}

  // Finds what there is at or behind `at`.
  Status move_to(DiskOffset at) {
    if (ended_ || (stretch_ && at < stretch_->end))
      return {};
    ASSIGN_OR_RETURN(stretch_, source_.next_stretch(at));
    ended_ = !stretch_;
    return {};
  }

  bool ended() const noexcept { return ended_; }

  // Where the next data is. Requires: !ended().
  DiskOffset next_data() const noexcept { return stretch_->begin; }

  bool has_data_at(DiskOffset at) const noexcept { return !ended_ && stretch_->begin <= at; }

  // Whether `at` is data stays the same up to there, at most.
  DiskOffset same_until(DiskOffset at, DiskOffset limit) const noexcept {
    if (ended_)
      return limit;
    return std::min(limit, has_data_at(at) ? stretch_->end : stretch_->begin);
  }

  // The bytes, or nothing where all are zero. Requires: inside one answer of same_until().
  Result<std::span<const std::byte>> bytes(DiskOffset at, std::uint64_t length) {
    if (!has_data_at(at))
      return std::span<const std::byte>();
    buffer_.resize(kPieceBytes);
    const auto piece = std::span(buffer_).first(length);
    RETURN_IF_ERROR(source_.read(at, piece));
    return std::span<const std::byte>(piece);
  }

 private:
  ByteSource& source_;
  std::optional<Stretch> stretch_;
  bool ended_ = false;
  std::vector<std::byte> buffer_;
};

bool same(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  if (a.empty() || b.empty())
    return all_zero(a.empty() ? b : a);
  return std::memcmp(a.data(), b.data(), a.size()) == 0;
}

void note_differences(std::span<const std::byte> a, std::span<const std::byte> b, DiskOffset at,
                      Comparison& found) {
  const auto value = [](std::span<const std::byte> bytes, std::size_t i) {
    return bytes.empty() ? std::byte{0} : bytes[i];
  };
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (value(a, i) == value(b, i))
      continue;
    if (!found.first_difference)
      found.first_difference = at + i;
    ++found.differing_bytes;
  }
}

}  // namespace

Result<Comparison> compare(ByteSource& source_a, ByteSource& source_b,
                           const CompareOptions& options) {
  Comparison found;
  found.a_capacity = source_a.capacity();
  found.b_capacity = source_b.capacity();
  const DiskOffset end(std::max(found.a_capacity, found.b_capacity));
  Side a(source_a);
  Side b(source_b);
  for (DiskOffset at; at < end;) {
    if (options.interrupted && options.interrupted())
      return Error::from_errno(EINTR, "compare");
    RETURN_IF_ERROR(a.move_to(at));
    RETURN_IF_ERROR(b.move_to(at));
    if (a.ended() && b.ended())
      break;
    const DiskOffset data =
        std::min(a.ended() ? end : a.next_data(), b.ended() ? end : b.next_data());
    at = std::max(at, data);
    const DiskOffset limit = std::min(end, at + kPieceBytes);
    const DiskOffset stop = std::min(a.same_until(at, limit), b.same_until(at, limit));
    ASSIGN_OR_RETURN(const auto bytes_a, a.bytes(at, stop - at));
    ASSIGN_OR_RETURN(const auto bytes_b, b.bytes(at, stop - at));
    if (!same(bytes_a, bytes_b)) {
      note_differences(bytes_a, bytes_b, at, found);
      if (!options.count_all)
        return found;
    }
    at = stop;
    if (options.progress)
      options.progress(at.bytes(), end.bytes());
  }
  return found;
}

}  // namespace vmdk
