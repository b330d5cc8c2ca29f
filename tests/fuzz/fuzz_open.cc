// Opens whatever the files are, reads all that there is, checks it, and writes to it.
#include <filesystem>
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
using vmdk::test::MemoryFileSystem;
using vmdk::test::require;

const std::filesystem::path& image() {
  static const std::filesystem::path path(vmdk::test::kBundleImage);
  return path;
}

std::unique_ptr<Disk> open(MemoryFileSystem& files, vmdk::Access access) {
  vmdk::OpenOptions options;
  options.access = access;
  options.commit_interval = {};
  auto disk = Disk::open(files, image(), options);
  return disk ? *std::move(disk) : nullptr;
}

// What a write and a close called done is there afterwards.
void write_and_look(MemoryFileSystem& files) {
  auto disk = open(files, vmdk::Access::kReadWrite);
  if (disk == nullptr)
    return;
  constexpr std::size_t kSector = 512;
  const std::uint64_t last = disk->capacity() - kSector;
  std::vector<std::uint64_t> written;
  const std::vector<std::byte> pattern(kSector, std::byte{0xC3});
  for (const std::uint64_t at : {std::uint64_t{0}, last / 2 / kSector * kSector, last}) {
    if (disk->write(DiskOffset(at), pattern))
      written.push_back(at);
  }
  if (!disk->close() || written.empty())
    return;
  disk.reset();
  disk = open(files, vmdk::Access::kReadOnly);
  require(disk != nullptr, "an image that was written to can be opened");
  for (const std::uint64_t at : written) {
    std::vector<std::byte> found(kSector);
    const auto got = disk->read(DiskOffset(at), found);
    require(got.has_value() && found == pattern, "what was written is there");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  MemoryFileSystem files;
  vmdk::test::unpack_bundle(vmdk::test::fuzz_input(data, size), files);
  if (const auto disk = open(files, vmdk::Access::kReadOnly))
    static_cast<void>(vmdk::test::read_everything(*disk));
  static_cast<void>(vmdk::check_image(files, image(), {}));
  write_and_look(files);
  return 0;
}
