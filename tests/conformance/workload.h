// A chain of images, and random operations on its top that are compared with a model.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/units.h>

#include "shapes.h"
#include "support/boundary_random.h"
#include "support/reference_disk.h"

namespace vmdk::test {

struct Tuning {
  std::uint32_t batch_grains = 512;
  std::uint64_t table_cache = 256 * kMiB;  // bytes
};

// What the disk must show, and where it was ever changed: the numbers of the 1 MiB pieces.
struct Model {
  explicit Model(std::uint64_t capacity) : disk(capacity) {}

  ReferenceDisk disk;
  std::set<std::uint64_t> touched;
};

// One link while it is the top: opened, changed, closed. Failures are GoogleTest's. One thread.
class Workload {
 public:
  Workload(FileSystem& file_system, std::filesystem::path image, const Shape& shape,
           bool has_parent, const Tuning& tuning, Model& model, BoundaryRandom& random);

  // Opens, does so many operations, closes, checks, and compares the whole disk.
  void run(std::uint64_t operations);

  std::uint32_t content_id() const noexcept { return content_id_; }

 private:
  void open(Access access);
  void close();
  void check() const;
  void step();
  void write(const DiskRange& range);
  void write_stream();
  void read(const DiskRange& range);
  void discard(const DiskRange& range);
  void zero(const DiskRange& range);
  void write_behind_the_end();
  void walk_map(const DiskRange& range);
  void check_run(const MapRun& run);
  void check_seeks(const MapRun& run);
  void compare_all();
  void touch(const DiskRange& range);

  FileSystem& file_system_;
  const std::filesystem::path image_;
  const bool can_discard_;
  const std::uint64_t grain_size_;
  const Tuning tuning_;
  Model& touched_model_;
  ReferenceDisk& model_;
  BoundaryRandom& random_;
  std::unique_ptr<Disk> disk_;
  std::vector<std::byte> buffer_;  // of reads, kept: fresh memory takes more time than they do
  std::uint32_t content_id_ = 0;
};

// Operations of one scenario's top link; VMDK_SOAK in the environment multiplies them.
std::uint64_t work(std::uint64_t operations);

}  // namespace vmdk::test
