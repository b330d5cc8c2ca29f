// What an image shows with one bit of its metadata inverted, and whether anybody notices.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bitrot/flip_image.h"

namespace vmdk::test {

enum class FlipVerdict {
  kRefused,     // it does not open
  kError,       // some reads fail; what can be read is right
  kRight,       // all of it is
  kWarned,      // something else is shown, and a warning says so
  kCheckTells,  // something else is shown; only the check tells
  kSilent,      // nothing tells
};
inline constexpr std::size_t kFlipVerdicts = 6;

std::string_view to_string(FlipVerdict verdict) noexcept;

struct FlipResult {
  FlipVerdict verdict = FlipVerdict::kRefused;
  bool writable = false;                   // it opened for writing too
  std::optional<std::string> broken = {};  // something that may not be with any image
};

// Opens for reading, reads everything, checks, opens for writing, writes two sectors, flushes and
// closes, and looks again. What may never be: opening changes a file; an image in which the check
// finds damage is opened for writing; a write changes what others show, or makes the check find
// more; a warning that the check does not confirm.
FlipResult judge_flip(const FlipImage& image, const std::string& file, std::uint64_t bit);

}  // namespace vmdk::test
