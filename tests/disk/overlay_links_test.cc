// Overlays and images that are named by symbolic links; on the host, where there are such.
#include <cstring>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "base/bytes.h"
#include "io/posix_file_system.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

class OverlayLinksTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* folder : {"real", "links", "over"})
      fs::create_directory(dir_ / folder);
    CreateOptions create;
    create.capacity = kMiB;
    ASSERT_OK(create_image(files_, dir_ / "real/base.vmdk", create));
  }

  // Opens the image over the overlay and writes `text` to the start of the disk, when there is one;
  // what is there in the end.
  Result<std::string> use(const std::string& image, const std::string& overlay,
                          std::string_view text = {}) {
    OpenOptions options;
    options.commit_interval = {};
    options.overlay = Overlay{dir_ / overlay, {}};
    ASSIGN_OR_RETURN(const auto disk, Disk::open(files_, dir_ / image, options));
    RETURN_IF_ERROR(disk->write(DiskOffset(0), bytes_of(text)));
    std::string shown(4, '?');
    ASSIGN_OR_RETURN(const std::size_t got,
                     disk->read(DiskOffset(0), std::as_writable_bytes(std::span(shown))));
    RETURN_IF_ERROR(disk->close());
    return shown.substr(0, got);
  }

  void expect_shown(const std::string& image, const std::string& overlay) {
    const auto shown = use(image, overlay);
    ASSERT_OK(shown);
    EXPECT_EQ(*shown, "over");
  }

  TempDir dir_;
  PosixFileSystem files_;
};

TEST_F(OverlayLinksTest, MadeOverALinkAndContinuedUnderTheRealName) {
  fs::create_symlink(dir_ / "real/base.vmdk", dir_ / "links/link.vmdk");
  for (const std::string overlay : {"links/a.vmdk", "over/a.vmdk", "real/a.vmdk"}) {
    SCOPED_TRACE(overlay);
    ASSERT_OK(use("links/link.vmdk", overlay, "over"));
    expect_shown("real/base.vmdk", overlay);
    expect_shown("links/link.vmdk", overlay);
  }
}

TEST_F(OverlayLinksTest, MadeOverTheRealNameAndContinuedOverALink) {
  fs::create_symlink(dir_ / "real/base.vmdk", dir_ / "links/link.vmdk");
  for (const std::string overlay : {"links/a.vmdk", "over/a.vmdk", "real/a.vmdk"}) {
    SCOPED_TRACE(overlay);
    ASSERT_OK(use("real/base.vmdk", overlay, "over"));
    expect_shown("links/link.vmdk", overlay);
  }
}

// Beside the link there is another image of that name.
TEST_F(OverlayLinksTest, AnOverlayThatIsReachedThroughALink) {
  ASSERT_OK(use("real/base.vmdk", "real/over.vmdk", "over"));
  fs::create_symlink(dir_ / "real/over.vmdk", dir_ / "links/over.vmdk");
  CreateOptions create;
  create.capacity = kMiB;
  ASSERT_OK(create_image(files_, dir_ / "links/base.vmdk", create));
  expect_shown("real/base.vmdk", "links/over.vmdk");
  EXPECT_THAT(use("links/base.vmdk", "links/over.vmdk"), HasMessage("is no overlay of"));
}

TEST_F(OverlayLinksTest, AnotherImageIsRefusedAsEver) {
  ASSERT_OK(use("real/base.vmdk", "real/over.vmdk", "over"));
  CreateOptions create;
  create.capacity = kMiB;
  ASSERT_OK(create_image(files_, dir_ / "real/other.vmdk", create));
  fs::create_symlink(dir_ / "real/other.vmdk", dir_ / "links/base.vmdk");
  EXPECT_THAT(use("links/base.vmdk", "real/over.vmdk"), HasMessage("is no overlay of"));
}

}  // namespace
}  // namespace vmdk::test
