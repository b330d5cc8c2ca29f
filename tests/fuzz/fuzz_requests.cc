// What the kernel sends, in any order and with any numbers: the request handlers answer each
// message once, and reads show what was written.
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "fuse/server.h"
#include "fuzz_input.h"
#include "kernel_session.h"
#include "kernel_side.h"
#include "support/memory_file_system.h"

namespace {

using vmdk::Disk;
using vmdk::DiskOffset;
using vmdk::test::KernelSide;
using vmdk::test::MemoryFileSystem;
using vmdk::test::ReferenceDisk;
using vmdk::test::require;
using vmdkfuse::CacheMode;
using vmdkfuse::MountOptions;

constexpr std::uint64_t kCapacity = 256 * vmdk::kKiB;

// The bits of an input's first byte.
constexpr unsigned kDirectory = 1;
constexpr unsigned kReadOnly = 2;
constexpr unsigned kMayChange = 4;
constexpr unsigned kSingleThread = 8;
constexpr unsigned kOfChild = 16;  // where nothing can be discarded
constexpr unsigned kCacheShift = 5;

std::unique_ptr<MemoryFileSystem> make_images() {
  auto files = std::make_unique<MemoryFileSystem>();
  vmdk::CreateOptions options;
  options.capacity = kCapacity;
  options.grain_size = 4 * vmdk::kKiB;
  require(vmdk::create_image(*files, "/vm/disk.vmdk", options).has_value(), "an image is made");
  options.parent = "/vm/disk.vmdk";
  options.capacity.reset();
  require(vmdk::create_image(*files, "/vm/child.vmdk", options).has_value(), "a child is made");
  return files;
}

MountOptions options_of(unsigned bits) {
  MountOptions options;
  options.mountpoint = "/nowhere";
  options.directory = (bits & kDirectory) != 0;
  // Whatever node a READ names, what it shows is compared with the disk.
  options.partitions = false;
  options.layers = false;
  options.read_only = (bits & kReadOnly) != 0;
  options.may_change = (bits & kMayChange) != 0;
  options.single_thread = (bits & kSingleThread) != 0;
  options.mode = 0644;
  constexpr CacheMode kModes[] = {CacheMode::kWriteback, CacheMode::kWritethrough,
                                  CacheMode::kNone};
  options.cache = options.read_only ? CacheMode::kWritethrough : kModes[(bits >> kCacheShift) % 3];
  options.log = [](vmdk::LogLevel, std::string_view) {};
  return options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<MemoryFileSystem> images = make_images();
  const auto input = vmdk::test::fuzz_input(data, size);
  if (input.empty())
    return 0;
  const unsigned bits = std::to_integer<unsigned>(input.front());
  const auto files = images->clone();
  const std::filesystem::path image = (bits & kOfChild) != 0 ? "/vm/child.vmdk" : "/vm/disk.vmdk";
  const MountOptions options = options_of(bits);
  vmdk::OpenOptions open;
  open.access = options.read_only ? vmdk::Access::kReadOnly : vmdk::Access::kReadWrite;
  open.force_children = true;
  open.commit_interval = {};
  auto disk = Disk::open(*files, image, open);
  require(disk.has_value(), "the image opens");
  KernelSide side(input.subspan(1), ReferenceDisk(kCapacity));
  require(vmdk::test::serve_messages(**disk, options, side) == 0,
          "the loop ends when the mount is gone");
  side.require_answers();
  std::vector<std::byte> content(kCapacity);
  const auto got = (*disk)->read(DiskOffset(0), content);
  require(got.has_value() && !side.shown().difference(0, content), "the disk has what was written");
  require((*disk)->close().has_value(), "the disk can be closed");
  return 0;
}
