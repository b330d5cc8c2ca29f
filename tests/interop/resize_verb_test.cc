// vmdkctl resize, rebase and descriptor, with QEMU as a second reader.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "interop/copy_fixture.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class ResizeVerbTest : public CopyTest {};

TEST_F(ResizeVerbTest, QemuSeesTheLongerDisk) {
  const std::string raw = save_raw("raw", 5 * kMiB);
  save("expected", raw + std::string(40 * kMiB - raw.size(), '\0'));
  for (const std::string type :
       {"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"}) {
    expect_done("\"$V\" convert --from=raw --type=" + type + " raw disk.vmdk");
    expect_done("\"$V\" resize disk.vmdk 40M");
    expect_done("qemu-img compare -f vmdk -F raw disk.vmdk expected");
    expect_done("qemu-img info disk.vmdk | grep 41943040");
    expect_done("\"$V\" compare --strict --raw=b disk.vmdk expected");
    expect_done("\"$V\" check disk.vmdk");
    expect_done("qemu-io -f vmdk -c 'write -P 1 39M 1M' disk.vmdk && \"$V\" check disk.vmdk");
    expect_done("rm disk*.vmdk");
  }
}

TEST_F(ResizeVerbTest, SaysWhatCannotBe) {
  expect_done("\"$V\" create disk.vmdk 4M");
  EXPECT_EQ(vmdkctl("resize disk.vmdk 2M").status, 1);
  EXPECT_EQ(vmdkctl("resize disk.vmdk much").status, 1);
  EXPECT_THAT(vmdkctl("resize disk.vmdk 2M").err, HasSubstr("would be lost"));
  expect_done("\"$V\" snapshot disk.vmdk child.vmdk");
  EXPECT_EQ(vmdkctl("resize disk.vmdk 8M").status, 2);
  EXPECT_EQ(vmdkctl("resize child.vmdk 8M").status, 2);
}

class RebaseVerbTest : public CopyTest {};

TEST_F(RebaseVerbTest, QemuSeesTheSameDiskOverTheOtherParent) {
  save_raw("raw", 5 * kMiB);
  expect_done("\"$V\" convert --from=raw raw base.vmdk");
  expect_done("\"$V\" snapshot base.vmdk middle.vmdk");
  expect_done("qemu-io -f vmdk -c 'write -P 3 1M 200k' -c 'write -P 0 0 64k' middle.vmdk");
  expect_done("\"$V\" snapshot middle.vmdk top.vmdk");
  expect_done("qemu-io -f vmdk -c 'write -P 9 2M 64k' top.vmdk");
  expect_done("qemu-img convert -f vmdk -O raw top.vmdk expected");
  const CommandResult done = vmdkctl("rebase --json top.vmdk base.vmdk");
  EXPECT_EQ(done.status, 0) << done.to_text();
  EXPECT_EQ(json::parse(done.out)["writtenBytes"], 5 * 65536);
  expect_done("rm middle.vmdk");
  expect_done("qemu-img compare -f vmdk -F raw top.vmdk expected");
  expect_done("\"$V\" compare --raw=b top.vmdk expected");
  expect_done("\"$V\" check top.vmdk && qemu-img check top.vmdk");
  expect_done("qemu-img info top.vmdk | grep 'backing file: base.vmdk'");
}

TEST_F(RebaseVerbTest, UnsafeFollowsAParentThatWasMoved) {
  save_raw("raw", kMiB);
  expect_done("\"$V\" convert --from=raw raw base.vmdk");
  expect_done("\"$V\" snapshot base.vmdk child.vmdk");
  expect_done("mv base.vmdk somewhere-else-with-a-longer-name.vmdk");
  EXPECT_EQ(vmdkctl("cat child.vmdk > /dev/null").status, 2);
  expect_done("\"$V\" rebase --unsafe child.vmdk somewhere-else-with-a-longer-name.vmdk");
  expect_done("\"$V\" compare --raw=b child.vmdk raw");
  expect_done("qemu-img compare -f vmdk -F raw child.vmdk raw");
}

class DescriptorVerbTest : public CopyTest {};

TEST_F(DescriptorVerbTest, ShowsSetsAndMakesAnew) {
  save_raw("raw", kMiB);
  expect_done("\"$V\" convert --from=raw raw disk.vmdk");
  const CommandResult shown = vmdkctl("descriptor disk.vmdk");
  EXPECT_EQ(shown.status, 0) << shown.to_text();
  EXPECT_THAT(shown.out, HasSubstr("# Disk DescriptorFile\nversion=1\n"));
  EXPECT_THAT(shown.out, HasSubstr("\nRW 2048 SPARSE \"disk.vmdk\"\n"));
  expect_done("\"$V\" descriptor --set=ddb.adapterType=lsilogic --set=ddb.comment='a b' disk.vmdk");
  const json after = json::parse(vmdkctl("descriptor --json disk.vmdk").out);
  EXPECT_THAT(after["descriptor"].get<std::string>(), HasSubstr("ddb.adapterType = \"lsilogic\""));
  EXPECT_THAT(after["descriptor"].get<std::string>(), HasSubstr("ddb.comment = \"a b\""));
  expect_done("qemu-img compare -f vmdk -F raw disk.vmdk raw");
  expect_done("dd if=/dev/zero of=disk.vmdk bs=512 seek=1 count=20 conv=notrunc");
  EXPECT_EQ(vmdkctl("descriptor disk.vmdk").status, 1);
  const CommandResult made = vmdkctl("descriptor --rebuild disk.vmdk");
  EXPECT_EQ(made.status, 0) << made.to_text();
  EXPECT_THAT(made.err, HasSubstr("whether it had a parent is not known"));
  expect_done("qemu-img compare -f vmdk -F raw disk.vmdk raw");
  expect_done("\"$V\" check disk.vmdk");
}

TEST_F(DescriptorVerbTest, SaysWhatItDoesNotSet) {
  expect_done("\"$V\" create disk.vmdk 1M");
  EXPECT_EQ(vmdkctl("descriptor --set=CID=12345678 disk.vmdk").status, 1);
  EXPECT_EQ(vmdkctl("descriptor --set=ddb.comment disk.vmdk").status, 1);
  EXPECT_EQ(vmdkctl("descriptor --set=ddb.comment=x --rebuild disk.vmdk").status, 1);
  EXPECT_EQ(vmdkctl("descriptor --rebuild disk.vmdk").status, 1);
}

}  // namespace
}  // namespace vmdk::test
