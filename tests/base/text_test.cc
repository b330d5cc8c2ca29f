#include "base/text.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include <vmdk/units.h>

namespace vmdk {
namespace {

TEST(ParseSizeTest, ReadsBytesAndBinarySuffixes) {
  const std::array<std::pair<std::string_view, std::uint64_t>, 14> sizes{{
      {"0", 0},
      {"4096", 4096},
      {"512B", 512},
      {"64K", 64 * kKiB},
      {"64k", 64 * kKiB},
      {"64KiB", 64 * kKiB},
      {"10M", 10 * kMiB},
      {"1G", kGiB},
      {"1.5G", 1536 * kMiB},
      {"0.5K", 512},
      {"2T", 2048 * kGiB},
      {"1.000G", kGiB},
      {"18446744073709551615", ~std::uint64_t{0}},
      {"16777215T", 16777215 * (1024 * kGiB)},
  }};
  for (const auto& [text, bytes] : sizes) {
    const auto parsed = parse_size(text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message();
    EXPECT_EQ(*parsed, bytes) << text;
  }
}

TEST(ParseSizeTest, RefusesWhatIsNoSize) {
  for (const std::string_view text : {"",
                                      "K",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1 K",
                                      "0x10",
                                      "1Q",
                                      "1KB",
                                      "1KiBs",
                                      "1..5G",
                                      "1.5.5G",
                                      ".5G",
                                      "1.",
                                      "1.G",
                                      "1.3",
                                      "1.0001K",
                                      "1.0000000000001T",
                                      "1e3"}) {
    const auto parsed = parse_size(text);
    ASSERT_FALSE(parsed) << text << " was read as " << *parsed;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalidArgument) << text;
  }
}

TEST(ParseSizeTest, RefusesWhatDoesNotFit64Bits) {
  for (const std::string_view text : {"18446744073709551616", "16777216T", "99999999999999999999G"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(FormatSizeTest, UsesTheLargestUnitThatGivesOneOrMore) {
  EXPECT_EQ(format_size(0), "0 bytes");
  EXPECT_EQ(format_size(1023), "1023 bytes");
  EXPECT_EQ(format_size(kKiB), "1 KiB");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(1023 * kKiB), "1023 KiB");
  EXPECT_EQ(format_size(kMiB), "1 MiB");
  EXPECT_EQ(format_size(60 * kGiB), "60 GiB");
  EXPECT_EQ(format_size(2048 * kGiB), "2 TiB");
  EXPECT_EQ(format_size(~std::uint64_t{0}), "16.0 EiB");
}

TEST(Utf8Test, TellsWellFormedFromOther) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("plain"));
  EXPECT_TRUE(
      is_utf8("Gr\xC3\xBC\xC3\x9F"
              "e \xE2\x82\xAC \xF0\x9F\x92\xBE"));
  EXPECT_TRUE(is_utf8("\xF4\x8F\xBF\xBF"));  // U+10FFFF
  for (const std::string_view bytes :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE2\x82", "\xED\xA0\x80",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
        "a\xE4"
        "b",
        "\xC3\x28"})
    EXPECT_FALSE(is_utf8(bytes)) << testing::PrintToString(std::string(bytes));
}

TEST(CommaListTest, PutsCommasBetweenTheWords) {
  static constexpr std::string_view kWords[] = {"ide", "buslogic", "lsilogic"};
  EXPECT_EQ(comma_list(kWords), "ide, buslogic, lsilogic");
  EXPECT_EQ(comma_list({}), "");
}

TEST(NearestTest, FindsWhatWasMeant) {
  static constexpr std::string_view kWords[] = {"create", "info", "check", "map"};
  EXPECT_EQ(nearest("creat", kWords), "create");
  EXPECT_EQ(nearest("CREATE", kWords), "create");
  EXPECT_EQ(nearest("cehck", kWords), "check");
  EXPECT_EQ(nearest("ifno", kWords), "info");
  EXPECT_EQ(nearest("mpa", kWords), "map");
}

TEST(NearestTest, IsSilentWhenNothingIsNear) {
  static constexpr std::string_view kWords[] = {"create", "info", "check", "map"};
  EXPECT_EQ(nearest("mount", kWords), "");
  EXPECT_EQ(nearest("", kWords), "");
  EXPECT_EQ(nearest("info", {}), "");
}

}  // namespace
}  // namespace vmdk
