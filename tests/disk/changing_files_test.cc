// Files that become longer or shorter while they are opened, or checked.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/esx_builder.h"
#include "support/intercepting_file_system.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

// Does something once, before the n-th call for one file; 0: never. Keeps what the calls were.
class MeddlesOnce : public InterceptingFileSystem {
 public:
  MeddlesOnce(FileSystem& below, std::string path, std::size_t nth, std::function<void()> meddle)
      : InterceptingFileSystem(below),
        path_(std::move(path)),
        nth_(nth),
        meddle_(std::move(meddle)) {}

  const std::vector<OpKind>& seen() const noexcept { return seen_; }

 protected:
  std::optional<Fault> intercept(const FileOperation& operation) override {
    if (operation.file != path_)
      return std::nullopt;
    seen_.push_back(operation.kind);
    if (seen_.size() == nth_)
      meddle_();
    return std::nullopt;
  }

 private:
  const std::string path_;
  const std::size_t nth_;
  const std::function<void()> meddle_;
  std::vector<OpKind> seen_;
};

class ChangingFilesTest : public DiskFixture {
 protected:
  void SetUp() override {
    options_.commit_interval = {};
    options_.access = Access::kReadOnly;
  }

  Result<DiskPointer> open_in(FileSystem& files) const {
    return Disk::open(files, "/vm/d.vmdk", options_);
  }

  // Checks the image, where a test says how, or opens it.
  Status attempt_in(FileSystem& files) const {
    if (check_) {
      const auto report = check_image(files, "/vm/d.vmdk", *check_);
      return report ? Status{} : Status(report.error());
    }
    const auto disk = open_in(files);
    return disk ? Status{} : Status(disk.error());
  }

  // The calls for a file while nothing happens.
  std::vector<OpKind> calls_for(const std::string& file) {
    const auto files = memory_.clone();
    MeddlesOnce watched(*files, file, 0, {});
    EXPECT_OK(attempt_in(watched));
    return watched.seen();
  }

  // The first call, counted from 1, that comes when the file is locked and its length known.
  std::size_t first_watched(const std::vector<OpKind>& calls) {
    const auto locked = std::find(calls.begin(), calls.end(), OpKind::kLock);
    const auto known = std::find(locked, calls.end(), OpKind::kSize);
    EXPECT_NE(known, calls.end());
    return static_cast<std::size_t>(known - calls.begin()) + 2;
  }

  // Whenever the file becomes `size` bytes long: it is refused, and all goes as ever when it is as
  // it was.
  void expect_refused(const std::string& file, std::uint64_t size) {
    const auto calls = calls_for(file);
    const std::size_t first = first_watched(calls);
    ASSERT_GT(calls.size(), first);
    for (std::size_t nth = first; nth <= calls.size(); ++nth) {
      SCOPED_TRACE(file + " before call " + std::to_string(nth) + " of " +
                   std::to_string(calls.size()));
      const auto files = memory_.clone();
      MeddlesOnce meddling(*files, file, nth, [&] { files->truncate(file, size); });
      const Status attempt = attempt_in(meddling);
      EXPECT_THAT(attempt, IsError(ErrorCode::kBusy));
      EXPECT_THAT(attempt, HasMessage(file + ": changed while it was being " +
                                      (check_ ? "checked" : "opened")));
      files->put(file, memory_.contents(file));
      EXPECT_EQ(files->files(), memory_.files()) << "nothing is left of it";
      EXPECT_OK(attempt_in(*files)) << "nor a lock";
    }
  }

  void expect_watched(const std::string& file) {
    const std::uint64_t size = memory_.size(file);
    for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
      options_.access = access;
      if (access == Access::kReadWrite && !open_in(memory_))
        continue;
      for (const std::uint64_t other : {size + 64 * kKiB, size + 1, size - 1, size / 2})
        expect_refused(file, other);
    }
  }

  void make_chain() {
    make_sparse("/vm/base.vmdk", {}, "base");
    make_sparse("/vm/d.vmdk", child_of("base.vmdk"), "data");
  }

  std::optional<CheckOptions> check_;
};

TEST_F(ChangingFilesTest, SparseImagesAndTheirParents) {
  make_chain();
  expect_watched("/vm/d.vmdk");
  options_.access = Access::kReadOnly;
  const std::uint64_t size = memory_.size("/vm/base.vmdk");
  expect_refused("/vm/base.vmdk", size + 1);
  expect_refused("/vm/base.vmdk", size - 1);
}

// Between its opening and its lock another program, which had the lock, put a new file there: what
// is written to the old one would be gone.
TEST_F(ChangingFilesTest, AFileThatIsReplacedWhileItIsOpenedIsRefused) {
  make_sparse("/vm/d.vmdk", {}, "data");
  options_.access = Access::kReadWrite;
  const auto calls = calls_for("/vm/d.vmdk");
  const auto locked = std::find(calls.begin(), calls.end(), OpKind::kLock);
  ASSERT_NE(locked, calls.end());
  const auto files = memory_.clone();
  MeddlesOnce meddling(*files, "/vm/d.vmdk", static_cast<std::size_t>(locked - calls.begin()) + 1,
                       [&] {
                         ASSERT_OK(files->remove("/vm/d.vmdk"));
                         files->put("/vm/d.vmdk", memory_.contents("/vm/d.vmdk"));
                       });
  const auto disk = open_in(meddling);
  EXPECT_THAT(disk, IsError(ErrorCode::kBusy));
  EXPECT_THAT(disk, HasMessage("/vm/d.vmdk: was replaced by another program"));
  EXPECT_OK(open_in(*files));
}

TEST_F(ChangingFilesTest, FlatExtentsAndTheirDescriptors) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}, {.length = kMiB}},
                       {.create_type = "twoGbMaxExtentFlat"}));
  expect_watched("/vm/d-f002.vmdk");
  options_.access = Access::kReadOnly;
  expect_refused("/vm/d.vmdk", memory_.size("/vm/d.vmdk") + 1);
}

TEST_F(ChangingFilesTest, DeltasOfEsx) {
  ASSERT_OK(build_cowd_disk(
      memory_, "/vm/d.vmdk",
      {.capacity = 4 * kMiB, .grains = {{.index = 8, .data = filled(kSectorSize, 'c')}}}));
  expect_watched("/vm/d-delta.vmdk");
}

TEST_F(ChangingFilesTest, Streams) {
  StreamSpec spec;
  spec.capacity = kMiB;
  spec.grains = {{.index = 0, .data = filled(64 * kKiB, 's')}};
  ASSERT_OK(build_stream(memory_, "/vm/d.vmdk", spec));
  expect_watched("/vm/d.vmdk");
}

// Nor is it taken for damage.
TEST_F(ChangingFilesTest, SalvagedDisks) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}, {.length = kMiB}},
                       {.create_type = "twoGbMaxExtentFlat"}));
  ASSERT_OK(memory_.remove("/vm/d-f001.vmdk"));
  options_.salvage = true;
  expect_refused("/vm/d-f002.vmdk", kMiB / 2);
}

TEST_F(ChangingFilesTest, WhatIsBeneathAnOverlayLeavesNoOverlay) {
  make_sparse("/vm/d.vmdk", {}, "data");
  options_.access = Access::kReadWrite;
  options_.overlay = Overlay{"/vm/o.vmdk", {}};
  const auto calls = calls_for("/vm/d.vmdk");
  std::size_t refused = 0;
  for (std::size_t nth = 1; nth <= calls.size(); ++nth) {
    SCOPED_TRACE(nth);
    const auto files = memory_.clone();
    MeddlesOnce meddling(*files, "/vm/d.vmdk", nth, [&] {
      files->truncate("/vm/d.vmdk", files->size("/vm/d.vmdk") + 64 * kKiB);
    });
    const auto disk = open_in(meddling);
    refused += disk ? 0 : 1;
    EXPECT_EQ(files->exists("/vm/o.vmdk"), disk.has_value());
  }
  EXPECT_GT(refused, 4U);
}

// Somebody else's session adds grains, and cuts what it did not need when it ends.
TEST_F(ChangingFilesTest, AWriterBesideAReaderThatSharesMayDoEither) {
  make_chain();
  options_.share = true;
  for (const std::string file : {"/vm/d.vmdk", "/vm/base.vmdk"}) {
    const std::uint64_t used = memory_.size(file);
    for (const bool grows : {true, false}) {
      memory_.truncate(file, grows ? used : used + kMiB);
      const auto calls = calls_for(file);
      ASSERT_GT(calls.size(), 4U);
      for (std::size_t nth = 1; nth <= calls.size(); ++nth) {
        SCOPED_TRACE(nth);
        const auto files = memory_.clone();
        MeddlesOnce meddling(*files, file, nth,
                             [&] { files->truncate(file, grows ? used + kMiB : used); });
        ASSERT_OK_AND_ASSIGN(const auto disk, open_in(meddling));
        EXPECT_EQ(read(*disk, 0, 4), "data");
      }
    }
  }
}

TEST_F(ChangingFilesTest, WhatIsCheckedAndItsParents) {
  make_chain();
  check_.emplace();
  for (const std::string file : {"/vm/d.vmdk", "/vm/base.vmdk"}) {
    const std::uint64_t size = memory_.size(file);
    for (const std::uint64_t other : {size + 64 * kKiB, size - 1, size / 2})
      expect_refused(file, other);
  }
}

TEST_F(ChangingFilesTest, AParentThatChangesBeforeItIsLockedForTheCheck) {
  make_chain();
  check_.emplace();
  const auto calls = calls_for("/vm/base.vmdk");
  const auto locked = std::find(calls.begin(), calls.end(), OpKind::kLock);
  ASSERT_NE(locked, calls.end());
  const std::size_t nth = static_cast<std::size_t>(locked - calls.begin()) + 1;
  MeddlesOnce meddling(memory_, "/vm/base.vmdk", nth, [&] {
    std::string text = memory_.text("/vm/base.vmdk");
    text.replace(text.find("CID=") + 4, 1, "9");
    memory_.put("/vm/base.vmdk", text);
  });
  EXPECT_THAT(check_image(meddling, "/vm/d.vmdk", *check_), IsError(ErrorCode::kBusy));
}

// The lengths that it gives the files itself are no change.
TEST_F(ChangingFilesTest, ARepairChangesNothingThatBecomesLongerMeanwhile) {
  make_sparse("/vm/d.vmdk", {}, "data");
  const std::uint64_t size = memory_.size("/vm/d.vmdk");
  memory_.poke("/vm/d.vmdk", kUncleanMarkOffset, filled(1, 1));
  memory_.truncate("/vm/d.vmdk", size + 10 * kMiB);
  check_.emplace();
  check_->repair = true;
  const auto calls = calls_for("/vm/d.vmdk");
  const auto first_change = std::find(calls.begin(), calls.end(), OpKind::kResize);
  ASSERT_NE(first_change, calls.end());
  const std::size_t changed = static_cast<std::size_t>(first_change - calls.begin()) + 1;
  for (std::size_t nth = first_watched(calls); nth < changed; ++nth) {
    SCOPED_TRACE(nth);
    const auto files = memory_.clone();
    MeddlesOnce meddling(*files, "/vm/d.vmdk", nth,
                         [&] { files->truncate("/vm/d.vmdk", size + 20 * kMiB); });
    EXPECT_THAT(check_image(meddling, "/vm/d.vmdk", *check_), IsError(ErrorCode::kBusy));
    EXPECT_EQ(files->size("/vm/d.vmdk"), size + 20 * kMiB);
  }
  const auto report = check_image(memory_, "/vm/d.vmdk", *check_);
  ASSERT_OK(report);
  EXPECT_EQ(report->exit_code(), 0);
  EXPECT_EQ(memory_.size("/vm/d.vmdk"), size);
}

TEST_F(ChangingFilesTest, TheMessageTellsWhatToDo) {
  make_sparse("/vm/d.vmdk", {}, "data");
  const std::size_t calls = calls_for("/vm/d.vmdk").size();
  const std::uint64_t size = memory_.size("/vm/d.vmdk");
  MeddlesOnce meddling(memory_, "/vm/d.vmdk", calls,
                       [&] { memory_.truncate("/vm/d.vmdk", size + 512); });
  const auto disk = open_in(meddling);
  EXPECT_THAT(disk, IsError(ErrorCode::kBusy));
  EXPECT_THAT(disk, HasMessage(": it had " + std::to_string(size) + " bytes, and has " +
                               std::to_string(size + 512) + " now"));
  EXPECT_THAT(disk, HasMessage("end the program that writes to it, and try again"));
}

}  // namespace
}  // namespace vmdk::test
