// Several files over the same bytes: which of them there are, and who may open which when.
#include "fuse/views.h"

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vmdk/create.h>

#include "support/matchers.h"
#include "support/memory_file_system.h"
#include "support/partition_builder.h"

namespace vmdkfuse::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using vmdk::test::DiskBytes;
using vmdk::test::put_mbr;
using vmdk::test::used;

class ViewsTest : public testing::Test {
 protected:
  void SetUp() override {
    vmdk::CreateOptions create;
    create.capacity = vmdk::kMiB;
    ASSERT_OK(vmdk::create_image(files_, "/vm/disk.vmdk", create));
    vmdk::OpenOptions open;
    open.commit_interval = {};
    ASSERT_OK_AND_ASSIGN(disk_, vmdk::Disk::open(files_, "/vm/disk.vmdk", open));
    options_.directory = true;
    options_.single_thread = true;  // a refusal does not wait
    options_.log = [this](vmdk::LogLevel, std::string_view text) {
      log_ += std::string(text) + "\n";
    };
  }

  // 1 and 2 side by side, 3 extended with 5 in it.
  void write_table() {
    DiskBytes sector(512);
    put_mbr(sector, 0, {used(0x83, 64, 100), used(0x83, 200, 100), used(0x05, 400, 500)});
    write(0, sector);
    DiskBytes logical(512);
    put_mbr(logical, 0, {used(0x83, 8, 100)});
    write(400 * 512, logical);
  }

  void write(std::uint64_t at, const DiskBytes& bytes) {
    ASSERT_OK(disk_->write(vmdk::DiskOffset(at), bytes));
  }

  Views& make() {
    views_ = std::make_unique<Views>(*disk_, options_);
    views_->refresh();
    return *views_;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const ViewPointer& each : views_->listed(kRootNode))
      result.push_back(each->place.name);
    return result;
  }

  View& view(std::string_view name) const {
    const ViewPointer found = views_->look_up(kRootNode, name);
    if (found == nullptr)
      throw std::runtime_error("no view of this name");  // fails the test
    return *found;
  }

  Handle open(std::string_view name, int flags) {
    const auto opened = views_->open(view(name), flags);
    EXPECT_OK(opened);
    return opened ? opened->mode.handle : Handle(0);
  }

  void expect_busy(std::string_view name, int flags, const std::string& holder) {
    const auto opened = views_->open(view(name), flags);
    ASSERT_FALSE(opened) << name;
    EXPECT_EQ(opened.error().errno_value(), EBUSY);
    EXPECT_THAT(opened.error().message(),
                HasSubstr(std::string(name) + ": not opened for writing: " + holder + " is open"));
  }

  vmdk::test::MemoryFileSystem files_;
  std::unique_ptr<vmdk::Disk> disk_;
  MountOptions options_;
  std::string log_;
  std::unique_ptr<Views> views_;
};

TEST_F(ViewsTest, ThereIsOneForEachPartition) {
  write_table();
  make();
  EXPECT_THAT(names(), ElementsAre("flat", "flat1", "flat2", "flat3", "flat5"));
  EXPECT_EQ(view("flat5").place.begin.bytes(), 408 * 512U);
  EXPECT_EQ(view("flat5").length(), 100 * 512U);
  EXPECT_EQ(views_->find(view("flat5").node()).get(), &view("flat5"));
  EXPECT_EQ(views_->find(kFlatNode).get(), &view("flat"));
  EXPECT_EQ(views_->find(999), nullptr);
  EXPECT_EQ(views_->look_up(kRootNode, "flat4"), nullptr);
}

TEST_F(ViewsTest, WithoutDirectoryOrPartitionsThereIsTheDiskAlone) {
  write_table();
  options_.partitions = false;
  make();
  EXPECT_THAT(names(), ElementsAre("flat"));
  options_.partitions = true;
  options_.directory = false;
  make();
  EXPECT_EQ(views_->listed(kRootNode).size(), 1U);
  EXPECT_EQ(views_->find(kRootNode).get(), &views_->disk());
}

TEST_F(ViewsTest, NonsenseLeavesFlatAndAWarning) {
  DiskBytes sector(512);
  put_mbr(sector, 0, {used(0xEE, 1, 100)});
  write(0, sector);
  make();
  EXPECT_THAT(names(), ElementsAre("flat"));
  EXPECT_THAT(log_, HasSubstr("neither copy of it is sound"));
}

TEST_F(ViewsTest, ATableThatCannotBeReadLeavesFlatAndAWarning) {
  write_table();
  ASSERT_OK(disk_->close());
  vmdk::OpenOptions open;
  open.access = vmdk::Access::kReadOnly;
  disk_.reset();
  ASSERT_OK_AND_ASSIGN(disk_, vmdk::Disk::open(files_, "/vm/disk.vmdk", open));
  files_.truncate("/vm/disk.vmdk", 64 * vmdk::kKiB);
  options_.read_only = true;
  make();
  EXPECT_THAT(names(), ElementsAre("flat"));
  EXPECT_THAT(log_, HasSubstr("partitions are not shown: "));
}

TEST_F(ViewsTest, NobodyWritesBesideACachedView) {
  write_table();
  make();
  const Handle reader = open("flat1", O_RDONLY);
  EXPECT_FALSE(reader.direct());
  expect_busy("flat", O_RDWR, "flat1");
  expect_busy("flat", O_WRONLY, "flat1");
  EXPECT_FALSE(open("flat2", O_RDWR).direct()) << "they have no byte in common";
  views_->close(view("flat1"), reader);
  expect_busy("flat", O_RDWR, "flat2");
  EXPECT_FALSE(open("flat1", O_RDWR).direct());
  EXPECT_FALSE(open("flat1", O_RDWR).direct()) << "the same view, twice";
}

TEST_F(ViewsTest, WhoOpensBesideAWriterIsDirect) {
  write_table();
  make();
  const Handle writer = open("flat", O_RDWR);
  EXPECT_FALSE(writer.direct());
  const Handle reader = open("flat1", O_RDONLY);
  EXPECT_TRUE(reader.direct());
  expect_busy("flat1", O_RDWR, "flat");
  views_->close(view("flat"), writer);
  EXPECT_TRUE(open("flat1", O_RDONLY).direct()) << "as long as one is open";
  EXPECT_FALSE(open("flat", O_RDWR).direct()) << "a direct reader keeps no pages";
}

TEST_F(ViewsTest, DirectWritersDoNotShutOthersOut) {
  write_table();
  make();
  EXPECT_TRUE(open("flat", O_RDWR | O_DIRECT).direct());
  EXPECT_TRUE(open("flat1", O_RDWR).direct());
}

TEST_F(ViewsTest, AnExtendedPartitionHasItsLogicalOnes) {
  write_table();
  make();
  open("flat5", O_RDWR);
  expect_busy("flat3", O_RDWR, "flat5");
  EXPECT_TRUE(open("flat3", O_RDONLY).direct());
  EXPECT_FALSE(open("flat1", O_RDWR).direct());
}

TEST_F(ViewsTest, PagesFromBeforeAWriterAreDropped) {
  write_table();
  make();
  views_->close(view("flat1"), open("flat1", O_RDONLY));
  const auto writer = views_->open(view("flat"), O_RDWR);
  ASSERT_OK(writer);
  EXPECT_TRUE(writer->drops_pages);
  EXPECT_TRUE(view("flat1").has_old_pages.exchange(false));
  EXPECT_FALSE(view("flat").has_old_pages.load());
  const auto closed = views_->close(view("flat"), writer->mode.handle);
  EXPECT_TRUE(closed.drops_pages);
  EXPECT_TRUE(closed.last_writer);
  EXPECT_TRUE(closed.last);
  EXPECT_TRUE(view("flat1").has_old_pages.load());
  EXPECT_TRUE(open("flat1", O_RDONLY).renews_cache());
  EXPECT_FALSE(open("flat", O_RDONLY).renews_cache()) << "its own pages are right";
}

TEST_F(ViewsTest, WritersOfAllViewsAreCounted) {
  write_table();
  make();
  EXPECT_FALSE(views_->has_writers());
  const Handle one = open("flat1", O_RDWR);
  const Handle two = open("flat2", O_RDWR);
  EXPECT_TRUE(views_->close(view("flat1"), one).last_writer);
  EXPECT_TRUE(views_->has_writers());
  EXPECT_TRUE(views_->close(view("flat2"), two).last);
  EXPECT_FALSE(views_->has_writers());
}

TEST_F(ViewsTest, AWriterWaitsForACloseThatIsOnItsWay) {
  write_table();
  options_.single_thread = false;
  make();
  const Handle reader = open("flat1", O_RDONLY);
  std::atomic<bool> closed{false};
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    closed.store(true);
    views_->close(view("flat1"), reader);
  });
  EXPECT_OK(views_->open(view("flat"), O_RDWR));
  EXPECT_TRUE(closed.load());
  other.join();
  expect_busy("flat1", O_RDWR, "flat");
}

// The table is read again when a writer of what holds it closes; not before, and not for others.
TEST_F(ViewsTest, ARewrittenTableIsReadAgain) {
  make();
  EXPECT_THAT(names(), ElementsAre("flat"));
  const Handle writer = open("flat", O_RDWR);
  write_table();
  views_->refresh();
  EXPECT_THAT(names(), ElementsAre("flat"));
  views_->closes(view("flat"));
  views_->refresh();
  EXPECT_THAT(names(), ElementsAre("flat")) << "nothing was written through it";
  view("flat").written.store(true);
  views_->closes(view("flat"));
  views_->refresh();
  EXPECT_THAT(names(), ElementsAre("flat", "flat1", "flat2", "flat3", "flat5"));
  views_->close(view("flat"), writer);

  // Through the extended partition a logical one is added.
  DiskBytes logical(512);
  put_mbr(logical, 0, {used(0x83, 8, 100), used(0x05, 200, 100)});
  write(400 * 512, logical);
  put_mbr(logical, 0, {used(0x83, 8, 50), used(0, 0, 0)});
  write(600 * 512, logical);
  const Handle extended = open("flat3", O_RDWR);
  view("flat3").written.store(true);
  views_->close(view("flat3"), extended);
  views_->refresh();
  EXPECT_THAT(names(), ElementsAre("flat", "flat1", "flat2", "flat3", "flat5", "flat6"));
}

TEST_F(ViewsTest, ATableThatThereWasNoMemoryForIsReadByTheNextOne) {
  DiskBytes sector(512);
  put_mbr(sector, 0, {used(0x83, 64, 100), used(0x83, 1'000'000, 100)});  // the log hears of one
  write(0, sector);
  bool no_memory = true;
  options_.log = [&](vmdk::LogLevel, std::string_view) {
    if (std::exchange(no_memory, false))
      throw std::bad_alloc();
  };
  views_ = std::make_unique<Views>(*disk_, options_);
  EXPECT_THROW(views_->refresh(), std::bad_alloc);
  auto next = std::async(std::launch::async, [this] { views_->refresh(); });
  ASSERT_EQ(next.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_THAT(names(), ElementsAre("flat", "flat1"));
}

TEST_F(ViewsTest, WhatStaysWhereItIsStaysTheSameFile) {
  write_table();
  make();
  const std::uint64_t one = view("flat1").node();
  const ViewPointer two = views_->look_up(kRootNode, "flat2");
  const ViewPointer three = views_->look_up(kRootNode, "flat3");
  const Handle reader = open("flat2", O_RDONLY);
  DiskBytes sector(512);
  put_mbr(sector, 0, {used(0x07, 64, 100), used(0x83, 200, 99)});
  write(0, sector);
  view("flat").written.store(true);
  views_->closes(view("flat"));
  views_->refresh();
  EXPECT_THAT(names(), ElementsAre("flat", "flat1", "flat2"));
  EXPECT_EQ(view("flat1").node(), one);
  EXPECT_NE(view("flat2").node(), two->node()) << "it is shorter";
  EXPECT_EQ(views_->find(two->node()), two) << "somebody has it open";
  EXPECT_EQ(views_->find(three->node()), nullptr);
  // The old one still has a say in who may write.
  expect_busy("flat2", O_RDWR, "flat2");
  views_->close(*two, reader);
  EXPECT_FALSE(open("flat2", O_RDWR).direct());
  view("flat").written.store(true);
  views_->closes(view("flat"));
  views_->refresh();
  EXPECT_EQ(views_->find(two->node()), nullptr) << "closed, and not in the table";
}

}  // namespace
}  // namespace vmdkfuse::test
