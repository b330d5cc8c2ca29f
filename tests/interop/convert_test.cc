// vmdkctl convert, and QEMU's opinion of what it makes.
#include <signal.h>

#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "interop/copy_fixture.h"
#include "support/tar_builder.h"

namespace vmdk::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class ConvertVerbTest : public CopyTest {};

// --- What QEMU says ----------------------------------------------------------------------------

using Case = std::tuple<const char*, std::uint64_t>;  // type, capacity

class ConvertedForQemuTest : public CopyTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    if (!have_program("qemu-img"))
      GTEST_SKIP() << "qemu-img is not installed";
  }
};

TEST_P(ConvertedForQemuTest, IsReadByQemuAsTheSource) {
  const auto [type, capacity] = GetParam();
  const std::string raw = save_raw("raw.img", capacity);
  expect_done(fmt::format("\"$V\" convert --from=raw --type={} --verify raw.img d.vmdk", type));
  expect_done("qemu-img compare -f raw -F vmdk raw.img d.vmdk");
  // Back again, through our own reader.
  expect_done("\"$V\" convert --type=raw d.vmdk back.raw");
  EXPECT_TRUE(load("back.raw") == raw);
  const std::string name = type;
  if (name == "monolithicSparse" || name == "streamOptimized") {
    expect_done("qemu-img check -f vmdk d.vmdk");
    expect_done("\"$V\" check d.vmdk");
    const json info = json::parse(shell("qemu-img info -f vmdk --output=json d.vmdk").out);
    EXPECT_EQ(info["virtual-size"], capacity);
    EXPECT_EQ(info["format-specific"]["data"]["create-type"], name);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, ConvertedForQemuTest,
    testing::Combine(testing::Values("monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat",
                                     "twoGbMaxExtentFlat", "vmfs", "streamOptimized"),
                     testing::Values(kMiB, 35 * kMiB + 7 * 512)));

TEST_F(ConvertVerbTest, ReadsWhatQemuCompressed) {
  if (!have_program("qemu-img"))
    GTEST_SKIP() << "qemu-img is not installed";
  const std::string raw = save_raw("raw.img", 40 * kMiB);
  expect_done("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw.img q.vmdk");
  expect_done("\"$V\" convert q.vmdk d.vmdk && qemu-img compare -f raw -F vmdk raw.img d.vmdk");
}

// --- Pipes -------------------------------------------------------------------------------------

TEST_F(ConvertVerbTest, StreamsThroughPipes) {
  const std::string raw = save_raw("raw.img", 3 * kMiB + 512);
  expect_done("cat raw.img | \"$V\" convert --from=raw --size=3146240 - - | cat > s.vmdk");
  expect_done("\"$V\" compare --strict --raw=b s.vmdk raw.img && \"$V\" check s.vmdk");
  EXPECT_THAT(vmdkctl("info s.vmdk").out, HasSubstr("streamOptimized, version 3"));
  expect_done("\"$V\" convert --type=raw s.vmdk - > back");
  EXPECT_TRUE(load("back") == raw);
  // A file as standard input tells its size.
  expect_done("\"$V\" convert --from=raw - d.vmdk < raw.img");
  expect_done("\"$V\" compare --strict --raw=b d.vmdk raw.img");
}

TEST_F(ConvertVerbTest, WantsStandardInputToBeWhatItSays) {
  const auto refused = [&](const std::string& command, int status, const char* why) {
    const CommandResult result = shell(command);
    EXPECT_EQ(result.status, status) << command << '\n' << result.to_text();
    EXPECT_THAT(result.err, HasSubstr(why));
    EXPECT_FALSE(exists("d.vmdk")) << command;
  };
  save_raw("raw.img", kMiB);
  refused("cat raw.img | \"$V\" convert - d.vmdk", 1, "--from=raw");
  refused("cat raw.img | \"$V\" convert --from=raw - d.vmdk", 1, "--size=BYTES");
  refused("cat raw.img | \"$V\" convert --from=raw --size=2M - d.vmdk", 2,
          "ended after 1048576 bytes, not 2097152");
  refused("cat raw.img | \"$V\" convert --from=raw --size=64K - d.vmdk", 2,
          "has more than the 65536");
  refused("cat raw.img | \"$V\" convert --from=raw --size=64K --type=monolithicFlat - d.vmdk", 2,
          "has more than the 65536");
  EXPECT_FALSE(exists("d-flat.vmdk"));
}

TEST_F(ConvertVerbTest, TellsOfAFullDiskAndOfAReaderThatWent) {
  save_raw("raw.img", 9 * kMiB);
  const CommandResult full = vmdkctl("convert --from=raw raw.img - > /dev/full");
  EXPECT_EQ(full.status, 2);
  EXPECT_THAT(full.err, HasSubstr("No space left on device"));
  shell("{ \"$V\" convert --from=raw --type=raw raw.img -; echo $? > status; } | head -c 10");
  EXPECT_EQ(load("status"), "2\n");
}

// --- Sources -----------------------------------------------------------------------------------

TEST_F(ConvertVerbTest, FlattensChainsLayersAndDisksInArchives) {
  const std::string raw = save_raw("raw.img", 2 * kMiB);
  expect_done("\"$V\" convert --from=raw --for=ova raw.img app-disk1.vmdk");
  save("app.ova", tar_entry({.name = "app.ovf", .data = "<Envelope/>"}) +
                      tar_entry({.name = "app-disk1.vmdk", .data = load("app-disk1.vmdk")}) +
                      tar_end());
  expect_done("\"$V\" convert app.ova d.vmdk && \"$V\" compare --strict --raw=b d.vmdk raw.img");
  expect_done("\"$V\" create --parent=d.vmdk child.vmdk");
  expect_done(
      "\"$V\" convert child.vmdk whole.vmdk && \"$V\" compare --strict --raw=b whole.vmdk raw.img");
  EXPECT_THAT(vmdkctl("info whole.vmdk").out, HasSubstr(", no parent\n"));
  expect_done("\"$V\" convert --layer=base child.vmdk base.vmdk");
}

TEST_F(ConvertVerbTest, SalvagesOnlyWhenAsked) {
  const std::string raw = save_raw("raw.img", 2 * kMiB);
  expect_done("\"$V\" convert --from=raw --type=streamOptimized raw.img s.vmdk");
  const std::string stream = load("s.vmdk");
  save("cut.vmdk", stream.substr(0, stream.size() - 1536));
  EXPECT_EQ(vmdkctl("convert cut.vmdk d.vmdk").status, 2);
  EXPECT_EQ(vmdkctl("convert --salvage cut.vmdk d.vmdk").status, 0);
  expect_done("\"$V\" compare --raw=b d.vmdk raw.img");
  // What is not there is never made up.
  save("short.vmdk", stream.substr(0, stream.size() / 2));
  const CommandResult lost = vmdkctl("convert --salvage short.vmdk e.vmdk");
  EXPECT_EQ(lost.status, 2) << lost.to_text();
  EXPECT_FALSE(exists("e.vmdk"));
}

// --- Words -------------------------------------------------------------------------------------

TEST_F(ConvertVerbTest, MakesWhatEachProductTakes) {
  save_raw("raw.img", kMiB);
  const auto made = [&](const std::string& product, const char* format, const char* adapter) {
    expect_done(fmt::format("\"$V\" convert --from=raw --for={0} raw.img {0}.vmdk", product));
    const std::string info = vmdkctl(fmt::format("info {}.vmdk", product)).out;
    EXPECT_THAT(info, HasSubstr(format));
    EXPECT_THAT(info, testing::ContainsRegex(std::string("adapter +") + adapter));
  };
  made("workstation", "monolithicSparse, version 1, grain 64 KiB", "ide");
  made("virtualbox", "monolithicSparse, version 1, grain 64 KiB", "ide");
  made("ova", "streamOptimized, version 3, grain 64 KiB", "lsilogic");
  made("esxi", "vmfs", "lsilogic");
  EXPECT_TRUE(exists("esxi-flat.vmdk"));
}

TEST_F(ConvertVerbTest, RefusesWordsThatContradictEachOther) {
  save_raw("raw.img", kMiB);
  const auto refused = [&](const std::string& words, const char* why) {
    const CommandResult result = vmdkctl("convert " + words);
    EXPECT_EQ(result.status, 1) << words << '\n' << result.to_text();
    EXPECT_THAT(result.err, HasSubstr(why));
  };
  refused("--from=raw --type=streamOptimised raw.img d.vmdk", "did you mean \"streamOptimized\"?");
  refused("--from=raw --for=esx raw.img d.vmdk", "did you mean \"esxi\"?");
  refused("--from=raw --for=esxi --type=raw raw.img d.vmdk", "--for chooses the type");
  refused("--from=raw --level=3 raw.img d.vmdk", "only streamOptimized is compressed");
  refused("--from=raw --type=streamOptimized --level=13 raw.img d.vmdk",
          "not a number from 1 to 12");
  refused("--from=raw -j0 raw.img d.vmdk", "--jobs: \"0\" is not a number from 1 to 64");
  refused("--from=qcow2 raw.img d.vmdk", "\"qcow2\" is not raw");
  refused("--from=raw raw.img copy.img", "Say --type=raw");
  refused("--from=raw --type=vmfs raw.img - > out",
          "standard output: not converted: only streamOptimized and raw");
  refused("--from=raw --verify raw.img - > out", "cannot be read back");
  refused("--from=raw --layer=0 raw.img d.vmdk", "neither layers nor tables");
  EXPECT_FALSE(exists("d.vmdk"));
  EXPECT_FALSE(exists("copy.img"));
  const CommandResult guessed = vmdkctl("convert raw.img d.vmdk");
  EXPECT_EQ(guessed.status, 2);
  EXPECT_THAT(guessed.err, HasSubstr("vmdkctl convert --from=raw"));
}

TEST_F(ConvertVerbTest, NeverOverwrites) {
  save_raw("raw.img", kMiB);
  save("d.vmdk", "mine");
  const CommandResult result = vmdkctl("convert --from=raw raw.img d.vmdk");
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("existing files are never overwritten"));
  EXPECT_EQ(load("d.vmdk"), "mine");
}

TEST_F(ConvertVerbTest, LeavesNothingWhenASignalEndsIt) {
  // The input never ends: only the signal does it.
  for (const char* const type : {"monolithicSparse", "streamOptimized", "twoGbMaxExtentFlat"}) {
    const CommandResult result = shell(fmt::format(
        "mkfifo in; sleep 60 > in & writer=$!; \"$V\" convert --from=raw --size=3G --type={} - "
        "d.vmdk < in & sleep 0.5; kill -TERM $!; wait $!; status=$?; kill $writer; rm in; "
        "exit $status",
        type));
    EXPECT_EQ(result.status, 128 + SIGTERM) << result.to_text();
    std::size_t left = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      ADD_FAILURE() << type << " left " << entry.path();
      ++left;
    }
    EXPECT_EQ(left, 0U);
  }
}

}  // namespace
}  // namespace vmdk::test
