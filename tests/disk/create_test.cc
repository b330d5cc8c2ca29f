// create_image() on a file system in memory: what it makes, what it refuses, what it leaves behind.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <regex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/units.h>

#include "base/bytes.h"
#include "format/descriptor.h"
#include "format/sparse_header.h"
#include "support/counting_file_system.h"
#include "support/faulty_file_system.h"
#include "support/image_types.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMember = 4192256 * kSectorSize;  // bytes of a full member

bool is_sparse(ImageType type) {
  return type == ImageType::kMonolithicSparse || type == ImageType::kTwoGbMaxExtentSparse;
}

CreateOptions options_for(ImageType type, std::uint64_t capacity) {
  CreateOptions options;
  options.type = type;
  options.capacity = capacity;
  return options;
}

SparseHeader header_of(const MemoryFileSystem& files, const fs::path& path) {
  const auto bytes = files.bytes(path, 0, kSparseHeaderSize);
  const auto header = decode_sparse_header(
      std::span<const std::byte, kSparseHeaderSize>(bytes.data(), bytes.size()));
  if (!header)
    throw std::runtime_error(header.error().message());
  return *header;
}

// The text of an image, wherever it is kept.
std::string descriptor_text(const MemoryFileSystem& files, const fs::path& image) {
  std::vector<std::byte> bytes = files.bytes(image, 0, kSparseHeaderSize);
  std::uint64_t begin = 0;
  std::uint64_t length = files.size(image);
  if (load_le32(bytes, 0) == 0x564d444b) {
    begin = kSectorSize;
    length = 20 * kSectorSize;
  }
  bytes = files.bytes(image, begin, length);
  std::string text;
  for (const std::byte byte : bytes) {
    if (byte == std::byte{0})
      break;
    text += static_cast<char>(byte);
  }
  return text;
}

// With the content id, the only random thing, made known.
std::string masked(const std::string& text) {
  return std::regex_replace(text, std::regex("\nCID=[0-9a-f]{8}\n"), "\nCID=********\n");
}

// --- What is made ------------------------------------------------------------------------------

using Case = std::tuple<ImageType, std::uint64_t, std::uint64_t>;  // type, grain, capacity

class CreatedImageTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto [type, grain, capacity] = GetParam();
    CreateOptions options = options_for(type, capacity);
    if (is_sparse(type))
      options.grain_size = grain;
    ASSERT_OK_AND_ASSIGN(paths_, create_image(files_, "vm/disk.vmdk", options));
  }

  // The member `path`, which covers `length` bytes of the disk.
  void expect_empty_sparse(const fs::path& path, std::uint64_t length, bool embeds) const {
    const SparseHeader header = header_of(files_, path);
    EXPECT_EQ(header.version, 1U);
    EXPECT_EQ(header.flags, 3U);
    EXPECT_EQ(header.capacity_bytes(), length);
    EXPECT_EQ(header.grain_bytes(), std::get<1>(GetParam()));
    EXPECT_EQ(header.descriptor_offset.count(), embeds ? 1U : 0U);
    EXPECT_EQ(header.descriptor_size.count(), embeds ? 20U : 0U);
    EXPECT_FALSE(header.unclean);
    EXPECT_EQ(files_.size(path), header.overhead.count() * kSectorSize);
    EXPECT_OK(validate_against_file(header, files_.size(path)));
    expect_directory(path, header, header.rgd_offset);
    expect_directory(path, header, header.gd_offset);
  }

  // Every entry names the table that follows in order, and that table is empty.
  void expect_directory(const fs::path& path, const SparseHeader& header, Sectors at) const {
    const std::uint64_t tables = header.table_count();
    const auto entries = files_.bytes(path, at.count() * kSectorSize, tables * 4);
    std::uint64_t expected = at.count() + header.directory_sectors();
    const std::uint64_t first = expected;
    for (std::uint64_t i = 0; i < tables; ++i, expected += 4)
      ASSERT_EQ(load_le32(entries, i * 4), expected) << "entry " << i;
    EXPECT_TRUE(all_zero(files_.bytes(path, first * kSectorSize, tables * kGrainTableSize)));
  }

  MemoryFileSystem files_;
  std::vector<fs::path> paths_;
};

TEST_P(CreatedImageTest, HasTheDescriptorThatItsFilesNeed) {
  const auto [type, grain, capacity] = GetParam();
  ASSERT_OK_AND_ASSIGN(const Descriptor descriptor,
                       Descriptor::parse(descriptor_text(files_, "vm/disk.vmdk")));
  EXPECT_EQ(descriptor.create_type(), name_of(type));
  EXPECT_EQ(descriptor.version(), 1U);
  EXPECT_EQ(descriptor.capacity().count() * kSectorSize, capacity);
  EXPECT_EQ(descriptor.parent_cid(), std::nullopt);
  EXPECT_EQ(descriptor.parent_hint(), "");
  EXPECT_EQ(descriptor.value("encoding"), "UTF-8");
  EXPECT_EQ(descriptor.value("ddb.adapterType"), type == ImageType::kVmfs ? "lsilogic" : "ide");
  for (const ExtentLine& line : descriptor.extents()) {
    EXPECT_EQ(line.access, ExtentAccess::kReadWrite);
    EXPECT_EQ(line.offset.count(), 0U);
    EXPECT_TRUE(files_.exists(fs::path("vm") / line.file_name)) << line.file_name;
  }
}

TEST_P(CreatedImageTest, HasEmptyExtentsOfTheRightLength) {
  const auto [type, grain, capacity] = GetParam();
  ASSERT_OK_AND_ASSIGN(const Descriptor descriptor,
                       Descriptor::parse(descriptor_text(files_, "vm/disk.vmdk")));
  for (const ExtentLine& line : descriptor.extents()) {
    const fs::path path = fs::path("vm") / line.file_name;
    const std::uint64_t length = line.length.count() * kSectorSize;
    if (is_sparse(type))
      expect_empty_sparse(path, length, type == ImageType::kMonolithicSparse);
    else
      EXPECT_EQ(files_.size(path), length);
  }
}

TEST_P(CreatedImageTest, ReportsItsFilesAndMakesNoOthers) {
  ASSERT_FALSE(paths_.empty());
  EXPECT_EQ(paths_[0], "vm/disk.vmdk");
  std::vector<std::string> reported;
  for (const fs::path& path : paths_)
    reported.push_back(normal_path(path));
  std::sort(reported.begin(), reported.end());
  EXPECT_EQ(files_.files(), reported);
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  const auto [type, grain, capacity] = info.param;
  return fmt::format("{}_grain{}_size{}", name_of(type), grain, capacity);
}

// One sector; a sector over a grain; unequal members; sizes that end exactly with a grain table or
// a member.
INSTANTIATE_TEST_SUITE_P(Sparse, CreatedImageTest,
                         testing::Combine(testing::Values(ImageType::kMonolithicSparse,
                                                          ImageType::kTwoGbMaxExtentSparse),
                                          testing::Values(4 * kKiB, 64 * kKiB, kMiB),
                                          testing::Values(kSectorSize, kMiB + kSectorSize,
                                                          100 * kMiB, kMember,
                                                          kMember + kSectorSize, 3 * kGiB)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(
    Flat, CreatedImageTest,
    testing::Combine(testing::Values(ImageType::kMonolithicFlat, ImageType::kTwoGbMaxExtentFlat,
                                     ImageType::kVmfs),
                     testing::Values(64 * kKiB),
                     testing::Values(kSectorSize, 64 * kKiB + kSectorSize, kMember,
                                     kMember + kSectorSize, 5 * kGiB)),
    case_name);
INSTANTIATE_TEST_SUITE_P(
    Large, CreatedImageTest,
    testing::Values(Case{ImageType::kMonolithicSparse, 64 * kKiB, 2047 * kGiB},
                    Case{ImageType::kTwoGbMaxExtentSparse, 64 * kKiB, 2048 * kGiB},
                    Case{ImageType::kTwoGbMaxExtentFlat, 64 * kKiB, 2048 * kGiB}),
    case_name);

// --- Exact texts and names ---------------------------------------------------------------------

TEST(CreateTest, WritesTheTemplateByteForByte) {
  MemoryFileSystem files;
  ASSERT_OK(create_image(files, "disk.vmdk", options_for(ImageType::kMonolithicSparse, 5 * kGiB)));
  EXPECT_EQ(masked(descriptor_text(files, "disk.vmdk")),
            "# Disk DescriptorFile\n"
            "version=1\n"
            "encoding=\"UTF-8\"\n"
            "CID=********\n"
            "parentCID=ffffffff\n"
            "createType=\"monolithicSparse\"\n"
            "\n"
            "# Extent description\n"
            "RW 10485760 SPARSE \"disk.vmdk\"\n"
            "\n"
            "# The Disk Data Base\n"
            "#DDB\n"
            "\n"
            "ddb.virtualHWVersion = \"4\"\n"
            "ddb.geometry.cylinders = \"10402\"\n"
            "ddb.geometry.heads = \"16\"\n"
            "ddb.geometry.sectors = \"63\"\n"
            "ddb.adapterType = \"ide\"\n"
            "ddb.toolsVersion = \"2147483647\"\n");
}

TEST(CreateTest, CutsSplitDisksIntoMembersOf2047MiB) {
  MemoryFileSystem files;
  ASSERT_OK(
      create_image(files, "disk.vmdk", options_for(ImageType::kTwoGbMaxExtentFlat, 5 * kGiB)));
  const std::string text = descriptor_text(files, "disk.vmdk");
  EXPECT_NE(text.find("\nRW 4192256 FLAT \"disk-f001.vmdk\" 0\n"
                      "RW 4192256 FLAT \"disk-f002.vmdk\" 0\n"
                      "RW 2101248 FLAT \"disk-f003.vmdk\" 0\n"),
            std::string::npos)
      << text;
}

TEST(CreateTest, GivesVmfsExtentsNoOffsetAndCallsThemThin) {
  MemoryFileSystem files;
  ASSERT_OK(create_image(files, "disk.vmdk", options_for(ImageType::kVmfs, kGiB)));
  const std::string text = descriptor_text(files, "disk.vmdk");
  EXPECT_NE(text.find("\nRW 2097152 VMFS \"disk-flat.vmdk\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nddb.thinProvisioned = \"1\"\n"), std::string::npos) << text;
}

TEST(CreateTest, NamesMembersAfterTheWholeNameWhenTheEndingIsNotVmdk) {
  MemoryFileSystem files;
  ASSERT_OK(
      create_image(files, "my disk, v1.5", options_for(ImageType::kTwoGbMaxExtentSparse, kMiB)));
  EXPECT_TRUE(files.exists("my disk, v1.5-s001.vmdk"));
}

TEST(CreateTest, MarksZeroedGrainsInTheHeaderOnlyWhenAsked) {
  MemoryFileSystem files;
  CreateOptions options = options_for(ImageType::kMonolithicSparse, kMiB);
  options.zeroed_grains = true;
  ASSERT_OK(create_image(files, "disk.vmdk", options));
  const SparseHeader header = header_of(files, "disk.vmdk");
  EXPECT_EQ(header.version, 2U);
  EXPECT_EQ(header.flags, 7U);
}

TEST(CreateTest, DrawsAnotherContentIdEachTime) {
  MemoryFileSystem files;
  ASSERT_OK(create_image(files, "a.vmdk", options_for(ImageType::kMonolithicFlat, kMiB)));
  ASSERT_OK(create_image(files, "b.vmdk", options_for(ImageType::kMonolithicFlat, kMiB)));
  ASSERT_OK_AND_ASSIGN(const Descriptor a, Descriptor::parse(files.text("a.vmdk")));
  ASSERT_OK_AND_ASSIGN(const Descriptor b, Descriptor::parse(files.text("b.vmdk")));
  EXPECT_NE(a.cid(), b.cid());
}

TEST(CreateTest, TellsProgressUpToTheLastFile) {
  MemoryFileSystem files;
  CreateOptions options = options_for(ImageType::kTwoGbMaxExtentFlat, 5 * kGiB);
  std::vector<std::uint64_t> done;
  options.progress = [&done](std::uint64_t now, std::uint64_t total) {
    done.push_back(now);
    EXPECT_EQ(total, 4U);
  };
  ASSERT_OK(create_image(files, "disk.vmdk", options));
  EXPECT_EQ(done, (std::vector<std::uint64_t>{1, 2, 3, 4}));
}

// --- What is refused ---------------------------------------------------------------------------

struct Refusal {
  std::string_view name;
  std::string image;
  ImageType type;
  std::optional<std::uint64_t> capacity;
  std::uint64_t grain_size;
  std::string adapter;
  bool zeroed_grains;
  std::string_view message;
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

class RefusedImageTest : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedImageTest, IsRefusedBeforeAnythingIsMade) {
  const Refusal& refusal = GetParam();
  MemoryFileSystem files;
  CreateOptions options;
  options.type = refusal.type;
  options.capacity = refusal.capacity;
  options.grain_size = refusal.grain_size;
  options.adapter = refusal.adapter;
  options.zeroed_grains = refusal.zeroed_grains;
  const auto made = create_image(files, refusal.image, options);
  EXPECT_THAT(made, IsError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(made, HasMessage(std::string(refusal.message)));
  EXPECT_TRUE(files.files().empty());
}

constexpr auto kSparse = ImageType::kMonolithicSparse;
constexpr auto kSplit = ImageType::kTwoGbMaxExtentSparse;
constexpr auto kFlat = ImageType::kMonolithicFlat;

INSTANTIATE_TEST_SUITE_P(
    All, RefusedImageTest,
    testing::Values(
        Refusal{"NoSize", "a.vmdk", kSparse, std::nullopt, 65536, "", false, "size is not given"},
        Refusal{"SizeZero", "a.vmdk", kSparse, 0, 65536, "", false, "0 bytes"},
        Refusal{"HalfASector", "a.vmdk", kSparse, 1000, 65536, "", false, "multiple of 512"},
        Refusal{"TooLarge", "a.vmdk", kFlat, std::uint64_t{1} << 63U, 65536, "", false,
                "more than a disk can hold"},
        Refusal{"MonolithicPast32Bits", "a.vmdk", kSparse, 2048 * kGiB, 65536, "", false, "2^32"},
        Refusal{"MonolithicFarPast32Bits", "a.vmdk", kSparse, 8192 * kGiB, 65536, "", false,
                "2^32"},
        Refusal{"GrainTooSmall", "a.vmdk", kSparse, kMiB, 2048, "", false, "power of two"},
        Refusal{"GrainTooLarge", "a.vmdk", kSparse, kMiB, 2 * kMiB, "", false, "power of two"},
        Refusal{"GrainOdd", "a.vmdk", kSparse, kMiB, 12288, "", false, "power of two"},
        Refusal{"GrainZero", "a.vmdk", kSparse, kMiB, 0, "", false, "power of two"},
        Refusal{"GrainOfFlat", "a.vmdk", kFlat, kMiB, 4096, "", false, "no grains"},
        Refusal{"ZeroedGrainsOfFlat", "a.vmdk", kFlat, kMiB, 65536, "", true, "zeroed grains"},
        Refusal{"Adapter", "a.vmdk", kSparse, kMiB, 65536, "LSILogic", false, "unknown adapter"},
        Refusal{"Quote", "a\"b.vmdk", kSplit, kMiB, 65536, "", false, "quote"},
        Refusal{"LineFeed", "a\nb.vmdk", kSparse, kMiB, 65536, "", false, "line end"},
        Refusal{"CarriageReturn", "a\rb.vmdk", kSparse, kMiB, 65536, "", false, "line end"},
        Refusal{"NotUtf8", "a\xE4.vmdk", kSplit, kMiB, 65536, "", false, "UTF-8"},
        Refusal{"NoName", "folder/", kSparse, kMiB, 65536, "", false, "name of a file"},
        Refusal{"ManyMembers", "a.vmdk", kSplit, 64 * 1024 * 1024 * kGiB, 65536, "", false,
                "descriptor of 1 MiB"},
        // The names make these too long, not their number.
        Refusal{"LongMemberNames", std::string(200, 'n') + ".vmdk", kSplit, 5000 * kMember, 65536,
                "", false, "limit is 1048576"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(CreateTest, NeverOverwrites) {
  MemoryFileSystem files;
  files.put("disk.vmdk", "precious");
  EXPECT_THAT(create_image(files, "disk.vmdk", options_for(kSparse, kMiB)), FailsWith(EEXIST));
  EXPECT_EQ(files.text("disk.vmdk"), "precious");
  EXPECT_EQ(files.files().size(), 1U);
}

TEST(CreateTest, NeverOverwritesAMember) {
  MemoryFileSystem files;
  files.put("disk-s002.vmdk", "precious");
  const auto made = create_image(files, "disk.vmdk", options_for(kSplit, 5 * kGiB));
  EXPECT_THAT(made, FailsWith(EEXIST));
  EXPECT_THAT(made, HasMessage("disk-s002.vmdk"));
  EXPECT_EQ(files.text("disk-s002.vmdk"), "precious");
  EXPECT_EQ(files.files(), std::vector<std::string>{"disk-s002.vmdk"});
}

// --- Failures and durability -------------------------------------------------------------------

class CreateFaultTest : public testing::TestWithParam<ImageType> {};

TEST_P(CreateFaultTest, AnyFailureIsReportedAndLeavesNothingBehind) {
  const CreateOptions options = options_for(GetParam(), kMember + kMiB);
  const std::vector<OpKind> kinds{OpKind::kCreate, OpKind::kWrite,  OpKind::kResize,
                                  OpKind::kSync,   OpKind::kReveal, OpKind::kSyncDirectory};
  std::uint64_t calls = 0;
  {
    MemoryFileSystem files;
    FaultyFileSystem counting(files);
    counting.add({.kinds = kinds, .matches = {}, .nth = 0});
    ASSERT_OK(create_image(counting, "disk.vmdk", options));
    calls = counting.matched();
  }
  ASSERT_GE(calls, 5U);
  for (std::uint64_t nth = 1; nth <= calls; ++nth) {
    MemoryFileSystem files;
    FaultyFileSystem faulty(files);
    faulty.add({.kinds = kinds, .matches = {}, .nth = nth, .err = ENOSPC, .prefix = 100});
    EXPECT_THAT(create_image(faulty, "disk.vmdk", options), FailsWith(ENOSPC)) << "call " << nth;
    EXPECT_TRUE(files.files().empty()) << "call " << nth;
  }
}

TEST_P(CreateFaultTest, EveryFileIsSyncedAfterItsLastWriteAndTheFolderAfterAllFiles) {
  MemoryFileSystem files;
  CountingFileSystem logged(files);
  logged.keep_log(true);
  ASSERT_OK(create_image(logged, "vm/disk.vmdk", options_for(GetParam(), kMember + kMiB)));
  std::map<std::string, bool> synced;  // by file: nothing was changed since its last sync
  bool folder_synced = false;
  for (const FileOperation& operation : logged.log()) {
    if (operation.kind == OpKind::kCreate || operation.kind == OpKind::kWrite ||
        operation.kind == OpKind::kResize) {
      synced[operation.file] = false;
      folder_synced = false;
    } else if (operation.kind == OpKind::kSync) {
      synced[operation.file] = true;
    } else if (operation.kind == OpKind::kReveal) {
      EXPECT_TRUE(synced[operation.file]) << operation.file << " got its name before it was whole";
      folder_synced = false;
    } else if (operation.kind == OpKind::kSyncDirectory) {
      EXPECT_EQ(operation.file, "vm");
      folder_synced = true;
    }
  }
  EXPECT_EQ(synced.size(), files.files().size());
  for (const auto& [file, is_synced] : synced)
    EXPECT_TRUE(is_synced) << file;
  EXPECT_TRUE(folder_synced);
}

INSTANTIATE_TEST_SUITE_P(Types, CreateFaultTest,
                         testing::Values(ImageType::kMonolithicSparse,
                                         ImageType::kTwoGbMaxExtentSparse,
                                         ImageType::kMonolithicFlat, ImageType::kTwoGbMaxExtentFlat,
                                         ImageType::kVmfs),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

}  // namespace
}  // namespace vmdk::test
