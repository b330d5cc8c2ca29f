// vmdkctl compare.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "interop/copy_fixture.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class CompareVerbTest : public CopyTest {
 protected:
  void SetUp() override {
    raw_ = save_raw("raw", 5 * kMiB);
    expect_done("\"$V\" convert --from=raw raw a.vmdk");
  }

  std::string raw_;
};

TEST_F(CompareVerbTest, FindsTheSameBytesInOtherKinds) {
  expect_done("\"$V\" convert --type=streamOptimized a.vmdk b.vmdk");
  const CommandResult images = vmdkctl("compare a.vmdk b.vmdk");
  EXPECT_EQ(images.status, 0) << images.to_text();
  EXPECT_EQ(images.out, "a.vmdk and b.vmdk are the same\n");
  EXPECT_EQ(vmdkctl("compare --raw=b a.vmdk raw").status, 0);
  EXPECT_EQ(vmdkctl("compare --raw=a raw a.vmdk").status, 0);
  EXPECT_EQ(vmdkctl("compare --raw=a --raw=b raw raw").status, 0);
}

TEST_F(CompareVerbTest, NamesTheFirstByteThatDiffersAndCountsThem) {
  std::string other = raw_;
  other[4 * kMiB + 17] = 'x';
  other[300000] = 'y';
  save("other", other);
  const CommandResult first = vmdkctl("compare --raw=b a.vmdk other");
  EXPECT_EQ(first.status, 2);
  EXPECT_EQ(first.out, "a.vmdk and other differ, first at byte 300000\n");
  EXPECT_EQ(vmdkctl("compare --all --raw=b a.vmdk other").out,
            "a.vmdk and other differ, first at byte 300000; 2 bytes differ\n");
  const CommandResult result = vmdkctl("compare --json --all --raw=b a.vmdk other");
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(json::parse(result.out), json::parse(R"({"schema": 1, "a": "a.vmdk", "b": "other",
      "virtualBytesA": 5242880, "virtualBytesB": 5242880, "same": false,
      "firstDifference": 300000, "differingBytes": 2})"));
}

TEST_F(CompareVerbTest, TakesZerosBehindTheShorterForEqual) {
  save("longer", raw_ + std::string(1024, '\0'));
  const CommandResult same = vmdkctl("compare --raw=b a.vmdk longer");
  EXPECT_EQ(same.status, 0);
  EXPECT_EQ(same.out,
            "a.vmdk and longer are the same; longer is 1024 bytes longer, all of them zeros\n");
  const CommandResult strict = vmdkctl("compare --strict --raw=b a.vmdk longer");
  EXPECT_EQ(strict.status, 2);
  EXPECT_EQ(strict.out, "a.vmdk and longer differ in size: longer is 1024 bytes longer\n");
  save("longer", raw_ + std::string(1023, '\0') + "x");
  const CommandResult differs = vmdkctl("compare --raw=a longer a.vmdk");
  EXPECT_EQ(differs.status, 2);
  EXPECT_THAT(differs.out,
              HasSubstr("first at byte 5243903: longer is 1024 bytes longer, and not all "
                        "of them are zeros"));
}

TEST_F(CompareVerbTest, NeverTakesAFileForRawByItself) {
  const CommandResult guessed = vmdkctl("compare a.vmdk raw");
  EXPECT_EQ(guessed.status, 1);
  EXPECT_THAT(guessed.err, HasSubstr("raw: not a VMDK image"));
  // And an image is raw bytes when that is said.
  EXPECT_EQ(vmdkctl("compare --raw=b a.vmdk a.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("compare a.vmdk nothing.vmdk").status, 1);
  const CommandResult word = vmdkctl("compare --raw=c a.vmdk raw");
  EXPECT_EQ(word.status, 1);
  EXPECT_THAT(word.err, HasSubstr("--raw: \"c\" is neither a nor b"));
}

TEST_F(CompareVerbTest, CannotRunWhereItCannotSayWhatItFound) {
  EXPECT_EQ(vmdkctl("compare a.vmdk a.vmdk > /dev/full").status, 1);
}

}  // namespace
}  // namespace vmdk::test
