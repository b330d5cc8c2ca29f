#include "vmdkfuse/help.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "vmdkfuse/option_list.h"
#include "vmdkfuse/options.h"

namespace vmdkfuse {
namespace {

TEST(HelpTest, ShortHelpFitsATerminal) {
  std::istringstream text(help_text());
  int lines = 0;
  for (std::string line; std::getline(text, line); ++lines)
    EXPECT_LE(line.size(), 80U) << line;
  EXPECT_LE(lines, 24);
}

TEST(HelpTest, FullHelpIsNoWiderThanATerminal) {
  std::istringstream text(full_help_text());
  for (std::string line; std::getline(text, line);)
    EXPECT_LE(line.size(), 80U) << line;
}

TEST(HelpTest, EveryOptionIsExplained) {
  for (const std::string_view name : option_names())
    EXPECT_NE(full_help_text().find("--" + std::string(name)), std::string::npos) << name;
}

TEST(HelpTest, NothingIsExplainedThatDoesNotExist) {
  const std::string text = help_text() + full_help_text();
  const auto known = option_names();
  for (std::size_t at = text.find("--"); at != std::string::npos; at = text.find("--", at + 2)) {
    const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at + 2);
    const std::string name = text.substr(at + 2, end - at - 2);
    EXPECT_NE(std::find(known.begin(), known.end(), name), known.end()) << name;
  }
}

std::string readme() {
  std::ifstream file(std::string(SOURCE_ROOT) + "/README.md");
  return {std::istreambuf_iterator<char>(file), {}};
}

// Manual and completions take them from there.
TEST(HelpTest, EveryMountOptionIsNamed) {
  const std::string text = full_help_text();
  const std::string listed = text.substr(text.find("  -o OPT"));
  for (const std::string_view name : mount_option_names())
    EXPECT_NE(listed.find(" " + std::string(name)), std::string::npos) << name;
}

// What --help-all says of an option's value, the README says too.
TEST(HelpTest, ReadmeAndHelpAgreeOnRights) {
  EXPECT_NE(full_help_text().find("--user=NAME[:GROUP]"), std::string::npos);
  EXPECT_NE(readme().find("`NAME:GROUP`"), std::string::npos);
  EXPECT_NE(readme().find("`--sandbox=auto` (the default), `on` (refuse to mount without), `off`"),
            std::string::npos);
  for (const char* value : {"\n                          auto ", "\n                          on ",
                            "\n                          off\n"})
    EXPECT_NE(full_help_text().find(value), std::string::npos) << value;
}

TEST(HelpTest, VersionNamesProgramAndLibrary) {
  EXPECT_EQ(version_text().rfind("vmdkfuse: ", 0), 0U);
  EXPECT_NE(version_text().find("\nlibfuse: 3."), std::string::npos);
}

}  // namespace
}  // namespace vmdkfuse
