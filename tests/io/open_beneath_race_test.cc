// open_beneath() while somebody changes the names: nothing outside the folder is opened, whatever
// the moment.
#include <fcntl.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "beneath_folder.h"

namespace vmdk {
namespace {

// Changes names for as long as it lives, as somebody does who hopes that a lookup falls in between.
class Meddler {
 public:
  template <class Change>
  explicit Meddler(Change change)
      : thread_([this, change] {
          while (!stop_)
            change();
        }) {}

  ~Meddler() {
    stop_ = true;
    thread_.join();
  }

  Meddler(const Meddler&) = delete;
  Meddler& operator=(const Meddler&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class OpenBeneathRaceTest : public OpenBeneathTest {
 protected:
  // Opens the names in turn; whatever is opened must have the text. `refused`: some must not open.
  void open_many(std::vector<std::string> names, const std::string& text, bool refused) {
    int opened = 0;
    int not_opened = 0;
    in_mode([&] {
      for (int i = 0; i < kTries || (opened == 0 && i < 50 * kTries); ++i) {
        const auto file = system_.open_beneath(
            folder_.path(), names[static_cast<std::size_t>(i) % names.size()], Access::kReadOnly);
        ++(file ? opened : not_opened);
        if (file) {
          ASSERT_EQ(text_of(**file), text);
        }
      }
    });
    EXPECT_GT(opened, 0);
    if (refused) {
      EXPECT_GT(not_opened, 0) << "nobody came in between: this has shown nothing";
    }
  }

  // Whether the file system can swap two names at once.
  bool can_exchange(const std::string& one, const std::string& other) const {
    return exchange(one, other) && exchange(one, other);
  }

  bool exchange(const std::string& one, const std::string& other) const {
    return ::renameat2(AT_FDCWD, (folder_.path() / one).c_str(), AT_FDCWD,
                       (folder_.path() / other).c_str(), RENAME_EXCHANGE) == 0;
  }

  static constexpr int kTries = 8000;
};

INSTANTIATE_TEST_SUITE_P(Lookups, OpenBeneathRaceTest,
                         testing::Values(Lookup::kKernel, Lookup::kWalk, Lookup::kWithoutOpenat2),
                         [](const auto& tested) {
                           return "Lookup" + std::to_string(static_cast<int>(tested.param));
                         });

TEST_P(OpenBeneathRaceTest, AFolderMovedOutMeanwhileIsNoWayOut) {
  // "deep" moves in and out of the folder while a name climbs up from it; there must be no moment
  // at which ".." leads to what lies beside the folder.
  const auto outer = folder_.outer().path();
  folder_.outer().write("disk.vmdk", "outside");
  folder_.outer().write("vm/sub/disk.vmdk", "disk");
  const Meddler mover([&] {
    std::filesystem::rename(folder_.path() / "sub/deep", outer / "deep");
    std::filesystem::rename(outer / "deep", folder_.path() / "sub/deep");
  });
  open_many({"sub/deep/../disk.vmdk", "sub/deep/../../disk.vmdk"}, "disk", false);
}

TEST_P(OpenBeneathRaceTest, AFolderThatBecomesALinkOutIsNoWayOut) {
  folder_.outer().write("beside/disk.vmdk", "outside");
  folder_.outer().write("vm/box/disk.vmdk", "disk");
  std::filesystem::create_directory_symlink("../beside", folder_.path() / "trap");
  if (!can_exchange("box", "trap"))
    GTEST_SKIP() << "this file system cannot exchange two names";
  const Meddler meddler([&] { exchange("box", "trap"); });
  open_many({"box/disk.vmdk", "sub/../box/disk.vmdk"}, "disk", true);
}

TEST_P(OpenBeneathRaceTest, AFileThatBecomesALinkOutIsNoWayOut) {
  folder_.outer().write("vm/extent.vmdk", "disk");
  if (!can_exchange("extent.vmdk", "out"))
    GTEST_SKIP() << "this file system cannot exchange two names";
  const Meddler meddler([&] { exchange("extent.vmdk", "out"); });
  open_many({"extent.vmdk", "sub/../extent.vmdk"}, "disk", true);
}

}  // namespace
}  // namespace vmdk
