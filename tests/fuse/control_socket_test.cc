#include "vmdkfuse/control_socket.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "support/child_process.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdkfuse::test {
namespace {

// A number that no mount has: minor numbers without a device have 20 bits, this major is none of
// theirs.
const dev_t kDevice = makedev(4000, 1234);

class ControlSocketTest : public testing::Test {
 protected:
  // A daemon that listens under its name.
  struct Daemon {
    ControlName name;
    ControlSocket socket;
  };

  static vmdk::Result<Daemon> listen() {
    vmdk::UniqueFd bound;
    ASSIGN_OR_RETURN(ControlName name, ControlName::bind(kDevice, std::nullopt, bound));
    ASSIGN_OR_RETURN(ControlSocket socket, ControlSocket::listen(std::move(bound), 7));
    return Daemon{std::move(name), std::move(socket)};
  }

  static std::string next_line(ControlClient& client) {
    bool timed_out = false;
    return client.next_line(std::chrono::seconds(10), timed_out).value_or("nothing");
  }
};

TEST_F(ControlSocketTest, TellsPeersOfBeforeAndAfter) {
  auto daemon = listen();
  ASSERT_OK(daemon);
  auto early = ControlClient::connect(kDevice, std::nullopt);
  ASSERT_TRUE(early);
  EXPECT_EQ(early->daemon(), getpid());
  daemon->socket.say("closing");
  auto late = ControlClient::connect(kDevice, std::nullopt);
  ASSERT_TRUE(late);
  daemon->socket.say("done");
  for (ControlClient* each : {&*early, &*late}) {
    EXPECT_EQ(next_line(*each), "closing");
    EXPECT_EQ(next_line(*each), "done");
  }
}

TEST_F(ControlSocketTest, RemovesItsName) {
  { ASSERT_OK(listen()); }
  EXPECT_FALSE(ControlClient::connect(kDevice, std::nullopt));
}

// The kernel gives a number away again while the daemon that had it is still closing its image.
TEST_F(ControlSocketTest, LeavesTheNameOfTheNextDaemon) {
  std::optional<Daemon> closing(std::move(*listen()));
  auto next = listen();
  ASSERT_OK(next);
  closing.reset();
  auto client = ControlClient::connect(kDevice, std::nullopt);
  ASSERT_TRUE(client);
  next->socket.say("done");
  EXPECT_EQ(next_line(*client), "done");
}

TEST_F(ControlSocketTest, SaysWhatRestrictsTheDaemon) {
  auto daemon = listen();
  ASSERT_OK(daemon);
  auto client = ControlClient::connect(kDevice, std::nullopt);
  ASSERT_TRUE(client);
  EXPECT_EQ(client->landlock_abi(std::chrono::milliseconds(10)), std::nullopt) << "nobody serves";
  daemon->socket.accept_peers();
  EXPECT_EQ(client->landlock_abi(std::chrono::seconds(10)), 7);
  daemon->socket.say("closing");
  EXPECT_EQ(next_line(*client), "closing");
}

// As an ordinary user, whose folder is where the environment says.
class PlantedFolderTest : public testing::Test {
 protected:
  static constexpr uid_t kUser = 61234;
  static constexpr uid_t kStranger = 61235;

  void SetUp() override {
    if (geteuid() != 0)
      GTEST_SKIP() << "only root can make a stranger's folder";
    ASSERT_EQ(chmod(dir_.path().c_str(), 01777), 0);
    std::filesystem::create_directory(dir_ / "run");
    give("run", kUser, 0700);
  }

  void give(const std::string& name, uid_t owner, mode_t mode) const {
    ASSERT_EQ(lchown((dir_ / name).c_str(), owner, owner), 0);
    ASSERT_EQ(chmod((dir_ / name).c_str(), mode), 0);
  }

  // What the user gets who binds a socket in `folder`/vmdkfuse.
  std::string bind_in(const std::string& folder) const {
    return vmdk::test::in_child_process([&]() -> std::string {
      setenv("XDG_RUNTIME_DIR", (dir_ / folder).c_str(), 1);
      if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0)
        return "not that user";
      vmdk::UniqueFd socket;
      const auto name = ControlName::bind(kDevice, std::nullopt, socket);
      return name ? "bound" : name.error().message().substr(dir_.path().native().size());
    });
  }

  // What the user gets who has no session: he binds a socket and looks for it, for which he may
  // have one.
  static std::string bind_without_session(const std::string& later) {
    return vmdk::test::in_child_process([&]() -> std::string {
      unsetenv("XDG_RUNTIME_DIR");
      if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0)
        return "not that user";
      vmdk::UniqueFd socket;
      const auto name = ControlName::bind(kDevice, std::nullopt, socket);
      if (!name)
        return name.error().message();
      const auto listening = ControlSocket::listen(std::move(socket), 7);
      if (!later.empty())
        setenv("XDG_RUNTIME_DIR", later.c_str(), 1);
      return listening && ControlClient::connect(kDevice, std::nullopt) ? "found" : "lost";
    });
  }

  static constexpr const char* kInTmp = "/tmp/vmdkfuse-61234";

  void TearDown() override { std::filesystem::remove_all(kInTmp); }

  vmdk::test::TempDir dir_;
};

TEST_F(PlantedFolderTest, WithoutASessionItIsInTmp) {
  EXPECT_EQ(bind_without_session(""), "found");
  EXPECT_EQ(bind_without_session((dir_ / "run").string()), "found");

  struct stat made {};

  ASSERT_EQ(lstat(kInTmp, &made), 0);
  EXPECT_EQ(made.st_uid, kUser);
  EXPECT_EQ(made.st_mode, S_IFDIR | 0700U);
}

TEST_F(PlantedFolderTest, AStrangersInTmpIsNot) {
  std::filesystem::create_directory(kInTmp);
  ASSERT_EQ(lchown(kInTmp, kStranger, kStranger), 0);
  ASSERT_EQ(chmod(kInTmp, 0777), 0);
  EXPECT_EQ(bind_without_session(""), std::string(kInTmp) + ": not a folder of ours alone");
}

// What a stranger puts there leads nobody to a socket, not even to the user's own.
TEST_F(PlantedFolderTest, ALinkInAStrangersFolderIsNotFollowed) {
  ASSERT_EQ(bind_in("run"), "bound");
  std::filesystem::create_directory(kInTmp);
  std::filesystem::create_symlink(dir_ / "run/vmdkfuse/4000:1234",
                                  std::filesystem::path(kInTmp) / "4000:1234");
  ASSERT_EQ(lchown(kInTmp, kStranger, kStranger), 0);
  const std::string found = vmdk::test::in_child_process([&]() -> std::string {
    vmdk::UniqueFd socket;
    setenv("XDG_RUNTIME_DIR", (dir_ / "run").c_str(), 1);
    if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0)
      return "not that user";
    const auto name = ControlName::bind(kDevice, std::nullopt, socket);
    const auto listening = ControlSocket::listen(std::move(socket), 7);
    unsetenv("XDG_RUNTIME_DIR");
    return ControlClient::connect(kDevice, std::nullopt) ? "found" : "lost";
  });
  EXPECT_EQ(found, "lost");
}

TEST_F(PlantedFolderTest, OursIsUsed) {
  EXPECT_EQ(bind_in("run"), "bound");
}

TEST_F(PlantedFolderTest, AStrangersFolderIsNot) {
  std::filesystem::create_directory(dir_ / "vmdkfuse");
  give("vmdkfuse", kStranger, 0777);
  EXPECT_EQ(bind_in("."), "/./vmdkfuse: not a folder of ours alone");
  std::filesystem::create_directory(dir_ / "run/vmdkfuse");
  give("run/vmdkfuse", kUser, 0770);
  EXPECT_EQ(bind_in("run"), "/run/vmdkfuse: not a folder of ours alone");
}

TEST_F(PlantedFolderTest, ALinkIsNot) {
  std::filesystem::create_directory(dir_ / "elsewhere");
  give("elsewhere", kUser, 0700);
  std::filesystem::create_directory_symlink(dir_ / "elsewhere", dir_ / "vmdkfuse");
  EXPECT_EQ(bind_in("."), "/./vmdkfuse: not a folder of ours alone");
  EXPECT_TRUE(std::filesystem::is_empty(dir_ / "elsewhere"));
}

// It could be taken away and another put in its place.
TEST_F(PlantedFolderTest, OursInAStrangersFolderIsNot) {
  give("run", kStranger, 0777);
  EXPECT_EQ(bind_in("run"), "/run: others can replace folders there");
  give("run", kUser, 0777);
  EXPECT_EQ(bind_in("run"), "/run: others can replace folders there");
}

TEST_F(PlantedFolderTest, APlantedSocketGoes) {
  std::filesystem::create_directory(dir_ / "run/vmdkfuse");
  give("run/vmdkfuse", kUser, 0700);
  std::ofstream(dir_ / "run/vmdkfuse/4000:1234") << "planted";
  EXPECT_EQ(bind_in("run"), "bound");
}

}  // namespace
}  // namespace vmdkfuse::test
