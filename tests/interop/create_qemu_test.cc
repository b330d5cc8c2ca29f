// QEMU's opinion of the images that create_image() makes, and its own images beside ours.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <vmdk/create.h>
#include <vmdk/units.h>

#include "format/descriptor.h"
#include "io/posix_file_system.h"
#include "support/command.h"
#include "support/image_types.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMember = 4192256 * kSectorSize;  // bytes of a full member

class CreateQemuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("qemu-img"))
      GTEST_SKIP() << "qemu-img is not installed";
  }

  fs::path path(const std::string& name) const { return folder_ / name; }

  std::string word(const std::string& name) const { return shell_word(path(name).string()); }

  void create(const std::string& name, const CreateOptions& options) {
    PosixFileSystem file_system;
    ASSERT_OK(create_image(file_system, path(name), options));
  }

  void expect_accepted(const std::string& name, std::uint64_t capacity) const {
    const CommandResult info = run_command("qemu-img info --output=json " + word(name));
    ASSERT_EQ(info.status, 0) << info.to_text();
    const auto parsed = nlohmann::json::parse(info.out);
    EXPECT_EQ(parsed["format"], "vmdk");
    EXPECT_EQ(parsed["virtual-size"], capacity);
    const CommandResult check = run_command("qemu-img check " + word(name));
    EXPECT_EQ(check.status, 0) << check.to_text();
    EXPECT_EQ(check.out, "No errors were found on the image.\n");
  }

  TempDir folder_;
};

// --- Accepted ----------------------------------------------------------------------------------

using Case = std::tuple<ImageType, std::uint64_t, std::uint64_t>;  // type, grain, capacity

class AcceptedImageTest : public CreateQemuTest, public testing::WithParamInterface<Case> {};

TEST_P(AcceptedImageTest, IsWhatQemuExpectsAndTakesItsWrites) {
  const auto [type, grain, capacity] = GetParam();
  CreateOptions options;
  options.type = type;
  options.capacity = capacity;
  if (type == ImageType::kMonolithicSparse || type == ImageType::kTwoGbMaxExtentSparse)
    options.grain_size = grain;
  create("disk.vmdk", options);
  expect_accepted("disk.vmdk", capacity);

  if (!have_program("qemu-io"))
    GTEST_SKIP() << "qemu-io is not installed: no write was tried";
  // The first sector, the last sector, and both read back.
  const std::uint64_t last = capacity - kSectorSize;
  ASSERT_COMMAND(fmt::format("qemu-io -f vmdk -c 'write -P 17 0 512' -c 'write -P 34 {} 512' {}",
                             last, word("disk.vmdk")));
  const CommandResult read =
      run_command(fmt::format("qemu-io -r -f vmdk -c 'read -P 17 0 512' -c 'read -P 34 {} 512' {}",
                              last, word("disk.vmdk")));
  EXPECT_EQ(read.status, 0) << read.to_text();
  EXPECT_EQ(read.out.find("Pattern verification failed"), std::string::npos) << read.to_text();
  expect_accepted("disk.vmdk", capacity);
}

std::string case_name(const testing::TestParamInfo<Case>& tested) {
  const auto [type, grain, capacity] = tested.param;
  return fmt::format("{}_grain{}_size{}", name_of(type), grain, capacity);
}

INSTANTIATE_TEST_SUITE_P(Sparse, AcceptedImageTest,
                         testing::Combine(testing::Values(ImageType::kMonolithicSparse,
                                                          ImageType::kTwoGbMaxExtentSparse),
                                          testing::Values(4 * kKiB, 64 * kKiB, kMiB),
                                          testing::Values(64 * kKiB + kSectorSize, 100 * kMiB,
                                                          3 * kGiB)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(
    Flat, AcceptedImageTest,
    testing::Combine(testing::Values(ImageType::kMonolithicFlat, ImageType::kTwoGbMaxExtentFlat,
                                     ImageType::kVmfs),
                     testing::Values(64 * kKiB),
                     testing::Values(64 * kKiB + kSectorSize, 100 * kMiB, 3 * kGiB)),
    case_name);
INSTANTIATE_TEST_SUITE_P(Large, AcceptedImageTest,
                         testing::Values(Case{ImageType::kMonolithicSparse, 64 * kKiB, 2047 * kGiB},
                                         Case{ImageType::kTwoGbMaxExtentSparse, 64 * kKiB,
                                              100 * kMember}),
                         case_name);

// --- Compared with QEMU's own ------------------------------------------------------------------

class SameAsQemuTest : public CreateQemuTest,
                       public testing::WithParamInterface<std::tuple<std::uint64_t, bool>> {
 protected:
  static std::string load(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  static Descriptor descriptor_in(const std::string& image) {
    auto parsed = Descriptor::parse(std::string_view(image).substr(kSectorSize, 20 * kSectorSize));
    if (!parsed)
      throw std::runtime_error(parsed.error().message());
    return *std::move(parsed);
  }
};

// Header, directories and tables are the same bytes; of the descriptor, whose free text may differ,
// the values.
TEST_P(SameAsQemuTest, InEveryByteOfTheMetadataAndEveryValueOfTheDescriptor) {
  const auto [capacity, zeroed_grains] = GetParam();
  ASSERT_COMMAND(fmt::format("qemu-img create -q -f vmdk -o zeroed_grain={} {} {}",
                             zeroed_grains ? "on" : "off", word("theirs.vmdk"), capacity));
  CreateOptions options;
  options.capacity = capacity;
  options.zeroed_grains = zeroed_grains;
  create("ours.vmdk", options);

  std::string ours = load(path("ours.vmdk"));
  std::string theirs = load(path("theirs.vmdk"));
  ASSERT_EQ(ours.size(), theirs.size());
  const Descriptor our_text = descriptor_in(ours);
  const Descriptor their_text = descriptor_in(theirs);
  for (std::string* image : {&ours, &theirs})
    image->replace(kSectorSize, 20 * kSectorSize, 20 * kSectorSize, '\0');
  EXPECT_TRUE(ours == theirs) << "first difference at byte "
                              << std::mismatch(ours.begin(), ours.end(), theirs.begin()).first -
                                     ours.begin();

  EXPECT_EQ(our_text.capacity(), their_text.capacity());
  EXPECT_EQ(our_text.create_type(), their_text.create_type());
  EXPECT_EQ(our_text.version(), their_text.version());
  for (const char* key : {"ddb.virtualHWVersion", "ddb.geometry.cylinders", "ddb.geometry.heads",
                          "ddb.geometry.sectors", "ddb.adapterType"})
    EXPECT_EQ(our_text.value(key), their_text.value(key)) << key;
}

// From 1 MiB (below, QEMU writes 0 cylinders) to 7 GiB (beyond, it does not limit them as VMware
// does).
INSTANTIATE_TEST_SUITE_P(Sizes, SameAsQemuTest,
                         testing::Combine(testing::Values(kMiB, 64 * kMiB, 100 * kMiB, kGiB,
                                                          kMember, 7 * kGiB),
                                          testing::Bool()));

// --- Children ----------------------------------------------------------------------------------

TEST_F(CreateQemuTest, ReadsOurChildrenThroughTheirParents) {
  if (!have_program("qemu-io"))
    GTEST_SKIP() << "qemu-io is not installed";
  for (const ImageType parent_type :
       {ImageType::kMonolithicSparse, ImageType::kTwoGbMaxExtentSparse, ImageType::kMonolithicFlat,
        ImageType::kTwoGbMaxExtentFlat, ImageType::kVmfs}) {
    const std::string parent = fmt::format("{}.vmdk", name_of(parent_type));
    CreateOptions options;
    options.type = parent_type;
    options.capacity = kMember + 10 * kMiB;
    create(parent, options);
    ASSERT_COMMAND("qemu-io -f vmdk -c 'write -P 90 1M 3M' " + word(parent));
    for (const ImageType type : {ImageType::kMonolithicSparse, ImageType::kTwoGbMaxExtentSparse}) {
      const std::string child = fmt::format("{}-over-{}", name_of(type), parent);
      CreateOptions child_options;
      child_options.type = type;
      child_options.parent = path(parent);
      create(child, child_options);
      expect_accepted(child, kMember + 10 * kMiB);
      EXPECT_COMMAND(fmt::format("qemu-img compare {} {}", word(child), word(parent)));
      EXPECT_COMMAND("qemu-io -f vmdk -c 'write -P 91 2M 64k' " + word(child));
      EXPECT_COMMAND(fmt::format(
          "qemu-io -r -f vmdk -c 'read -P 90 1M 1M' -c 'read -P 91 2M 64k' {} | tee /dev/stderr | "
          "{{ ! grep -q 'verification failed'; }}",
          word(child)));
    }
  }
}

}  // namespace
}  // namespace vmdk::test
