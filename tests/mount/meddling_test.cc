// Other programs at the files of a mounted image: those that keep to the locks are kept out; what
// the others do is noticed where it does harm.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

using testing::HasSubstr;
using vmdk::UniqueFd;

constexpr std::size_t kPiece = 64 * vmdk::kKiB;

class MeddlingTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    make_reference("ref");
    std::ifstream ref(path("ref"), std::ios::binary);
    ref_.assign(std::istreambuf_iterator<char>(ref), {});
  }

  // An image with all of the reference in it.
  void create_full(const std::string& name, vmdk::CreateOptions options = {}) {
    create(name, kDiskSize, std::move(options));
    std::ofstream(path("flat")).flush();
    const CommandResult result = vmdkfuse("--pid-file=pid " + name + " flat");
    ASSERT_EQ(result.status, 0) << result.to_text();
    ASSERT_TRUE(shell("dd if=ref of=flat bs=1M conv=notrunc status=none"));
    unmount();
  }

  // Each piece of the disk is as it should be or cannot be read. Returns how many can.
  std::size_t readable_pieces(int file) const {
    std::size_t good = 0;
    std::string bytes(kPiece, '\0');
    for (std::size_t at = 0; at < kDiskSize; at += kPiece) {
      if (pread(file, bytes.data(), kPiece, static_cast<off_t>(at)) < 0) {
        EXPECT_EQ(errno, EIO) << at;
        continue;
      }
      EXPECT_TRUE(ref_.compare(at, kPiece, bytes) == 0) << "wrong bytes at " << at;
      ++good;
    }
    return good;
  }

  UniqueFd open_flat(int flags = O_RDWR) const {
    UniqueFd file(open(path("flat").c_str(), flags | O_CLOEXEC));
    EXPECT_TRUE(file) << std::strerror(errno);
    return file;
  }

  std::string ref_;
};

class ParentTest : public MeddlingTest {
 protected:
  void SetUp() override {
    MeddlingTest::SetUp();
    if (IsSkipped())
      return;
    create_full("base.vmdk");
    vmdk::CreateOptions child;
    child.parent = path("base.vmdk");
    create("disk.vmdk", 0, child);
    ASSERT_TRUE(shell("cp base.vmdk good"));
    start("--cache=none disk.vmdk flat");
  }
};

TEST_F(ParentTest, ThatIsCutReadsAsAnErrorAndNeverAsZeros) {
  ASSERT_FALSE(HasFatalFailure());
  {
    const UniqueFd file = open_flat();
    // The tables are in memory when it happens, and in them all is well.
    ASSERT_EQ(readable_pieces(file.get()), 128U);
    ASSERT_TRUE(shell("truncate -s 4M base.vmdk"));
    const std::size_t good = readable_pieces(file.get());
    EXPECT_GT(good, 32U);
    EXPECT_LT(good, 64U);
    // A part of a grain needs the rest of it; a whole one does not.
    EXPECT_EQ(pwrite(file.get(), "part", 4, kDiskSize - 1000), -1);
    EXPECT_EQ(errno, EIO);
    const std::string grain(kPiece, 'w');
    EXPECT_EQ(pwrite(file.get(), grain.data(), kPiece, kDiskSize - kPiece),
              static_cast<ssize_t>(kPiece));
    EXPECT_EQ(fsync(file.get()), 0) << std::strerror(errno);
  }
  end(0);
  ASSERT_TRUE(shell("cat good > base.vmdk"));
  expect_check("disk.vmdk");
  mount("-r");
  EXPECT_TRUE(shell("cmp -n 8323072 ref flat"));
  EXPECT_EQ(shell_output("tail -c 65536 flat | tr -d w | wc -c"), "0");
}

TEST_F(ParentTest, ThatIsReplacedOrForbiddenStaysWhatItWas) {
  ASSERT_FALSE(HasFatalFailure());
  {
    const UniqueFd file = open_flat();
    for (const char* change : {"chmod 000 base.vmdk",
                               "head -c 9M /dev/zero > new && mv new base.vmdk", "rm base.vmdk"}) {
      ASSERT_TRUE(shell(change));
      EXPECT_EQ(readable_pieces(file.get()), 128U) << change;
    }
    EXPECT_EQ(pwrite(file.get(), ref_.data() + 1000, 5000, 1000), 5000);
    EXPECT_EQ(fsync(file.get()), 0);
  }
  end(0);
  ASSERT_TRUE(shell("mv good base.vmdk"));
  expect_check("disk.vmdk");
  mount("-r");
  EXPECT_TRUE(shell("cmp ref flat"));
}

struct CutCase {
  const char* name;
  vmdk::ImageType type;
  const char* file;
};

class CutExtentTest : public MeddlingTest, public ::testing::WithParamInterface<CutCase> {};

TEST_P(CutExtentTest, EndsWritingForGoodAndReadsAsAnError) {
  vmdk::CreateOptions options;
  options.type = GetParam().type;
  create_full("disk.vmdk", options);
  start("--cache=none --commit=0 disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  {
    const UniqueFd file = open_flat();
    ASSERT_EQ(pwrite(file.get(), ref_.data(), 4096, 0), 4096);
    ASSERT_EQ(fsync(file.get()), 0);
    ASSERT_TRUE(shell(std::string("truncate -s 4M ") + GetParam().file));
    EXPECT_EQ(fsync(file.get()), -1);
    EXPECT_EQ(errno, EIO);
    EXPECT_EQ(pwrite(file.get(), ref_.data(), 4096, 0), -1);
    EXPECT_EQ(errno, EIO);
    const std::size_t good = readable_pieces(file.get());
    EXPECT_GT(good, 32U);
    EXPECT_LE(good, 64U);
  }
  const CommandResult verdict = end(2);
  EXPECT_THAT(messages(), HasSubstr(std::string(GetParam().file) +
                                    ": has been cut by another program: it had "));
  EXPECT_THAT(verdict.err, HasSubstr("not everything is on disk: Input/output error"));
  EXPECT_EQ(size_of(path(GetParam().file)), 4 * vmdk::kMiB);
  // It opens no more, and says why.
  EXPECT_THAT(vmdkfuse("disk.vmdk flat").err, HasSubstr(GetParam().file));
  EXPECT_FALSE(is_mounted());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, CutExtentTest,
    ::testing::Values(CutCase{"sparse", vmdk::ImageType::kMonolithicSparse, "disk.vmdk"},
                      CutCase{"flat", vmdk::ImageType::kMonolithicFlat, "disk-flat.vmdk"}),
    [](const auto& kind) { return std::string(kind.param.name); });

class OtherProgramTest : public MeddlingTest {
 protected:
  void SetUp() override {
    MeddlingTest::SetUp();
    if (IsSkipped())
      return;
    NEEDS_PROGRAM("qemu-img");
    NEEDS_PROGRAM("qemu-io");
    create_full("disk.vmdk");
  }

  std::string image() const {
    return shell_output("sha256sum disk.vmdk; stat -c '%y %z' disk.vmdk");
  }

  // What the programs that keep to the locks say.
  void expect_kept_out(const std::string& command, const std::string& lock) const {
    const CommandResult result = in_folder(command);
    EXPECT_NE(result.status, 0) << command;
    EXPECT_THAT(result.err + result.out, HasSubstr("Failed to get " + lock)) << command;
  }
};

TEST_F(OtherProgramTest, QemuIsKeptOutOfAnImageThatIsWritten) {
  const std::string before = image();
  start();
  ASSERT_FALSE(HasFatalFailure());
  expect_kept_out("qemu-io -f vmdk -c 'write -P 1 0 512' disk.vmdk", "\"write\" lock");
  expect_kept_out("qemu-io -r -f vmdk -c 'read 0 512' disk.vmdk", "shared \"write\" lock");
  expect_kept_out("qemu-img info disk.vmdk", "shared \"write\" lock");
  EXPECT_TRUE(shell("cmp ref flat"));
  end(0);
  EXPECT_EQ(image(), before);
}

TEST_F(OtherProgramTest, QemuReadsBesideAReaderAndDoesNotWrite) {
  const std::string before = image();
  start("-r disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  expect_kept_out("qemu-io -f vmdk -c 'write -P 1 0 512' disk.vmdk", "\"write\" lock");
  EXPECT_TRUE(shell("qemu-img info disk.vmdk && qemu-io -r -f vmdk -c 'read 0 512' disk.vmdk"));
  end(0);
  EXPECT_EQ(image(), before);
}

TEST_F(OtherProgramTest, AnImageThatQemuHasIsRefusedByItsName) {
  const std::string before = image();
  const auto refused = [this](const std::string& options) {
    const CommandResult result = vmdkfuse(options + " disk.vmdk flat");
    EXPECT_EQ(result.status, 32) << result.to_text();
    EXPECT_FALSE(is_mounted());
    return result.err;
  };
  for (const bool writes : {true, false}) {
    SCOPED_TRACE(writes ? "a writer" : "a reader");
    std::vector<std::string> command{"qemu-io", "-f", "vmdk", path("disk.vmdk").string()};
    if (!writes)
      command.insert(command.begin() + 1, "-r");
    vmdk::test::ChildProgram qemu(command);
    qemu.say("read 0 512\n");
    ASSERT_TRUE(qemu.wait_for("read 512/512 bytes"));
    const std::string holder = "disk.vmdk: in use: qemu-io (pid " + std::to_string(qemu.pid()) +
                               ") holds a " + (writes ? "write" : "read") + " lock";
    EXPECT_THAT(refused(""), HasSubstr(holder));
    if (writes) {
      EXPECT_THAT(refused("-r"), HasSubstr(holder));
    } else {
      mount("-r");
      unmount();
    }
    qemu.finish();
  }
  EXPECT_EQ(image(), before);
}

TEST_F(MeddlingTest, ALockFolderOfVmwareIsRespected) {
  create_full("disk.vmdk");
  ASSERT_TRUE(shell("mkdir disk.vmdk.lck && touch disk.vmdk.lck/M12345.lck"));
  const std::string before = shell_output("sha256sum disk.vmdk");
  const CommandResult refused = vmdkfuse("disk.vmdk flat");
  EXPECT_EQ(refused.status, 32) << refused.to_text();
  EXPECT_THAT(refused.err, HasSubstr("disk.vmdk: in use by a VMware product"));
  EXPECT_EQ(shell_output("sha256sum disk.vmdk"), before);
  start("--force=stale-lck disk.vmdk flat");
  end(0);
}

// The bytes of the image on which the daemon holds locks: "1: OFDLCK ADVISORY READ -1
// fe:00:131090 100 100".
std::set<int> locked_bytes(const std::filesystem::path& image) {
  struct stat found {};

  EXPECT_EQ(stat(image.c_str(), &found), 0);
  const std::string inode = ":" + std::to_string(found.st_ino);
  std::set<int> bytes;
  std::ifstream table("/proc/locks");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string number, kind, advisory, type, pid, file;
    int first = -1;
    int last = -1;
    words >> number >> kind >> advisory >> type >> pid >> file >> first >> last;
    if (kind == "OFDLCK" && type == "READ" && file.ends_with(inode)) {
      for (int byte = first; byte <= last; ++byte)
        bytes.insert(byte);
    }
  }
  return bytes;
}

// Started in the background, which takes two processes: locks of the common kind would not survive.
TEST_F(MeddlingTest, TheDaemonHoldsTheLocksThatItsShellTook) {
  create();
  mount();
  EXPECT_EQ(locked_bytes(path("disk.vmdk")), (std::set<int>{100, 101, 103, 201, 203}));
  unmount();
  EXPECT_TRUE(eventually([this] { return locked_bytes(path("disk.vmdk")).empty(); }));
  mount("-r");
  EXPECT_EQ(locked_bytes(path("disk.vmdk")), (std::set<int>{100, 201, 203}));
  unmount();
}

}  // namespace
}  // namespace vmdkfuse::test
