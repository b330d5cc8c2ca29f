// vmdkctl create: what it makes, what it says, how it ends.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(VmdkctlTest, CreateIsSilentOnSuccess) {
  const CommandResult result = vmdkctl("create disk.vmdk 100M");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out + result.err, "");
  EXPECT_EQ(json_of("info --json disk.vmdk")["virtualBytes"], 100 * kMiB);
}

TEST_F(VmdkctlTest, CreateTakesTheSizeAsOperandOrOption) {
  create("a.vmdk 1.5G");
  create("--size=1536M b.vmdk");
  EXPECT_EQ(json_of("info --json a.vmdk")["virtualBytes"], 1536 * kMiB);
  EXPECT_EQ(json_of("info --json b.vmdk")["virtualBytes"], 1536 * kMiB);
}

TEST_F(VmdkctlTest, CreateMakesEveryType) {
  const std::map<std::string, std::string> extents{{"monolithicSparse", "SPARSE"},
                                                   {"twoGbMaxExtentSparse", "SPARSE"},
                                                   {"monolithicFlat", "FLAT"},
                                                   {"twoGbMaxExtentFlat", "FLAT"},
                                                   {"vmfs", "VMFS"}};
  for (const auto& [type, extent] : extents) {
    create(fmt::format("--type={0} {0}.vmdk 5G", type));
    const json info = json_of(fmt::format("info --json {}.vmdk", type));
    EXPECT_EQ(info["format"]["createType"], type);
    EXPECT_EQ(info["virtualBytes"], 5 * kGiB) << type;
    EXPECT_EQ(info["layers"][0]["extents"][0]["type"], extent) << type;
    EXPECT_EQ(vmdkctl(fmt::format("check {}.vmdk", type)).status, 0) << type;
  }
}

TEST_F(VmdkctlTest, CreatePassesOnItsOptions) {
  create("--grain=4K --adapter=lsilogic --zeroed-grains disk.vmdk 1M");
  const json info = json_of("info --json disk.vmdk");
  EXPECT_EQ(info["format"]["grainBytes"], 4096);
  EXPECT_EQ(info["format"]["version"], 2);
  EXPECT_EQ(info["format"]["zeroedGrains"], true);
  EXPECT_EQ(info["layers"][0]["adapter"], "lsilogic");
}

TEST_F(VmdkctlTest, CreateRefusesBadWordsWithStatus1) {
  const std::vector<std::pair<std::string, std::string>> refusals{
      {"disk.vmdk", "SIZE is missing"},
      {"disk.vmdk 1X", "\"1X\" is not a size"},
      {"disk.vmdk 1000", "multiple of 512"},
      {"disk.vmdk 1M --size=1M", "given twice"},
      {"--type=2GbMaxExtentSparse disk.vmdk 1M", "did you mean \"twoGbMaxExtentSparse\"?"},
      {"--grain=3K disk.vmdk 1M", "power of two"},
      {"--adapter=scsi disk.vmdk 1M", "one of ide, buslogic, lsilogic, legacyESX"},
      {"disk.vmdk 3T", "2^32"},
      {"'a\"b.vmdk' 1M", "quote"},
  };
  for (const auto& [words, message] : refusals) {
    const CommandResult result = vmdkctl("create " + words);
    EXPECT_EQ(result.status, 1) << words;
    EXPECT_THAT(result.err, AllOf(StartsWith("vmdkctl: "), HasSubstr(message))) << words;
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(VmdkctlTest, CreateFailsWithStatus2WhereTheSystemRefuses) {
  create("disk.vmdk 1M");
  const CommandResult exists = vmdkctl("create disk.vmdk 1M");
  EXPECT_EQ(exists.status, 2);
  EXPECT_EQ(exists.err,
            "vmdkctl: disk.vmdk: File exists\n    hint: existing files are never overwritten\n");
  const CommandResult nowhere = vmdkctl("create nowhere/disk.vmdk 1M");
  EXPECT_EQ(nowhere.status, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("No such file or directory"));
}

TEST_F(VmdkctlTest, CreateShowsProgressOnlyWhenAskedOffATerminal) {
  const CommandResult quiet = vmdkctl("create --type=twoGbMaxExtentFlat a.vmdk 5G");
  EXPECT_EQ(quiet.err, "");
  const CommandResult told = vmdkctl("create -p --type=twoGbMaxExtentFlat b.vmdk 5G");
  EXPECT_EQ(told.status, 0);
  EXPECT_THAT(lines_of(told.err), ElementsAre("vmdkctl: b.vmdk: 20 %", "vmdkctl: b.vmdk: 50 %",
                                              "vmdkctl: b.vmdk: 70 %", "vmdkctl: b.vmdk: 100 %"));
}

// Begins to create an image of very many files in `folder`, sends `number` when the first is there,
// and returns how the program ended, with what it said on stderr.
std::pair<int, std::string> interrupt_create(const fs::path& folder, int number) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> said(std::tmpfile(), &std::fclose);
  const pid_t child = fork();
  if (child == 0) {
    // Whoever runs the tests in the background may ignore it, and so would vmdkctl.
    ::signal(number, SIG_DFL);
    if (chdir(folder.c_str()) == 0 && dup2(fileno(said.get()), STDERR_FILENO) >= 0)
      execl(VMDKCTL, VMDKCTL, "create", "--type=twoGbMaxExtentFlat", "a.vmdk", "40T", nullptr);
    _exit(99);
  }
  for (int tries = 0; tries < 6000 && fs::is_empty(folder); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(child, number);
  int status = 0;
  waitpid(child, &status, 0);
  std::string text(200, '\0');
  std::rewind(said.get());
  text.resize(std::fread(text.data(), 1, text.size(), said.get()));
  return {status, text};
}

TEST_F(VmdkctlTest, CreateThatIsInterruptedLeavesNothing) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    const auto [status, said] = interrupt_create(folder_.path(), number);
    EXPECT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_EQ(WTERMSIG(status), number);
    EXPECT_EQ(said, "vmdkctl: a.vmdk: Interrupted system call\n");
    EXPECT_TRUE(fs::is_empty(folder_.path())) << number;
  }
}

TEST_F(VmdkctlTest, CreateMakesChildrenAndTellsWhereTheParentMustBeAllowed) {
  create("base.vmdk 10M");
  const CommandResult beside = vmdkctl("create --parent=base.vmdk child.vmdk");
  EXPECT_EQ(beside.status, 0);
  EXPECT_EQ(beside.err, "");
  fs::create_directory(path("elsewhere"));
  const CommandResult away = vmdkctl("create --parent=base.vmdk elsewhere/child.vmdk");
  EXPECT_EQ(away.status, 0);
  EXPECT_THAT(away.err, HasSubstr("--allow-dir="));
  // The advice is right: refused without, opened with it.
  EXPECT_EQ(vmdkctl("info elsewhere/child.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("info --allow-dir=. elsewhere/child.vmdk").status, 0);
}

}  // namespace
}  // namespace vmdk::test
