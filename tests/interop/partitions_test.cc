// vmdkctl info --partitions and cat --partition, against what util-linux says of the same disk.
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "interop/copy_fixture.h"
#include "vmdkctl_fixture.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class PartitionsInteropTest : public CopyTest {
 protected:
  void SetUp() override {
    if (!have_program("sfdisk"))
      GTEST_SKIP() << "sfdisk is not installed";
  }

  // A raw disk with what `script` says to sfdisk, and the same as an image.
  void make(const std::string& script, const std::string& size = "64M",
            const std::string& options = "") const {
    expect_done(fmt::format("rm -f raw disk.vmdk && truncate -s {} raw", size));
    save("script", script);
    expect_done(fmt::format("PATH=$PATH:/sbin:/usr/sbin sfdisk -q {} raw < script", options));
  }

  void convert() const { expect_done("\"$V\" convert --from=raw raw disk.vmdk"); }

  json partitions(const std::string& options = "") const {
    const CommandResult result = vmdkctl("info --json --partitions " + options + " disk.vmdk");
    EXPECT_EQ(result.status, 0) << result.to_text();
    return json::parse(result.out);
  }

  std::string output(const std::string& command) const {
    const CommandResult result = shell("PATH=$PATH:/sbin:/usr/sbin; " + command);
    EXPECT_EQ(result.status, 0) << command << result.to_text();
    return result.out;
  }

  // Numbers, places and types, as both of them say.
  void expect_same_table() const {
    convert();
    const json theirs = json::parse(output("sfdisk -J raw"))["partitiontable"];
    const json ours = partitions();
    EXPECT_EQ(ours["partitionTable"], theirs["label"] == "dos" ? "mbr" : theirs["label"]);
    ASSERT_EQ(ours["partitions"].size(), theirs["partitions"].size()) << ours << theirs;
    for (std::size_t i = 0; i < ours["partitions"].size(); ++i) {
      const json& our = ours["partitions"][i];
      const json& their = theirs["partitions"][i];
      EXPECT_EQ(fmt::format("raw{}", our["number"].get<unsigned>()), their["node"]);
      EXPECT_EQ(our["startByte"].get<std::uint64_t>(), their["start"].get<std::uint64_t>() * 512);
      EXPECT_EQ(our["bytes"].get<std::uint64_t>(), their["size"].get<std::uint64_t>() * 512);
      const std::string type = their["type"];
      EXPECT_EQ(our["type"],
                type.size() > 2 ? type : "0x" + std::string(2 - type.size(), '0') + type);
      if (their.contains("name"))
        EXPECT_EQ(our["name"], their["name"]);
      if (their.contains("uuid"))
        EXPECT_EQ(our["id"], their["uuid"]);
    }
  }
};

TEST_F(PartitionsInteropTest, TablesAreReadAsSfdiskReadsThem) {
  make("label: gpt\nsize=4M,type=U,name=\"EFI system\"\nsize=1M,type=S\nname=\"d\u00E9j\u00E0\"\n");
  expect_same_table();
  make(
      "label: dos\nsize=2M,type=7,bootable\nsize=20M,type=5\nsize=1M,type=82\n"
      "size=1M\nsize=3M,type=c\nsize=2M,type=7\nsize=2M\n");
  expect_same_table();
  make("label: dos\nstart=2048,size=4096\n");
  expect_same_table();
  // Without the partitions 1 and 6: their places stay, their numbers do not.
  make(
      "label: dos\nsize=2M\nsize=20M,type=f\nsize=1M,type=82\n"
      "size=1M\nsize=3M,type=c\nsize=2M,type=7\nsize=2M\n");
  expect_done("PATH=$PATH:/sbin:/usr/sbin sfdisk -q --delete raw 1 6");
  expect_same_table();
  make("label: gpt\nsize=4M\nsize=1M\nsize=2M\n");
  expect_done("PATH=$PATH:/sbin:/usr/sbin sfdisk -q --delete raw 2");
  expect_same_table();
}

TEST_F(PartitionsInteropTest, TheSecondGptIsReadAsFdiskReadsIt) {
  make("label: gpt\nsize=4M,name=one\nsize=1M,name=two\n");
  convert();
  const json sound = partitions();
  expect_done(
      "rm disk.vmdk; dd if=/dev/zero of=raw bs=512 seek=1 count=33 conv=notrunc status=none");
  convert();
  const json rescued = partitions();
  EXPECT_EQ(sound["partitions"], rescued["partitions"]);
  EXPECT_THAT(sound["partitionWarnings"], testing::IsEmpty());
  ASSERT_EQ(rescued["partitionWarnings"].size(), 1U);
  EXPECT_THAT(output("LC_ALL=C fdisk -l raw 2>&1"), HasSubstr("raw2"));
}

TEST_F(PartitionsInteropTest, NamesAreThoseThatFdiskPrints) {
  make("label: dos\nsize=2M\nsize=20M,type=f\nsize=1M\nsize=1M\nsize=3M\nsize=2M\n");
  convert();
  std::string names;
  const json info = partitions();
  for (const json& each : info["partitions"])
    names += fmt::format("raw{}\n", each["number"].get<unsigned>());
  EXPECT_EQ(output("LC_ALL=C fdisk -l -o Device raw | grep '^raw'"), names);
}

TEST_F(PartitionsInteropTest, SectorsOf4096BytesAreThoseOfFdisk) {
  if (!have_program("losetup") || output("id -u") != "0\n")
    GTEST_SKIP() << "a disk with such sectors needs root and losetup";
  make("label: gpt\nsize=4M\n");
  const CommandResult made = shell(
      "PATH=$PATH:/sbin:/usr/sbin; rm raw; truncate -s 64M raw; d=$(losetup -b 4096 --show -f raw) "
      "|| exit 99; printf 'label: gpt\\nsize=8M,name=large\\nsize=4M\\n' | sfdisk -q $d; "
      "s=$?; losetup -d $d; exit $s");
  if (made.status == 99)
    GTEST_SKIP() << "no loop device with such sectors: " << made.err;
  ASSERT_EQ(made.status, 0) << made.to_text();
  convert();
  const json info = partitions();
  EXPECT_EQ(info["sectorBytes"], 4096);
  ASSERT_EQ(info["partitions"].size(), 2U) << info;
  EXPECT_EQ(info["partitions"][0]["startByte"], 1048576);
  EXPECT_EQ(info["partitions"][0]["bytes"], 8388608);
  EXPECT_EQ(info["partitions"][0]["name"], "large");
}

TEST_F(PartitionsInteropTest, FileSystemsAreThoseOfBlkid) {
  struct Kind {
    const char* program;
    const char* make;
    const char* type;
    const char* label;
  };

  constexpr std::array kKinds = {
      Kind{"mkfs.ext4", "mkfs.ext4 -q -L 'a \"label\"' raw", "ext4", "a \"label\""},
      Kind{"mkfs.ext2", "mkfs.ext2 -q raw", "ext2", ""},
      Kind{"mkswap", "mkswap -q -L swapped raw", "swap", "swapped"},
      Kind{"mkfs.xfs", "mkfs.xfs -q -L xfs raw", "xfs", "xfs"},
      Kind{"mkfs.btrfs", "mkfs.btrfs -q -L b raw", "btrfs", "b"},
      Kind{"mkfs.vfat", "mkfs.vfat -F 32 -n FAT32LABEL raw >/dev/null", "vfat", "FAT32LABEL"},
      Kind{"mkfs.vfat", "mkfs.vfat -F 16 -n FAT16LABEL raw >/dev/null", "vfat", "FAT16LABEL"},
      // The label behind the first MiB, and another one than in the first sector.
      Kind{"mkfs.vfat",
           "mkfs.vfat -F 32 -s 1 -n FIRSTLABEL raw >/dev/null; "
           "at=$(grep -obUa 'FIRSTLABEL ' raw | tail -n 1 | cut -d: -f1); test $at -gt 2000000 && "
           "printf ROOTLABEL | dd of=raw bs=1 seek=$at conv=notrunc status=none",
           "vfat", "ROOTLABELL"},
      Kind{"mkntfs", "mkntfs -q -F -f -L Volume raw >/dev/null 2>&1", "ntfs", "Volume"},
      // With its first files where Windows has them: far behind.
      Kind{"mkntfs",
           "mkntfs -q -F -f -L Volume raw >/dev/null 2>&1; "
           "dd if=raw of=raw bs=4096 skip=4 seek=25600 count=16 conv=notrunc status=none; "
           "dd if=/dev/zero of=raw bs=4096 seek=4 count=16 conv=notrunc status=none; "
           "printf '\\000\\144' | dd of=raw bs=1 seek=48 conv=notrunc status=none",
           "ntfs", "Volume"},
  };
  for (const Kind& kind : kKinds) {
    if (!have_program(kind.program))
      continue;
    SCOPED_TRACE(kind.make);
    expect_done("rm -f raw disk.vmdk; truncate -s 330M raw");
    output(kind.make);
    convert();
    const json info = partitions();
    EXPECT_EQ(info["partitionTable"], nullptr);
    EXPECT_EQ(info.value("fs", ""), kind.type);
    EXPECT_EQ(info.value("label", ""), kind.label);
    EXPECT_EQ(info.value("label", "") + (*kind.label != 0 ? "\n" : ""),
              output("blkid -p -s LABEL -o value raw; true"));
    EXPECT_EQ(info.value("uuid", "") + "\n", output("blkid -p -s UUID -o value raw; true"));
  }
}

TEST_F(PartitionsInteropTest, WhatIsInAPartitionIsRecognised) {
  make("label: gpt\nsize=16M,type=L,name=root\nsize=8M,type=S\n");
  output("truncate -s 16M p && mkfs.ext4 -q -L top p && dd if=p of=raw bs=1M seek=1 conv=notrunc");
  convert();
  const json info = partitions()["partitions"];
  EXPECT_EQ(info[0].value("fs", ""), "ext4");
  EXPECT_EQ(info[0].value("label", ""), "top");
  EXPECT_EQ(info[0]["typeName"], "Linux");
  EXPECT_FALSE(info[1].contains("fs"));
  const CommandResult text = vmdkctl("info --partitions disk.vmdk");
  EXPECT_THAT(text.out, HasSubstr("\npartitions       gpt, sectors of 512 bytes\n"
                                  "                 1       16 MiB  Linux                 (root)  "
                                  "ext4 \"top\"\n"
                                  "                 2        8 MiB  Linux swap\n"));
  EXPECT_EQ(vmdkctl("info disk.vmdk").out.find("partitions"), std::string::npos);
}

TEST_F(PartitionsInteropTest, CatWritesOnePartition) {
  make("label: dos\nsize=2M\nsize=20M,type=f\nsize=1M\nsize=1M\nsize=1M\nsize=3M\n");
  convert();
  const json logical = partitions()["partitions"][5];
  ASSERT_EQ(logical["number"], 6);
  const auto begin = logical["startByte"].get<std::uint64_t>();
  expect_done("rm disk.vmdk && head -c 3M /dev/urandom > p");
  expect_done(fmt::format("dd if=p of=raw bs=64K oflag=seek_bytes seek={} conv=notrunc status=none",
                          begin));
  convert();
  expect_done("\"$V\" cat --partition=6 disk.vmdk | cmp - p");
  const CommandResult none = vmdkctl("cat --partition=7 disk.vmdk > out");
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.err, HasSubstr("partitions 1, 2, 3, 4, 5, 6, and none with the number 7"));
  EXPECT_EQ(vmdkctl("cat --partition=6 --offset=1M disk.vmdk > out").status, 1);
  EXPECT_EQ(vmdkctl("cat --partition=0 disk.vmdk > out").status, 1);
  expect_done("rm disk.vmdk; \"$V\" create disk.vmdk 5M");
  EXPECT_THAT(vmdkctl("cat --partition=1 disk.vmdk > out").err, HasSubstr("has no partition"));
}

TEST_F(PartitionsInteropTest, WithoutAParentNoPartitionsAreShown) {
  expect_done("\"$V\" create b.vmdk 5M && \"$V\" create --parent=b.vmdk disk.vmdk && rm b.vmdk");
  const CommandResult result = vmdkctl("info --json --partitions disk.vmdk");
  EXPECT_EQ(result.status, 2);
  EXPECT_FALSE(json::parse(result.out).contains("partitions"));
}

}  // namespace
}  // namespace vmdk::test
