// Rights that were given up are gone, for this process and for what it starts.
#include "vmdkfuse/privileges.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/child_process.h"
#include "support/matchers.h"

namespace vmdkfuse {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using vmdk::test::HasMessage;
using vmdk::test::in_child_process;
using vmdk::test::IsError;

constexpr auto kUsage = vmdk::ErrorCode::kInvalidArgument;

// The lines of /proc/self/status that say what this thread may do.
std::string rights() {
  std::ifstream file("/proc/self/status");
  std::string text;
  for (std::string line; std::getline(file, line);) {
    for (const char* name : {"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:"}) {
      if (line.starts_with(name))
        text += line + "\n";
    }
  }
  return text;
}

TEST(FindAccountTest, ByName) {
  const passwd* const nobody = getpwnam("nobody");
  if (nobody == nullptr)
    GTEST_SKIP() << "there is no user \"nobody\" here";
  const auto account = find_account("nobody");
  ASSERT_OK(account);
  EXPECT_EQ(account->name, "nobody");
  EXPECT_EQ(account->uid, nobody->pw_uid);
  EXPECT_EQ(account->gid, nobody->pw_gid);
  EXPECT_THAT(account->groups, testing::Contains(nobody->pw_gid));
}

TEST(FindAccountTest, AGivenGroupIsTheOnlyOne) {
  const auto account = find_account("65534:0");
  ASSERT_OK(account);
  EXPECT_EQ(account->gid, 0U);
  EXPECT_THAT(account->groups, testing::ElementsAre(0U));
  const group* const first = getgrgid(0);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(find_account(std::string("65534:") + first->gr_name)->gid, 0U);
}

TEST(FindAccountTest, NumbersThatNobodyHasNeedAGroup) {
  ASSERT_EQ(getpwuid(61234), nullptr) << "choose another number";
  EXPECT_THAT(find_account("61234"), HasMessage("its group has to be named: 61234:GROUP"));
  const auto account = find_account("61234:61235");
  ASSERT_OK(account);
  EXPECT_EQ(account->uid, 61234U);
  EXPECT_EQ(account->gid, 61235U);
}

TEST(FindAccountTest, WhatIsNoUserIsRefused) {
  EXPECT_THAT(find_account("no-such-user"), HasMessage("\"no-such-user\" is no user"));
  EXPECT_THAT(find_account("nobody:no-such-group"), HasMessage("\"no-such-group\" is no group"));
  for (const char* bad : {"", ":", ":0", "65534:", "-1", "4294967295", "65534:4294967295", "1e3"})
    EXPECT_THAT(find_account(bad), IsError(kUsage)) << bad;
  for (const char* root : {"root", "0", "0:65534"})
    EXPECT_THAT(find_account(root), HasMessage("is root")) << root;
}

class PrivilegesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0)
      GTEST_SKIP() << "only root has rights to give up";
  }
};

TEST_F(PrivilegesTest, NothingOfRootIsLeftAfterBecoming) {
  const std::string text = in_child_process([] {
    const auto status = become({"tester", 61234, 61235, {61235, 61236}});
    return status ? rights() : status.error().message();
  });
  EXPECT_EQ(text,
            "Uid:\t61234\t61234\t61234\t61234\nGid:\t61235\t61235\t61235\t61235\n"
            "Groups:\t61235 61236 \n"
            "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
            "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n");
}

TEST_F(PrivilegesTest, ThereIsNoWayBack) {
  EXPECT_EQ(in_child_process([]() -> std::string {
              if (!become({"tester", 61234, 61235, {61235}}))
                return "not become";
              if (setuid(0) == 0 || seteuid(0) == 0 || setresuid(0, 0, 0) == 0)
                return "root again";
              if (setgid(0) == 0 || setgroups(0, nullptr) == 0)
                return "root's group again";
              return open("/etc/shadow", O_RDONLY | O_CLOEXEC) < 0 ? "no way back" : "reads";
            }),
            "no way back");
}

TEST_F(PrivilegesTest, OtherProcessesOfTheUserSeeNothing) {
  EXPECT_EQ(in_child_process([]() -> std::string {
              if (!become({"tester", 61234, 61235, {61235}}))
                return "not become";
              const std::string ours = "/proc/" + std::to_string(getpid()) + "/";
              if (prctl(PR_GET_DUMPABLE) != 0)
                return "dumpable";
              return in_child_process([&]() -> std::string {
                // A child is another process, of the same user.
                for (const char* file : {"mem", "environ", "maps"}) {
                  if (open((ours + file).c_str(), O_RDONLY | O_CLOEXEC) >= 0)
                    return std::string("opens ") + file;
                }
                return access((ours + "fd/0").c_str(), F_OK) == 0 ? "sees fd" : "sees nothing";
              });
            }),
            "sees nothing");
}

TEST_F(PrivilegesTest, AWayBackThatIsLeftIsAnError) {
  // The highest number means "no change" to the system.
  const std::string text = in_child_process([]() -> std::string {
    const auto status = become({"tester", static_cast<uid_t>(-1), 61235, {61235}});
    return status ? "become" : status.error().message();
  });
  EXPECT_THAT(text, HasSubstr("cannot be given up"));
}

TEST_F(PrivilegesTest, OnlyWhatIsKeptIsLeft) {
  const std::string text = in_child_process([] {
    constexpr std::array kKept = {CAP_CHOWN, CAP_FOWNER};
    const auto status = keep_capabilities(kKept);
    return status ? rights() : status.error().message();
  });
  // Bits 0 and 3.
  EXPECT_THAT(text, HasSubstr("CapInh:\t0000000000000000\nCapPrm:\t0000000000000009\n"
                              "CapEff:\t0000000000000009\nCapBnd:\t0000000000000009\n"));
  EXPECT_THAT(text, StartsWith("Uid:\t0\t0\t0\t0\n"));
}

TEST_F(PrivilegesTest, NoNewPrivilegesAtExec) {
  EXPECT_EQ(in_child_process([]() -> std::string {
              if (!forbid_new_privileges())
                return "failed";
              return std::to_string(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
            }),
            "1");
}

}  // namespace
}  // namespace vmdkfuse
