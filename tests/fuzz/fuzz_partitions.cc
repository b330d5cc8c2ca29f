// Tables of partitions on a disk of any content. Checksums of a GPT are made right for one half of
// the inputs, or nothing behind them would be looked at.
#include <algorithm>
#include <vector>

#include <vmdk/partitions.h>

#include "fuzz_input.h"
#include "support/image_builder.h"
#include "support/memory_file_system.h"
#include "support/partition_builder.h"

namespace {

using namespace vmdk::test;  // NOLINT

constexpr std::size_t kSize = 128 * 1024;

void seal_gpt(std::span<std::byte> disk, std::size_t sector_size) {
  const auto header = disk.subspan(sector_size, sector_size);
  const std::uint64_t at = vmdk::load_le64(header, 72) * sector_size;
  const std::uint64_t size =
      std::uint64_t{vmdk::load_le32(header, 80)} * vmdk::load_le32(header, 84);
  if (at <= disk.size() && size <= disk.size() - at)
    vmdk::store_le32(header, 88, vmdk::gpt_checksum(0, disk.subspan(at, size)));
  seal_gpt_header(header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = fuzz_input(data, size);
  if (input.empty())
    return 0;
  DiskBytes disk(kSize);
  std::copy_n(input.begin() + 1, std::min(input.size() - 1, disk.size()), disk.begin());
  const auto choice = std::to_integer<unsigned>(input[0]);
  if (choice % 2 != 0)
    seal_gpt(disk, choice % 4 == 1 ? 512 : 4096);
  MemoryFileSystem files;
  if (!build_flat(files, "/d.vmdk", {{.length = disk.size(), .data = disk}}))
    return 0;
  const auto opened = vmdk::Disk::open(files, "/d.vmdk", {.access = vmdk::Access::kReadOnly});
  require(opened.has_value(), "a flat disk opens");
  const auto table = vmdk::read_partition_table(**opened);
  require(table.has_value(), "a sound disk can be read");
  require(table->partitions.size() <= vmdk::kMaxPartitions && table->warnings.size() <= 17,
          "what is kept is bounded");
  unsigned last = 0;
  for (const vmdk::Partition& each : table->partitions) {
    require(each.number > last, "numbers grow");
    last = each.number;
    require(
        each.length > 0 && each.begin.bytes() <= kSize && each.length <= kSize - each.begin.bytes(),
        "a partition lies inside the disk");
  }
  return 0;
}
