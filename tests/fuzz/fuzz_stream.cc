// A compressed extent: header, footer, directory, tables, records. What the check calls clean can
// be read, and each way of reading it shows the same.
#include <algorithm>
#include <memory>
#include <vector>

#include <vmdk/check.h>
#include <vmdk/disk.h>

#include "bundle.h"
#include "fuzz_input.h"
#include "read_everything.h"

namespace {

using vmdk::Disk;
using vmdk::DiskOffset;
using vmdk::test::require;

constexpr std::uint64_t kWindow = 512 * vmdk::kKiB;
constexpr std::size_t kPiece = 5000;  // crosses grains of every size somewhere

// Backwards in small pieces, then at once, which takes the ways of random and of sequential
// readers.
void compare_ways(Disk& disk) {
  const auto window = static_cast<std::size_t>(std::min(disk.capacity(), kWindow));
  std::vector<std::byte> pieces(window);
  bool whole = true;
  for (std::size_t end = window; end > 0;) {
    const std::size_t begin = end > kPiece ? end - kPiece : 0;
    const auto into = std::span(pieces).subspan(begin, end - begin);
    whole = disk.read(DiskOffset(begin), into).has_value() && whole;
    end = begin;
  }
  std::vector<std::byte> at_once(window);
  const auto got = disk.read(DiskOffset(0), at_once);
  require(got.has_value() == whole, "what can be read in pieces can be read at once");
  require(!whole || pieces == at_once, "all ways of reading show the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::filesystem::path image(vmdk::test::kBundleImage);
  vmdk::test::MemoryFileSystem files;
  files.put(image, vmdk::test::fuzz_input(data, size));
  vmdk::OpenOptions options;
  options.access = vmdk::Access::kReadOnly;
  const auto disk = Disk::open(files, image, options);
  if (!disk)
    return 0;
  const bool whole = vmdk::test::read_everything(**disk);
  compare_ways(**disk);
  const auto report = vmdk::check_image(files, image, {});
  require(whole || !report || report->exit_code() == 2, "what cannot be read is damage");
  return 0;
}
