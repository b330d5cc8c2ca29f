#include "vmdkfuse/readiness.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdkfuse {
namespace {

std::string said(void (*say)(int fd)) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  say(ends[1]);
  std::string text(200, '\0');
  const ssize_t got = read(ends[0], text.data(), text.size());
  close(ends[0]);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

TEST(ReadinessTest, OneLineEitherWay) {
  EXPECT_EQ(said([](int fd) { tell_ready(fd); }), "READY pid=" + std::to_string(getpid()) + "\n");
  EXPECT_EQ(said([](int fd) { tell_failed(fd, "why\n    hint: more"); }), "FAIL why\n");
}

TEST(PidFileTest, ExistsAsLongAsTheObject) {
  const vmdk::test::TempDir dir;
  const std::string path = (dir / "pid").string();
  auto file = std::make_unique<PidFile>();
  ASSERT_OK(file->open(path));
  ASSERT_OK(file->write(4711));
  pid_t pid = 0;
  std::ifstream(path) >> pid;
  EXPECT_EQ(pid, 4711);
  file.reset();
  EXPECT_EQ(access(path.c_str(), F_OK), -1);
}

TEST(PidFileTest, SomebodyElsesIsLeft) {
  const vmdk::test::TempDir dir;
  const std::string path = (dir / "pid").string();
  auto file = std::make_unique<PidFile>();
  ASSERT_OK(file->open(path));
  ASSERT_OK(file->write(4711));
  std::ofstream(path) << "1\n";
  file.reset();
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST(PidFileTest, FolderThatIsNotThereIsAnError) {
  EXPECT_THAT(PidFile().open("/no/such/folder/pid"), vmdk::test::FailsWith(ENOENT));
}

// Of a mount that did not come to be.
TEST(PidFileTest, ThatNamesNobodyGoesIfWeMadeIt) {
  const vmdk::test::TempDir dir;
  const std::string made = (dir / "made").string();
  const std::string found = (dir / "found").string();
  std::ofstream(found) << "17\n";
  for (const std::string& path : {made, found})
    ASSERT_OK(PidFile().open(path));
  EXPECT_EQ(access(made.c_str(), F_OK), -1);
  pid_t pid = 0;
  std::ifstream(found) >> pid;
  EXPECT_EQ(pid, 17);
}

TEST(PidFileTest, AShorterNumberReplacesALongerOne) {
  const vmdk::test::TempDir dir;
  const std::string path = (dir / "pid").string();
  std::ofstream(path) << "1234567\n";
  PidFile file;
  ASSERT_OK(file.open(path));
  ASSERT_OK(file.write(12));
  std::string line;
  std::ifstream text(path);
  std::getline(text, line);
  EXPECT_EQ(line, "12");
  EXPECT_FALSE(std::getline(text, line));
}

}  // namespace
}  // namespace vmdkfuse
