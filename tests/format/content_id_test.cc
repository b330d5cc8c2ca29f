// Changing the content id inside a text that is otherwise kept to the byte.
#include <array>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "format/descriptor.h"

namespace vmdk {
namespace {

constexpr std::array<std::uint32_t, 3> kRandom = {0xAABBCCDD, 0x00000001, 0x12345678};
constexpr std::string_view kRest = "createType=\"x\"\nRW 1 ZERO\n";

struct Change {
  const char* what;
  std::string before;
  std::uint32_t cid;
  std::string after;
};

void PrintTo(const Change& change, std::ostream* out) {
  *out << change.what;
}

class ContentIdTest : public testing::TestWithParam<Change> {};

TEST_P(ContentIdTest, ChangesTheseBytesAndNoOthers) {
  const auto& change = GetParam();
  const auto before = change.before + std::string(kRest);
  auto parsed = Descriptor::parse(before);
  ASSERT_TRUE(parsed) << parsed.error().message();
  const auto [begin, end] = parsed->set_content_id(change.cid, kRandom);
  EXPECT_EQ(parsed->text(), change.after + std::string(kRest));

  ASSERT_LE(begin, end);
  ASSERT_LE(end, before.size());
  EXPECT_EQ(parsed->text().substr(0, begin), before.substr(0, begin));
  EXPECT_EQ(parsed->text().substr(end), before.substr(end));

  const auto again = Descriptor::parse(parsed->text());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->cid(), parsed->cid());
  EXPECT_EQ(again->parent_cid(), parsed->parent_cid());
  EXPECT_EQ(again->value("CID"), parsed->value("CID"));
  EXPECT_EQ(again->value("ddb.longContentID"), parsed->value("ddb.longContentID"));
}

INSTANTIATE_TEST_SUITE_P(
    Forms, ContentIdTest,
    testing::Values(
        Change{"plain", "version=1\nCID=11111111\nparentCID=22222222\n", 0xabcdef01,
               "version=1\nCID=abcdef01\nparentCID=22222222\n"},
        Change{"leading zeros", "version=1\nCID=11111111\n", 0x1, "version=1\nCID=00000001\n"},
        Change{"parent first", "version=1\nparentCID=11111111\nCID=11111111\n", 0xabcdef01,
               "version=1\nparentCID=11111111\nCID=abcdef01\n"},
        Change{"comment", "# old CID=1\n#CID=2\nversion=1\nCID=11111111\n", 0xabcdef01,
               "# old CID=1\n#CID=2\nversion=1\nCID=abcdef01\n"},
        Change{"7 digits", "version=1\nCID=1111111\nparentCID=ffffffff\n", 0xabcdef01,
               "version=1\nCID=bcdef01\nparentCID=ffffffff\n"},
        Change{"1 digit", "version=1\nCID=1\n", 0xabcdef0f, "version=1\nCID=f\n"},
        Change{"blanks, quotes, CR LF", "version=1\r\n cid = \"11111111\" \r\n", 0xabcdef01,
               "version=1\r\n cid = \"abcdef01\" \r\n"},
        Change{"byte-order mark", "\xEF\xBB\xBFversion=1\nCID=11111111\n", 0xabcdef01,
               "\xEF\xBB\xBFversion=1\nCID=abcdef01\n"},
        Change{"duplicate", "version=1\nCID=11111111\nCID=22222222\n", 0xabcdef01,
               "version=1\nCID=abcdef01\nCID=22222222\n"},
        Change{
            "long content id",
            "version=1\nCID=0172e8a4\nddb.longContentID = \"c493b057f416b9534001df440172e8a4\"\n",
            0xabcdef01,
            "version=1\nCID=abcdef01\nddb.longContentID = \"aabbccdd0000000112345678abcdef01\"\n"},
        Change{"long content id in front",
               "ddb.longcontentid=c493b057f416b9534001df440172e8a4\nversion=1\nCID=0172e8a4\n",
               0xabcdef01,
               "ddb.longcontentid=aabbccdd0000000112345678abcdef01\nversion=1\nCID=abcdef01\n"},
        Change{"long content id of another length is none",
               "version=1\nCID=0172e8a4\nddb.longContentID = \"c493\"\n", 0xabcdef01,
               "version=1\nCID=abcdef01\nddb.longContentID = \"c493\"\n"},
        Change{
            "long content id without digits is none",
            "version=1\nCID=0172e8a4\nddb.longContentID = \"c493b057f416b9534001df44-unknown\"\n",
            0xabcdef01,
            "version=1\nCID=abcdef01\nddb.longContentID = "
            "\"c493b057f416b9534001df44-unknown\"\n"}));

TEST(ContentIdChangeTest, IsKnownAfterTheChange) {
  auto parsed = Descriptor::parse("version=1\nCID=1111111\n" + std::string(kRest));
  ASSERT_TRUE(parsed);
  parsed->set_content_id(0xabcdef01, kRandom);
  EXPECT_EQ(parsed->cid(), 0xbcdef01U);
  EXPECT_EQ(parsed->value("CID"), "bcdef01");
}

// A child over the old content must not fit the new one, however few digits there are.
TEST(ContentIdChangeTest, NeverStaysTheSameBecauseOfFewDigits) {
  auto parsed = Descriptor::parse("version=1\nCID=a\n" + std::string(kRest));
  ASSERT_TRUE(parsed);
  for (int round = 0; round < 20; ++round) {
    const auto old = parsed->cid();
    parsed->set_content_id(0x12345670 | old, kRandom);
    EXPECT_NE(parsed->cid(), old);
    EXPECT_LT(parsed->cid(), 16U);
    EXPECT_EQ(Descriptor::parse(parsed->text())->cid(), parsed->cid());
  }
}

TEST(ContentIdChangeTest, CanChangeAgainAndAgain) {
  auto parsed = Descriptor::parse(
      "version=1\nCID=0172e8a4\nddb.longContentID = \"c493b057f416b9534001df440172e8a4\"\n" +
      std::string(kRest));
  ASSERT_TRUE(parsed);
  for (std::uint32_t cid = 0; cid < 100; ++cid) {
    parsed->set_content_id(cid * 0x01010101U, {cid, cid + 1, cid + 2});
    const auto again = Descriptor::parse(parsed->text());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->cid(), cid * 0x01010101U);
    EXPECT_EQ(again->value("ddb.longContentID")->size(), 32U);
  }
}

TEST(ContentIdChangeTest, UsableIdsAvoidTheOnesWithAMeaning) {
  EXPECT_EQ(usable_cid(0), 0U);
  EXPECT_EQ(usable_cid(0xFFFFFFFD), 0xFFFFFFFDU);
  EXPECT_LT(usable_cid(0xFFFFFFFE), 0xFFFFFFFEU);
  EXPECT_LT(usable_cid(0xFFFFFFFF), 0xFFFFFFFEU);
  EXPECT_NE(usable_cid(0xFFFFFFFE), usable_cid(0xFFFFFFFF));
}

TEST(ChangeTrackingTest, IsTakenOutInPlace) {
  const std::string text =
      "# Disk DescriptorFile\nversion=3\nCID=0172e8a4\nparentCID=ffffffff\n"
      "createType=\"vmfs\"\r\nRW 8 VMFS \"d-flat.vmdk\"\n# Change Tracking File\n"
      "changeTrackPath=\"d-ctk.vmdk\"\r\nddb.adapterType = \"ide\"\n";
  auto parsed = Descriptor::parse(text);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->has_change_tracking());
  const auto [begin, end] = parsed->drop_change_tracking();
  EXPECT_FALSE(parsed->has_change_tracking());
  EXPECT_EQ(parsed->version(), 1U);
  const std::string after = parsed->text();
  ASSERT_EQ(after.size(), text.size());
  EXPECT_EQ(after.substr(0, begin), text.substr(0, begin));
  EXPECT_EQ(after.substr(end), text.substr(end));
  EXPECT_NE(after.find("\nversion=1\n"), std::string::npos);
  EXPECT_NE(after.find("File\n#" + std::string(27, ' ') + "\r\nddb"), std::string::npos) << after;
  const auto again = Descriptor::parse(after);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->has_change_tracking());
  EXPECT_EQ(again->value("ddb.adapterType"), "ide");
}

TEST(ChangeTrackingTest, OneSignOfItIsEnough) {
  const std::string head = "CID=1\ncreateType=\"vmfs\"\nRW 8 VMFS \"d\"\n";
  for (const std::string& text :
       {"version=3\n" + head, "version=\"3\"\n" + head,
        "changeTrackPath=x\nversion=1\n" + head + "CHANGETRACKPATH=\"y\""}) {
    auto parsed = Descriptor::parse(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_TRUE(parsed->has_change_tracking());
    parsed->drop_change_tracking();
    const auto again = Descriptor::parse(parsed->text());
    ASSERT_TRUE(again) << parsed->text();
    EXPECT_FALSE(again->has_change_tracking()) << parsed->text();
    EXPECT_EQ(again->version(), 1U);
  }
}

}  // namespace
}  // namespace vmdk
