#include "matrix/matrix_test.h"

#include <fstream>
#include <vector>

namespace vmdkfuse::test {

std::vector<const char*> matrix_kinds() {
  if (!soak())
    return {"monolithicSparse"};
  return {"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "child"};
}

void MatrixTest::make_image(std::uint64_t size) {
  const std::string kind = GetParam();
  vmdk::CreateOptions options;
  if (kind == "monolithicFlat")
    options.type = vmdk::ImageType::kMonolithicFlat;
  if (kind == "twoGbMaxExtentSparse")
    options.type = vmdk::ImageType::kTwoGbMaxExtentSparse;
  if (kind == "child") {
    create("base.vmdk", size);
    options.parent = path("base.vmdk");
    // Without, it refuses discards, which a plain file takes.
    options.zeroed_grains = true;
  }
  create("disk.vmdk", size, options);
}

void MatrixTest::make_disks(std::uint64_t size) {
  std::filesystem::create_directory(path("plain"));
  std::filesystem::create_directory(path("ours"));
  for (const char* name : {"plain/disk", "ours/disk"})
    std::ofstream(path(name)).flush();
  std::filesystem::resize_file(path("plain/disk"), size);
  make_image(size);
  const CommandResult result = vmdkfuse("--pid-file=pid disk.vmdk ours/disk");
  ASSERT_EQ(result.status, 0) << result.to_text();
}

void MatrixTest::SetUp() {
  MountTest::SetUp();
  if (!IsSkipped())
    make_disks(kSize);
}

void MatrixTest::use_size(std::uint64_t size) {
  unmount("ours/disk");
  ASSERT_TRUE(shell("rm -r plain ours ./*.vmdk"));
  make_disks(size);
}

void MatrixTest::end_mount() {
  ASSERT_TRUE(shell("cp ours/disk seen"));
  // A loop device may let go of the file a moment later.
  EXPECT_TRUE(eventually([&] { return vmdkfuse("-u ours/disk").status == 0; }));
  expect_check("disk.vmdk");
  EXPECT_TRUE(shell(shell_word(VMDKCTL_PROGRAM) + " compare --raw=b disk.vmdk seen"));
}

void MatrixTest::TearDown() {
  if (!HasFailure() && is_mounted("ours/disk"))
    end_mount();
  MountTest::TearDown();
}

INSTANTIATE_TEST_SUITE_P(Kinds, MatrixTest, ::testing::ValuesIn(matrix_kinds()),
                         [](const auto& kind) { return std::string(kind.param); });

}  // namespace vmdkfuse::test
