// What is not opened, or only for reading, and what is said about it; what speaks against writing.
#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/faulty_file_system.h"

namespace vmdk::test {
namespace {

class RefusalsTest : public DiskFixture {
 protected:
  // Refused for writing with these words; for reading it opens.
  void expect_read_only(const std::filesystem::path& image, const std::string& words) {
    EXPECT_THAT(open(image), HasMessage(words));
    EXPECT_THAT(open(image), HasMessage("-r "));
    EXPECT_OK(open_readonly(image));
  }

  void expect_refused(const std::filesystem::path& image, const std::string& words) {
    for (const Access access : {Access::kReadOnly, Access::kReadWrite})
      EXPECT_THAT(open(image, access), HasMessage(words));
  }
};

TEST_F(RefusalsTest, RangesThatCannotBeWrittenAreReadInTheirPlace) {
  const auto data = filled(64 * kKiB, 'd');
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk",
                       {{.length = 64 * kKiB, .data = data},
                        {.length = 32 * kKiB, .data = data, .access = "RDONLY"},
                        {.length = 16 * kKiB, .type = "ZERO"},
                        {.length = 8 * kKiB, .data = data, .access = "NOACCESS"},
                        {.length = 4 * kKiB, .data = data}}));
  expect_read_only("/vm/d.vmdk",
                   "line 9 of the descriptor is a range that cannot be written "
                   "(RDONLY FLAT)");
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  EXPECT_EQ(disk->capacity(), 124 * kKiB);
  EXPECT_EQ(read(*disk, 96 * kKiB - 1, 2), std::string("d\0", 2));
  std::vector<std::byte> bytes(1);
  EXPECT_THAT(disk->read(DiskOffset(112 * kKiB), bytes), FailsWith(EIO));
  EXPECT_EQ(read(*disk, 120 * kKiB, 10), "dddddddddd");
  EXPECT_EQ(disk->map(DiskOffset(96 * kKiB), kMiB / 64)->kind, MapKind::kZero);
  EXPECT_EQ(disk->map(DiskOffset(112 * kKiB), 512)->kind, MapKind::kUnreadable);
  EXPECT_THAT(disk->write(DiskOffset(0), bytes), IsError(ErrorCode::kReadOnly));
}

TEST_F(RefusalsTest, NoaccessIsNotEvenOpened) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = 64 * kKiB, .access = "NOACCESS"}}));
  ASSERT_OK(memory_.remove("/vm/d-f001.vmdk"));
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
}

TEST_F(RefusalsTest, ZeroRangesReadAsZerosOnly) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk",
                       {{.length = 64 * kKiB}, {.length = 64 * kKiB, .type = "ZERO"}}));
  expect_read_only("/vm/d.vmdk", "(RW ZERO)");
}

TEST_F(RefusalsTest, CutFilesAreRefusedInBothModes) {
  ASSERT_OK(build_flat(memory_, "/vm/flat.vmdk", {{.length = 64 * kKiB, .offset = 1024}}));
  memory_.truncate("/vm/flat-f001.vmdk", 64 * kKiB + 1023);
  expect_refused("/vm/flat.vmdk",
                 "cut: the file has 66559 bytes, line 8 of /vm/flat.vmdk needs "
                 "66560");
  const auto built = make_sparse("/vm/sparse.vmdk");
  memory_.truncate("/vm/sparse.vmdk", built.table_at(0) + 100);
  for (const Access access : {Access::kReadOnly, Access::kReadWrite})
    EXPECT_THAT(open("/vm/sparse.vmdk", access), IsError(ErrorCode::kCorrupt));
}

TEST_F(RefusalsTest, TheHeaderMayHaveMoreThanTheLineButNotLess) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.edit_header = [](SparseHeader& header) { header.capacity = Sectors(2047); };
  make("/vm/less.vmdk", spec);
  expect_refused("/vm/less.vmdk", "the header's capacity is 2047 sectors, line 8 of");
  DescriptorSpec descriptor;
  descriptor.extent_lines = {extent_line("RW", kMiB - kSectorSize, "SPARSE", "more.vmdk")};
  make_sparse("/vm/more.vmdk", descriptor);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/more.vmdk"));
  EXPECT_EQ(disk->capacity(), kMiB - kSectorSize);
}

TEST_F(RefusalsTest, KindsThatAreNotServed) {
  SparseSpec without_markers;
  without_markers.capacity = kMiB;
  without_markers.edit_header = [](SparseHeader& header) {
    header.flags |= sparse_flag::kCompressed;
    header.compress_algorithm = 1;
  };
  make("/vm/packed.vmdk", without_markers);
  expect_refused("/vm/packed.vmdk", "compression (bit 16) without markers (bit 17)");
  memory_.put("/vm/cowd.vmdk", "COWD" + std::string(2044, '\0'));
  expect_refused("/vm/cowd.vmdk", "version 0: 1 (ESX) and 3 (Workstation 3) are known");
  memory_.put("/vm/empty.vmdk", "");
  expect_refused("/vm/empty.vmdk", "the file is empty");
  memory_.put("/vm/qcow.vmdk", "QFI\xfb" + std::string(508, '\0'));
  expect_refused("/vm/qcow.vmdk", "qemu-img convert -O vmdk");
  DescriptorSpec unknown;
  unknown.create_type = "polylithicSparse";
  make_sparse("/vm/unknown.vmdk", unknown);
  expect_refused("/vm/unknown.vmdk", "createType \"polylithicSparse\": this kind is not supported");
  DescriptorSpec device;
  device.create_type = "fullDevice";
  device.extent_lines = {extent_line("RW", kMiB, "FLAT", "/dev/sdb", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/device.vmdk", device));
  expect_refused("/vm/device.vmdk", "createType \"fullDevice\": a disk made of devices");
  expect_refused("/vm/device.vmdk", "--allow-devices");
}

TEST_F(RefusalsTest, DeviceMappingsAreOfTheEsxHost) {
  DescriptorSpec mapping;
  mapping.create_type = "vmfsRDM";
  mapping.extent_lines = {extent_line("RW", kMiB, "VMFSRDM", "d-rdm.vmdk")};
  ASSERT_OK(build_descriptor(memory_, "/vm/rdm.vmdk", mapping));
  expect_refused("/vm/rdm.vmdk",
                 "createType \"vmfsRDM\": a raw device mapping, which only the ESX host");
  expect_refused("/vm/rdm.vmdk", "vmkfstools -i IMAGE COPY");
  mapping.create_type = "vmfs";
  mapping.extent_lines = {extent_line("RW", kMiB, "VMFSRAW", "/vmfs/devices/disks/naa.1")};
  ASSERT_OK(build_descriptor(memory_, "/vm/raw.vmdk", mapping));
  expect_refused("/vm/raw.vmdk", "line 8: an extent of type VMFSRAW: a raw device mapping");
}

TEST_F(RefusalsTest, MembersOfADiskNameTheirDescriptor) {
  SparseSpec part;
  part.capacity = kMiB;
  ASSERT_OK(build_split_sparse(memory_, "/vm/d.vmdk", {part, part}));
  expect_refused("/vm/d-s002.vmdk", "open the disk's descriptor: /vm/d.vmdk");
  memory_.put("/vm/e-flat.vmdk", std::string(1024, 'x'));
  expect_refused("/vm/e-flat.vmdk", "open the disk's descriptor: /vm/e.vmdk");
}

// The extents behind it would be missing, and the disk shorter.
TEST_F(RefusalsTest, ADescriptorOfWhichASectorIsLost) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = 64 * kKiB}, {.length = 64 * kKiB}}));
  const std::string text = memory_.text("/vm/d.vmdk");
  const std::size_t second = text.find("RW ", text.find("RW ") + 1);
  ASSERT_NE(second, std::string::npos);
  const std::string lost(kSectorSize, '\0');
  memory_.put("/vm/d.vmdk", text.substr(0, second) + lost + text.substr(second));
  expect_refused("/vm/d.vmdk", "NUL bytes in the midst of the descriptor, from byte " +
                                   std::to_string(second) + " on: a part of it is lost");
  memory_.put("/vm/d.vmdk", text + lost);
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
}

// As QEMU leaves it, which ends the text with a NUL and does not clear what was behind.
TEST_F(RefusalsTest, WhatALongerDescriptorLeftBehindIsNotLost) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = 64 * kKiB}}));
  const std::string text = memory_.text("/vm/d.vmdk");
  const std::string filler(kSectorSize, '\0');
  for (const std::string left : {"\n", "\"\n", "83647\"\n"}) {
    SCOPED_TRACE(left);
    memory_.put("/vm/d.vmdk", text + '\0' + left + filler);
    EXPECT_OK(open("/vm/d.vmdk"));
  }
  // The shortest line that means something.
  memory_.put("/vm/d.vmdk", text + '\0' + "RW 1 ZERO" + filler);
  expect_refused("/vm/d.vmdk", "a part of it is lost");
}

TEST_F(RefusalsTest, MembersOfEveryKindAreKnownByTheirNames) {
  for (const char* member : {"/vm/x-f002.vmdk", "/vm/x-flat.vmdk", "/vm/x-delta.vmdk",
                             "/vm/x-sesparse.vmdk", "/vm/x-rdm.vmdk", "/vm/x-pt.vmdk"}) {
    memory_.put(member, std::string(1024, 'x'));
    expect_refused(member, "open the disk's descriptor: /vm/x.vmdk");
  }
  memory_.put("/vm/x-ctk.vmdk", "\xA2\x72\x19\xF6" + std::string(508, '\0'));
  expect_refused("/vm/x-ctk.vmdk", "a change-tracking file, not a disk");
  expect_refused("/vm/x-ctk.vmdk", "open the disk's descriptor: /vm/x.vmdk");
}

TEST_F(RefusalsTest, FilesOfOtherKindsAreNamed) {
  const auto refused = [&](const std::string& bytes, const char* what, const char* way_out) {
    memory_.put("/vm/file", bytes);
    expect_refused("/vm/file", what);
    expect_refused("/vm/file", way_out);
  };
  const std::string filler(4096, '\0');
  const char* const convert = "qemu-img convert -O vmdk";
  refused("vhdxfile" + filler, "it is a Hyper-V VHDX image", convert);
  refused("conectix" + filler, "it is a VirtualPC VHD image", convert);
  refused(filler + "conectix" + std::string(504, '\0'), "it is a VirtualPC VHD image", convert);
  refused(std::string(64, ' ') + "\xBE\xDA\x10\x7F" + filler, "it is a VirtualBox VDI image",
          convert);
  refused("\x1F\x8B" + filler, "it is a gzip file", "gunzip");
  refused("kdmv" + filler, "a conversion to streamOptimized that was not finished",
          "convert again from the source");
  refused(std::string(510, '\0') + "\x55\xAA", "it is a raw disk image", "losetup");
  refused(std::string(512, '\0') + "EFI PART", "it is a raw disk image", "losetup");
  refused("hello", "neither a sparse header nor a descriptor", "vmdkctl convert --from=raw");
}

TEST_F(RefusalsTest, WhatAKilledProgramLeftIsKnownByItsName) {
  memory_.put("/vm/.vmdk-new-0123abcd", "");
  memory_.put("/vm/.vmdk-new-4567cdef", std::string(64 * kKiB, '\0'));
  memory_.put("/vm/other", "");
  for (const char* name : {"/vm/.vmdk-new-0123abcd", "/vm/.vmdk-new-4567cdef"})
    expect_refused(name,
                   "it was left by a program that was killed while it made an image, and can "
                   "be removed");
  EXPECT_EQ(open("/vm/other").error().to_text().find("killed"), std::string::npos);
}

TEST_F(RefusalsTest, EncryptedDisks) {
  DescriptorSpec keys;
  keys.more_lines = {"encryption.keySafe = \"vmware:key/list/x\""};
  make_sparse("/vm/keys.vmdk", keys);
  expect_refused("/vm/keys.vmdk", "the disk is encrypted");
  expect_refused("/vm/keys.vmdk", "take the encryption off");
  make_sparse("/vm/cipher.vmdk");
  memory_.poke("/vm/cipher.vmdk", kSectorSize, filled(300, 0x93));
  memory_.poke("/vm/cipher.vmdk", kSectorSize + 17, filled(3, 0x02));
  expect_refused("/vm/cipher.vmdk", "the descriptor in it is no text: the disk is encrypted");
}

TEST_F(RefusalsTest, MissingTablesAndDamageAreReadOnly) {
  SparseSpec spec;
  spec.capacity = 64 * kMiB;
  spec.missing_tables = {1};
  make("/vm/missing.vmdk", spec);
  expect_read_only("/vm/missing.vmdk", "some of its grain tables are missing");
  expect_read_only("/vm/missing.vmdk", "--force=tables adds them");
  const auto built = make_sparse("/vm/bad.vmdk", {}, "data");
  poke_entry("/vm/bad.vmdk", built.entry_at(3), 5);
  expect_read_only("/vm/bad.vmdk", "its grain tables are damaged: grain 3");
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/bad.vmdk"));
  EXPECT_EQ(read(*disk, 0, 4), "data");
  std::vector<std::byte> bytes(1);
  EXPECT_THAT(disk->read(DiskOffset(3 * 64 * kKiB), bytes), FailsWith(EIO));
  EXPECT_EQ(disk->map(DiskOffset(3 * 64 * kKiB), 1)->kind, MapKind::kUnreadable);
}

TEST_F(RefusalsTest, UnequalCopiesOfACleanImage) {
  const auto built = make_sparse("/vm/d.vmdk", {}, "data");
  poke_entry("/vm/d.vmdk", built.entry_at(0, true), 0);
  expect_read_only("/vm/d.vmdk", "its two copies of the grain tables differ in 1 entries");
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("vmdkctl check --repair=tables"));
}

TEST_F(RefusalsTest, ExtentsThatMeanTheSameBytes) {
  DescriptorSpec descriptor;
  descriptor.create_type = "twoGbMaxExtentFlat";
  descriptor.extent_lines = {extent_line("RW", 4096, "FLAT", "f", 0),
                             extent_line("RW", 4096, "FLAT", "f", 2048)};
  memory_.put("/vm/f", std::string(8192, 'x'));
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  expect_read_only("/vm/d.vmdk", "lines 8 and 9 name the same bytes of /vm/f");
  descriptor.extent_lines[1] = extent_line("RW", 4096, "FLAT", "f", 4096);
  ASSERT_OK(build_descriptor(memory_, "/vm/e.vmdk", descriptor));
  EXPECT_OK(open("/vm/e.vmdk"));
  descriptor.extent_lines = {extent_line("RW", 512, "FLAT", "g.vmdk", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/g.vmdk", descriptor));
  expect_refused("/vm/g.vmdk", "names the descriptor itself as an extent");
}

TEST_F(RefusalsTest, ExtentsOutsideTheFolder) {
  memory_.put("/etc/shadow", std::string(512, 's'));
  DescriptorSpec descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extent_lines = {extent_line("RDONLY", 512, "FLAT", "../etc/shadow", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), IsError(ErrorCode::kDenied));
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage("/vm/d.vmdk: extent in line 8: "));
  options_.allow_dirs = {"/etc"};
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
}

TEST_F(RefusalsTest, OptionsThatDoNotGoTogether) {
  make_sparse("/vm/d.vmdk");
  options_.batch_grains = 0;
  EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kInvalidArgument));
  options_.batch_grains = 513;
  EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kInvalidArgument));
  options_.batch_grains = 1;
  options_.share = true;
  EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kInvalidArgument));
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
}

TEST_F(RefusalsTest, VmwareLocks) {
  make_sparse("/vm/d.vmdk");
  memory_.make_directory("/vm/d.vmdk.lck");
  EXPECT_OK(open("/vm/d.vmdk")) << "an empty lock folder locks nothing";
  memory_.put("/vm/d.vmdk.lck/M12345.lck", "x");
  EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kBusy));
  EXPECT_THAT(open("/vm/d.vmdk"),
              HasMessage("in use by a VMware product: /vm/d.vmdk.lck/M12345.lck is there"));
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
  options_.force_stale_lck = true;
  EXPECT_OK(open("/vm/d.vmdk"));
}

TEST_F(RefusalsTest, ALockFolderThatCannotBeLookedIntoMayHoldALock) {
  make_sparse("/vm/d.vmdk");
  options_.access = Access::kReadWrite;
  FaultyFileSystem failing(memory_);
  failing.add({.kinds = {OpKind::kList}, .matches = on_file("/vm/d.vmdk.lck"), .for_ever = true});
  EXPECT_THAT(Disk::open(failing, "/vm/d.vmdk", options_), FailsWith(EIO));
  EXPECT_THAT(Disk::open(failing, "/vm/d.vmdk", options_),
              HasMessage("whether a VMware product uses it is not known"));
  options_.force_stale_lck = true;
  EXPECT_OK(Disk::open(failing, "/vm/d.vmdk", options_));
}

TEST_F(RefusalsTest, VmwareLocksOfExtentsAndOfOldProducts) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = 512}, {.length = 512}}));
  memory_.put("/vm/d-f002.vmdk.lck", "pid");
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("/vm/d-f002.vmdk.lck is there"));
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
}

TEST_F(RefusalsTest, AnImageThatHasChildren) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/child.VMDK", child_of("C:\\vm\\base.vmdk"));
  EXPECT_THAT(open("/vm/base.vmdk"), IsError(ErrorCode::kBusy));
  EXPECT_THAT(open("/vm/base.vmdk"), HasMessage("child.VMDK is a snapshot of it"));
  EXPECT_THAT(open("/vm/base.vmdk"), HasMessage("--force=children"));
  EXPECT_OK(open_readonly("/vm/base.vmdk"));
  options_.force_children = true;
  EXPECT_OK(open("/vm/base.vmdk"));
}

TEST_F(RefusalsTest, AChildMayHaveAnyName) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/work.img", child_of("base.vmdk"));
  EXPECT_THAT(open("/vm/base.vmdk"), IsError(ErrorCode::kBusy));
  EXPECT_THAT(open("/vm/base.vmdk"), HasMessage("work.img is a snapshot of it"));
}

// Nothing but its name would speak for it.
TEST_F(RefusalsTest, AFileOfAnotherNameThatCannotBeReadIsNoChild) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/notes", child_of("base.vmdk"));
  make_sparse("/vm/child.vmdk", child_of("base.vmdk", 0xDEAD));
  options_.access = Access::kReadWrite;
  for (const auto& [name, refused] : {std::pair("notes", false), std::pair("child.vmdk", true)}) {
    SCOPED_TRACE(name);
    FaultyFileSystem failing(memory_);
    for (const char* each : {"notes", name})
      failing.add({.kinds = {OpKind::kOpen},
                   .matches = on_file(std::string("/vm/") + each),
                   .for_ever = true});
    const auto opened = Disk::open(failing, "/vm/base.vmdk", options_);
    EXPECT_EQ(!opened, refused);
  }
}

TEST_F(RefusalsTest, WhatIsNoChild) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/stale.vmdk", child_of("base.vmdk", 0xDEAD));
  make_sparse("/vm/other.vmdk", child_of("another.vmdk"));
  memory_.put("/vm/garbage.vmdk", "garbage");
  EXPECT_OK(open("/vm/base.vmdk"));
}

}  // namespace
}  // namespace vmdk::test
