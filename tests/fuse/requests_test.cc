// Requests that no program can make a kernel send: they are answered all the same, and cost
// nothing.
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
    ASSERT_OK(vmdk::create_image(files_, "/vm/disk.vmdk", create));
    ASSERT_OK_AND_ASSIGN(disk_, vmdk::Disk::open(files_, "/vm/disk.vmdk", {}));
  }

  template <class Body>
  void add(std::uint8_t opcode, const Body& body) {
    std::vector<std::byte> bytes(sizeof body);
    std::memcpy(bytes.data(), &body, sizeof body);
    const auto message = kernel_message(opcode, 1, bytes);
    messages_.insert(messages_.end(), message.begin(), message.end());
  }

  // Whatever they answer, each is answered once, and READs show the disk.
  std::unique_ptr<KernelSide> serve() {
    auto kernel = std::make_unique<KernelSide>(messages_, vmdk::test::ReferenceDisk(kCapacity));
    MountOptions options;
    options.mountpoint = "/nowhere";
    options.log = [](vmdk::LogLevel, std::string_view) {};
    EXPECT_EQ(vmdk::test::serve_messages(*disk_, options, *kernel), 0);
    kernel->require_answers();
    return kernel;
  }

  vmdk::test::MemoryFileSystem files_;
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

}  // namespace
}  // namespace vmdkfuse::test
