// What the parser refuses, and what it says.
#include <ostream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "descriptor_text.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

struct Refusal {
  std::string text;
  ErrorCode code;
  std::string_view message;  // a part of it
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.message;
}

class DescriptorRefusalTest : public testing::TestWithParam<Refusal> {};

TEST_P(DescriptorRefusalTest, SaysWhatIsWrong) {
  const auto& refusal = GetParam();
  const auto parsed = Descriptor::parse(refusal.text);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code(), refusal.code);
  EXPECT_NE(parsed.error().message().find(refusal.message), std::string::npos)
      << parsed.error().message();
}

Refusal corrupt(std::string text, std::string_view message) {
  return {std::move(text), ErrorCode::kCorrupt, message};
}

Refusal unsupported(std::string text, std::string_view message) {
  return {std::move(text), ErrorCode::kUnsupported, message};
}

// A bad line 6 between lines that are right.
Refusal bad_line(std::string_view line, std::string_view message) {
  return corrupt(with_lines(std::string(line) + "\nRW 1 ZERO"), message);
}

INSTANTIATE_TEST_SUITE_P(
    Missing, DescriptorRefusalTest,
    testing::Values(corrupt("", "no version line"), corrupt("# comment\n\n", "no version line"),
                    corrupt("CID=1\ncreateType=\"x\"\nRW 1 ZERO\n", "no version line"),
                    corrupt("version=1\ncreateType=\"x\"\nRW 1 ZERO\n", "no CID line"),
                    corrupt("version=1\nCID=1\nRW 1 ZERO\n", "no createType line"),
                    corrupt("version=1\nCID=1\ncreateType=\"\"\nRW 1 ZERO\n", "no createType line"),
                    corrupt("version=1\nCID=1\ncreateType=\"x\"\n", "no extent line"),
                    corrupt("version=1\nCID=1\ncreateType=\"x\"\n" + std::string(1, '\0') +
                                "RW 1 ZERO\n",
                            "no extent line")));

INSTANTIATE_TEST_SUITE_P(
    Values, DescriptorRefusalTest,
    testing::Values(
        unsupported("version=0\nCID=1\ncreateType=\"x\"\nRW 1 ZERO\n",
                    "line 1: descriptor version 0"),
        unsupported("version=4\nCID=1\ncreateType=\"x\"\nRW 1 ZERO\n",
                    "line 1: descriptor version 4"),
        corrupt("version=1x\nCID=1\ncreateType=\"x\"\nRW 1 ZERO\n", "line 1: version \"1x\""),
        corrupt("version=\nCID=1\ncreateType=\"x\"\nRW 1 ZERO\n", "line 1: version \"\""),
        corrupt("version=-1\nCID=1\ncreateType=\"x\"\nRW 1 ZERO\n", "line 1: version \"-1\""),
        corrupt("version=99999999999\nCID=1\ncreateType=\"x\"\nRW 1 ZERO\n", "line 1: version"),
        corrupt("version=1\nCID=\ncreateType=\"x\"\nRW 1 ZERO\n", "line 2: CID \"\""),
        corrupt("version=1\nCID=123456789\ncreateType=\"x\"\nRW 1 ZERO\n",
                "line 2: CID \"123456789\" is not 1 to 8 hexadecimal digits"),
        corrupt("version=1\nCID=000000001\ncreateType=\"x\"\nRW 1 ZERO\n", "line 2: CID"),
        corrupt("version=1\nCID=xyz\ncreateType=\"x\"\nRW 1 ZERO\n", "line 2: CID \"xyz\""),
        corrupt("version=1\nCID=0x12\ncreateType=\"x\"\nRW 1 ZERO\n", "line 2: CID \"0x12\""),
        corrupt("version=1\nCID=-1\ncreateType=\"x\"\nRW 1 ZERO\n", "line 2: CID \"-1\""),
        corrupt("version=1\nCID=12 34\ncreateType=\"x\"\nRW 1 ZERO\n", "line 2: CID"),
        corrupt("version=1\nCID=1\nparentCID=nope\ncreateType=\"x\"\nRW 1 ZERO\n",
                "line 3: parentCID \"nope\""),
        corrupt("version=1\nCID=1\nparentCID=\ncreateType=\"x\"\nRW 1 ZERO\n", "line 3: parentCID"),
        bad_line("createType=\"vmfs\"",
                 "line 6: createType \"vmfs\" contradicts \"custom\" in line 5"),
        bad_line("key=\"no end", "line 6: the value's closing quote"),
        bad_line("key=\"", "line 6: the value's closing quote"),
        bad_line("key=\"a\" b", "line 6: the value's closing quote"),
        bad_line("parentFileNameHint=\"a\"b\"", "line 6: a quote inside")));

INSTANTIATE_TEST_SUITE_P(
    Lines, DescriptorRefusalTest,
    testing::Values(bad_line("hello", "line 6: \"hello\" is no extent"),
                    bad_line("=value", "line 6: "), bad_line("two words=1", "line 6: "),
                    bad_line("key\"=1", "line 6: "),
                    bad_line("RO 1 FLAT \"a\" 0", "line 6: \"RO 1 FLAT"),
                    bad_line("RO 1 FLAT \"a=b\" 0", "line 6: "),
                    bad_line("\x01\x02", "line 6: \"??\""), bad_line("// comment", "line 6: "),
                    bad_line("#" + std::string(4096, 'x'), "line 6: 4097 bytes: the limit is 4096"),
                    bad_line(std::string(4097, ' '), "line 6: 4097 bytes")));

INSTANTIATE_TEST_SUITE_P(
    Extents, DescriptorRefusalTest,
    testing::Values(
        bad_line("RW", "line 6: extent length \"\""),
        bad_line("rw x", "line 6: extent length \"x\""),
        bad_line("RW 0 ZERO", "line 6: extent length \"0\" is not a number of sectors from 1 to"),
        bad_line("RW -5 FLAT \"a\" 0", "line 6: extent length \"-5\""),
        bad_line("RW +5 FLAT \"a\" 0", "line 6: extent length \"+5\""),
        bad_line("RW 0x10 FLAT \"a\" 0", "line 6: extent length \"0x10\""),
        bad_line("RW 1.5 FLAT \"a\" 0", "line 6: extent length \"1.5\""),
        bad_line("RW 18014398509481984 ZERO", "line 6: extent length \"18014398509481984\""),
        bad_line("RW 9223372036854775808 ZERO", "line 6: extent length"),
        bad_line("RW 99999999999999999999999 ZERO", "line 6: extent length"),
        bad_line("RW = 5", "line 6: extent length \"=\""),
        bad_line("RW 1", "line 6: unknown extent type \"\""),
        bad_line("NOACCESS 1 FLATT \"a\" 0", "line 6: unknown extent type \"FLATT\""),
        bad_line("RDONLY 1 \"a\" 0", "line 6: unknown extent type"),
        bad_line("RW 1 FLAT", "line 6: a file name in quotes"),
        bad_line("RW 1 FLAT a.vmdk 0", "line 6: a file name in quotes"),
        bad_line("RW 1 FLAT \"\" 0", "line 6: a file name in quotes"),
        bad_line("RW 1 FLAT \"a.vmdk 0", "line 6: a file name in quotes"),
        bad_line("RW 1 FLAT \"a\"0", "line 6: a file name in quotes"),
        bad_line("RW 1 FLAT \"a\"", "line 6: a FLAT extent needs an offset"),
        bad_line("RW 1 FLAT \"a\" -1", "line 6: extent offset \"-1\""),
        bad_line("RW 1 FLAT \"a\" x", "line 6: extent offset \"x\""),
        bad_line("RW 1 FLAT \"a\" 18014398509481984", "line 6: extent offset"),
        bad_line("RW 2 FLAT \"a\" 18014398509481982",
                 "line 6: extent offset 18014398509481982 and"),
        bad_line("RW 1 FLAT \"a\" 0 more", "line 6: unexpected text \"more\""),
        bad_line("RW 1 VMFS \"a\" 0", "line 6: a VMFS extent has no offset"),
        bad_line("RW 1 VMFS \"a\" 8", "line 6: a VMFS extent has no offset"),
        bad_line("RW 1 SPARSE \"a\" 1", "line 6: extent offset 1: a SPARSE extent begins at 0"),
        bad_line("RW 1 SPARSE \"a\" 0 partitionUUID x", "line 6: unexpected text"),
        bad_line("RW 1 VMFSSPARSE \"a\" 1", "line 6: extent offset 1: a VMFSSPARSE extent"),
        bad_line("RW 1 ZERO \"a\"", "line 6: a ZERO extent has no file"),
        bad_line("RW 1 ZERO 0", "line 6: a ZERO extent has no file"),
        bad_line("RW 18014398509481983 ZERO\nRW 1 ZERO",
                 "line 7: the extents up to here have 18014398509481984 sectors")));

// The line end behind a comment became something else, so that the extent there would be lost and
// all others move.
INSTANTIATE_TEST_SUITE_P(
    Swallowed, DescriptorRefusalTest,
    testing::Values(bad_line("# Extent descriptionJRW 16 SPARSE \"a.vmdk\"",
                             "line 6: a comment runs into an extent"),
                    bad_line("#*RDONLY 16 FLAT \"a.vmdk\" 0", "a comment runs into an extent"),
                    bad_line("# x\x0bNOACCESS 16 ZERO", "a comment runs into an extent"),
                    bad_line("# RW and\x8aRW 16 VMFS \"a.vmdk\"",
                             "a comment runs into an extent")));

INSTANTIATE_TEST_SUITE_P(
    Encryption, DescriptorRefusalTest,
    testing::Values(unsupported(with_lines("encryption.keySafe = \"vmware:key\""), "encrypted"),
                    unsupported(with_lines("Encryption.data=\"x\""), "line 6: Encryption.data"),
                    unsupported(with_lines("ddb.encryption.x=\"x\""), "encrypted"),
                    unsupported(with_lines("ddb.keySafe=\"x\""), "encrypted")));

std::string many_extents() {
  std::string lines;
  for (int i = 0; i < 65537; ++i)
    lines += "RW 1 ZERO\n";
  return with_lines(lines);
}

INSTANTIATE_TEST_SUITE_P(
    Limits, DescriptorRefusalTest,
    testing::Values(unsupported(many_extents(), "more than 65536 extents"),
                    unsupported(std::string(kMaxDescriptorBytes + 1, '\n'),
                                "descriptor of 1048577 bytes: the limit is 1048576")));

TEST(DescriptorRefusalTest, ACommentMayBeAnExtentLineOfOnce) {
  for (const std::string_view line :
       {"#RW 16 SPARSE \"a.vmdk\"", "# RW 16 SPARSE \"a.vmdk\"", "# once: RW 16 ZERO",
        "# the RW 16 of it", "#-RW", "# x/RW 16 SPARSE"}) {
    const auto parsed = Descriptor::parse(with_lines(std::string(line) + "\nRW 1 ZERO"));
    ASSERT_TRUE(parsed) << line;
    EXPECT_EQ(parsed->extents().size(), 1U) << line;
  }
}

TEST(DescriptorRefusalTest, CountsLinesWithEveryEnd) {
  for (const std::string_view end : {"\n", "\r\n", "\r"}) {
    std::string text = "version=1";
    for (int i = 0; i < 8; ++i)
      text += end;
    const auto parsed = Descriptor::parse(text + "oops");
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().message().find("line 9: "), 0U) << parsed.error().message();
  }
}

// Names in an image reach a terminal through messages.
TEST(DescriptorRefusalTest, ShowsNoControlCharactersAndNoEndlessText) {
  const auto parsed = Descriptor::parse("\x1B[2J" + std::string(3000, 'a'));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().message().find('\x1B'), std::string::npos);
  EXPECT_LT(parsed.error().message().size(), 200U);
}

}  // namespace
}  // namespace vmdk
