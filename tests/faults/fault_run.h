// A disk below which calls fail, and what it must show all the same.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <vmdk/disk.h>

#include "crash/workload.h"
#include "support/faulty_file_system.h"
#include "support/reference_disk.h"
#include "support/sample_disk.h"

namespace vmdk::test {

// One open disk, driven step by step. What a failed step may have changed is old or new.
class FaultRun {
 public:
  explicit FaultRun(SampleKind kind);

  FaultyFileSystem& faults() noexcept { return faults_; }

  Disk& disk() noexcept { return *disk_; }

  const SampleDisk& sample() const noexcept { return sample_; }

  MemoryFileSystem& files() noexcept { return files_; }

  Status open();
  Status step(const DiskOperation& operation);
  Status close();

  // What the open disk shows wrongly.
  std::optional<std::string> wrong_content();
  // Drops the disk as a crash of the program would, and judges what the files hold.
  std::optional<std::string> wrong_image();

 private:
  void note_failure(const DiskOperation& operation, std::span<const std::byte> bytes);

  MemoryFileSystem files_;
  const SampleDisk sample_;
  std::unique_ptr<MemoryFileSystem> initial_;
  FaultyFileSystem faults_;
  std::unique_ptr<Disk> disk_;
  SectorHistory history_;
  std::vector<bool> uncertain_;  // by sector: a failed step touched it since
  std::uint32_t steps_ = 0;
};

// Some of everything: new grains, parts of grains, in place, zeros, over the border, two commits.
std::vector<DiskOperation> fault_steps(const SampleDisk& sample);

}  // namespace vmdk::test
