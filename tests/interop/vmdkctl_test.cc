// The built vmdkctl as a user meets it: words, messages, exit statuses, JSON.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "io/posix_file_system.h"
#include "support/command.h"
#include "support/esx_builder.h"
#include "support/file_helpers.h"
#include "support/matchers.h"
#include "support/stream_builder.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    lines.push_back(line);
  return lines;
}

class VmdkctlTest : public testing::Test {
 protected:
  // In the test's own folder.
  CommandResult vmdkctl(const std::string& words) const {
    return run_command(fmt::format("cd {} && {} {}", shell_word(folder_.path().string()),
                                   shell_word(VMDKCTL), words));
  }

  void create(const std::string& words) const {
    const CommandResult result = vmdkctl("create " + words);
    ASSERT_EQ(result.status, 0) << result.to_text();
  }

  json json_of(const std::string& words) const {
    const CommandResult result = vmdkctl(words);
    EXPECT_EQ(result.err, "") << words;
    return json::parse(result.out);  // throws, and so fails the test
  }

  fs::path path(const std::string& name) const { return folder_ / name; }

  void poke(const std::string& name, std::uint64_t at, std::string_view bytes) const {
    std::fstream file(path(name), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.flush()) << name;
  }

  std::uint32_t load32(const std::string& name, std::uint64_t at) const {
    std::ifstream file(path(name), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    std::uint32_t value = 0;
    file.read(reinterpret_cast<char*>(&value), sizeof value);  // NOLINT: bytes as characters
    EXPECT_TRUE(file) << name;
    return value;
  }

  void write_data(const std::string& image, std::uint64_t at, std::size_t length) const {
    PosixFileSystem file_system;
    ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(file_system, path(image), {}));
    const std::vector<std::byte> bytes(length, std::byte{0x42});
    ASSERT_OK(disk->write(DiskOffset(at), bytes));
    ASSERT_OK(disk->close());
  }

  TempDir folder_;
};

// --- Words, help, messages ---------------------------------------------------------------------

TEST_F(VmdkctlTest, WantsAVerb) {
  const CommandResult result = vmdkctl("");
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "vmdkctl: a verb is missing\n    hint: vmdkctl --help\n");
}

TEST_F(VmdkctlTest, SuggestsTheVerbThatWasMeant) {
  const CommandResult result = vmdkctl("crate disk.vmdk 1M");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("unknown verb \"crate\" (did you mean \"create\"?)"));
}

TEST_F(VmdkctlTest, SuggestsTheOptionThatWasMeant) {
  const CommandResult result = vmdkctl("create --grian=4K disk.vmdk 1M");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err,
              HasSubstr("create: unknown option \"--grian\" (did you mean \"--grain\"?)"));
  EXPECT_FALSE(fs::exists(path("disk.vmdk")));
}

TEST_F(VmdkctlTest, DoesNotGuessOptionsFromTheirBeginnings) {
  const CommandResult result = vmdkctl("create --gra=4K disk.vmdk 1M");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("unknown option \"--gra\""));
}

TEST_F(VmdkctlTest, CountsOperands) {
  EXPECT_THAT(vmdkctl("check").err, HasSubstr("check: IMAGE is missing"));
  EXPECT_THAT(vmdkctl("map a b").err, HasSubstr("\"b\" is one operand too many"));
  EXPECT_EQ(vmdkctl("check").status, 1);
  EXPECT_EQ(vmdkctl("map a b").status, 1);
}

TEST_F(VmdkctlTest, TellsItsVersion) {
  const CommandResult result = vmdkctl("--version");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "vmdkctl " VMDK_VERSION "\n");
}

const std::map<std::string, std::set<std::string>>& known_options() {
  static const std::map<std::string, std::set<std::string>> options{
      {"create",
       {"--size", "--type", "--grain", "--adapter", "--parent", "--zeroed-grains", "--search",
        "--allow-dir", "--progress", "--help"}},
      {"info",
       {"--json", "--force", "--layer", "--salvage", "--parent", "--search", "--allow-dir",
        "--allow-devices", "--help"}},
      {"check",
       {"--json", "--repair", "--force", "--progress", "--parent", "--search", "--allow-dir",
        "--allow-devices", "--help"}},
      {"map",
       {"--json", "--share", "--force", "--layer", "--salvage", "--parent", "--search",
        "--allow-dir", "--allow-devices", "--help"}},
  };
  return options;
}

TEST_F(VmdkctlTest, HelpShowsEveryOptionAndNoOther) {
  const std::regex option("^ +(?:-[a-zA-Z], )?(--[a-z-]+)");
  for (const auto& [verb, expected] : known_options()) {
    const CommandResult result = vmdkctl(verb + " --help");
    EXPECT_EQ(result.status, 0) << verb;
    EXPECT_EQ(result.err, "") << verb;
    std::set<std::string> shown;
    for (const std::string& line : lines_of(result.out)) {
      std::smatch match;
      if (std::regex_search(line, match, option))
        shown.insert(match[1]);
    }
    EXPECT_EQ(shown, expected) << verb;
  }
}

TEST_F(VmdkctlTest, KnowsEveryOptionThatHelpShows) {
  for (const auto& [verb, options] : known_options()) {
    for (const std::string& option : options) {
      // Without an operand, with a value where one may follow: only the name can be unknown.
      const CommandResult result = vmdkctl(verb + " " + option);
      EXPECT_THAT(result.err, Not(HasSubstr("unknown option"))) << verb << ' ' << option;
    }
  }
}

TEST_F(VmdkctlTest, HelpFitsAScreen) {
  for (const std::string words :
       {"--help", "create --help", "info --help", "check --help", "map --help"}) {
    const std::vector<std::string> lines = lines_of(vmdkctl(words).out);
    EXPECT_LE(lines.size(), 24U) << words;
    EXPECT_GE(lines.size(), 5U) << words;
    for (const std::string& line : lines)
      EXPECT_LE(line.size(), 80U) << words << ": " << line;
  }
}

TEST_F(VmdkctlTest, OverallHelpNamesEveryVerb) {
  const std::string help = vmdkctl("--help").out;
  for (const auto& [verb, options] : known_options())
    EXPECT_THAT(help, HasSubstr("\n  " + verb + " ")) << verb;
}

TEST_F(VmdkctlTest, FailsWhenItsOutputCannotBeWritten) {
  create("disk.vmdk 1M");
  const CommandResult result = vmdkctl("info disk.vmdk >/dev/full");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("standard output: No space left on device"));
  // For check, 2 would say that the image is damaged.
  EXPECT_EQ(vmdkctl("check disk.vmdk >/dev/full").status, 1);
}

// --- create ------------------------------------------------------------------------------------

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

// --- info --------------------------------------------------------------------------------------

TEST_F(VmdkctlTest, InfoShowsTheWholeChainOldestFirst) {
  create("base.vmdk 10M");
  create("--parent=base.vmdk middle.vmdk");
  create("--parent=middle.vmdk top.vmdk");
  const json info = json_of("info --json top.vmdk");
  EXPECT_EQ(info["schema"], 1);
  EXPECT_EQ(info["image"], "top.vmdk");
  EXPECT_EQ(info["clean"], true);
  EXPECT_EQ(info["parentMatches"], true);
  ASSERT_EQ(info["layers"].size(), 3U);
  const std::vector<std::string> names{"base.vmdk", "middle.vmdk", "top.vmdk"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(info["layers"][i]["index"], i);
    EXPECT_EQ(fs::path(info["layers"][i]["file"].get<std::string>()).filename(), names[i]);
  }
  EXPECT_EQ(info["chainComplete"], true);
  EXPECT_FALSE(info["layers"][0].contains("parentCid"));
  EXPECT_EQ(info["layers"][2]["parentCid"], info["layers"][1]["cid"]);
  EXPECT_EQ(info["parentCid"], info["layers"][1]["cid"]);

  const std::string text = vmdkctl("info top.vmdk").out;
  EXPECT_THAT(text, HasSubstr("virtual size     10 MiB (10485760 bytes)\n"));
  EXPECT_THAT(text, HasSubstr("format           monolithicSparse, version 1, grain 64 KiB\n"));
  EXPECT_THAT(text, HasSubstr("(matches)"));
  EXPECT_LT(text.find("base.vmdk"), text.find("middle.vmdk"));
}

TEST_F(VmdkctlTest, InfoShowsAChainWhoseParentWasChanged) {
  create("base.vmdk 10M");
  create("--parent=base.vmdk child.vmdk");
  const std::string cid = json_of("info --json base.vmdk")["cid"];
  const std::string other = cid == "0badcafe" ? "0badcaff" : "0badcafe";
  std::ifstream file(path("base.vmdk"), std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)), {});
  poke("base.vmdk", content.find("\nCID=") + 5, other);

  const CommandResult text = vmdkctl("info child.vmdk");
  EXPECT_EQ(text.status, 0) << text.to_text();
  EXPECT_THAT(text.out, HasSubstr("does not match"));
  const json info = json::parse(vmdkctl("info --json child.vmdk").out);
  EXPECT_EQ(info["parentMatches"], false);
  EXPECT_EQ(info["parentCid"], cid);
  EXPECT_EQ(info["layers"][0]["cid"], other);
}

TEST_F(VmdkctlTest, InfoShowsWhatIsKnownWithoutAMissingParent) {
  create("base.vmdk 10M");
  create("--parent=base.vmdk middle.vmdk");
  create("--parent=middle.vmdk top.vmdk");
  fs::remove(path("base.vmdk"));
  for (const std::string image : {"middle.vmdk", "top.vmdk"}) {
    const CommandResult text = vmdkctl("info " + image);
    EXPECT_EQ(text.status, 2) << image;
    EXPECT_THAT(text.out, HasSubstr("virtual size     10 MiB (10485760 bytes)\n")) << image;
    EXPECT_THAT(text.out, HasSubstr("(what is beneath it was not found)")) << image;
    EXPECT_THAT(text.err, AllOf(HasSubstr("middle.vmdk: parent disk not found"),
                                HasSubstr("wanted:    base.vmdk"), HasSubstr("looked at: "),
                                HasSubstr("base.vmdk: no such file"), HasSubstr("--parent=FILE")));
  }
  EXPECT_THAT(vmdkctl("info middle.vmdk").out, HasSubstr("(not found)"));
  const json info = json::parse(vmdkctl("info --json top.vmdk").out);
  EXPECT_EQ(info["chainComplete"], false);
  EXPECT_THAT(info["chainError"].get<std::string>(), HasSubstr("wanted:    base.vmdk"));
  EXPECT_EQ(info["layers"].size(), 2U);
  EXPECT_TRUE(info["layers"][0]["parentMatches"].is_null());
  EXPECT_EQ(info["parentMatches"], true);
  // Nothing is mounted, mapped or read of such a chain.
  EXPECT_EQ(vmdkctl("map top.vmdk").status, 2);
}

TEST_F(VmdkctlTest, InfoTakesSeveralImagesAndGoesOnAfterAFailure) {
  create("a.vmdk 1M");
  create("b.vmdk 2M");
  const CommandResult result = vmdkctl("info --json a.vmdk missing.vmdk b.vmdk");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("missing.vmdk"), HasSubstr("No such file")));
  const std::vector<std::string> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(json::parse(lines[0])["virtualBytes"], kMiB);
  EXPECT_EQ(json::parse(lines[1])["virtualBytes"], 2 * kMiB);
}

TEST_F(VmdkctlTest, InfoRefusesWhatIsNoImage) {
  std::ofstream(path("notes.txt")) << "no disk at all\n";
  const CommandResult result = vmdkctl("info notes.txt");
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, StartsWith("vmdkctl: notes.txt: "));
}

TEST_F(VmdkctlTest, InfoWorksBesideAWriterAndMapWhenAskedTo) {
  create("disk.vmdk 10M");
  PosixFileSystem file_system;
  ASSERT_OK_AND_ASSIGN(const auto writer, Disk::open(file_system, path("disk.vmdk"), {}));
  EXPECT_EQ(vmdkctl("info disk.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("map --share disk.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("map disk.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 1);
}

TEST_F(VmdkctlTest, NamesThatAreNotUtf8KeepTheirBytesInJson) {
  create("disk.vmdk 1M");
  const std::string name = "d\xE4sk.vmdk";
  fs::rename(path("disk.vmdk"), path(name));
  const json info = json_of("info --json " + shell_word(name));
  EXPECT_EQ(info["image"], "d\xEF\xBF\xBDsk.vmdk");
  EXPECT_EQ(info["imageBase64"], "ZORzay52bWRr");
  EXPECT_TRUE(info["layers"][0].contains("fileBase64"));
}

TEST_F(VmdkctlTest, NamesCannotCommandTheTerminal) {
  create("disk.vmdk 1M");
  const std::string name = "d\x1b[31msk.vmdk";
  fs::rename(path("disk.vmdk"), path(name));
  for (const std::string verb : {"info ", "check ", "map "}) {
    const CommandResult result = vmdkctl(verb + shell_word(name));
    EXPECT_EQ(result.status, 0) << result.to_text();
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("\x1b"))) << verb;
  }
  EXPECT_THAT(vmdkctl("info " + shell_word(name)).out, HasSubstr("d\\x1b[31msk.vmdk"));
  EXPECT_THAT(vmdkctl("info " + shell_word("x\x1b.vmdk")).err,
              AllOf(HasSubstr("x\\x1b.vmdk"), Not(HasSubstr("\x1b"))));
}

// --- map ---------------------------------------------------------------------------------------

TEST_F(VmdkctlTest, MapShowsWhereTheBytesAre) {
  create("base.vmdk 10M");
  write_data("base.vmdk", kMiB, 128 * kKiB);
  create("--parent=base.vmdk child.vmdk");
  write_data("child.vmdk", kMiB + 64 * kKiB, 64 * kKiB);

  const json map = json_of("map --json child.vmdk");
  EXPECT_EQ(map["schema"], 1);
  EXPECT_EQ(map["virtualBytes"], 10 * kMiB);
  ASSERT_EQ(map["runs"].size(), 4U);
  std::uint64_t end = 0;
  for (const json& run : map["runs"]) {
    EXPECT_EQ(run["offset"], end) << "runs have no gaps";
    end += run["length"].get<std::uint64_t>();
  }
  EXPECT_EQ(end, 10 * kMiB);
  const std::vector<std::string> states{"hole", "data", "data", "hole"};
  for (std::size_t i = 0; i < states.size(); ++i)
    EXPECT_EQ(map["runs"][i]["state"], states[i]) << i;
  EXPECT_EQ(map["runs"][1]["offset"], kMiB);
  EXPECT_EQ(map["runs"][1]["length"], 64 * kKiB);
  EXPECT_EQ(map["runs"][1]["layer"], 0);
  EXPECT_EQ(map["runs"][2]["layer"], 1);
  EXPECT_FALSE(map["runs"][0].contains("layer"));

  // The place it names holds the data.
  std::ifstream file(fs::path(folder_.path()) / map["runs"][2]["file"].get<std::string>(),
                     std::ios::binary);
  file.seekg(map["runs"][2]["fileOffset"].get<std::streamoff>());
  EXPECT_EQ(file.get(), 0x42);
}

TEST_F(VmdkctlTest, MapPrintsOneLineARun) {
  create("disk.vmdk 10M");
  EXPECT_THAT(lines_of(vmdkctl("map disk.vmdk").out),
              ElementsAre(HasSubstr("offset"), AllOf(HasSubstr("10485760"), HasSubstr("hole"))));
}

// --- check -------------------------------------------------------------------------------------

// Bytes in a fresh image of 10 MiB with 64 KiB grains: header, 20 sectors of descriptor, redundant
// directory (sector 21) and table (22 to 25), directory (26) and table (27 to 30).
constexpr std::uint64_t kUncleanMark = 72;
constexpr std::uint64_t kRedundantTable = 22 * kSectorSize;
constexpr std::uint64_t kTable = 27 * kSectorSize;

TEST_F(VmdkctlTest, CheckOfACleanImageEndsWith0) {
  create("disk.vmdk 10M");
  write_data("disk.vmdk", 0, 100000);
  const CommandResult result = vmdkctl("check disk.vmdk");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_THAT(result.out, HasSubstr("disk.vmdk: clean, 2 of 160 grains in use"));
  const json report = json_of("check --json disk.vmdk");
  EXPECT_EQ(report["verdict"], "clean");
  EXPECT_EQ(report["damageCount"], 0);
  EXPECT_EQ(report["allocatedGrains"], 2);
}

TEST_F(VmdkctlTest, CheckShowsEachImagesOwnFigures) {
  create("base.vmdk 10M");
  write_data("base.vmdk", 0, 100000);
  create("--parent=base.vmdk child.vmdk");
  const CommandResult result = vmdkctl("check child.vmdk");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_THAT(result.out, AllOf(HasSubstr("base.vmdk: parent, 2 of 160 grains in use\n"),
                                HasSubstr("child.vmdk: clean, 0 of 160 grains in use\n")));
  const json report = json_of("check --json child.vmdk");
  EXPECT_EQ(report["allocatedGrains"], 0);
  ASSERT_EQ(report["layers"].size(), 2U);
  EXPECT_EQ(report["layers"][0]["allocatedGrains"], 2);
  EXPECT_EQ(report["layers"][1]["allocatedGrains"], 0);
}

TEST_F(VmdkctlTest, CheckThatCannotRunEndsWith1) {
  const CommandResult result = vmdkctl("check missing.vmdk");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("missing.vmdk"));
}

TEST_F(VmdkctlTest, CheckOfADamagedImageEndsWith2AndNamesThePlace) {
  create("disk.vmdk 10M");
  // Both copies of the entry of grain 3 point into the header.
  const std::string entry("\x02\0\0\0", 4);
  poke("disk.vmdk", kTable + 3 * 4, entry);
  poke("disk.vmdk", kRedundantTable + 3 * 4, entry);
  const CommandResult result = vmdkctl("check disk.vmdk");
  EXPECT_EQ(result.status, 2) << result.to_text();
  EXPECT_THAT(result.out, HasSubstr("disk.vmdk: damage: "));
  const json report = json_of("check --json disk.vmdk");
  EXPECT_EQ(report["verdict"], "damage");
  EXPECT_GE(report["damageCount"], 1);
  ASSERT_FALSE(report["findings"].empty());
  EXPECT_EQ(report["findings"][0]["severity"], "damage");
  // Its header is no exception.
  poke("disk.vmdk", 20, "\x07");
  const CommandResult header = vmdkctl("check disk.vmdk");
  EXPECT_EQ(header.status, 2) << header.to_text();
  EXPECT_THAT(header.out, HasSubstr("disk.vmdk: damage: sparse header: grainSize 7"));
}

TEST_F(VmdkctlTest, CheckFindsAnUncleanMarkAndRepairTakesItAway) {
  create("disk.vmdk 10M");
  poke("disk.vmdk", kUncleanMark, "\x01");
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 3);
  EXPECT_EQ(json::parse(vmdkctl("info --json disk.vmdk").out)["clean"], false);
  const CommandResult repair = vmdkctl("check --repair disk.vmdk");
  EXPECT_EQ(repair.status, 0) << repair.to_text();
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 0);
  EXPECT_EQ(json_of("info --json disk.vmdk")["clean"], true);
}

TEST_F(VmdkctlTest, RepairEndsAnInterruptedCommit) {
  create("disk.vmdk 10M");
  write_data("disk.vmdk", 0, 65536);
  poke("disk.vmdk", kUncleanMark, "\x01");
  poke("disk.vmdk", kRedundantTable, std::string(4, '\0'));
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 3);
  const CommandResult repair = vmdkctl("check --repair disk.vmdk");
  EXPECT_EQ(repair.status, 0) << repair.to_text();
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 0);
  EXPECT_NE(load32("disk.vmdk", kTable), 0U);
  EXPECT_EQ(load32("disk.vmdk", kRedundantTable), load32("disk.vmdk", kTable));
}

TEST_F(VmdkctlTest, UnequalCopiesUnderAClearMarkAreRepairedOnlyWhenTablesAreNamed) {
  create("disk.vmdk 10M");
  write_data("disk.vmdk", 0, 65536);
  poke("disk.vmdk", kRedundantTable, std::string(4, '\0'));
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("check --repair disk.vmdk").status, 2);
  EXPECT_EQ(load32("disk.vmdk", kRedundantTable), 0U);
  const CommandResult repair = vmdkctl("check disk.vmdk --repair=tables");
  EXPECT_EQ(repair.status, 0) << repair.to_text();
  EXPECT_EQ(load32("disk.vmdk", kRedundantTable), load32("disk.vmdk", kTable));
  EXPECT_EQ(vmdkctl("check disk.vmdk").status, 0);
}

// --- Damaged disks -----------------------------------------------------------------------------

TEST_F(VmdkctlTest, SalvageTellsWhatWouldBeDone) {
  create("disk.vmdk 10M");
  EXPECT_EQ(json_of("info --json --salvage disk.vmdk")["salvagedCount"], 0);
  EXPECT_FALSE(json_of("info --json disk.vmdk").contains("salvaged"));
  EXPECT_THAT(vmdkctl("info --salvage disk.vmdk").out, HasSubstr("nothing had to be"));
  create("--type=twoGbMaxExtentFlat split.vmdk 5G");
  fs::remove(path("split-f002.vmdk"));
  const CommandResult refused = vmdkctl("info split.vmdk");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("--salvage reads what is sound"));
  const CommandResult info = vmdkctl("info --salvage split.vmdk");
  EXPECT_EQ(info.status, 0) << info.to_text();
  EXPECT_THAT(info.out, HasSubstr("of the disk read EIO"));
  const json told = json_of("info --json --salvage split.vmdk");
  EXPECT_EQ(told["salvagedCount"], 1);
  EXPECT_THAT(told["salvaged"][0].get<std::string>(), HasSubstr("split-f002.vmdk"));
  const CommandResult map = vmdkctl("map --salvage split.vmdk");
  EXPECT_EQ(map.status, 0) << map.to_text();
  EXPECT_THAT(map.out, HasSubstr("unreadable"));
  EXPECT_EQ(vmdkctl("map split.vmdk").status, 2);
}

// --- streamOptimized ---------------------------------------------------------------------------

TEST_F(VmdkctlTest, CompressedImagesAreDescribedMappedAndChecked) {
  StreamSpec spec;
  spec.capacity = 10 * kMiB;
  for (const std::uint64_t index : {16U, 17U}) {
    StreamGrain grain;
    grain.index = index;
    grain.data = filled(64 * kKiB, 'x');
    spec.grains.push_back(grain);
  }
  PosixFileSystem files;
  ASSERT_OK_AND_ASSIGN(const BuiltStream built, build_stream(files, path("s.vmdk"), spec));
  EXPECT_THAT(vmdkctl("info s.vmdk").out,
              HasSubstr("streamOptimized, version 3, grain 64 KiB, compressed"));
  EXPECT_EQ(json_of("info --json s.vmdk")["layers"][0]["extents"][0]["compressed"], true);
  EXPECT_THAT(
      lines_of(vmdkctl("map s.vmdk").out),
      ElementsAre(HasSubstr("offset"), HasSubstr("hole"),
                  AllOf(HasSubstr("131072"), HasSubstr("data"), HasSubstr("s.vmdk (compressed)")),
                  HasSubstr("hole")));
  const json map = json_of("map --json s.vmdk");
  EXPECT_EQ(map["runs"][1]["compressed"], true);
  EXPECT_EQ(map["runs"][1]["fileOffset"], built.records.at(16));
  EXPECT_THAT(vmdkctl("check s.vmdk").out, HasSubstr("clean, 2 of 160 grains in use"));
  EXPECT_EQ(vmdkctl("check s.vmdk").status, 0);
  poke("s.vmdk", built.records.at(17), std::string(1, '\x55'));
  const CommandResult damaged = vmdkctl("check s.vmdk");
  EXPECT_EQ(damaged.status, 2);
  EXPECT_THAT(damaged.out, HasSubstr("grain 17 (compressed, at sector"));
}

TEST_F(VmdkctlTest, SnapshotsOfEsxAreDescribedMappedAndChecked) {
  PosixFileSystem file_system;
  const std::vector<std::byte> sector(512, std::byte{'c'});
  ASSERT_OK(build_cowd_disk(file_system, path("cowd.vmdk"),
                            {.capacity = 4 * kMiB, .grains = {{.index = 8, .data = sector}}}));
  const json cowd = json_of("info --json cowd.vmdk");
  EXPECT_EQ(cowd["format"]["createType"], "vmfsSparse");
  EXPECT_EQ(cowd["format"]["grainBytes"], 512);
  EXPECT_EQ(cowd["layers"][0]["extents"][0]["type"], "VMFSSPARSE");
  EXPECT_EQ(json_of("map --json cowd.vmdk")["runs"].size(), 3U);
  EXPECT_EQ(vmdkctl("check cowd.vmdk").status, 0);
  poke("cowd-delta.vmdk", kCowdFreeSectorAt, std::string("\x05\0\0\0", 4));
  const CommandResult check = vmdkctl("check cowd.vmdk");
  EXPECT_EQ(check.status, 3);
  EXPECT_THAT(check.out, HasSubstr("its free sector 5 lies before the end of its grains"));
  EXPECT_EQ(vmdkctl("check --repair cowd.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("check cowd.vmdk").status, 0);

  ASSERT_OK(build_sesparse_disk(
      file_system, path("se.vmdk"),
      {.capacity = 20 * kMiB, .grains = {{.index = 8, .data = sector}}, .replay_journal = 1}));
  for (const std::string verb : {"info", "map"}) {
    const CommandResult refused = vmdkctl(verb + " se.vmdk");
    EXPECT_EQ(refused.status, 2) << refused.to_text();
    EXPECT_THAT(refused.err, HasSubstr("--force=journal"));
    EXPECT_EQ(vmdkctl(verb + " --force=journal se.vmdk").status, 0);
    EXPECT_EQ(vmdkctl(verb + " --force=jour se.vmdk").status, 1);
  }
  EXPECT_EQ(vmdkctl("check se.vmdk").status, 3);
}

TEST_F(VmdkctlTest, CheckKnowsOnlyTheRepairsThatExist) {
  create("disk.vmdk 10M");
  const CommandResult result = vmdkctl("check --repair=all disk.vmdk");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("--repair=tables"));
}

// --- Older layers, disks in archives -------------------------------------------------------------

TEST_F(VmdkctlTest, InfoAndMapShowAnOlderLayer) {
  create("base.vmdk 1M");
  write_data("base.vmdk", 0, 512);
  create("--parent=base.vmdk child.vmdk");
  write_data("child.vmdk", 64 * kKiB, 512);
  const json all = json_of("map --json child.vmdk");
  EXPECT_EQ(all["runs"].size(), 3U);
  for (const char* layer : {"0", "base", "base.vmdk"}) {
    const json map = json_of(fmt::format("map --json --layer={} child.vmdk", layer));
    ASSERT_EQ(map["runs"].size(), 2U) << layer;
    EXPECT_EQ(map["runs"][0]["layer"], 0);
    const json info = json_of(fmt::format("info --json --layer={} child.vmdk", layer));
    EXPECT_EQ(info["layers"].size(), 1U);
  }
  const CommandResult none = vmdkctl("info --layer=2 child.vmdk");
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.err, HasSubstr("0  "));
  EXPECT_THAT(none.err, HasSubstr("base.vmdk"));
}

TEST_F(VmdkctlTest, DisksInAnArchive) {
  if (!have_program("tar"))
    GTEST_SKIP() << "tar is not installed";
  create("a.vmdk 1M");
  write_data("a.vmdk", 0, 512);
  create("b.vmdk 2M");
  ASSERT_COMMAND("cd " + shell_word(folder_.path().string()) +
                 " && tar -cf one.ova a.vmdk && tar -cf two.ova --format=pax a.vmdk b.vmdk");
  EXPECT_EQ(json_of("info --json one.ova")["virtualBytes"], kMiB);
  EXPECT_EQ(json_of("info --json two.ova:b.vmdk")["virtualBytes"], 2 * kMiB);
  EXPECT_EQ(json_of("map --json one.ova")["runs"][0]["state"], "data");
  EXPECT_EQ(vmdkctl("check one.ova").status, 0);
  const CommandResult several = vmdkctl("info two.ova");
  EXPECT_EQ(several.status, 2);
  EXPECT_THAT(several.err, HasSubstr("two.ova:a.vmdk"));
  EXPECT_THAT(several.err, HasSubstr("two.ova:b.vmdk"));
  create("--parent=one.ova child.vmdk");
  EXPECT_EQ(json_of("info --json child.vmdk")["layers"].size(), 2U);
}

}  // namespace
}  // namespace vmdk::test
