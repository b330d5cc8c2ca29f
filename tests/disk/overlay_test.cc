// Writes beside an image that stays as it is.
#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disk/image_text.h"
#include "disk_fixture.h"
#include "support/crash_file_system.h"
#include "support/faulty_file_system.h"
#include "support/intercepting_file_system.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

class OverlayTest : public DiskFixture {
 protected:
  Result<DiskPointer> open_over(const std::filesystem::path& image,
                                const std::filesystem::path& overlay) {
    options_.overlay = Overlay{overlay, {}};
    auto disk = open(image);
    options_.overlay.reset();
    return disk;
  }

  Result<DiskPointer> open_over_scratch(const std::filesystem::path& image) {
    memory_.make_directory("/tmp");
    options_.overlay = Overlay{{}, "/tmp"};
    auto disk = open(image);
    options_.overlay.reset();
    return disk;
  }

  // Writes "over" at 3, over a new overlay and over no name at all; the image keeps its bytes and
  // shows `before` from 0.
  void expect_served(const std::filesystem::path& image, const std::string& before) {
    SCOPED_TRACE(image);
    const auto bytes = all_bytes();
    const std::string after = before.substr(0, 3) + "over" + before.substr(7);
    {
      ASSERT_OK_AND_ASSIGN(const auto disk, open_over_scratch(image));
      EXPECT_EQ(read(*disk, 0, before.size()), before);
      ASSERT_OK(write(*disk, 3, "over"));
      EXPECT_EQ(read(*disk, 0, before.size()), after);
      ASSERT_OK(disk->close());
    }
    EXPECT_EQ(all_bytes(), bytes) << "the child without a name is gone";
    {
      ASSERT_OK_AND_ASSIGN(const auto disk, open_over(image, "/over/o.vmdk"));
      ASSERT_OK(write(*disk, 3, "over"));
      ASSERT_OK(disk->close());
    }
    {
      ASSERT_OK_AND_ASSIGN(const auto disk, open_over(image, "/over/o.vmdk"));
      EXPECT_EQ(read(*disk, 0, before.size()), after) << "continued";
    }
    ASSERT_OK(memory_.remove("/over/o.vmdk"));
    EXPECT_EQ(all_bytes(), bytes);
  }

  Descriptor descriptor_of(const std::filesystem::path& image) {
    const auto file = memory_.open(image, Access::kReadOnly);
    EXPECT_OK(file);
    auto text = read_image_text(**file);
    EXPECT_OK(text);
    return std::move(text->descriptor);
  }
};

TEST_F(OverlayTest, KindsThatCannotBeWrittenAndKindsThatCan) {
  memory_.make_directory("/over");
  make_sparse("/vm/sparse.vmdk", {}, "0123456789");
  expect_served("/vm/sparse.vmdk", "0123456789");

  make_sparse("/vm/child.vmdk", child_of("sparse.vmdk"));
  expect_served("/vm/child.vmdk", "0123456789");

  StreamSpec stream;
  stream.capacity = kMiB;
  stream.grains = {{.index = 0, .data = filled(64 * kKiB, 's')}};
  ASSERT_OK(build_stream(memory_, "/vm/stream.vmdk", stream));
  EXPECT_THAT(open("/vm/stream.vmdk"), HasMessage("--overlay=FILE"));
  expect_served("/vm/stream.vmdk", "ssssssssss");

  const auto data = filled(64 * kKiB, 'd');
  ASSERT_OK(build_flat(memory_, "/vm/flat.vmdk",
                       {{.length = 64 * kKiB, .data = data, .access = "RDONLY"},
                        {.length = 64 * kKiB, .type = "ZERO"}}));
  EXPECT_THAT(open("/vm/flat.vmdk"), HasMessage("--overlay=FILE"));
  expect_served("/vm/flat.vmdk", "dddddddddd");

  ASSERT_OK(
      build_flat(memory_, "/vm/zero.vmdk",
                 {{.length = 64 * kKiB, .type = "ZERO"}, {.length = 64 * kKiB, .data = data}}));
  expect_served("/vm/zero.vmdk", std::string(10, '\0'));

  DescriptorSpec tracked;
  tracked.more_lines = {"changeTrackPath=\"t-ctk.vmdk\""};
  make_sparse("/vm/t.vmdk", tracked, "0123456789");
  expect_served("/vm/t.vmdk", "0123456789");
}

TEST_F(OverlayTest, TheChildIsAsOtherProgramsWantIt) {
  DescriptorSpec base;
  base.more_lines = {"ddb.adapterType = \"lsilogic\"", "ddb.geometry.cylinders = \"7\"",
                     "ddb.geometry.heads = \"8\"", "ddb.geometry.sectors = \"9\""};
  make_sparse("/vm/base.vmdk", base, "base");
  ASSERT_OK_AND_ASSIGN(auto disk, open_over("/vm/base.vmdk", "/vm/o.vmdk"));
  const Descriptor child = descriptor_of("/vm/o.vmdk");
  EXPECT_EQ(child.create_type(), "monolithicSparse");
  EXPECT_EQ(child.parent_hint(), "base.vmdk");
  EXPECT_EQ(child.parent_cid(), 0x12345678U);
  EXPECT_EQ(child.capacity().count(), kMiB / kSectorSize);
  EXPECT_EQ(child.value("ddb.adapterType"), "lsilogic");
  EXPECT_EQ(child.value("ddb.geometry.cylinders"), "7");
  const DiskInfo info = disk->info();
  ASSERT_EQ(info.layers.size(), 2U);
  EXPECT_EQ(info.layers[0].file, "/vm/o.vmdk");
  EXPECT_EQ(info.layers[0].extents[0].header_version, 1U) << "VirtualBox opens no version 2";
  ASSERT_OK(disk->close());
  disk.reset();
  EXPECT_OK(open_readonly("/vm/o.vmdk")) << "an image like any other";
}

TEST_F(OverlayTest, ThePlaceOfTheImageIsNamedFromTheOverlay) {
  make_sparse("/vm/base.vmdk", {}, "base");
  memory_.make_directory("/other/deep");
  ASSERT_OK(open_over("/vm/base.vmdk", "/other/deep/o.vmdk"));
  EXPECT_EQ(descriptor_of("/other/deep/o.vmdk").parent_hint(), "../../vm/base.vmdk");
  EXPECT_OK(open_over("/vm/base.vmdk", "/other/deep/o.vmdk"));
}

TEST_F(OverlayTest, WhereTheImageIsOnlyRead) {
  make_sparse("/vm/base.vmdk", {}, "base");
  memory_.set_permissions("/vm/base.vmdk", 0444);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_over("/vm/base.vmdk", "/vm/o.vmdk"));
  EXPECT_TRUE(disk->writable());
  EXPECT_EQ(disk->permissions(), 0644U) << "its owner may write to the disk";
  EXPECT_OK(open_readonly("/vm/base.vmdk")) << "others may read it too";
  memory_.set_permissions("/vm/base.vmdk", 0644);
  options_.force_children = true;
  EXPECT_THAT(open("/vm/base.vmdk"), IsError(ErrorCode::kBusy));
}

TEST_F(OverlayTest, ChildrenOfTheImageDoNotMatter) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/snapshot.vmdk", child_of("base.vmdk"));
  EXPECT_THAT(open("/vm/base.vmdk"), HasMessage("--overlay=FILE"));
  EXPECT_OK(open_over("/vm/base.vmdk", "/vm/o.vmdk"));
}

TEST_F(OverlayTest, WhatIsNoOverlayOfTheImageIsLeftAlone) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/single.vmdk");
  make_sparse("/vm/other.vmdk", child_of("single.vmdk"));
  make_sparse("/vm/stale.vmdk", child_of("base.vmdk", 0x99999999));
  make_sparse("/vm/nameless.vmdk", child_of(""));
  memory_.put("/vm/text.vmdk", "precious");
  memory_.put("/vm/empty.vmdk", "");
  const auto bytes = all_bytes();
  const auto expect = [&](const char* overlay, ErrorCode code, const char* words) {
    SCOPED_TRACE(overlay);
    const auto refused = open_over("/vm/base.vmdk", overlay);
    EXPECT_THAT(refused, IsError(code));
    EXPECT_THAT(refused,
                HasMessage(std::string(overlay) + ": exists and is no overlay of /vm/base.vmdk: "));
    EXPECT_THAT(refused, HasMessage(words));
  };
  expect("/vm/base.vmdk", ErrorCode::kInvalidArgument, "it is the image itself");
  expect("/vm/single.vmdk", ErrorCode::kInvalidArgument,
         "a monolithicSparse image without a parent");
  expect("/vm/other.vmdk", ErrorCode::kInvalidArgument, "a snapshot of single.vmdk");
  expect("/vm/nameless.vmdk", ErrorCode::kInvalidArgument, "does not name its parent");
  expect("/vm/stale.vmdk", ErrorCode::kStaleParent,
         "content id 99999999 is wanted, 12345678 is there");
  expect("/vm/text.vmdk", ErrorCode::kInvalidArgument, "not a VMDK image");
  expect("/vm/empty.vmdk", ErrorCode::kInvalidArgument, "the file is empty");
  EXPECT_EQ(all_bytes(), bytes);
}

TEST_F(OverlayTest, BothMovedAwayTogether) {
  make_sparse("/new/base.vmdk", {}, "base");
  make_sparse("/new/o.vmdk", child_of("/old/base.vmdk"));
  EXPECT_OK(open_over("/new/base.vmdk", "/new/o.vmdk"));
  make_sparse("/new/p.vmdk", child_of("/old/elsewhere.vmdk"));
  EXPECT_THAT(open_over("/new/base.vmdk", "/new/p.vmdk"), HasMessage("a snapshot of"));
}

// Like anything that an image names.
TEST_F(OverlayTest, AHintOutsideTheFoldersIsNotLookedAt) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/etc/base.vmdk", {}, "another");
  make_sparse("/vm/o.vmdk", child_of("/etc/base.vmdk"));
  make_sparse("/vm/p.vmdk", child_of("/etc/../etc/other.vmdk"));
  files_.reset();
  EXPECT_OK(open_over("/vm/base.vmdk", "/vm/o.vmdk")) << "the name decides";
  EXPECT_THAT(open_over("/vm/base.vmdk", "/vm/p.vmdk"), HasMessage("a snapshot of"));
  EXPECT_EQ(files_.of_file("/etc/base.vmdk").of(OpKind::kOpen), 0U);
  options_.allow_dirs = {"/etc"};
  EXPECT_THAT(open_over("/vm/base.vmdk", "/vm/o.vmdk"), HasMessage("a snapshot of"));
}

TEST_F(OverlayTest, IsLockedAndDurableBeforeItHasItsName) {
  make_sparse("/vm/base.vmdk", {}, "base");
  files_.reset();
  files_.keep_log(true);
  ASSERT_OK(open_over("/vm/base.vmdk", "/vm/o.vmdk"));
  std::vector<OpKind> kinds;
  for (const FileOperation& operation : files_.log())
    if (operation.file == "/vm/o.vmdk")
      kinds.push_back(operation.kind);
  ASSERT_GT(kinds.size(), 4U);
  EXPECT_EQ(kinds[0], OpKind::kCreate);
  EXPECT_EQ(kinds[1], OpKind::kLock);
  const auto named = std::find(kinds.begin(), kinds.end(), OpKind::kReveal);
  ASSERT_NE(named, kinds.end());
  EXPECT_EQ(*std::prev(named), OpKind::kSync);
  EXPECT_EQ(std::find(named, kinds.end(), OpKind::kWrite), kinds.end());
}

// The daemon is killed, or the power fails, at any moment.
TEST_F(OverlayTest, IsThereWholeOrNotAtAll) {
  make_sparse("/vm/base.vmdk", {}, "base");
  CrashFileSystem crash(memory_);
  OpenOptions options;
  options.overlay = Overlay{"/vm/o.vmdk", {}};
  options.commit_interval = {};
  { ASSERT_OK(Disk::open(crash, "/vm/base.vmdk", options)); }
  const auto expect_usable = [&](MemoryFileSystem& files) {
    EXPECT_LE(files.files().size(), 2U);
    const auto disk = Disk::open(files, "/vm/base.vmdk", options);
    ASSERT_OK(disk);
    EXPECT_EQ(read(**disk, 0, 4), "base");
    ASSERT_OK(write(**disk, 2, "over"));
    ASSERT_OK((*disk)->close());
  };
  std::size_t with = 0;
  std::size_t without = 0;
  const auto count = [&](MemoryFileSystem& files) {
    files.exists("/vm/o.vmdk") ? ++with : ++without;
    expect_usable(files);
  };
  for (std::size_t point = 0; point < crash.points(); ++point)
    count(*crash.everything_at(point));
  for (const std::size_t point : crash.boundary_points())
    crash.for_each_state(point, {.exhaustive_pieces = 6, .of_each_family = 8, .random_subsets = 8},
                         [&](CrashState& state) { count(*state.file_system); });
  EXPECT_GT(with, 0U);
  EXPECT_GT(without, 0U);
}

TEST_F(OverlayTest, NothingIsLeftOfAnOpenThatFailed) {
  make_sparse("/vm/child.vmdk", child_of("missing.vmdk"));
  EXPECT_THAT(open_over("/vm/child.vmdk", "/vm/o.vmdk"), IsError(ErrorCode::kNotFound));
  EXPECT_FALSE(memory_.exists("/vm/o.vmdk"));
  make_sparse("/vm/base.vmdk", {}, "base");
  EXPECT_THAT(open_over("/vm/base.vmdk", "/nowhere/o\n\"quote.vmdk"),
              IsError(ErrorCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_over("/vm/base.vmdk", "/vm/o.vmdk"));
  ASSERT_TRUE(memory_.exists("/vm/o.vmdk"));
  disk->abandon();
  EXPECT_FALSE(memory_.exists("/vm/o.vmdk"));
}

TEST_F(OverlayTest, WhicheverCallFailsNothingIsLeft) {
  make_sparse("/vm/base.vmdk", {}, "base");
  const auto before = all_bytes();
  OpenOptions options;
  options.overlay = Overlay{"/vm/o.vmdk", {}};
  FaultyFileSystem counting(memory_);
  counting.add({.nth = 0});
  ASSERT_OK(Disk::open(counting, "/vm/base.vmdk", options));
  const std::uint64_t calls = counting.matched();
  ASSERT_GT(calls, 20U);
  ASSERT_OK(memory_.remove("/vm/o.vmdk"));
  std::uint64_t failures = 0;
  for (std::uint64_t nth = 1; nth <= calls; ++nth) {
    SCOPED_TRACE("call " + std::to_string(nth));
    FaultyFileSystem faulty(memory_);
    faulty.add({.nth = nth, .err = EIO, .prefix = 100});
    auto disk = Disk::open(faulty, "/vm/base.vmdk", options);
    // Children cannot be looked for: none is seen then. A prefetch is only advice.
    if (disk)
      (*disk)->abandon();
    else
      ++failures;
    EXPECT_EQ(all_bytes(), before);
  }
  EXPECT_GT(failures, calls / 2);
}

// As an image there, it is opened with a warning.
TEST_F(OverlayTest, WhereTheFileSystemHasNoLocks) {
  make_sparse("/vm/base.vmdk", {}, "base");
  FaultyFileSystem lockless(memory_);
  lockless.add({.kinds = {OpKind::kLock}, .for_ever = true, .err = EOPNOTSUPP});
  OpenOptions options;
  options.overlay = Overlay{"/vm/o.vmdk", {}};
  options.commit_interval = {};
  options.log = [this](LogLevel, std::string_view text) { log_ += std::string(text) + "\n"; };
  for (const char* which : {"a new one", "one that is there"}) {
    SCOPED_TRACE(which);
    log_.clear();
    ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(lockless, "/vm/base.vmdk", options));
    EXPECT_EQ(read(*disk, 0, 4), "base");
    EXPECT_NE(log_.find("/vm/o.vmdk: the file system has no locks"), std::string::npos) << log_;
    ASSERT_OK(disk->close());
  }
  ASSERT_OK(memory_.remove("/vm/o.vmdk"));
  FaultyFileSystem broken(memory_);
  broken.add({.kinds = {OpKind::kLock}, .matches = on_file("/vm/o.vmdk"), .err = EIO});
  EXPECT_THAT(Disk::open(broken, "/vm/base.vmdk", options), FailsWith(EIO));
  EXPECT_FALSE(memory_.exists("/vm/o.vmdk"));
}

TEST_F(OverlayTest, AnOverlayThatWasThereSurvivesAFailure) {
  make_sparse("/vm/base.vmdk", {}, "base");
  { ASSERT_OK(open_over("/vm/base.vmdk", "/vm/o.vmdk")); }
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_over("/vm/base.vmdk", "/vm/o.vmdk"));
    disk->abandon();
  }
  EXPECT_TRUE(memory_.exists("/vm/o.vmdk"));
}

// Takes a file away when it is about to be locked.
class TakesAway : public InterceptingFileSystem {
 public:
  TakesAway(MemoryFileSystem& below, std::string path)
      : InterceptingFileSystem(below), memory_(below), path_(std::move(path)) {}

 protected:
  std::optional<Fault> intercept(const FileOperation& operation) override {
    if (operation.kind == OpKind::kLock && operation.file == path_ && memory_.exists(path_)) {
      EXPECT_OK(memory_.remove(path_));
    }
    return std::nullopt;
  }

 private:
  MemoryFileSystem& memory_;
  const std::string path_;
};

// Another program made it, failed, and cleaned up, while this one waited for the lock.
TEST_F(OverlayTest, AFileThatLostItsNameIsNotWrittenTo) {
  make_sparse("/vm/base.vmdk", {}, "base");
  { ASSERT_OK(open_over("/vm/base.vmdk", "/vm/o.vmdk")); }
  TakesAway files(memory_, "/vm/o.vmdk");
  options_.overlay = Overlay{"/vm/o.vmdk", {}};
  const auto disk = Disk::open(files, "/vm/base.vmdk", options_);
  EXPECT_THAT(disk, IsError(ErrorCode::kBusy));
  EXPECT_THAT(disk, HasMessage("/vm/o.vmdk: was taken away"));
}

TEST_F(OverlayTest, IsForDisksThatAreWritten) {
  make_sparse("/vm/base.vmdk", {}, "base");
  options_.overlay = Overlay{"/vm/o.vmdk", {}};
  EXPECT_THAT(open_readonly("/vm/base.vmdk"), IsError(ErrorCode::kInvalidArgument));
  EXPECT_FALSE(memory_.exists("/vm/o.vmdk"));
}

TEST_F(OverlayTest, ScratchDiscardsAndZeroesWithoutWriting) {
  make_sparse("/vm/base.vmdk", {}, "base");
  ASSERT_OK_AND_ASSIGN(const auto disk, open_over_scratch("/vm/base.vmdk"));
  ASSERT_OK(disk->discard(DiskOffset(0), 64 * kKiB));
  EXPECT_EQ(read(*disk, 0, 4), std::string(4, '\0'));
  ASSERT_OK(disk->close());
}

TEST_F(OverlayTest, OverADiskThatOneSparseFileCouldNotHold) {
  ASSERT_OK(build_flat(memory_, "/vm/big.vmdk", {{.length = 3072 * kGiB, .type = "ZERO"}}));
  memory_.make_directory("/over");
  ASSERT_OK_AND_ASSIGN(const auto disk, open_over("/vm/big.vmdk", "/over/o.vmdk"));
  EXPECT_EQ(disk->capacity(), 3072 * kGiB);
  ASSERT_OK(write(*disk, 3072 * kGiB - 4, "last"));
  EXPECT_EQ(read(*disk, 3072 * kGiB - 4, 4), "last");
  ASSERT_OK(disk->close());
}

}  // namespace
}  // namespace vmdk::test
