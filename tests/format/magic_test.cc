#include "format/magic.h"

#include <array>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "support/tar_builder.h"

namespace vmdk {
namespace {

using namespace std::string_view_literals;

// `bytes` at `at` in a file that is otherwise full of 0x55.
FileKind recognise_at(std::size_t at, std::string_view bytes) {
  std::string file(4096, '\x55');
  file.replace(at, bytes.size(), bytes);
  return recognise(bytes_of(file));
}

TEST(MagicTest, KnowsSignatures) {
  EXPECT_EQ(recognise_at(0, "KDMV"), FileKind::kHostedSparse);
  EXPECT_EQ(recognise_at(0, "COWD"), FileKind::kCowd);
  EXPECT_EQ(recognise_at(0, "\xBE\xBA\xFE\xCA\0\0\0\0"sv), FileKind::kSeSparse);
  EXPECT_EQ(recognise_at(0, "kdmv"), FileKind::kUnfinishedStream);
  EXPECT_EQ(recognise_at(0, "\xA2\x72\x19\xF6"), FileKind::kChangeTracking);
  EXPECT_EQ(recognise_at(0, "QFI\xFB"), FileKind::kQcow);
  EXPECT_EQ(recognise_at(0, "vhdxfile"), FileKind::kVhdx);
  EXPECT_EQ(recognise_at(0, "conectix"), FileKind::kVhd);
  EXPECT_EQ(recognise_at(64, "\xBE\xDA\x10\x7F"), FileKind::kVdi);
  EXPECT_EQ(recognise_at(0, "\x1F\x8B"), FileKind::kGzip);
  EXPECT_EQ(recognise(bytes_of(test::tar_entry({.name = "a.ovf"}))), FileKind::kOva);
}

TEST(MagicTest, WantsTheWholeSignatureInItsPlace) {
  EXPECT_EQ(recognise_at(1, "KDMV"), FileKind::kUnknown);
  EXPECT_EQ(recognise_at(0, "KDMW"), FileKind::kUnknown);
  EXPECT_EQ(recognise_at(0, "\xBE\xBA\xFE\xCA\0\0\0\1"sv), FileKind::kUnknown);
  EXPECT_EQ(recognise_at(63, "\xBE\xDA\x10\x7F"), FileKind::kUnknown);
  EXPECT_EQ(recognise_at(257, "ustar"), FileKind::kUnknown) << "without a header's checksum";
  EXPECT_EQ(recognise(bytes_of("KDM")), FileKind::kUnknown);
  EXPECT_EQ(recognise(bytes_of("KDMV")), FileKind::kHostedSparse);
}

TEST(MagicTest, KnowsEmptyFilesAndRawData) {
  EXPECT_EQ(recognise({}), FileKind::kEmpty);
  const std::array<std::byte, 512> zeros{};
  EXPECT_EQ(recognise(zeros), FileKind::kUnknown);
  EXPECT_EQ(recognise(bytes_of("x")), FileKind::kUnknown);
}

TEST(MagicTest, KnowsDescriptorsThatSayUstar) {
  std::string text = "# Disk DescriptorFile\nversion=1\n";
  text.resize(256, '#');
  text += "\nustar=1\n";
  text.resize(1024, '\n');
  EXPECT_EQ(recognise(bytes_of(text)), FileKind::kDescriptor);
  text.replace(257, 5, "ustar");
  EXPECT_EQ(recognise(bytes_of(text)), FileKind::kDescriptor);
}

TEST(MagicTest, KnowsDescriptors) {
  EXPECT_EQ(recognise(bytes_of("# Disk DescriptorFile\nversion=1\n")), FileKind::kDescriptor);
  EXPECT_EQ(recognise(bytes_of("\xEF\xBB\xBF\r\n# hello\r\nVersion = 1\r\n")),
            FileKind::kDescriptor);
  EXPECT_EQ(recognise(bytes_of("version=7")), FileKind::kDescriptor);
  // Damaged or long-winded, but it says what it is: the parser tells the rest.
  EXPECT_EQ(recognise(bytes_of("# Disk DescriptorFile\nverzion=1\n")), FileKind::kDescriptor);
  EXPECT_EQ(recognise(bytes_of("#Disk Descriptorfile\r\n")), FileKind::kDescriptor);
  EXPECT_EQ(recognise(bytes_of("# shopping list\nmilk\n")), FileKind::kUnknown);
  EXPECT_EQ(recognise(bytes_of("#!/bin/sh\nx=1\n")), FileKind::kUnknown);
}

TEST(MagicTest, LooksAtFourKibibytesOnly) {
  std::string text(4000, '\n');
  EXPECT_EQ(recognise(bytes_of(text + "version=1\n")), FileKind::kDescriptor);
  text.resize(5000, '\n');
  EXPECT_EQ(recognise(bytes_of(text + "version=1\n")), FileKind::kUnknown);
}

TEST(MagicTest, DescribesEveryKindInItsOwnWords) {
  const std::vector<FileKind> kinds = {
      FileKind::kEmpty,
      FileKind::kHostedSparse,
      FileKind::kCowd,
      FileKind::kSeSparse,
      FileKind::kUnfinishedStream,
      FileKind::kChangeTracking,
      FileKind::kDescriptor,
      FileKind::kQcow,
      FileKind::kVhdx,
      FileKind::kVdi,
      FileKind::kVhd,
      FileKind::kGzip,
      FileKind::kOva,
      FileKind::kUnknown,
  };
  std::set<std::string_view> words;
  for (const auto kind : kinds)
    words.insert(describe(kind));
  EXPECT_EQ(words.size(), kinds.size());
  EXPECT_EQ(describe(FileKind::kQcow), "a QEMU qcow2 image");
}

}  // namespace
}  // namespace vmdk
