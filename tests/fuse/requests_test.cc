// What no program can make a kernel send, and answers that would tell the kernel something else:
// requests without a kernel.
#include <linux/fuse.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string>
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
constexpr std::uint32_t kPromise = FUSE_HANDLE_KILLPRIV_V2;

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

  void ask(std::uint8_t opcode, std::uint32_t room, std::string_view name = {},
           std::uint8_t node = 1) {
    const fuse_getxattr_in question{.size = room};
    std::vector<std::byte> bytes(sizeof question + name.size() + 1);
    std::memcpy(bytes.data(), &question, sizeof question);
    std::memcpy(bytes.data() + sizeof question, name.data(), name.size());
    const auto message = kernel_message(opcode, node, bytes);
    messages_.insert(messages_.end(), message.begin(), message.end());
  }

  // Whatever they answer, each is answered once, and READs show the disk.
  std::unique_ptr<KernelSide> serve(std::size_t refused_reads = 0, int refusal = 0) {
    auto kernel =
        std::make_unique<KernelSide>(messages_, vmdk::test::ReferenceDisk(kCapacity), offered_);
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
  std::uint32_t offered_ = ~std::uint32_t{0};
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

std::string text_of(std::span<const std::byte> bytes) {
  std::string text(bytes.size(), '\0');
  std::memcpy(text.data(), bytes.data(), bytes.size());
  return text;
}

TEST_F(RequestsTest, AttributesAreToldWhereThereIsRoom) {
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse.size");
  ask(FUSE_GETXATTR, 6, "user.vmdkfuse.size");
  ask(FUSE_GETXATTR, 5, "user.vmdkfuse.size");
  ask(FUSE_GETXATTR, 0, "user.vmdkfuse.size");
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse.format");
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse.layers");
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse.stats");
  const auto kernel = serve();
  EXPECT_EQ(text_of(kernel->attribute_answer(0)), "262144");
  EXPECT_EQ(text_of(kernel->attribute_answer(1)), "262144");
  EXPECT_EQ(kernel->answer_to(2), ERANGE);
  fuse_getxattr_out length{};
  ASSERT_EQ(kernel->attribute_answer(3).size(), sizeof length);
  std::memcpy(&length, kernel->attribute_answer(3).data(), sizeof length);
  EXPECT_EQ(length.size, 6U);
  EXPECT_EQ(text_of(kernel->attribute_answer(4)), "monolithicSparse");
  EXPECT_EQ(text_of(kernel->attribute_answer(5)), "1");
  EXPECT_EQ(text_of(kernel->attribute_answer(6)), "reads 0\n");
}

TEST_F(RequestsTest, AttributesAreListed) {
  const std::string names(
      "user.vmdkfuse.format\0user.vmdkfuse.size\0user.vmdkfuse.cid\0"
      "user.vmdkfuse.layers\0user.vmdkfuse.stats\0",
      21 + 19 + 18 + 21 + 20);
  ask(FUSE_LISTXATTR, 1024);
  ask(FUSE_LISTXATTR, 98);
  ask(FUSE_LISTXATTR, 1024, "", 2);
  const auto kernel = serve();
  EXPECT_EQ(text_of(kernel->attribute_answer(0)), names);
  EXPECT_EQ(kernel->answer_to(1), ERANGE);
  EXPECT_EQ(kernel->answer_to(2), 0);
  EXPECT_TRUE(kernel->attribute_answer(2).empty()) << "a file that is none of the disk";
}

// `security.capability` is what the kernel asks for before writes.
TEST_F(RequestsTest, OtherAttributesAreNotThere) {
  ask(FUSE_GETXATTR, 0, "security.capability");
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse");
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse.sizes");
  ask(FUSE_GETXATTR, 100, "");
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse.size", 2);
  const auto kernel = serve();
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_EQ(kernel->answer_to(i), ENODATA) << i;
}

TEST_F(RequestsTest, ThePromiseToDropPrivilegesIsMadeWhereItIsOffered) {
  EXPECT_NE(serve()->accepted() & kPromise, 0U);
  offered_ &= ~kPromise;
  EXPECT_EQ(serve()->accepted() & kPromise, 0U);
}

// Else each write(2) would bring a question. ENOSYS is the last answer that the kernel asks for.
TEST_F(RequestsTest, WithoutThePromiseThereAreNoAttributes) {
  offered_ &= ~kPromise;
  ask(FUSE_GETXATTR, 0, "security.capability");
  ask(FUSE_GETXATTR, 100, "user.vmdkfuse.size");
  ask(FUSE_LISTXATTR, 1024);
  const auto kernel = serve();
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(kernel->answer_to(i), ENOSYS) << i;
}

// libfuse says so when it has no memory for a thread's first request.
TEST_F(RequestsTest, AThreadWithoutMemoryDoesNotEndTheMount) {
  add(FUSE_READ, fuse_read_in{.size = 4096});
  EXPECT_EQ(serve(3, ENOMEM)->answer_to(0), 0);
}

}  // namespace
}  // namespace vmdkfuse::test
