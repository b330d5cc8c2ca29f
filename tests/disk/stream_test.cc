// Compressed images through the whole engine: alone, and as links of a chain.
#include <algorithm>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/noise.h"
#include "support/reference_disk.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 64 * kKiB;
constexpr std::uint64_t kCapacity = 40 * kMiB + 3 * kSectorSize;

class StreamTest : public DiskFixture {
 protected:
  // Grains of random letters in both tables, the cut last one among them; the model shows them.
  StreamSpec stream_spec(StreamLayout layout = StreamLayout::kFooter) {
    StreamSpec spec;
    spec.capacity = kCapacity;
    spec.layout = layout;
    for (const std::uint64_t index : {0U, 1U, 2U, 5U, 6U, 511U, 512U, 600U, 640U}) {
      StreamGrain grain;
      grain.index = index;
      grain.data = letters(random_, std::min(kGrain, kCapacity - index * kGrain));
      model_.write(index * kGrain, grain.data);
      spec.grains.push_back(grain);
    }
    return spec;
  }

  BuiltStream make_stream(const std::filesystem::path& path, const StreamSpec& spec) {
    auto built = build_stream(memory_, path, spec);
    EXPECT_OK(built);
    return built ? *built : BuiltStream{};
  }

  void expect_model(Disk& disk) {
    std::vector<std::byte> bytes(disk.capacity());
    ASSERT_OK(disk.read(DiskOffset(0), bytes));
    EXPECT_EQ(model_.difference(0, bytes), std::nullopt);
  }

  CheckReport check(const std::filesystem::path& image) {
    auto report = check_image(memory_, image, {});
    EXPECT_OK(report);
    return report ? *report : CheckReport{};
  }

  std::mt19937 random_{7};
  ReferenceDisk model_{kCapacity};
};

TEST_F(StreamTest, IsReadInEveryLayout) {
  for (const StreamLayout layout :
       {StreamLayout::kFooter, StreamLayout::kFront, StreamLayout::kFrontRedundant}) {
    make_stream("/vm/s.vmdk", stream_spec(layout));
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/s.vmdk"));
    EXPECT_EQ(disk->capacity(), kCapacity);
    EXPECT_EQ(disk->grain_size(), kGrain);
    expect_model(*disk);
    EXPECT_EQ(disk->info().layers[0].create_type, "streamOptimized");
    EXPECT_TRUE(disk->info().layers[0].extents[0].compressed);
    EXPECT_EQ(disk->info().layers[0].extents[0].header_version, 3U);
    const CheckReport report = check("/vm/s.vmdk");
    EXPECT_EQ(report.exit_code(), 0);
    EXPECT_EQ(report.allocated_grains, 9U);
    EXPECT_EQ(report.total_grains, 641U);
    ASSERT_OK(memory_.remove("/vm/s.vmdk"));
  }
}

TEST_F(StreamTest, ItsMapIsThatOfData) {
  const BuiltStream built = make_stream("/vm/s.vmdk", stream_spec());
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/s.vmdk"));
  ASSERT_OK_AND_ASSIGN(const MapRun data, disk->map(DiskOffset(512), kMiB));
  EXPECT_EQ(data.kind, MapKind::kData);
  EXPECT_TRUE(data.compressed);
  EXPECT_EQ(data.length, 3 * kGrain - 512);
  EXPECT_EQ(data.where.bytes(), built.records.at(0));
  ASSERT_OK_AND_ASSIGN(const MapRun hole, disk->map(DiskOffset(3 * kGrain), kMiB));
  EXPECT_EQ(hole.kind, MapKind::kHole);
  EXPECT_EQ(hole.length, 2 * kGrain);
  ASSERT_OK_AND_ASSIGN(const auto next, disk->next_data(DiskOffset(3 * kGrain)));
  EXPECT_EQ(next, DiskOffset(5 * kGrain));
}

TEST_F(StreamTest, IsNotOpenedForWriting) {
  make_stream("/vm/s.vmdk", stream_spec());
  StreamSpec exported = stream_spec();
  exported.descriptor->extent_lines = {extent_line("RDONLY", kCapacity, "SPARSE", "other.vmdk")};
  make_stream("/vm/exported.vmdk", exported);
  for (const std::string image : {"/vm/s.vmdk", "/vm/exported.vmdk"}) {
    EXPECT_THAT(open(image), IsError(ErrorCode::kUnsupported));
    EXPECT_THAT(open(image),
                HasMessage(image + ": not opened for writing: streamOptimized images are "
                                   "read-only by nature"));
    EXPECT_THAT(open(image), HasMessage("-r mounts it read-only"));
  }
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/exported.vmdk"));
  EXPECT_EQ(disk->capacity(), kCapacity);
}

TEST_F(StreamTest, TheHeaderDecidesNotTheCreateType) {
  // An uncompressed file that calls itself a stream.
  DescriptorSpec wrong;
  wrong.create_type = "streamOptimized";
  make_sparse("/vm/plain.vmdk", wrong, "data");
  ASSERT_OK_AND_ASSIGN(const auto plain, open("/vm/plain.vmdk"));
  EXPECT_EQ(read(*plain, 0, 4), "data");
  // Compressed members of a disk that does not say so.
  StreamSpec member = stream_spec();
  member.descriptor.reset();
  make_stream("/vm/d-s001.vmdk", member);
  DescriptorSpec split;
  split.create_type = "twoGbMaxExtentSparse";
  split.extent_lines = {extent_line("RW", kCapacity, "SPARSE", "d-s001.vmdk")};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", split));
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("streamOptimized images are read-only by nature"));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  expect_model(*disk);
}

TEST_F(StreamTest, AChildIsWrittenOverIt) {
  make_stream("/vm/base.vmdk", stream_spec());
  const auto before = memory_.contents("/vm/base.vmdk");
  make_sparse("/vm/child.vmdk", child_of("base.vmdk"), {}, kCapacity);
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
    expect_model(*disk);
    for (int i = 0; i < 400; ++i) {
      const std::uint64_t at = random_() % (i % 2 == 0 ? 8 * kGrain : kCapacity - 3 * kGrain);
      const auto bytes =
          filled(1 + random_() % (2 * kGrain), static_cast<unsigned>('A' + random_() % 26));
      ASSERT_OK(disk->write(DiskOffset(at), bytes));
      model_.write(at, bytes);
    }
    expect_model(*disk);
    ASSERT_OK(disk->close());
  }
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/child.vmdk"));
  expect_model(*disk);
  EXPECT_EQ(memory_.contents("/vm/base.vmdk"), before);
  EXPECT_EQ(check("/vm/child.vmdk").exit_code(), 0);
}

TEST_F(StreamTest, ItsHolesShowItsParent) {
  const std::string text = "of the base";
  make_sparse("/vm/base.vmdk", {}, {}, kCapacity);
  {
    ASSERT_OK_AND_ASSIGN(const auto base, open("/vm/base.vmdk"));
    for (const std::uint64_t at : {3 * kGrain + 9, 4 * kGrain, 520 * kGrain})
      ASSERT_OK(write(*base, at, text));
    ASSERT_OK(write(*base, 5 * kGrain, "hidden"));
    ASSERT_OK(base->close());
  }
  StreamSpec spec = stream_spec();
  ASSERT_OK_AND_ASSIGN(const auto base, open_readonly("/vm/base.vmdk"));
  spec.descriptor = child_of("base.vmdk", base->info().layers[0].cid);
  make_stream("/vm/child.vmdk", spec);
  for (const std::uint64_t at : {3 * kGrain + 9, 4 * kGrain, 520 * kGrain})
    model_.write(at, bytes_of(text));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/child.vmdk"));
  expect_model(*disk);
}

TEST_F(StreamTest, ADamagedGrainIsAnErrorOfItsReaderAndOfTheCheck) {
  StreamSpec spec = stream_spec();
  spec.grains[3].packed = filled(500, 0x55);
  make_stream("/vm/s.vmdk", spec);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/s.vmdk"));
  std::vector<std::byte> bytes(kGrain);
  EXPECT_THAT(disk->read(DiskOffset(5 * kGrain + 77), bytes), FailsWith(EIO));
  EXPECT_THAT(disk->read(DiskOffset(5 * kGrain), bytes),
              HasMessage("/vm/s.vmdk: grain 5 (compressed, at sector"));
  ASSERT_OK(disk->read(DiskOffset(6 * kGrain), bytes));
  EXPECT_EQ(model_.difference(6 * kGrain, bytes), std::nullopt);
  const CheckReport report = check("/vm/s.vmdk");
  EXPECT_EQ(report.exit_code(), 2);
  EXPECT_EQ(report.damage_count, 1U);
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].file, "/vm/s.vmdk");
  EXPECT_NE(report.findings[0].text.find("its compressed data is damaged"), std::string::npos);
}

TEST_F(StreamTest, ADamagedFooterIsDamageOfTheImage) {
  StreamSpec spec = stream_spec();
  spec.edit_tail = [](std::span<std::byte> tail) { tail[12] = std::byte{9}; };
  make_stream("/vm/s.vmdk", spec);
  EXPECT_THAT(open_readonly("/vm/s.vmdk"), HasMessage("where the footer marker should be"));
  EXPECT_EQ(check("/vm/s.vmdk").exit_code(), 2);
}

TEST_F(StreamTest, RandomReadsOfAWindowComeFromMemory) {
  constexpr std::uint64_t kWindow = 48 * kMiB;
  StreamSpec spec;
  spec.capacity = kWindow;
  for (std::uint64_t grain = 0; grain < kWindow / kGrain; ++grain) {
    StreamGrain one;
    one.index = grain;
    one.data = filled(kGrain, static_cast<unsigned>(grain));
    spec.grains.push_back(one);
  }
  make_stream("/vm/s.vmdk", spec);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/s.vmdk"));
  std::vector<std::byte> bytes(kWindow);
  ASSERT_OK(disk->read(DiskOffset(0), bytes));
  files_.reset();
  bytes.resize(4 * kKiB);
  for (int i = 0; i < 5000; ++i) {
    const std::uint64_t at = random_() % (kWindow / bytes.size()) * bytes.size();
    ASSERT_OK(disk->read(DiskOffset(at), bytes));
    ASSERT_EQ(bytes.front(), static_cast<std::byte>(at / kGrain)) << at;
  }
  EXPECT_EQ(files_.total().reads(), 0U);
}

}  // namespace
}  // namespace vmdk::test
