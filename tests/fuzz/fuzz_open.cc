// Opens whatever the files are, reads all that there is, checks it, repairs it, and writes to it.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
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

// The first and the last sector of each run; nothing of a run that cannot be read.
std::vector<std::vector<std::byte>> samples(MemoryFileSystem& files) {
  constexpr std::size_t kSector = 512;
  constexpr std::size_t kMostRuns = 64;
  std::vector<std::vector<std::byte>> found;
  const auto disk = open(files, vmdk::Access::kReadOnly);
  if (disk == nullptr)
    return found;
  for (std::uint64_t at = 0; at < disk->capacity() && found.size() < 2 * kMostRuns;) {
    const auto run = disk->map(DiskOffset(at), disk->capacity() - at);
    if (!run)
      break;
    const std::uint64_t last = at + run->length - std::min<std::uint64_t>(run->length, kSector);
    for (const std::uint64_t place : {at, last}) {
      std::vector<std::byte> bytes(kSector);
      const auto got = disk->read(DiskOffset(place), bytes);
      bytes.resize(got ? *got : 0);
      found.push_back(std::move(bytes));
    }
    at += run->length;
  }
  return found;
}

bool replaces_primary_tables(const vmdk::CheckReport& report) {
  return std::any_of(report.repairs.begin(), report.repairs.end(), [](const vmdk::Repair& repair) {
    return repair.kind == vmdk::RepairKind::kTables &&
           repair.text.find(" primary grain table") != std::string::npos;
  });
}

// A repair that says that it is done leaves no damage, has nothing left to do, and did not change
// what was shown, unless it says so.
void repair_and_look(const MemoryFileSystem& given) {
  const auto files = given.clone();
  vmdk::CheckOptions options;
  options.repair = true;
  options.open.force_children = true;
  const auto before = samples(*files);
  const auto report = vmdk::check_image(*files, image(), options);
  if (!report)
    return;
  require(!report->failure, "memory does not fail");
  const auto is_done = [](const vmdk::Repair& repair) {
    return repair.state == vmdk::RepairState::kDone;
  };
  if (std::none_of(report->repairs.begin(), report->repairs.end(), is_done))
    return;
  const auto again = vmdk::check_image(*files, image(), options);
  require(again.has_value(), "a repaired image can be checked");
  require(std::none_of(again->repairs.begin(), again->repairs.end(), is_done),
          "a second repair finds nothing to do");
  require(replaces_primary_tables(*report) || samples(*files) == before,
          "a repair does not change what is shown");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  MemoryFileSystem files;
  vmdk::test::unpack_bundle(vmdk::test::fuzz_input(data, size), files);
  if (const auto disk = open(files, vmdk::Access::kReadOnly))
    static_cast<void>(vmdk::test::read_everything(*disk));
  static_cast<void>(vmdk::check_image(files, image(), {}));
  repair_and_look(files);
  write_and_look(files);
  return 0;
}
