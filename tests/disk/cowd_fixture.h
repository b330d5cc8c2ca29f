// ESX deltas (COWD), built in memory, with the bytes that their disks show.
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/esx_builder.h"
#include "support/noise.h"
#include "support/reference_disk.h"

namespace vmdk::test {

inline constexpr std::uint64_t kCowdTable = 4096;  // entries

class CowdTest : public DiskFixture {
 protected:
  std::vector<std::byte> random_bytes(std::size_t length) { return letters(random_, length); }

  // Some grains of every table, in no order, the last one of the disk among them.
  CowdSpec some_grains(std::uint64_t capacity, std::uint32_t grain_size, ReferenceDisk& model) {
    CowdSpec spec;
    spec.capacity = capacity;
    spec.grain_size = grain_size;
    const std::uint64_t grains = (capacity + grain_size - 1) / grain_size;
    std::vector<std::uint64_t> wanted{grains - 1, 0, 1};
    for (std::uint64_t i = 0; i < 40; ++i)
      wanted.push_back(random_() % grains);
    for (std::uint64_t border = kCowdTable; border < grains; border += kCowdTable)
      wanted.insert(wanted.end(), {border - 1, border, border + 1});
    for (const std::uint64_t index : wanted) {
      if (index >= grains || std::any_of(spec.grains.begin(), spec.grains.end(),
                                         [&](const auto& grain) { return grain.index == index; }))
        continue;
      EsxGrain grain;
      grain.index = index;
      grain.data = random_bytes(std::min<std::uint64_t>(grain_size, capacity - index * grain_size));
      model.write(index * grain_size, grain.data);
      spec.grains.push_back(grain);
    }
    return spec;
  }

  BuiltCowd make_cowd(const std::filesystem::path& path, const CowdSpec& spec,
                      DescriptorSpec descriptor = {}) {
    auto built = build_cowd_disk(memory_, path, spec, std::move(descriptor));
    EXPECT_OK(built);
    return built ? *built : BuiltCowd{};
  }

  // /vm/d.vmdk, of which the last grain is three sectors of the disk, and its file ends with them.
  // Returns where the file would end with the grain.
  std::uint64_t make_short_ended() {
    CowdSpec spec;
    spec.capacity = kMiB + 3 * kSectorSize;
    spec.grain_size = 4096;
    spec.grains = {{.index = kMiB / 4096, .data = filled(3 * kSectorSize, 's')}};
    const BuiltCowd built = make_cowd("/vm/d.vmdk", spec);
    memory_.truncate("/vm/d-delta.vmdk", built.file_size - 5 * kSectorSize);
    return built.file_size;
  }

  void expect_model(Disk& disk, const ReferenceDisk& model) {
    std::vector<std::byte> bytes(disk.capacity());
    ASSERT_OK(disk.read(DiskOffset(0), bytes));
    EXPECT_EQ(model.difference(0, bytes), std::nullopt);
  }

  CheckReport check(const std::filesystem::path& image, bool repair = false) {
    CheckOptions options;
    options.repair = repair;
    auto report = check_image(memory_, image, options);
    EXPECT_OK(report);
    for (const Finding& finding : report ? report->findings : std::vector<Finding>())
      findings_ += finding.text + "\n";
    return report ? *report : CheckReport{};
  }

  std::uint32_t free_sector(const std::string& file) const { return peek(file, kCowdFreeSectorAt); }

  std::mt19937 random_{11};
  std::string findings_;
};

}  // namespace vmdk::test
