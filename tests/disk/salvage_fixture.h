// Disks that are damaged or not all there, opened to salvage.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "disk_fixture.h"
#include "support/noise.h"
#include "support/reference_disk.h"

namespace vmdk::test {

using Range = std::pair<std::uint64_t, std::uint64_t>;  // bytes of the disk: [first, second)
using Ranges = std::vector<Range>;

class SalvageTest : public DiskFixture {
 protected:
  Result<DiskPointer> salvage(const std::filesystem::path& image) {
    options_.salvage = true;
    return open_readonly(image);
  }

  Result<DiskPointer> open_sound(const std::filesystem::path& image) {
    options_.salvage = false;
    return open_readonly(image);
  }

  std::vector<std::byte> random_bytes(std::size_t length) { return letters(random_, length); }

  // The ranges that read as errors. What the map says and what reads do must agree, and what can
  // be read must be what the model has.
  static Ranges unreadable(Disk& disk, const ReferenceDisk& model) {
    Ranges ranges;
    std::vector<std::byte> buffer(std::min<std::uint64_t>(disk.capacity(), 8 * kMiB));
    for (DiskOffset at; at.bytes() < disk.capacity();) {
      const auto run = disk.map(at, disk.capacity() - at.bytes());
      EXPECT_OK(run);
      if (!run)
        break;
      const std::uint64_t begin = at.bytes();
      const std::uint64_t end = begin + run->length;
      const auto bytes = std::span(buffer).first(std::min(run->length, buffer.size()));
      if (run->kind == MapKind::kUnreadable) {
        for (const std::uint64_t place : {begin, end - 1})
          EXPECT_THAT(disk.read(DiskOffset(place), bytes.first(1)), FailsWith(EIO)) << place;
        if (!ranges.empty() && ranges.back().second == begin)
          ranges.back().second = end;
        else
          ranges.emplace_back(begin, end);
      } else {
        EXPECT_OK(disk.read(at, bytes)) << begin;
        EXPECT_EQ(model.difference(begin, bytes), std::nullopt);
      }
      at += run->length;
    }
    return ranges;
  }

  static std::vector<std::string> notes(const Disk& disk) { return disk.info().salvaged; }

  std::mt19937 random_{11};
};

}  // namespace vmdk::test
