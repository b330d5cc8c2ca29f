// vmdkctl: words, help, messages.
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

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
       {"--size", "--type", "--for", "--grain", "--adapter", "--parent", "--zeroed-grains",
        "--search", "--allow-dir", "--progress", "--help"}},
      {"stats", {"--json", "--watch", "--help"}},
      {"flush", {"--help"}},
      {"info",
       {"--json", "--partitions", "--force", "--layer", "--salvage", "--parent", "--search",
        "--allow-dir", "--allow-devices", "--help"}},
      {"check",
       {"--json", "--repair", "--dry-run", "--force", "--salvage", "--progress", "--parent",
        "--search", "--allow-dir", "--allow-devices", "--help"}},
      {"map",
       {"--json", "--share", "--force", "--layer", "--salvage", "--parent", "--search",
        "--allow-dir", "--allow-devices", "--help"}},
      {"cat",
       {"--offset", "--length", "--partition", "--progress", "--share", "--force", "--layer",
        "--salvage", "--parent", "--search", "--allow-dir", "--allow-devices", "--help"}},
      {"compare",
       {"--raw", "--strict", "--all", "--json", "--progress", "--share", "--force", "--search",
        "--allow-dir", "--allow-devices", "--help"}},
      {"convert",
       {"--type", "--for", "--from", "--size", "--level", "--jobs", "--grain", "--adapter",
        "--verify", "--progress", "--share", "--force", "--layer", "--salvage", "--parent",
        "--search", "--allow-dir", "--allow-devices", "--help"}},
      {"snapshot",
       {"--type", "--grain", "--zeroed-grains", "--progress", "--parent", "--search", "--allow-dir",
        "--allow-devices", "--help"}},
      {"commit",
       {"--json", "--progress", "--force", "--drop-cbt", "--parent", "--search", "--allow-dir",
        "--allow-devices", "--help"}},
      {"compact",
       {"--to", "--json", "--force", "--progress", "--parent", "--search", "--allow-dir",
        "--allow-devices", "--help"}},
      {"resize",
       {"--force", "--drop-cbt", "--progress", "--parent", "--search", "--allow-dir",
        "--allow-devices", "--help"}},
      {"rebase",
       {"--unsafe", "--json", "--progress", "--force", "--drop-cbt", "--parent", "--search",
        "--allow-dir", "--allow-devices", "--help"}},
      {"bench",
       {"--write", "--size", "--bs", "--type", "--json", "--progress", "--parent", "--search",
        "--allow-dir", "--allow-devices", "--help"}},
      {"descriptor", {"--set", "--rebuild", "--force", "--json", "--help"}},
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
       {"--help", "create --help", "info --help", "check --help", "map --help", "snapshot --help",
        "commit --help", "compact --help", "resize --help", "rebase --help", "descriptor --help"}) {
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

// What the verb lacks is said to be the mount's.
TEST_F(VmdkctlTest, HintsNameOptionsOfTheVerb) {
  create("old.vmdk 1M");
  create("other.vmdk 1M");
  create("--parent=old.vmdk child.vmdk");
  fs::rename(path("old.vmdk"), path("gone"));
  const std::string found = "hint: --parent=FILE names it, --search=DIR looks in another folder, ";
  const std::string salvage = "--salvage reads what the image has without it";
  EXPECT_THAT(vmdkctl("commit child.vmdk").err, HasSubstr(found + "vmdkfuse " + salvage + "\n"));
  EXPECT_THAT(vmdkctl("cat child.vmdk > out").err, HasSubstr(found + salvage + "\n"));
  EXPECT_THAT(
      vmdkctl("rebase child.vmdk other.vmdk").err,
      HasSubstr(found + "vmdkfuse " + salvage + "; --unsafe names PARENT without a look at the "));
  EXPECT_EQ(vmdkctl("rebase --unsafe child.vmdk other.vmdk").status, 0) << "the hint is right";
  PosixFileSystem file_system;
  OpenOptions forced;
  forced.force_children = true;
  ASSERT_OK_AND_ASSIGN(const auto busy, Disk::open(file_system, path("other.vmdk"), forced));
  const std::vector<std::byte> bytes(100, std::byte{0x42});
  ASSERT_OK(busy->write(DiskOffset(0), bytes));
  ASSERT_OK(busy->close());
  for (const std::string words : {"commit child.vmdk", "cat child.vmdk > out"})
    EXPECT_THAT(vmdkctl(words).err, HasSubstr("hint: vmdkfuse -r --ignore-cid reads it")) << words;
}

TEST_F(VmdkctlTest, FailsWhenItsOutputCannotBeWritten) {
  create("disk.vmdk 1M");
  const CommandResult result = vmdkctl("info disk.vmdk >/dev/full");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("standard output: No space left on device"));
  // For check, 2 would say that the image is damaged.
  EXPECT_EQ(vmdkctl("check disk.vmdk >/dev/full").status, 1);
}

}  // namespace
}  // namespace vmdk::test
