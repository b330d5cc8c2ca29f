// A new mount after every step.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "mount/mount_test.h"
#include "support/boundary_random.h"
#include "support/reference_disk.h"

namespace vmdkfuse::test {
namespace {

using vmdk::test::BoundaryRandom;
using vmdk::test::ReferenceDisk;

constexpr std::size_t kLongestWrite = 300 * vmdk::kKiB;

enum class Kind { kSparse, kZeroedGrains, kFlat, kChild };

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kSparse:
      return "sparse";
    case Kind::kZeroedGrains:
      return "zeroed_grains";
    case Kind::kFlat:
      return "flat";
    case Kind::kChild:
      break;
  }
  return "child";
}

// Of all kinds together: 200, and 1000 in the long runs.
int steps() {
  return soak() ? 250 : 50;
}

class RemountTest : public MountTest, public ::testing::WithParamInterface<Kind> {
 protected:
  void make_image() {
    vmdk::CreateOptions options;
    if (GetParam() == Kind::kFlat)
      options.type = vmdk::ImageType::kMonolithicFlat;
    if (GetParam() == Kind::kSparse)
      options.grain_size = 4 * vmdk::kKiB;
    options.zeroed_grains = GetParam() == Kind::kZeroedGrains;
    if (GetParam() == Kind::kChild) {
      create("base.vmdk");
      options.parent = path("base.vmdk");
      options.zeroed_grains = true;
    }
    create("disk.vmdk", kDiskSize, options);
  }

  void expect_same(int file) const {
    std::vector<std::byte> bytes(kDiskSize);
    ASSERT_EQ(pread(file, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kDiskSize));
    ASSERT_EQ(model_.difference(0, bytes), std::nullopt);
  }

  void change(int file, BoundaryRandom& random) {
    const auto [at, length] = random.range(kLongestWrite);
    const bool zero = random.one_in(4);
    if (zero || random.one_in(4)) {
      const int mode = (zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) | FALLOC_FL_KEEP_SIZE;
      model_.zero(at, length);
      ASSERT_EQ(fallocate(file, mode, static_cast<off_t>(at), static_cast<off_t>(length)), 0)
          << std::strerror(errno);
      return;
    }
    const std::vector<std::byte> bytes = random.fill(length);
    model_.write(at, bytes);
    ASSERT_EQ(pwrite(file, bytes.data(), length, static_cast<off_t>(at)),
              static_cast<ssize_t>(length))
        << std::strerror(errno);
  }

  void step(BoundaryRandom& random) {
    start(std::string("--cache=") + (random.one_in(2) ? "writeback" : "none") + " disk.vmdk flat");
    ASSERT_FALSE(HasFatalFailure());
    const vmdk::UniqueFd file(open(path("flat").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(file) << std::strerror(errno);
    expect_same(file.get());
    change(file.get(), random);
    expect_same(file.get());
  }

  ReferenceDisk model_{kDiskSize};
};

TEST_P(RemountTest, ShowsWhatTheStepBeforeLeft) {
  BoundaryRandom random({.capacity = kDiskSize});
  make_image();
  for (int i = 0; i < steps(); ++i) {
    SCOPED_TRACE("step " + std::to_string(i));
    step(random);
    ASSERT_FALSE(HasFatalFailure());
    end(0);
    ASSERT_FALSE(HasFailure());
  }
  expect_check("disk.vmdk");
  RecordProperty("steps", steps());
}

INSTANTIATE_TEST_SUITE_P(Kinds, RemountTest,
                         ::testing::Values(Kind::kSparse, Kind::kZeroedGrains, Kind::kFlat,
                                           Kind::kChild),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

}  // namespace
}  // namespace vmdkfuse::test
