// Whether two disks hold the same bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include <vmdk/byte_source.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

struct CompareOptions {
  // Goes on behind the first difference, to count them all.
  bool count_all = false;
  Progress progress;  // bytes of the longer disk
  // Asked now and then; true ends the work with EINTR. May be empty.
  std::function<bool()> interrupted;
};

struct Comparison {
  // Of a byte that one of them may lack: that counts as zero.
  std::optional<DiskOffset> first_difference;
  std::uint64_t differing_bytes = 0;  // with count_all
  std::uint64_t a_capacity = 0;       // bytes
  std::uint64_t b_capacity = 0;
};

// Reads what is a hole in neither of them, or in one of them. Fails when one cannot be read.
Result<Comparison> compare(ByteSource& a, ByteSource& b, const CompareOptions& options);

}  // namespace vmdk
