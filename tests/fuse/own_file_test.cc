// Names that a stranger has taken before us.
#include "vmdkfuse/own_file.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "support/matchers.h"
#include "support/temp_dir.h"
#include "vmdkfuse/readiness.h"

namespace vmdkfuse {
namespace {

using vmdk::test::FailsWith;
using vmdk::test::HasMessage;

constexpr uid_t kStranger = 61234;

class OwnFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(dir_ / "tmp");
    // As /tmp is.
    ASSERT_EQ(chmod(path("").c_str(), 01777), 0);
    std::ofstream(victim()) << "precious";
  }

  std::string path(const std::string& name) const { return (dir_ / "tmp" / name).string(); }

  // Outside the folder where everybody may write.
  std::string victim() const { return (dir_ / "victim").string(); }

  static std::string content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  void make(const std::string& name) const { std::ofstream(path(name)) << "there"; }

  void give_to_stranger(const std::string& name) const {
    if (lchown(path(name).c_str(), kStranger, kStranger) != 0)
      GTEST_SKIP() << "only root can make a stranger's file";
  }

  vmdk::test::TempDir dir_;
};

TEST_F(OwnFileTest, MakesAndContinuesWhatIsOurs) {
  {
    const auto file = open_own_file(path("log"), O_APPEND, 0640);
    ASSERT_OK(file);
    EXPECT_EQ(write(file->get(), "one", 3), 3);
    EXPECT_NE(fcntl(file->get(), F_GETFD) & FD_CLOEXEC, 0);
  }

  struct stat found {};

  ASSERT_EQ(stat(path("log").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0640U & ~umask(022));
  const auto again = open_own_file(path("log"), O_APPEND, 0640);
  ASSERT_OK(again);
  EXPECT_EQ(write(again->get(), "two", 3), 3);
  EXPECT_EQ(content(path("log")), "onetwo");
}

TEST_F(OwnFileTest, PlantedLinksAreNotFollowed) {
  std::filesystem::create_symlink(victim(), path("link"));
  std::filesystem::create_symlink(dir_ / "nowhere", path("dangling"));
  for (const char* name : {"link", "dangling"})
    EXPECT_THAT(open_own_file(path(name), O_APPEND, 0644), HasMessage("it is a symbolic link"))
        << name;
  EXPECT_EQ(content(victim()), "precious");
  EXPECT_FALSE(std::filesystem::exists(dir_ / "nowhere"));
}

TEST_F(OwnFileTest, PlantedSecondNamesAreNotUsed) {
  std::filesystem::create_hard_link(victim(), path("hard"));
  EXPECT_THAT(open_own_file(path("hard"), O_APPEND, 0644), HasMessage("it has a second name"));
}

TEST_F(OwnFileTest, PlantedFifosAndSocketsAreNotWaitedFor) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0666), 0);
  const vmdk::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path("socket").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  for (const char* name : {"fifo", "socket"})
    EXPECT_THAT(open_own_file(path(name), O_APPEND, 0644), HasMessage("it is no regular file"))
        << name;
}

TEST_F(OwnFileTest, AStrangersFileIsNotUsed) {
  make("log");
  give_to_stranger("log");
  if (IsSkipped())
    return;
  EXPECT_THAT(open_own_file(path("log"), O_APPEND, 0644), HasMessage("belongs to another user"));
  EXPECT_THAT(require_own_file(path("log")), HasMessage("belongs to another user"));
  // In a folder of ours nobody can have put it there.
  std::filesystem::rename(path("log"), dir_ / "log");
  EXPECT_OK(open_own_file((dir_ / "log").string(), O_APPEND, 0644));
  EXPECT_OK(require_own_file((dir_ / "log").string()));
}

TEST_F(OwnFileTest, AStrangersFolderIsOneWhereStrangersMakeNames) {
  ASSERT_EQ(chmod(path("").c_str(), 0755), 0);
  std::filesystem::create_symlink(victim(), path("link"));
  EXPECT_OK(open_own_file(path("link"), O_APPEND, 0644)) << "a link of ours in a folder of ours";
  if (lchown(path("").c_str(), kStranger, kStranger) != 0)
    GTEST_SKIP() << "only root can make a stranger's folder";
  EXPECT_THAT(open_own_file(path("link"), O_APPEND, 0644), HasMessage("it is a symbolic link"));
  EXPECT_OK(open_own_file(path("new"), O_APPEND, 0644));
  // An overlay there is what somebody asks for who gives us the stranger's disk.
  EXPECT_OK(require_own_file(path("new")));
}

TEST_F(OwnFileTest, OverlaysThatArePlanted) {
  make("ours.vmdk");
  EXPECT_OK(require_own_file(path("ours.vmdk")));
  std::filesystem::create_symlink(victim(), path("link.vmdk"));
  EXPECT_THAT(require_own_file(path("link.vmdk")), HasMessage("it is a symbolic link"));
  EXPECT_THAT(require_own_file(path("none.vmdk")), FailsWith(ENOENT));
}

TEST_F(OwnFileTest, APidFileLeavesTheVictimAlone) {
  std::filesystem::create_symlink(victim(), path("pid"));
  {
    PidFile file;
    EXPECT_THAT(file.open(path("pid")), HasMessage("hint: name a file in a folder"));
  }
  EXPECT_EQ(content(victim()), "precious");
  EXPECT_TRUE(std::filesystem::is_symlink(path("pid")));
}

TEST_F(OwnFileTest, MissingFoldersAreSaid) {
  EXPECT_THAT(open_own_file(path("none/log"), O_APPEND, 0644), FailsWith(ENOENT));
}

}  // namespace
}  // namespace vmdkfuse
