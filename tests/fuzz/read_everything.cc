#include "read_everything.h"

#include <algorithm>
#include <vector>

#include "fuzz_input.h"

namespace vmdk::test {
namespace {

bool read_at(Disk& disk, std::uint64_t at, std::size_t length) {
  std::vector<std::byte> into(length);
  const auto got = disk.read(DiskOffset(at), into);
  require(!got || *got == std::min<std::uint64_t>(length, disk.capacity() - at),
          "a read is short only at the end of the disk");
  return got.has_value();
}

}  // namespace

bool read_everything(Disk& disk, const ReadEffort& effort) {
  static_cast<void>(disk.info());
  bool whole = true;
  std::uint64_t at = 0;
  for (int runs = 0; at < disk.capacity() && runs < effort.runs; ++runs) {
    const auto run = disk.map(DiskOffset(at), disk.capacity() - at);
    if (!run) {
      whole = false;
      break;
    }
    require(run->length > 0 && run->length <= disk.capacity() - at, "a run lies inside the disk");
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(run->length, effort.piece));
    whole = read_at(disk, at, length) && whole;
    whole = read_at(disk, at + run->length - length, length) && whole;
    at += run->length;
  }
  static_cast<void>(disk.next_data(DiskOffset(0)));
  static_cast<void>(disk.next_hole(DiskOffset(0)));
  return whole;
}

}  // namespace vmdk::test
