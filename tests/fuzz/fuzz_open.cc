// Opens whatever the files are, reads all that there is, checks it, and writes to it.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include <vmdk/check.h>
#include <vmdk/disk.h>

#include "bundle.h"
#include "fuzz_input.h"

namespace {

using vmdk::Disk;
using vmdk::DiskOffset;
using vmdk::test::MemoryFileSystem;
using vmdk::test::require;

constexpr std::size_t kPiece = 64 * 1024;
constexpr int kMostRuns = 64;

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

void read_at(Disk& disk, std::uint64_t at, std::size_t length) {
  std::vector<std::byte> into(length);
  const auto got = disk.read(DiskOffset(at), into);
  require(!got || *got == std::min<std::uint64_t>(length, disk.capacity() - at),
          "a read is short only at the end of the disk");
}

// The beginning and the end of each of the first runs.
void read_everything(Disk& disk) {
  static_cast<void>(disk.info());
  std::uint64_t at = 0;
  for (int runs = 0; at < disk.capacity() && runs < kMostRuns; ++runs) {
    const auto run = disk.map(DiskOffset(at), disk.capacity() - at);
    if (!run)
      break;
    require(run->length > 0 && run->length <= disk.capacity() - at, "a run lies inside the disk");
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(run->length, kPiece));
    read_at(disk, at, length);
    read_at(disk, at + run->length - length, length);
    at += run->length;
  }
  static_cast<void>(disk.next_data(DiskOffset(0)));
  static_cast<void>(disk.next_hole(DiskOffset(0)));
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
    read_everything(*disk);
  static_cast<void>(vmdk::check_image(files, image(), {}));
  write_and_look(files);
  return 0;
}
