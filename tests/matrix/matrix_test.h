// What every tool of the matrix meets: a whole disk, mounted on the file ours/disk, and a plain raw
// file of the same length, plain/disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "matrix/twin_test.h"

namespace vmdkfuse::test {

// The kinds of images with which every job is done: all but one are for the long runs.
std::vector<const char*> matrix_kinds();

// The parameter is the kind.
class MatrixTest : public TwinTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override;
  // Unless the test has failed already: unmounts, and expects that the image is sound and holds
  // what the mount showed.
  void TearDown() override;

  // Makes both disks anew, with another size.
  void use_size(std::uint64_t size);

  static constexpr std::uint64_t kSize = 64 * vmdk::kMiB;

 private:
  void make_image(std::uint64_t size);
  void make_disks(std::uint64_t size);
  void end_mount();
};

}  // namespace vmdkfuse::test
