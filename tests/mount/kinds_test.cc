// Every kind of image, whoever made it, under any name and from anywhere: the file that is mounted
// has the bytes that QEMU reads in it.
#include <cstdint>
#include <ostream>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

struct Origin {
  const char* maker;  // "qemu" or "ours"
  const char* type;   // createType, or "child"

  bool is_qemus() const { return std::string(maker) == "qemu"; }

  // Of more than one extent.
  bool is_split() const { return std::string(type).starts_with("twoGb"); }

  bool is_child() const { return std::string(type) == "child"; }

  // The names of extents stand in a text file, where an editor gets at them.
  bool has_text_file() const {
    return is_split() || std::string(type).ends_with("Flat") || is_vmfs();
  }

  bool is_vmfs() const { return std::string(type) == "vmfs"; }
};

std::ostream& operator<<(std::ostream& out, const Origin& origin) {
  return out << origin.maker << origin.type;
}

class OriginTest : public MountTest, public ::testing::WithParamInterface<Origin> {
 protected:
  // Long enough for two extents where there may be more than one.
  static std::uint64_t disk_size() {
    return GetParam().is_split() ? 2 * vmdk::kGiB + 4 * vmdk::kMiB : 12 * vmdk::kMiB;
  }

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    make_reference("part", 3 * vmdk::kMiB);
    // Data at both ends, also where one extent ends and the next begins.
    const std::string tail = std::to_string(disk_size() - 6 * vmdk::kMiB);
    ASSERT_TRUE(
        shell("mkdir made && touch flat && truncate -s " + std::to_string(disk_size()) +
              " raw && dd if=part of=raw bs=1M seek=1 conv=notrunc && cat part part | dd of=raw "
              "bs=1M oflag=seek_bytes seek=" +
              tail + " conv=notrunc"));
  }

  std::string vmdkctl(const std::string& words) const {
    return shell_word(VMDKCTL_PROGRAM) + " " + words;
  }

  // made/disk.vmdk, with the bytes of `raw`.
  void make_image() const {
    const std::string type = GetParam().type;
    const bool qemu = GetParam().is_qemus();
    if (GetParam().is_child()) {
      // The parent has the disk, and the child its first 64 KiB and something else.
      ASSERT_TRUE(shell(
          qemu ? "qemu-img convert -f raw -O vmdk raw made/base.vmdk && cd made && "
                 "qemu-img create -q -f vmdk -b base.vmdk -F vmdk disk.vmdk && "
                 "qemu-io -f vmdk -c 'write -q -P 7 0 65536' disk.vmdk"
               : vmdkctl("convert --from=raw raw made/base.vmdk && ") +
                     vmdkctl("snapshot made/base.vmdk made/disk.vmdk && ") +
                     shell_word(VMDKFUSE_PROGRAM) +
                     " made/disk.vmdk flat && "
                     "head -c 65536 /dev/zero | tr '\\0' '\\7' | dd of=flat conv=notrunc && " +
                     shell_word(VMDKFUSE_PROGRAM) + " -u flat"));
      ASSERT_TRUE(shell("head -c 65536 /dev/zero | tr '\\0' '\\7' | dd of=raw conv=notrunc"));
      return;
    }
    ASSERT_TRUE(
        shell(qemu ? "qemu-img convert -f raw -O vmdk -o subformat=" + type + " raw made/disk.vmdk"
                   : vmdkctl("convert --from=raw --type=" + type + " raw made/disk.vmdk")));
  }

  // Mounts, typed in `folder`, and compares what is shown with what QEMU has read.
  void expect_shown(const std::string& folder, const std::string& image) {
    SCOPED_TRACE(image + " from " + folder);
    ASSERT_TRUE(shell("cd " + folder + " && " + shell_word(VMDKFUSE_PROGRAM) + " -r " +
                      shell_word(image) + " " + word("flat")));
    // The whole disk, by its holes; and what is no hole, whatever the holes are said to be.
    EXPECT_TRUE(shell("qemu-img compare -q -f raw -F raw by-qemu flat"));
    EXPECT_TRUE(shell("cmp -n 5000000 by-qemu flat"));
    const std::string tail = std::to_string(disk_size() - 7 * vmdk::kMiB);
    EXPECT_TRUE(shell("cmp -i " + tail + " by-qemu flat"));
    unmount();
  }
};

TEST_P(OriginTest, ShowsWhatQemuReads) {
  NEEDS_PROGRAM("qemu-img");
  NEEDS_PROGRAM("qemu-io");
  make_image();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(
      shell("qemu-img convert -f vmdk -O raw made/disk.vmdk by-qemu && qemu-img compare -q -f raw "
            "-F raw by-qemu raw"));
  expect_shown(".", "made/disk.vmdk");
  expect_shown("/", path("made/disk.vmdk").string());
  // Names inside the image stay what they were.
  ASSERT_TRUE(shell("mv made/disk.vmdk 'made/ANOTHER NAME.VMDK'"));
  expect_shown("made", "ANOTHER NAME.VMDK");
  if (!GetParam().has_text_file())
    return;
  // As a disk comes that was copied from Windows.
  ASSERT_TRUE(shell(R"sh(cd made
    for each in disk-*.vmdk; do mv "$each" "$(echo "$each" | tr a-z A-Z)"; done
    sed -i 's,"\(disk-[^"]*\)","C:\\My VMs\\\U\1\E",' 'ANOTHER NAME.VMDK'
    grep -q '"C:.My VMs.DISK-.*VMDK"' 'ANOTHER NAME.VMDK')sh"));
  expect_shown(".", "made/ANOTHER NAME.VMDK");
}

INSTANTIATE_TEST_SUITE_P(
    Makers, OriginTest,
    ::testing::Values(Origin{"qemu", "monolithicSparse"}, Origin{"ours", "monolithicSparse"},
                      Origin{"qemu", "monolithicFlat"}, Origin{"ours", "monolithicFlat"},
                      Origin{"qemu", "twoGbMaxExtentSparse"},
                      Origin{"ours", "twoGbMaxExtentSparse"}, Origin{"qemu", "twoGbMaxExtentFlat"},
                      Origin{"ours", "twoGbMaxExtentFlat"}, Origin{"qemu", "streamOptimized"},
                      Origin{"ours", "streamOptimized"}, Origin{"ours", "vmfs"},
                      Origin{"qemu", "child"}, Origin{"ours", "child"}),
    ::testing::PrintToStringParamName());

}  // namespace
}  // namespace vmdkfuse::test
