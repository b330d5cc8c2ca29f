// What the parser accepts, and what it makes of it.
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "descriptor_text.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

constexpr std::string_view kPlain =
    "# Disk DescriptorFile\n"
    "version=1\n"
    "encoding=\"UTF-8\"\n"
    "CID=0172e8a4\n"
    "parentCID=8f67ca74\n"
    "createType=\"twoGbMaxExtentSparse\"\n"
    "parentFileNameHint=\"base disk.vmdk\"\n"
    "\n"
    "# Extent description\n"
    "RW 4192256 SPARSE \"disk-s001.vmdk\"\n"
    "RW 2048 SPARSE \"disk-s002.vmdk\"\n"
    "\n"
    "# The Disk Data Base \n"
    "#DDB\n"
    "\n"
    "ddb.adapterType = \"lsilogic\"\n"
    "ddb.longContentID = \"c493b057f416b9534001df440172e8a4\"\n";

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (;;) {
    const auto at = text.find(from);
    result += text.substr(0, at);
    if (at == std::string_view::npos)
      return result;
    result += to;
    text.remove_prefix(at + from.size());
  }
}

void expect_plain(std::string_view text, std::string_view what) {
  SCOPED_TRACE(what);
  const auto parsed = Descriptor::parse(text);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_TRUE(Descriptor::looks_like_one(text));
  EXPECT_EQ(parsed->text(), text.substr(0, text.find('\0')));
  EXPECT_EQ(parsed->version(), 1U);
  EXPECT_EQ(parsed->cid(), 0x0172e8a4U);
  EXPECT_EQ(parsed->parent_cid(), 0x8f67ca74U);
  EXPECT_EQ(parsed->parent_hint(), "base disk.vmdk");
  EXPECT_EQ(parsed->create_type(), "twoGbMaxExtentSparse");
  EXPECT_EQ(parsed->capacity(), Sectors(4194304));
  EXPECT_EQ(parsed->value("ddb.adapterType"), "lsilogic");
  ASSERT_EQ(parsed->extents().size(), 2U);
  const auto& first = parsed->extents()[0];
  EXPECT_EQ(first.access, ExtentAccess::kReadWrite);
  EXPECT_EQ(first.type, ExtentType::kSparse);
  EXPECT_EQ(first.length, Sectors(4192256));
  EXPECT_EQ(first.file_name, "disk-s001.vmdk");
  EXPECT_EQ(first.offset, Sectors(0));
  EXPECT_EQ(parsed->extents()[1].file_name, "disk-s002.vmdk");
}

TEST(DescriptorParseTest, ReadsAPlainDescriptor) {
  expect_plain(kPlain, "as it stands");
  EXPECT_EQ(Descriptor::parse(kPlain)->extents()[0].line_number, 10U);
  EXPECT_EQ(Descriptor::parse(kPlain)->extents()[1].line_number, 11U);
}

TEST(DescriptorParseTest, ReadsEveryWayOfEndingLines) {
  expect_plain(replaced(kPlain, "\n", "\r\n"), "CR LF");
  expect_plain(replaced(kPlain, "\n", "\r"), "CR");
  expect_plain(kPlain.substr(0, kPlain.size() - 1), "no line end at the end");
  expect_plain(replaced(kPlain, "\n", "\n\n"), "blank lines everywhere");
  expect_plain(replaced(kPlain, "\n", " \t \n \t\n"), "blanks at the ends, lines of blanks");
  expect_plain("\n\n  \r\n" + std::string(kPlain), "blank lines in front");
}

TEST(DescriptorParseTest, CountsLinesWhateverEndsThem) {
  for (const std::string_view end : {"\n", "\r\n", "\r"}) {
    const auto text = replaced(kPlain, "\n", end);
    EXPECT_EQ(Descriptor::parse(text)->extents()[0].line_number, 10U);
  }
}

TEST(DescriptorParseTest, ReadsAByteOrderMark) {
  expect_plain("\xEF\xBB\xBF" + std::string(kPlain), "mark");
}

TEST(DescriptorParseTest, ReadsBlanksAndQuotesInAssignments) {
  expect_plain(replaced(kPlain, "=", " \t= "), "blanks round the sign");
  expect_plain(replaced(kPlain, " = ", "="), "no blanks");
  expect_plain(replaced(kPlain, "CID=0172e8a4", "CID=\"0172e8a4\""), "quoted CID");
  expect_plain(replaced(kPlain, "version=1", "version=\"1\""), "quoted version");
  expect_plain(replaced(kPlain, "\"twoGbMaxExtentSparse\"", "twoGbMaxExtentSparse"),
               "createType without quotes");
  expect_plain(replaced(kPlain, "\nCID", "\n \t CID"), "indented");
}

TEST(DescriptorParseTest, ReadsKeysAndWordsWithoutCase) {
  auto text = replaced(kPlain, "version", "VERSION");
  text = replaced(text, "CID=", "cId=");
  text = replaced(text, "createType", "CREATETYPE");
  text = replaced(text, "parentFileNameHint", "parentfilenamehint");
  text = replaced(text, "ddb.adapterType", "DDB.ADAPTERTYPE");
  text = replaced(text, "RW 2048 SPARSE", "rw 2048 Sparse");
  expect_plain(text, "case");
}

TEST(DescriptorParseTest, ReadsTabsAndManyBlanksBetweenFields) {
  expect_plain(replaced(kPlain, "RW 4192256 SPARSE ", "\tRW\t 4192256\t\tSPARSE   "), "blanks");
}

TEST(DescriptorParseTest, ReadsSectionsInAnyOrder) {
  expect_plain(
      "version=1\nddb.adapterType=\"lsilogic\"\nRW 4192256 SPARSE \"disk-s001.vmdk\"\n"
      "createType=\"twoGbMaxExtentSparse\"\nRW 2048 SPARSE \"disk-s002.vmdk\"\n"
      "parentFileNameHint=\"base disk.vmdk\"\nparentCID=8f67ca74\nCID=172e8a4\n",
      "any order");
  EXPECT_TRUE(Descriptor::parse("RW 1 ZERO\nCID=1\ncreateType=\"x\"\nversion=1"));
}

TEST(DescriptorParseTest, StopsAtTheFirstNul) {
  std::string padded(kPlain);
  padded.resize(10240);
  expect_plain(padded, "padding");
  padded.replace(5000, 7, "garbage");
  expect_plain(padded, "anything behind the padding");
  expect_plain(std::string(kPlain) + std::string(2 * kMiB, '\0'), "much padding");
}

TEST(DescriptorParseTest, TakesTheFirstOfEqualKeys) {
  const auto parsed = Descriptor::parse(
      with_lines("CID=11111111\nparentCID=22222222\nddb.uuid=\"a\"\nddb.UUID=\"b\"\n"
                 "createType=\"custom\"\nRW 1 ZERO"));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->cid(), 0x0172e8a4U);
  EXPECT_EQ(parsed->parent_cid(), std::nullopt);
  EXPECT_EQ(parsed->value("ddb.uuid"), "a");
}

TEST(DescriptorParseTest, KnowsThatThereIsNoParent) {
  for (const std::string_view line : {"parentCID=ffffffff\n", "parentCID=FFFFFFFF\n", ""}) {
    const auto parsed = Descriptor::parse("version=1\nCID=1\n" + std::string(line) +
                                          "createType=\"custom\"\nRW 1 ZERO\n");
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(parsed->parent_cid(), std::nullopt);
    EXPECT_EQ(parsed->parent_hint(), "");
    EXPECT_EQ(parsed->cid(), 1U);
  }
}

TEST(DescriptorParseTest, KeepsUnknownKeys) {
  const auto parsed = Descriptor::parse(with_lines(
      "isNativeSnapshot=\"no\"\nddb.iofilters = \"a=b\"\nchangeTrackPath=\"x-ctk.vmdk\"\n"
      "ddb.comment=\"say \"hello\" twice\"\nempty=\nalso.empty=\"\"\nRW 1 ZERO"));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->value("ISNATIVESNAPSHOT"), "no");
  EXPECT_EQ(parsed->value("ddb.iofilters"), "a=b");
  EXPECT_EQ(parsed->value("changeTrackPath"), "x-ctk.vmdk");
  EXPECT_EQ(parsed->value("ddb.comment"), "say \"hello\" twice");
  EXPECT_EQ(parsed->value("empty"), "");
  EXPECT_EQ(parsed->value("also.empty"), "");
  EXPECT_EQ(parsed->value("missing"), std::nullopt);
}

struct LineCase {
  const char* text;
  ExtentAccess access;
  ExtentType type;
  std::uint64_t length;
  const char* name;
  std::uint64_t offset;
};

class ExtentLineTest : public testing::TestWithParam<LineCase> {};

TEST_P(ExtentLineTest, IsReadInItsPlace) {
  const auto& expected = GetParam();
  const auto parsed = Descriptor::parse(with_lines(expected.text));
  ASSERT_TRUE(parsed) << parsed.error().message();
  ASSERT_EQ(parsed->extents().size(), 1U);
  const auto& extent = parsed->extents()[0];
  EXPECT_EQ(extent.access, expected.access);
  EXPECT_EQ(extent.type, expected.type);
  EXPECT_EQ(extent.length, Sectors(expected.length));
  EXPECT_EQ(extent.file_name, expected.name);
  EXPECT_EQ(extent.offset, Sectors(expected.offset));
  EXPECT_EQ(extent.line_number, 6U);
  EXPECT_EQ(parsed->capacity(), Sectors(expected.length));
}

constexpr auto kRw = ExtentAccess::kReadWrite;

INSTANTIATE_TEST_SUITE_P(
    AllKinds, ExtentLineTest,
    testing::Values(
        LineCase{"RW 63 FLAT \"a-flat.vmdk\" 0", kRw, ExtentType::kFlat, 63, "a-flat.vmdk", 0},
        LineCase{"RW 63 FLAT \"a.vmdk\" 128", kRw, ExtentType::kFlat, 63, "a.vmdk", 128},
        LineCase{"RDONLY 63 FLAT \"a.vmdk\" 1", ExtentAccess::kReadOnly, ExtentType::kFlat, 63,
                 "a.vmdk", 1},
        LineCase{"NOACCESS 7 FLAT \"a.vmdk\" 0", ExtentAccess::kNoAccess, ExtentType::kFlat, 7,
                 "a.vmdk", 0},
        LineCase{"RW 5 ZERO", kRw, ExtentType::kZero, 5, "", 0},
        LineCase{"NOACCESS 5 ZERO  ", ExtentAccess::kNoAccess, ExtentType::kZero, 5, "", 0},
        LineCase{"RW 4096 VMFS \"t-flat.vmdk\"", kRw, ExtentType::kVmfs, 4096, "t-flat.vmdk", 0},
        LineCase{"RW 1 SPARSE \"a.vmdk\" 0", kRw, ExtentType::kSparse, 1, "a.vmdk", 0},
        LineCase{"RW 1 SPARSE \"a.vmdk\"", kRw, ExtentType::kSparse, 1, "a.vmdk", 0},
        LineCase{"RW 1 VMFSSPARSE \"d.vmdk\"", kRw, ExtentType::kVmfsSparse, 1, "d.vmdk", 0},
        LineCase{"RW 1 SESPARSE \"d.vmdk\"", kRw, ExtentType::kSeSparse, 1, "d.vmdk", 0},
        LineCase{"RW 1 VMFSRDM \"d.vmdk\"", kRw, ExtentType::kVmfsRdm, 1, "d.vmdk", 0},
        LineCase{"RW 1 VMFSRAW \"/vmfs/devices/x\"", kRw, ExtentType::kVmfsRaw, 1,
                 "/vmfs/devices/x", 0},
        LineCase{"RW 1 FLAT \"my disk, part=1 #2.vmdk\" 0", kRw, ExtentType::kFlat, 1,
                 "my disk, part=1 #2.vmdk", 0},
        LineCase{"RW 1 FLAT \"\xC3\xBC\xE6\x97\xA5.vmdk\" 0", kRw, ExtentType::kFlat, 1,
                 "\xC3\xBC\xE6\x97\xA5.vmdk", 0},
        LineCase{"RW 1 FLAT \" two  blanks \" 0", kRw, ExtentType::kFlat, 1, " two  blanks ", 0},
        LineCase{"RW 9 FLAT \"\\\\.\\PhysicalDrive0\" 63 partitionUUID dfbf24ab {x}", kRw,
                 ExtentType::kFlat, 9, "\\\\.\\PhysicalDrive0", 63},
        LineCase{"RW 18014398509481983 ZERO", kRw, ExtentType::kZero, (1ULL << 54U) - 1, "", 0}));

TEST(DescriptorParseTest, SumsExtentsOfAllKindsInOrder) {
  const auto parsed = Descriptor::parse(with_lines(
      "RW 100 FLAT \"a\" 0\nRDONLY 28 SPARSE \"b\"\nRW 1000 ZERO\nNOACCESS 1 VMFS \"c\""));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->capacity(), Sectors(1129));
  ASSERT_EQ(parsed->extents().size(), 4U);
  EXPECT_EQ(parsed->extents()[2].type, ExtentType::kZero);
}

TEST(DescriptorParseTest, ReadsAsManyExtentsAsTheLimitSays) {
  std::string lines;
  for (int i = 0; i < 65536; ++i)
    lines += "RW 1 ZERO\n";
  const auto parsed = Descriptor::parse(with_lines(lines));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->extents().size(), 65536U);
  EXPECT_EQ(parsed->capacity(), Sectors(65536));
}

TEST(DescriptorParseTest, ReadsTextsAndLinesUpToTheirLimits) {
  auto text = with_lines("RW 1 ZERO");
  text += "#" + std::string(4095, 'x') + "\n";
  while (text.size() + 1000 < kMaxDescriptorBytes)
    text += "#" + std::string(500, 'y') + "\n";
  text += "#" + std::string(kMaxDescriptorBytes - text.size() - 1, 'z');
  ASSERT_EQ(text.size(), kMaxDescriptorBytes);
  const auto parsed = Descriptor::parse(text);
  EXPECT_TRUE(parsed) << parsed.error().message();
}

TEST(DescriptorParseTest, KeepsTheVersionOfChangeTracking) {
  for (const std::uint32_t version : {1U, 2U, 3U}) {
    const auto parsed =
        Descriptor::parse("version=" + std::to_string(version) +
                          "\nCID=fffffffe\ncreateType=\"vmfs\"\nRW 1 VMFS \"a\"\n"
                          "# Change Tracking File\nchangeTrackPath=\"a-ctk.vmdk\"\n");
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(parsed->version(), version);
  }
}

TEST(DescriptorProbeTest, WantsAVersionAsTheFirstAssignment) {
  EXPECT_TRUE(Descriptor::looks_like_one("version=1"));
  EXPECT_TRUE(Descriptor::looks_like_one("\xEF\xBB\xBF# x\r\n\r\n \t\r\nVersion = \"3\"\r\n"));
  EXPECT_TRUE(Descriptor::looks_like_one("version=9\n"));
  for (const std::string_view text :
       {"", "\n", "# only a comment\n", "CID=1\nversion=1\n", "version", "version=", "version=x",
        "versions=1", "RW 1 ZERO\nversion=1\n"}) {
    EXPECT_FALSE(Descriptor::looks_like_one(text)) << text;
  }
  using namespace std::string_view_literals;
  EXPECT_FALSE(Descriptor::looks_like_one("# a\0b\nversion=1\n"sv));
}

// Whatever bytes come: an answer, and one whose parts agree.
TEST(DescriptorParseTest, SurvivesDamage) {
  std::mt19937 random(static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed()));
  const auto pick = [&random](std::size_t below) { return random() % below; };
  using namespace std::string_view_literals;
  constexpr auto kBytes = "\"=\n\r\t #0159afRWSPZ.\xEF\xFF\0"sv;
  for (int round = 0; round < 20000; ++round) {
    std::string text(kPlain);
    for (auto changes = pick(8) + 1; changes > 0; --changes) {
      const auto at = pick(text.size());
      switch (pick(3)) {
        case 0:
          text[at] = kBytes[pick(kBytes.size())];
          break;
        case 1:
          text.erase(at, pick(20));
          break;
        default:
          text.insert(at, text.substr(pick(text.size()), pick(60)));
      }
    }
    auto parsed = Descriptor::parse(text);
    if (!parsed) {
      ASSERT_FALSE(parsed.error().message().empty());
      continue;
    }
    std::uint64_t sum = 0;
    for (const auto& extent : parsed->extents())
      sum += extent.length.count();
    ASSERT_EQ(parsed->capacity().count(), sum);
    const auto length = parsed->text().size();
    const auto [begin, end] = parsed->set_content_id(0x12345678, {1, 2, 3});
    ASSERT_LT(begin, end);
    ASSERT_LE(end, length);
    ASSERT_EQ(parsed->text().size(), length);
    const auto again = Descriptor::parse(parsed->text());
    ASSERT_TRUE(again) << again.error().message();
    ASSERT_EQ(again->cid(), parsed->cid());
  }
}

}  // namespace
}  // namespace vmdk
