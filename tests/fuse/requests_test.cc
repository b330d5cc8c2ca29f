// What no program can make a kernel send, and answers that would tell the kernel something else:
// requests without a kernel.
#include <linux/fuse.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "fuzz/kernel_session.h"
#include "fuzz/kernel_side.h"
#include "support/faulty_file_system.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdkfuse::test {
namespace {

using vmdk::test::kernel_message;
using vmdk::test::KernelSide;

constexpr std::uint64_t kCapacity = 256 * vmdk::kKiB;

class RequestsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    vmdk::CreateOptions create;
    create.capacity = kCapacity;
    ASSERT_OK(vmdk::create_image(memory_, "/vm/disk.vmdk", create));
    ASSERT_OK_AND_ASSIGN(disk_, vmdk::Disk::open(files_, "/vm/disk.vmdk", {}));
  }

  template <class Body>
  void add(std::uint8_t opcode, const Body& body, std::size_t behind = 0) {
    std::vector<std::byte> bytes(sizeof body + behind);
    std::memcpy(bytes.data(), &body, sizeof body);
    const auto message = kernel_message(opcode, 1, bytes);
    messages_.insert(messages_.end(), message.begin(), message.end());
  }

  // Whatever they answer, each is answered once, and READs show the disk.
  std::unique_ptr<KernelSide> serve(std::size_t refused_reads = 0, int refusal = 0) {
    auto kernel = std::make_unique<KernelSide>(messages_, vmdk::test::ReferenceDisk(kCapacity));
    kernel->refuse_reads(refused_reads, refusal);
    MountOptions options;
    options.mountpoint = "/nowhere";
    options.log = [](vmdk::LogLevel, std::string_view) {};
    EXPECT_EQ(vmdk::test::serve_messages(*disk_, options, *kernel), 0);
    kernel->require_answers();
    return kernel;
  }

  vmdk::test::MemoryFileSystem memory_;
  vmdk::test::FaultyFileSystem files_{memory_};
  std::unique_ptr<vmdk::Disk> disk_;
  std::vector<std::byte> messages_;
};

TEST_F(RequestsTest, AReadIsNoLongerThanAKernelAsksFor) {
  add(FUSE_READ, fuse_read_in{.offset = 0, .size = 4096});
  add(FUSE_READ, fuse_read_in{.offset = 0, .size = 2 * 1024 * 1024});
  add(FUSE_READ, fuse_read_in{.offset = 0, .size = 2 * 1024 * 1024 + 1});
  add(FUSE_READ, fuse_read_in{.offset = 0, .size = 0xFFFFFFFF});
  const auto kernel = serve();
  EXPECT_EQ(kernel->answer_to(0), 0);
  EXPECT_EQ(kernel->answer_to(1), 0);
  EXPECT_EQ(kernel->answer_to(2), EINVAL);
  EXPECT_EQ(kernel->answer_to(3), EINVAL);
}

// The kernel would take ENOSYS for "never send me an FSYNC again", and answer all of them itself,
// with success; and what answers ENOTCONN is a mount whose daemon has died.
TEST_F(RequestsTest, ErrorsOfFilesSayNothingAboutTheMount) {
  constexpr std::uint64_t kHandle = 9;  // the first that is given, for writing
  add(FUSE_OPEN, fuse_open_in{.flags = 2});
  add(FUSE_WRITE, fuse_write_in{.fh = kHandle, .size = 512}, 512);
  add(FUSE_FSYNC, fuse_fsync_in{.fh = kHandle});
  add(FUSE_FLUSH, fuse_flush_in{.fh = kHandle});
  for (const int err : {ENOSYS, ENOTCONN}) {
    SCOPED_TRACE(std::strerror(err));
    disk_.reset();
    files_.clear();
    ASSERT_OK_AND_ASSIGN(disk_, vmdk::Disk::open(files_, "/vm/disk.vmdk", {}));
    files_.add({.kinds = {vmdk::test::OpKind::kSync}, .for_ever = true, .err = err});
    const auto kernel = serve();
    EXPECT_EQ(kernel->answer_to(0), 0);
    EXPECT_EQ(kernel->answer_to(1), EIO);
    EXPECT_EQ(kernel->answer_to(2), EIO);
    EXPECT_EQ(kernel->answer_to(3), EIO);
  }
}

// libfuse says so when it has no memory for a thread's first request.
TEST_F(RequestsTest, AThreadWithoutMemoryDoesNotEndTheMount) {
  add(FUSE_READ, fuse_read_in{.size = 4096});
  EXPECT_EQ(serve(3, ENOMEM)->answer_to(0), 0);
}

}  // namespace
}  // namespace vmdkfuse::test
