// Our layouts against those that qemu-img makes, byte by byte, and qemu-img's opinion of ours.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "format/descriptor.h"
#include "format/magic.h"
#include "format/sparse_header.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

class QemuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (run("qemu-img --version") != 0)
      GTEST_SKIP() << "qemu-img is not installed";
    std::string pattern = (fs::temp_directory_path() / "vmdk-format-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }

  void TearDown() override {
    if (!folder_.empty())
      fs::remove_all(folder_);
  }

  static int run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str());  // NOLINT: fixed commands
  }

  fs::path path(const std::string& name) const { return folder_ / name; }

  // Makes `disk.vmdk` with qemu-img.
  void create(const std::string& options, std::uint64_t bytes) const {
    const auto command = "qemu-img create -q -f vmdk -o " + options + " '" +
                         path("disk.vmdk").string() + "' " + std::to_string(bytes);
    ASSERT_EQ(run(command), 0) << command;
  }

  static std::vector<std::byte> load(const fs::path& file, std::uint64_t at, std::size_t length) {
    std::ifstream stream(file, std::ios::binary);
    std::vector<std::byte> bytes(length);
    stream.seekg(static_cast<std::streamoff>(at));
    stream.read(reinterpret_cast<char*>(bytes.data()),  // NOLINT: bytes as characters
                static_cast<std::streamsize>(length));
    EXPECT_TRUE(stream) << file << " is shorter than " << at + length;
    return bytes;
  }

  static void save(std::fstream& stream, std::uint64_t at, std::span<const std::byte> bytes) {
    stream.seekp(static_cast<std::streamoff>(at));
    stream.write(reinterpret_cast<const char*>(bytes.data()),  // NOLINT: bytes as characters
                 static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(stream);
  }

  // A directory whose tables follow one another from `first_table`.
  static std::vector<std::byte> directory(const SparseHeader& header, std::uint64_t first_table) {
    std::vector<std::byte> bytes(header.directory_sectors() * kSectorSize);
    for (std::size_t i = 0; i < header.table_count(); ++i)
      store_le32(bytes, 4 * i, static_cast<std::uint32_t>(first_table + 4 * i));
    return bytes;
  }

  static void expect_same(const fs::path& file, const SparseLayout& layout) {
    EXPECT_EQ(fs::file_size(file), layout.file_size);
    const auto header = encode_sparse_header(layout.header);
    EXPECT_EQ(load(file, 0, kSparseHeaderSize),
              std::vector<std::byte>(header.begin(), header.end()));
    const auto size = layout.header.directory_sectors() * kSectorSize;
    EXPECT_EQ(load(file, layout.header.rgd_offset.count() * kSectorSize, size),
              directory(layout.header, layout.first_redundant_table));
    EXPECT_EQ(load(file, layout.header.gd_offset.count() * kSectorSize, size),
              directory(layout.header, layout.first_table));
  }

  fs::path folder_;
};

struct Made {
  const char* options;
  const char* file;      // the one that is compared
  std::uint64_t disk;    // bytes
  std::uint64_t extent;  // bytes
  bool zeroed;
};

void PrintTo(const Made& made, std::ostream* out) {
  *out << made.options << ' ' << made.disk;
}

class QemuLayoutTest : public QemuTest, public testing::WithParamInterface<Made> {};

TEST_P(QemuLayoutTest, IsOurs) {
  const auto& made = GetParam();
  ASSERT_NO_FATAL_FAILURE(create(made.options, made.disk));
  const auto layout =
      lay_out_sparse_extent(Sectors(made.extent / kSectorSize), Sectors(128), 20, made.zeroed);
  ASSERT_TRUE(layout) << layout.error().message();
  expect_same(path(made.file), *layout);
}

constexpr auto kMono = "subformat=monolithicSparse";
constexpr auto kSplit = "subformat=twoGbMaxExtentSparse";

INSTANTIATE_TEST_SUITE_P(Sizes, QemuLayoutTest,
                         testing::Values(Made{kMono, "disk.vmdk", 512, 512, false},
                                         Made{kMono, "disk.vmdk", 51200, 51200, false},
                                         Made{kMono, "disk.vmdk", 4 * kMiB, 4 * kMiB, false},
                                         Made{kMono, "disk.vmdk", 64 * kMiB, 64 * kMiB, false},
                                         Made{kMono, "disk.vmdk", 100 * kMiB, 100 * kMiB, false},
                                         Made{kMono, "disk.vmdk", kGiB, kGiB, false},
                                         Made{kMono, "disk.vmdk", 4 * kGiB + 512, 4 * kGiB + 512,
                                              false},
                                         Made{kMono, "disk.vmdk", 10 * kGiB, 10 * kGiB, false},
                                         Made{kMono, "disk.vmdk", 1024 * kGiB, 1024 * kGiB, false},
                                         Made{"subformat=monolithicSparse,zeroed_grain=on",
                                              "disk.vmdk", kGiB, kGiB, true},
                                         Made{kSplit, "disk-s001.vmdk", 3 * kGiB, 2 * kGiB, false},
                                         Made{kSplit, "disk-s002.vmdk", 3 * kGiB, kGiB, false}));

// The row of the table that we would not make: its last grains are out of reach.
TEST_F(QemuTest, TwoTebibytesHaveTheTablesWeCompute) {
  ASSERT_NO_FATAL_FAILURE(create(kMono, 2048 * kGiB));
  const auto bytes = load(path("disk.vmdk"), 0, kSparseHeaderSize);
  const auto header = decode_sparse_header(std::span(bytes).first<kSparseHeaderSize>());
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->table_count(), 65536U);
  EXPECT_EQ(header->directory_sectors(), 512U);
  EXPECT_EQ(header->rgd_offset, Sectors(21));
  EXPECT_EQ(header->gd_offset, Sectors(21 + 512 + 65536 * 4));
  EXPECT_EQ(header->overhead, Sectors(525440));
  EXPECT_TRUE(validate_against_file(*header, fs::file_size(path("disk.vmdk"))));
}

class QemuDescriptorTest : public QemuTest, public testing::WithParamInterface<const char*> {};

TEST_P(QemuDescriptorTest, IsRead) {
  const std::string type = GetParam();
  ASSERT_NO_FATAL_FAILURE(create("subformat=" + type, 5 * kGiB));
  const auto start = load(path("disk.vmdk"), 0, 300);
  const bool embedded = recognise(start) == FileKind::kHostedSparse;
  EXPECT_EQ(recognise(start), embedded ? FileKind::kHostedSparse : FileKind::kDescriptor);
  std::ifstream stream(path("disk.vmdk"), std::ios::binary);
  stream.seekg(embedded ? 512 : 0);
  std::string text(10240, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  const auto descriptor = Descriptor::parse(text);
  ASSERT_TRUE(descriptor) << descriptor.error().message();
  EXPECT_EQ(descriptor->create_type(), type);
  EXPECT_EQ(descriptor->capacity(), Sectors(5 * kGiB / kSectorSize));
  EXPECT_EQ(descriptor->parent_cid(), std::nullopt);
  const auto expected = geometry_for(descriptor->capacity(), "ide");
  EXPECT_EQ(descriptor->value("ddb.geometry.cylinders"), std::to_string(expected.cylinders));
}

INSTANTIATE_TEST_SUITE_P(Types, QemuDescriptorTest,
                         testing::Values("monolithicSparse", "twoGbMaxExtentSparse",
                                         "monolithicFlat", "twoGbMaxExtentFlat",
                                         "streamOptimized"));

struct Ours {
  std::uint64_t capacity, grain;  // sectors
  bool zeroed;
};

void PrintTo(const Ours& ours, std::ostream* out) {
  *out << ours.capacity << '/' << ours.grain;
}

class OurLayoutTest : public QemuTest, public testing::WithParamInterface<Ours> {};

TEST_P(OurLayoutTest, OpensInQemu) {
  const auto& ours = GetParam();
  const auto layout =
      lay_out_sparse_extent(Sectors(ours.capacity), Sectors(ours.grain), 20, ours.zeroed);
  ASSERT_TRUE(layout) << layout.error().message();
  NewDescriptor description;
  description.cid = 0x2a;
  description.create_type = "monolithicSparse";
  description.adapter = "lsilogic";
  const auto geometry = geometry_for(Sectors(ours.capacity), description.adapter);
  description.cylinders = geometry.cylinders;
  description.heads = geometry.heads;
  description.sectors = geometry.sectors;
  description.extents.resize(1);
  description.extents[0].type = ExtentType::kSparse;
  description.extents[0].length = Sectors(ours.capacity);
  description.extents[0].file_name = "ours.vmdk";
  const auto text = render_descriptor(description);
  ASSERT_TRUE(text) << text.error().message();

  const auto& header = layout->header;
  {
    std::ofstream(path("ours.vmdk"), std::ios::binary).flush();
    std::fstream file(path("ours.vmdk"), std::ios::binary | std::ios::in | std::ios::out);
    save(file, 0, encode_sparse_header(header));
    save(file, kSectorSize, bytes_of(*text));
    save(file, header.rgd_offset.count() * kSectorSize,
         directory(header, layout->first_redundant_table));
    save(file, header.gd_offset.count() * kSectorSize, directory(header, layout->first_table));
  }
  fs::resize_file(path("ours.vmdk"), layout->file_size);

  const auto quoted = "'" + path("ours.vmdk").string() + "'";
  EXPECT_EQ(run("qemu-img check -f vmdk " + quoted), 0);
  // Writes at both ends; QEMU then still finds its own bytes and no fault.
  const auto last = std::to_string((ours.capacity - 1) * kSectorSize);
  EXPECT_EQ(run("qemu-io -f vmdk -c 'write -P 7 0 512' -c 'write -P 9 " + last +
                " 512' -c 'read -P 7 0 512' -c 'read -P 9 " + last + " 512' " + quoted),
            0);
  EXPECT_EQ(run("qemu-img check -f vmdk " + quoted), 0);
}

INSTANTIATE_TEST_SUITE_P(Grains, OurLayoutTest,
                         testing::Values(Ours{131072, 8, false}, Ours{131072, 16, false},
                                         Ours{131072, 128, false}, Ours{131072, 128, true},
                                         Ours{131072, 2048, false}, Ours{2097152, 2048, true},
                                         Ours{100, 128, false}, Ours{8388609, 64, false}));

}  // namespace
}  // namespace vmdk
