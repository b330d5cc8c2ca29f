// What is made for a product follows the rules of docs/format.md (2.3, 3.3, 3.7, 4) to the byte.
// The expected files are made here from those rules alone, by none of the engine's code.
#include <libdeflate.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "interop/copy_fixture.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kGrainSectors = 128;
constexpr std::uint64_t kGrain = kGrainSectors * kSector;
constexpr std::uint64_t kEntries = 512;

std::uint64_t up(std::uint64_t number, std::uint64_t unit) {
  return (number + unit - 1) / unit * unit;
}

void put(std::string& bytes, std::uint64_t at, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i)
    bytes[at + i] = static_cast<char>(value >> (8 * i));
}

std::uint64_t get(const std::string& bytes, std::uint64_t at, std::size_t width) {
  std::uint64_t value = 0;
  for (std::size_t i = width; i-- > 0;)
    value = value << 8U | static_cast<unsigned char>(bytes.at(at + i));
  return value;
}

struct Header {
  std::uint32_t version = 1;
  std::uint32_t flags = 3;
  std::uint64_t capacity = 0;  // sectors, as all that follow
  std::uint64_t rgd = 0, gd = 0, overhead = 0;
  std::uint16_t algorithm = 0;

  std::string bytes() const {
    std::string text(kSector, '\0');
    text.replace(0, 4, "KDMV");
    put(text, 4, version, 4);
    put(text, 8, flags, 4);
    put(text, 12, capacity, 8);
    put(text, 20, kGrainSectors, 8);
    put(text, 28, 1, 8);
    put(text, 36, 20, 8);
    put(text, 44, kEntries, 4);
    put(text, 48, rgd, 8);
    put(text, 56, gd, 8);
    put(text, 64, overhead, 8);
    text.replace(73, 4, "\n \r\n");
    put(text, 77, algorithm, 2);
    return text;
  }
};

struct Text {
  std::string cid;
  std::string create_type;
  std::string extent;
  std::string adapter;
  std::uint64_t capacity = 0;  // sectors
  std::string more = {};

  std::string bytes() const {
    const bool ide = adapter == "ide";
    const std::uint64_t heads = ide ? 16 : 255;
    const std::uint64_t cylinders =
        std::clamp<std::uint64_t>(capacity / (heads * 63), 1, ide ? 16383 : ~std::uint64_t{0});
    return fmt::format(
        "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID={}\nparentCID=ffffffff\n"
        "createType=\"{}\"\n\n# Extent description\n{}\n\n# The Disk Data Base\n#DDB\n\n"
        "ddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{}\"\n"
        "ddb.geometry.heads = \"{}\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"{}\"\n"
        "ddb.toolsVersion = \"2147483647\"\n{}",
        cid, create_type, extent, cylinders, heads, adapter, more);
  }
};

// The one thing that the rules leave open.
std::string cid_in(const std::string& bytes) {
  const std::size_t at = bytes.find("\nCID=");
  EXPECT_NE(at, std::string::npos);
  const std::string cid = at == std::string::npos ? "" : bytes.substr(at + 5, 8);
  EXPECT_EQ(cid.find_first_not_of("0123456789abcdef"), std::string::npos) << cid;
  EXPECT_LT(cid, "fffffffe");
  return cid;
}

// The grains of a disk that are not all zeros.
std::map<std::uint64_t, std::string> grains_of(const std::string& raw) {
  std::map<std::uint64_t, std::string> grains;
  for (std::uint64_t at = 0; at < raw.size(); at += kGrain) {
    std::string grain = raw.substr(at, kGrain);
    grain.resize(kGrain, '\0');
    if (grain.find_first_not_of('\0') != std::string::npos)
      grains[at / kGrain] = std::move(grain);
  }
  return grains;
}

// 4.2 of the rules, and the grains behind it.
std::string sparse_file(std::uint64_t capacity, const std::string& text, const std::string& raw) {
  const std::uint64_t grains = up(capacity, kGrainSectors) / kGrainSectors;
  const std::uint64_t tables = up(grains, kEntries) / kEntries;
  const std::uint64_t directory = up(tables * 4, kSector) / kSector;
  const std::uint64_t rgd = 21;
  const std::uint64_t gd = rgd + directory + tables * 4;
  Header header{.capacity = capacity, .rgd = rgd, .gd = gd};
  header.overhead = up(gd + directory + tables * 4, kGrainSectors);
  std::string file(header.overhead * kSector, '\0');
  file.replace(0, kSector, header.bytes());
  file.replace(kSector, text.size(), text);
  for (const std::uint64_t at : {rgd, gd}) {
    for (std::uint64_t i = 0; i < tables; ++i)
      put(file, at * kSector + i * 4, at + directory + i * 4, 4);
  }
  for (const auto& [index, grain] : grains_of(raw)) {
    for (const std::uint64_t at : {rgd, gd})
      put(file, (at + directory) * kSector + index * 4, file.size() / kSector, 4);
    file += grain;
  }
  return file;
}

void expect_same(const std::string& actual, const std::string& expected, const std::string& what) {
  EXPECT_EQ(actual.size(), expected.size()) << what;
  const auto [a, b] = std::mismatch(actual.begin(), actual.end(), expected.begin(), expected.end());
  EXPECT_TRUE(a == actual.end() && b == expected.end())
      << what << ": first difference at byte " << a - actual.begin();
}

class ProductRulesTest : public CopyTest {
 protected:
  // More than one table, noise and zeros, and an end that no grain has.
  std::string save_odd_raw() const {
    std::string raw(40 * kMiB + 3 * kSector, '\0');
    std::mt19937_64 random(7);
    for (const std::uint64_t at : {std::uint64_t{0}, 5 * kMiB + 100, 33 * kMiB, raw.size() - 700})
      for (std::uint64_t i = at; i < std::min<std::uint64_t>(at + 100000, raw.size()); ++i)
        raw[i] = static_cast<char>(random());
    save("raw", raw);
    return raw;
  }

  static std::uint64_t rounded(std::uint64_t bytes) { return up(bytes, kGrain) / kSector; }

  void expect_sparse(const std::string& product, const std::string& raw) const {
    const std::string file = load("disk.vmdk");
    const std::uint64_t capacity = rounded(raw.size());
    const Text text{.cid = cid_in(file),
                    .create_type = "monolithicSparse",
                    .extent = fmt::format("RW {} SPARSE \"disk.vmdk\"", capacity),
                    .adapter = "ide",
                    .capacity = capacity};
    expect_same(file, sparse_file(capacity, text.bytes(), raw), product);
  }

  void expect_vmfs(std::string raw) const {
    const std::uint64_t capacity = rounded(raw.size());
    raw.resize(capacity * kSector, '\0');
    const std::string file = load("disk.vmdk");
    const Text text{.cid = cid_in(file),
                    .create_type = "vmfs",
                    .extent = fmt::format("RW {} VMFS \"disk-flat.vmdk\"", capacity),
                    .adapter = "lsilogic",
                    .capacity = capacity,
                    .more = "ddb.thinProvisioned = \"1\"\n"};
    expect_same(file, text.bytes(), "esxi");
    expect_same(load("disk-flat.vmdk"), raw, "esxi");
  }

  CommandResult make(const std::string& words) const {
    const CommandResult result = vmdkctl(words);
    EXPECT_EQ(result.status, 0) << words << '\n' << result.to_text();
    return result;
  }
};

TEST_F(ProductRulesTest, SparseForWorkstationAndVirtualBox) {
  const std::string raw = save_odd_raw();
  for (const std::string product : {"workstation", "virtualbox"}) {
    make("convert --from=raw --for=" + product + " raw disk.vmdk");
    expect_sparse(product, raw);
    expect_done("rm disk.vmdk");
    make("create --for=" + product + " disk.vmdk 100000000");
    expect_sparse(product, std::string(100000000 / kSector * kSector, '\0'));
    expect_done("rm disk.vmdk");
  }
}

TEST_F(ProductRulesTest, FlatForEsxi) {
  const std::string raw = save_odd_raw();
  make("convert --from=raw --for=esxi raw disk.vmdk");
  expect_vmfs(raw);
  expect_done("rm disk.vmdk disk-flat.vmdk");
  make("create --for=esxi disk.vmdk 3M");
  expect_vmfs(std::string(3 * kMiB, '\0'));
}

TEST_F(ProductRulesTest, NothingIsCreatedEmptyForAnOva) {
  const CommandResult refused = vmdkctl("create --for=ova disk.vmdk 3M");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, testing::HasSubstr("vmdkctl convert"));
}

TEST_F(ProductRulesTest, AProductChoosesTypeAdapterAndGrain) {
  for (const std::string more : {"--type=vmfs", "--grain=4K"}) {
    const CommandResult refused = vmdkctl("create --for=esxi " + more + " disk.vmdk 3M");
    EXPECT_EQ(refused.status, 1) << more;
    EXPECT_THAT(refused.err, testing::HasSubstr("--for chooses"));
  }
}

// Walks the file from its first byte to its last.
class StreamWalk {
 public:
  StreamWalk(const std::string& file, std::map<std::uint64_t, std::string> grains)
      : file_(file), grains_(std::move(grains)) {}

  void expect_zeros_to(std::uint64_t end, const char* what) {
    for (; at_ < end; ++at_)
      ASSERT_EQ(file_.at(at_), '\0') << what << " at byte " << at_;
  }

  void expect_bytes(const std::string& expected, const char* what) {
    ASSERT_EQ(file_.compare(at_, expected.size(), expected), 0) << what << " at byte " << at_;
    at_ += expected.size();
  }

  // Where the grain is, as sectors.
  void expect_grain(std::uint64_t index, std::vector<std::uint32_t>& table) {
    table[index % kEntries] = static_cast<std::uint32_t>(at_ / kSector);
    ASSERT_EQ(get(file_, at_, 8), index * kGrainSectors) << "LBA at byte " << at_;
    const std::uint64_t size = get(file_, at_ + 8, 4);
    ASSERT_GT(size, 0U);
    ASSERT_LE(at_ + 12 + size, file_.size());
    std::string grain(kGrain, '?');
    std::size_t got = 0;
    const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> inflater(
        libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
    ASSERT_EQ(libdeflate_zlib_decompress(inflater.get(), file_.data() + at_ + 12, size,
                                         grain.data(), grain.size(), &got),
              LIBDEFLATE_SUCCESS);
    ASSERT_EQ(got, kGrain) << "whole grains, the last one too";
    ASSERT_EQ(grain, grains_.at(index)) << "grain " << index;
    at_ += 12 + size;
    expect_zeros_to(up(at_, kSector), "padding of a record");
  }

  void expect_marker(std::uint64_t value, std::uint32_t type, const char* what) {
    std::string marker(kSector, '\0');
    put(marker, 0, value, 8);
    put(marker, 12, type, 4);
    expect_bytes(marker, what);
  }

  std::uint64_t sector() const { return at_ / kSector; }

  bool ended() const { return at_ == file_.size(); }

 private:
  const std::string& file_;
  const std::map<std::uint64_t, std::string> grains_;
  std::uint64_t at_ = 0;
};

TEST_F(ProductRulesTest, StreamsForOvas) {
  const std::string raw = save_odd_raw();
  make("convert --from=raw --for=ova raw disk.vmdk");
  const std::string file = load("disk.vmdk");
  const std::uint64_t capacity = rounded(raw.size());
  Header header{.version = 3,
                .flags = 0x30001,
                .capacity = capacity,
                .gd = ~std::uint64_t{0},
                .overhead = 128,
                .algorithm = 1};
  const Text text{.cid = cid_in(file),
                  .create_type = "streamOptimized",
                  .extent = fmt::format("RDONLY {} SPARSE \"disk.vmdk\"", capacity),
                  .adapter = "lsilogic",
                  .capacity = capacity};
  const auto grains = grains_of(raw);
  StreamWalk walk(file, grains);
  ASSERT_NO_FATAL_FAILURE(walk.expect_bytes(header.bytes(), "header"));
  ASSERT_NO_FATAL_FAILURE(walk.expect_bytes(text.bytes(), "descriptor"));
  ASSERT_NO_FATAL_FAILURE(walk.expect_zeros_to(128 * kSector, "before the grains"));
  const std::uint64_t tables = up(capacity, kGrainSectors * kEntries) / (kGrainSectors * kEntries);
  std::string directory(up(tables * 4, kSector), '\0');
  for (auto grain = grains.begin(); grain != grains.end();) {
    const std::uint64_t number = grain->first / kEntries;
    std::vector<std::uint32_t> entries(kEntries);
    for (; grain != grains.end() && grain->first / kEntries == number; ++grain)
      ASSERT_NO_FATAL_FAILURE(walk.expect_grain(grain->first, entries));
    ASSERT_NO_FATAL_FAILURE(walk.expect_marker(4, 1, "marker of a table"));
    put(directory, number * 4, walk.sector(), 4);
    std::string table(kEntries * 4, '\0');
    for (std::uint64_t i = 0; i < kEntries; ++i)
      put(table, i * 4, entries[i], 4);
    ASSERT_NO_FATAL_FAILURE(walk.expect_bytes(table, "table"));
  }
  ASSERT_NO_FATAL_FAILURE(
      walk.expect_marker(directory.size() / kSector, 2, "marker of the directory"));
  header.gd = walk.sector();
  ASSERT_NO_FATAL_FAILURE(walk.expect_bytes(directory, "directory"));
  ASSERT_NO_FATAL_FAILURE(walk.expect_marker(1, 3, "marker of the footer"));
  ASSERT_NO_FATAL_FAILURE(walk.expect_bytes(header.bytes(), "footer"));
  ASSERT_NO_FATAL_FAILURE(walk.expect_bytes(std::string(kSector, '\0'), "end of the stream"));
  EXPECT_TRUE(walk.ended());
}

}  // namespace
}  // namespace vmdk::test
