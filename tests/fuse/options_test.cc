#include "vmdkfuse/options.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "support/matchers.h"

namespace vmdkfuse {
namespace {

using vmdk::test::HasMessage;

vmdk::Result<Options> parse(std::vector<std::string> arguments) {
  return parse_options(arguments);
}

// With IMAGE and MOUNTPOINT behind.
vmdk::Result<Options> parse_mount(std::vector<std::string> arguments) {
  arguments.emplace_back("disk.vmdk");
  arguments.emplace_back("flat");
  return parse_options(arguments);
}

TEST(OptionsTest, DefaultsAreReadWriteAndQuiet) {
  const auto options = parse_mount({});
  ASSERT_OK(options);
  EXPECT_EQ(options->action, Action::kMount);
  EXPECT_FALSE(options->read_only);
  EXPECT_EQ(options->cache, CacheChoice::kAuto);
  EXPECT_EQ(options->commit_seconds, 5U);
  EXPECT_EQ(options->batch_grains, 512U);
  EXPECT_EQ(options->table_cache, 256 * vmdk::kMiB);
  EXPECT_EQ(options->log_threshold, LogThreshold::kWarning);
  EXPECT_EQ(options->arguments, (std::vector<std::string>{"disk.vmdk", "flat"}));
}

TEST(OptionsTest, LongAndShortNames) {
  const auto options = parse_mount({"-rfv",
                                    "--commit=0",
                                    "--batch",
                                    "7",
                                    "--table-cache=64M",
                                    "--threads=3",
                                    "--uid=1",
                                    "--gid=2",
                                    "--mode=0640",
                                    "--cache=none",
                                    "--allow-dir=/a",
                                    "--allow-dir=/b",
                                    "--search=/s",
                                    "--parent=p.vmdk",
                                    "--ignore-cid",
                                    "--share",
                                    "--force=children",
                                    "--force=stale-lck",
                                    "--force=journal",
                                    "--force=tables",
                                    "--replace-stale",
                                    "--pid-file=pid",
                                    "--log-file=log",
                                    "--tune-bdi"});
  ASSERT_OK(options);
  EXPECT_TRUE(options->read_only);
  EXPECT_TRUE(options->foreground);
  EXPECT_EQ(options->log_threshold, LogThreshold::kInfo);
  EXPECT_EQ(options->commit_seconds, 0U);
  EXPECT_EQ(options->batch_grains, 7U);
  EXPECT_EQ(options->table_cache, 64 * vmdk::kMiB);
  EXPECT_EQ(options->threads, 3U);
  EXPECT_EQ(options->uid, 1U);
  EXPECT_EQ(options->gid, 2U);
  EXPECT_EQ(options->mode, 0640U);
  EXPECT_EQ(options->cache, CacheChoice::kNone);
  EXPECT_EQ(options->allow_dirs.size(), 2U);
  EXPECT_EQ(options->search_dirs.size(), 1U);
  EXPECT_EQ(options->parents.size(), 1U);
  EXPECT_TRUE(options->ignore_cid && options->share && options->force_children &&
              options->force_stale_lck && options->force_journal && options->force_tables &&
              options->replace_stale && options->tune_bdi);
  EXPECT_EQ(options->pid_file, "pid");
  EXPECT_EQ(options->log_file, "log");
}

TEST(OptionsTest, ListMayStandAnywhere) {
  const auto options =
      parse({"disk.vmdk", "flat", "-o", "rw,dev,suid,uid=7,cache=writethrough", "-oparent=a\\,b"});
  ASSERT_OK(options);
  EXPECT_EQ(options->uid, 7U);
  EXPECT_EQ(options->cache, CacheChoice::kWritethrough);
  EXPECT_EQ(options->parents.at(0), "a,b");
  EXPECT_EQ(options->mount_options, (std::vector<std::string>{"dev", "suid"}));
}

TEST(OptionsTest, LastWordOnAccessWins) {
  EXPECT_TRUE(parse_mount({"-o", "rw", "-r"})->read_only);
  EXPECT_FALSE(parse_mount({"-r", "-o", "rw"})->read_only);
  EXPECT_TRUE(parse_mount({"-w", "-o", "ro"})->read_only);
}

// mount(8) passes "rw" always: only the option itself means it.
TEST(OptionsTest, OnlyTheOptionInsistsOnWriting) {
  EXPECT_FALSE(parse_mount({})->insist_on_writing);
  EXPECT_FALSE(parse_mount({"-o", "rw"})->insist_on_writing);
  EXPECT_TRUE(parse_mount({"-w"})->insist_on_writing);
  EXPECT_TRUE(parse_mount({"--rw", "-o", "rw,dev"})->insist_on_writing);
  EXPECT_FALSE(parse_mount({"-w", "-o", "ro"})->insist_on_writing);
  EXPECT_FALSE(parse_mount({"-w", "-r"})->insist_on_writing);
}

TEST(OptionsTest, DebugMeansForeground) {
  for (const auto& arguments : {std::vector<std::string>{"-d"}, {"-o", "debug"}}) {
    const auto options = parse_mount(arguments);
    ASSERT_OK(options);
    EXPECT_TRUE(options->trace);
    EXPECT_TRUE(options->foreground);
  }
}

TEST(OptionsTest, UnknownNamesAreRefusedWithTheNearest) {
  EXPECT_THAT(parse_mount({"--commti=3"}),
              HasMessage("unknown option \"commti\" (did you mean \"commit\"?)"));
  EXPECT_THAT(parse_mount({"-o", "allow_othr"}),
              HasMessage("unknown mount option \"allow_othr\" (did you mean \"allow_other\"?)"));
  EXPECT_THAT(parse_mount({"-Z"}), HasMessage("unknown option \"Z\""));
  // No guessing of prefixes.
  EXPECT_THAT(parse_mount({"--comm=3"}), HasMessage("unknown option \"comm\""));
  // Verbs have no place in a list.
  EXPECT_THAT(parse_mount({"-o", "list"}), HasMessage("unknown mount option \"list\""));
}

TEST(OptionsTest, ValuesOutOfRangeAreRefused) {
  for (const char* bad :
       {"--batch=0",          "--batch=513",       "--batch=-1",       "--batch=x",
        "--commit=-1",        "--commit=1.5",      "--threads=0",      "--mode=0777",
        "--mode=9",           "--uid=-1",          "--uid=4294967295", "--table-cache=",
        "--table-cache=lots", "--cache=maybe",     "--force=journals", "--force=journal",
        "--log-level=loud",   "--ready-fd=999999", "--parent=",        "--log-file="})
    EXPECT_FALSE(parse_mount({bad})) << bad;
  EXPECT_FALSE(parse_mount({"-o", "uid"}));
  EXPECT_FALSE(parse_mount({"-o", "ro=1"}));
  EXPECT_FALSE(parse_mount({"-o", "max_read=1"}));
  EXPECT_FALSE(parse_mount({"--commit"}).has_value() &&
               parse_mount({"--commit"})->arguments.size() == 2);
}

TEST(OptionsTest, WhatMakesNoSenseTogetherIsRefused) {
  EXPECT_THAT(parse_mount({"--share"}), HasMessage("--share goes with --ro"));
  EXPECT_THAT(parse_mount({"--ignore-cid"}), HasMessage("--ignore-cid goes with --ro"));
  EXPECT_THAT(parse_mount({"-r", "--cache=writeback"}), HasMessage("--cache=writeback"));
  EXPECT_THAT(parse_mount({"--json"}), HasMessage("--json goes with --list"));
}

TEST(OptionsTest, ArgumentsAreCounted) {
  EXPECT_FALSE(parse({}));
  EXPECT_FALSE(parse({"one"}));
  EXPECT_THAT(parse({"one", "two", "three"}), HasMessage("\"three\" is one word too many"));
  EXPECT_FALSE(parse({"-u"}));
  EXPECT_OK(parse({"-u", "a", "b"}));
  EXPECT_THAT(parse({"--list", "a"}), HasMessage("\"a\": --list takes no argument"));
  EXPECT_OK(parse({"--list", "--json"}));
  EXPECT_EQ(parse({"--help"})->action, Action::kHelp);
  EXPECT_EQ(parse({"--help-all"})->action, Action::kHelpAll);
  EXPECT_EQ(parse({"-V"})->action, Action::kVersion);
}

TEST(OptionsTest, NamesAfterTwoDashesAreArguments) {
  const auto options = parse({"--", "-odd.vmdk", "flat"});
  ASSERT_OK(options);
  EXPECT_EQ(options->arguments.at(0), "-odd.vmdk");
}

TEST(OptionsTest, WordsForMountAreTakenAndLeft) {
  const auto options =
      parse_mount({"-o", "defaults,nofail,_netdev,x-systemd.requires=/srv,relatime,comment=x"});
  ASSERT_OK(options);
  EXPECT_TRUE(options->mount_options.empty());
}

TEST(OptionsTest, AnOverlayTakesWhatIsWritten) {
  EXPECT_EQ(parse_mount({"--overlay=o.vmdk"})->overlay, "o.vmdk");
  EXPECT_EQ(parse_mount({"-o", "overlay=tmp"})->overlay, "tmp");
  EXPECT_THAT(parse_mount({"--overlay=o.vmdk", "-r"}), HasMessage("it does not go with --ro"));
  EXPECT_THAT(parse_mount({"-o", "overlay="}), HasMessage("an empty"));
}

TEST(OptionsTest, ADamagedDiskIsOnlyReadOrWrittenOver) {
  const auto options = parse_mount({"--salvage", "-o", "rw"});
  ASSERT_OK(options);
  EXPECT_TRUE(options->salvage);
  EXPECT_TRUE(options->read_only);
  EXPECT_FALSE(parse_mount({"--salvage", "--overlay=o.vmdk"})->read_only);
  EXPECT_THAT(parse_mount({"--salvage", "-w"}), HasMessage("it does not go with --rw"));
  EXPECT_TRUE(parse_mount({"-o", "salvage"})->salvage);
}

TEST(OptionsTest, ALayerIsOnlyRead) {
  const auto options = parse_mount({"--layer=1", "-o", "rw"});
  ASSERT_OK(options);
  EXPECT_EQ(options->layer, "1");
  EXPECT_TRUE(options->read_only);
  EXPECT_THAT(parse_mount({"--layer=1", "-w"}), HasMessage("it does not go with --rw"));
  EXPECT_THAT(parse_mount({"--layer=1", "--overlay=tmp"}), HasMessage("--layer only reads"));
  EXPECT_THAT(parse_mount({"-o", "layer="}), HasMessage("an empty"));
}

TEST(OptionsTest, PartitionsAreShownUnlessTheyAreOff) {
  EXPECT_TRUE(parse_mount({})->partitions);
  EXPECT_FALSE(parse_mount({"--partitions=off"})->partitions);
  EXPECT_TRUE(parse_mount({"--partitions=off", "-o", "partitions=on"})->partitions);
  EXPECT_TRUE(parse_mount({})->layers);
  EXPECT_FALSE(parse_mount({"-o", "layers=off"})->layers);
  EXPECT_THAT(parse_mount({"--partitions=1"}), HasMessage("partitions: \"1\" is none of on, off"));
}

TEST(OptionsTest, SandboxIsAutoUnlessAsked) {
  EXPECT_EQ(parse_mount({})->sandbox, SandboxChoice::kAuto);
  EXPECT_EQ(parse_mount({"--sandbox=on"})->sandbox, SandboxChoice::kOn);
  EXPECT_EQ(parse_mount({"-o", "sandbox=off"})->sandbox, SandboxChoice::kOff);
  EXPECT_EQ(parse_mount({"--sandbox=off", "--sandbox=auto"})->sandbox, SandboxChoice::kAuto);
  EXPECT_THAT(parse_mount({"--sandbox=yes"}),
              HasMessage("sandbox: \"yes\" is none of auto, on, off"));
}

TEST(OptionsTest, AnotherUserIsForRootToChoose) {
  EXPECT_FALSE(parse_mount({})->account);
  if (geteuid() != 0) {
    EXPECT_THAT(parse_mount({"--user=nobody"}), HasMessage("user: only root"));
    return;
  }
  const auto options = parse_mount({"--user=61234:61235"});
  ASSERT_OK(options);
  ASSERT_TRUE(options->account);
  EXPECT_EQ(options->account->uid, 61234U);
  EXPECT_EQ(parse_mount({"-o", "user=61234:5"})->account->gid, 5U);
  // fstab's word without a value is another thing, and not for us.
  EXPECT_FALSE(parse_mount({"-o", "user"})->account);
  EXPECT_THAT(parse_mount({"--user=no-such-user"}),
              HasMessage("user: \"no-such-user\" is no user of this system"));
}

}  // namespace
}  // namespace vmdkfuse
