// Disks read where they lie inside a tar archive.
#include "disk/ova.h"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disk/image_file.h"
#include "disk/window_file.h"
#include "disk_fixture.h"
#include "support/stream_builder.h"
#include "support/tar_builder.h"

namespace vmdk::test {
namespace {

class OvaTest : public DiskFixture {
 protected:
  // A compressed disk of 1 MiB whose first grain is full of `letter`.
  std::string stream_of(char letter) {
    StreamSpec spec;
    spec.capacity = kMiB;
    spec.grains = {{.index = 0, .data = filled(64 * kKiB, static_cast<unsigned char>(letter))}};
    const std::string name = fmt::format("/made/{}.vmdk", ++made_);
    EXPECT_OK(build_stream(memory_, name, spec));
    return memory_.text(name);
  }

  void put_ova(const std::vector<TarEntry>& entries) {
    std::string text;
    for (const TarEntry& entry : entries)
      text += tar_entry(entry);
    memory_.put("/vm/app.ova", text + tar_end());
  }

  std::string shown(const std::filesystem::path& image) {
    const auto disk = open_readonly(image);
    EXPECT_OK(disk);
    return disk ? read(**disk, 0, 3) : "";
  }

  int made_ = 0;
};

TEST_F(OvaTest, TheOnlyDisk) {
  put_ova({{.name = "app.ovf", .data = "<Envelope/>"}, {.name = "d.vmdk", .data = stream_of('d')}});
  EXPECT_EQ(shown("/vm/app.ova"), "ddd");
  EXPECT_EQ(shown("/vm/app.ova:d.vmdk"), "ddd");
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/app.ova"));
  EXPECT_EQ(disk->info().layers[0].file, "/vm/app.ova:d.vmdk");
  EXPECT_EQ(disk->map(DiskOffset(0), 64 * kKiB)->file, "/vm/app.ova:d.vmdk");
  EXPECT_OK(check_image(files_, "/vm/app.ova", {}));
}

TEST_F(OvaTest, OneOfSeveralIsNamed) {
  put_ova({{.name = "a.vmdk", .data = stream_of('a')},
           {.name = "sub/b.vmdk", .data = stream_of('b')},
           {.name = "other/c.bin", .data = stream_of('c')}});
  EXPECT_EQ(shown("/vm/app.ova:a.vmdk"), "aaa");
  EXPECT_EQ(shown("/vm/app.ova:sub/b.vmdk"), "bbb");
  EXPECT_EQ(shown("/vm/app.ova:b.vmdk"), "bbb");
  EXPECT_EQ(shown("/vm/app.ova:other/c.bin"), "ccc") << "known by its bytes";
  for (const char* name : {"/vm/app.ova", "/vm/app.ova:z.vmdk"}) {
    const auto refused = open_readonly(name);
    EXPECT_THAT(refused, IsError(ErrorCode::kInvalidArgument));
    for (const char* each : {"/vm/app.ova:a.vmdk", "/vm/app.ova:sub/b.vmdk", "/vm/app.ova:other/c"})
      EXPECT_THAT(refused, HasMessage(each));
  }
  put_ova({{.name = "x/a.vmdk", .data = "1"}, {.name = "y/a.vmdk", .data = "2"}});
  EXPECT_THAT(open_readonly("/vm/app.ova:a.vmdk"), HasMessage("more than one disk \"a.vmdk\""));
}

TEST_F(OvaTest, WindowsInOneFileAreNotTakenForEachOther) {
  put_ova({{.name = "a.vmdk", .data = stream_of('a')}, {.name = "b.vmdk", .data = stream_of('b')}});
  ASSERT_OK_AND_ASSIGN(const auto a, open_image(memory_, "/vm/app.ova:a.vmdk", Access::kReadOnly));
  ASSERT_OK_AND_ASSIGN(const auto b, open_image(memory_, "/vm/app.ova:b.vmdk", Access::kReadOnly));
  EXPECT_NE(a->id(), b->id());
}

TEST_F(OvaTest, LongNames) {
  const std::string deep = std::string(90, 'p') + "/" + std::string(90, 'n') + ".vmdk";
  const std::string disk = stream_of('d');
  put_ova({{.name = std::string(90, 'n') + ".vmdk", .data = disk, .prefix = std::string(90, 'p')}});
  EXPECT_EQ(shown("/vm/app.ova:" + deep), "ddd") << "ustar's prefix";
  put_ova({{.name = "././@LongLink", .data = deep + std::string(1, '\0'), .type = 'L'},
           {.name = deep, .data = disk}});
  EXPECT_EQ(shown("/vm/app.ova:" + deep), "ddd") << "GNU";
  put_ova({{.name = "PaxHeader", .data = pax_record("path", deep), .type = 'x'},
           {.name = "short", .data = disk}});
  EXPECT_EQ(shown("/vm/app.ova:" + deep), "ddd") << "pax";
}

TEST_F(OvaTest, SizesBeyondOctalDigits) {
  const std::string disk = stream_of('d');
  put_ova({{.name = "d.vmdk", .data = disk, .size_field = base256_size(disk.size())}});
  EXPECT_EQ(shown("/vm/app.ova"), "ddd");
  put_ova(
      {{.name = "PaxHeader", .data = pax_record("size", std::to_string(disk.size())), .type = 'x'},
       {.name = "d.vmdk", .data = disk, .size_field = "00000000000 "}});
  EXPECT_EQ(shown("/vm/app.ova"), "ddd");
}

TEST_F(OvaTest, IsOnlyRead) {
  put_ova({{.name = "d.vmdk", .data = stream_of('d')}});
  const auto bytes = all_bytes();
  const auto refused = open("/vm/app.ova");
  EXPECT_THAT(refused, FailsWith(EROFS));
  EXPECT_THAT(refused, HasMessage("--overlay=FILE"));
  options_.overlay = Overlay{"/vm/o.vmdk", {}};
  for (const std::string before : {"dddd", "dover"}) {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/app.ova"));
    EXPECT_EQ(read(*disk, 0, before.size()), before);
    ASSERT_OK(write(*disk, 1, "over"));
    ASSERT_OK(disk->close());
  }
  options_.overlay.reset();
  EXPECT_EQ(shown("/vm/o.vmdk"), "dov") << "finds its parent in the archive by its hint";
  ASSERT_OK(memory_.remove("/vm/o.vmdk"));
  EXPECT_EQ(all_bytes(), bytes);
}

TEST_F(OvaTest, AFileWithAColonInItsNameGoesFirst) {
  put_ova({{.name = "d.vmdk", .data = stream_of('d')}});
  make_sparse("/vm/app.ova:d.vmdk", {}, "file");
  EXPECT_EQ(shown("/vm/app.ova:d.vmdk"), "fil");
  EXPECT_THAT(open_readonly("/vm/none:d.vmdk"), IsError(ErrorCode::kNotFound));
  make_sparse("/vm/plain.vmdk");
  EXPECT_THAT(open_readonly("/vm/plain.vmdk:d.vmdk"), IsError(ErrorCode::kNotFound));
}

TEST_F(OvaTest, WhatCannotBeOpenedWhereItIs) {
  const auto refused_as = [&](const TarEntry& entry, const char* words) {
    put_ova({entry});
    EXPECT_THAT(open_readonly("/vm/app.ova:" + entry.name), IsError(ErrorCode::kUnsupported));
    EXPECT_THAT(open_readonly("/vm/app.ova:" + entry.name), HasMessage(words));
    EXPECT_THAT(open_readonly("/vm/app.ova"), HasMessage(words));
  };
  refused_as({.name = "d.vmdk.gz", .data = "\x1F\x8B more"}, "compressed with gzip");
  refused_as({.name = "d.vmdk", .data = "\x1F\x8B more"}, "compressed with gzip");
  refused_as({.name = "d.vmdk.000000000", .data = stream_of('d')}, "OVF has cut into pieces");
  refused_as({.name = "d.vmdk", .data = "# Disk DescriptorFile\nversion=1\n"}, "in other files");
  refused_as({.name = "d-flat.vmdk", .data = std::string(600, 'x')}, "only a descriptor explains");
  refused_as({.name = "d.vmdk", .data = stream_of('d'), .type = 'S'}, "GNU sparse");
  refused_as({.name = "d.vmdk", .data = ""}, "an empty file");
  put_ova({{.name = "PaxHeader", .data = pax_record("GNU.sparse.major", "1"), .type = 'x'},
           {.name = "d.vmdk", .data = stream_of('d')}});
  EXPECT_THAT(open_readonly("/vm/app.ova"), HasMessage("GNU sparse"));
  put_ova({{.name = "readme", .data = "nothing here"}});
  EXPECT_THAT(open_readonly("/vm/app.ova"), HasMessage("a tar archive without a VMDK in it"));
}

TEST_F(OvaTest, OneThatOpensBesideOthersThatDoNot) {
  put_ova(
      {{.name = "a.vmdk.gz", .data = "\x1F\x8B more"}, {.name = "b.vmdk", .data = stream_of('b')}});
  EXPECT_EQ(shown("/vm/app.ova"), "bbb");
}

TEST_F(OvaTest, ArchivesThatCannotBe) {
  const std::string disk = stream_of('d');
  const auto damaged = [&](const std::string& text, const char* words) {
    memory_.put("/vm/app.ova", text);
    EXPECT_THAT(open_readonly("/vm/app.ova"), IsError(ErrorCode::kCorrupt));
    EXPECT_THAT(open_readonly("/vm/app.ova"), HasMessage("a damaged tar archive: header at byte"));
    EXPECT_THAT(open_readonly("/vm/app.ova"), HasMessage(words));
  };
  const std::string first = tar_entry({.name = "a.vmdk", .data = disk});
  damaged(tar_entry({.name = "a.vmdk", .data = "x", .size_field = "00000004000 "}) + tar_end(),
          "\"a.vmdk\": its 2048 bytes go beyond the end of the archive, which has 2048");
  damaged(tar_entry({.name = "a", .data = "x", .size_field = base256_size(1ULL << 61U)}),
          "go beyond the end");
  damaged(tar_entry({.name = "a", .size_field = std::string(12, '\xFF')}), "its size is no number");
  damaged(first + std::string(512, 'g'), "its checksum is wrong");
  damaged(first + std::string(100, '\0'), "the file ends inside it");
  damaged(tar_entry({.name = "L", .data = std::string(70000, 'n'), .type = 'L'}), "70000 bytes");
  damaged(tar_entry({.name = "x", .data = "nonsense", .type = 'x'}), "not made of records");
  damaged(tar_entry({.name = "g", .data = pax_record("size", "9"), .type = 'g'}), "for all files");
  damaged(tar_entry({.name = "x", .data = pax_record("size", "999999"), .type = 'x'}) + first,
          "go beyond the end");
}

TEST_F(OvaTest, HeadersWithoutEnd) {
  std::string text;
  const std::string entry = tar_entry({.name = "empty"});
  for (int i = 0; i < 10001; ++i)
    text += entry;
  memory_.put("/vm/app.ova", text);
  EXPECT_THAT(open_readonly("/vm/app.ova"), HasMessage("more than 10000 files"));
  const std::string name = tar_entry({.name = "L", .data = std::string(60000, 'n'), .type = 'L'});
  text.clear();
  for (int i = 0; i < 300; ++i)
    text += name;
  memory_.put("/vm/app.ova", text);
  EXPECT_THAT(open_readonly("/vm/app.ova"), IsError(ErrorCode::kCorrupt));
}

TEST_F(OvaTest, AnArchiveWithoutItsEndAndOneWithMore) {
  const std::string entry = tar_entry({.name = "d.vmdk", .data = stream_of('d')});
  memory_.put("/vm/app.ova", entry);
  EXPECT_EQ(shown("/vm/app.ova"), "ddd");
  memory_.put("/vm/app.ova", entry + std::string(64 * kKiB, '\0'));
  EXPECT_EQ(shown("/vm/app.ova"), "ddd");
  memory_.put("/vm/app.ova", entry + tar_end() + entry + entry);
  EXPECT_EQ(shown("/vm/app.ova"), "ddd") << "what follows the end is not looked at";
}

class WindowFileTest : public DiskFixture {
 protected:
  WindowFile window(std::uint64_t begin, std::uint64_t length) {
    auto file = memory_.open("/f", Access::kReadWrite);
    EXPECT_OK(file);
    return {std::move(*file), FileOffset(begin), length, "window"};
  }
};

TEST_F(WindowFileTest, ShowsItsStretchOnly) {
  memory_.put("/f", "0123456789");
  WindowFile file = window(3, 4);
  EXPECT_EQ(read_text(file, 0, 100).value(), "3456");
  EXPECT_EQ(read_text(file, 2, 1).value(), "5");
  EXPECT_EQ(read_text(file, 4, 1).value(), "");
  EXPECT_EQ(read_text(file, ~std::uint64_t{0}, 1).value(), "");
  EXPECT_EQ(file.size().value(), 4U);
  EXPECT_EQ(file.id().part, 3U);
  EXPECT_EQ(file.permissions(), 0444U);
}

TEST_F(WindowFileTest, CannotBeChanged) {
  memory_.put("/f", "0123456789");
  WindowFile file = window(3, 4);
  EXPECT_THAT(write_text(file, 0, "x"), FailsWith(EROFS));
  EXPECT_THAT(file.grow(5), FailsWith(EROFS));
  EXPECT_THAT(file.resize(1), FailsWith(EROFS));
  EXPECT_THAT(file.punch_hole(FileOffset(0), 1), FailsWith(EROFS));
  EXPECT_THAT(file.lock(LockMode::kWrite), FailsWith(EROFS));
  EXPECT_OK(file.lock(LockMode::kRead));
  EXPECT_EQ(memory_.text("/f"), "0123456789");
}

TEST_F(WindowFileTest, HolesAndDataEndWithIt) {
  memory_.put("/f", std::string(64 * kKiB, 'x'));
  memory_.truncate("/f", 256 * kKiB);
  WindowFile data = window(4 * kKiB, 8 * kKiB);
  EXPECT_EQ(data.next_data(FileOffset(0)).value(), FileOffset(0));
  EXPECT_EQ(data.next_hole(FileOffset(0)).value(), FileOffset(8 * kKiB));
  EXPECT_EQ(data.next_data(FileOffset(8 * kKiB)).value(), std::nullopt);
  WindowFile hole = window(128 * kKiB, 8 * kKiB);
  EXPECT_EQ(hole.next_data(FileOffset(0)).value(), std::nullopt);
  EXPECT_EQ(hole.next_hole(FileOffset(0)).value(), FileOffset(0));
}

}  // namespace
}  // namespace vmdk::test
