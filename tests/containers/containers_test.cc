// Mounts in real containers: with the flags that they take, and what is said without them.
#include <chrono>
#include <fstream>
#include <memory>
#include <string>

#include <gmock/gmock.h>

#include "containers/engine.h"
#include "mount/mount_test.h"
#include "mount/ordinary_user.h"

namespace vmdkfuse::test {
namespace {

using testing::HasSubstr;

constexpr const char* kMayMount = "--device /dev/fuse --cap-add SYS_ADMIN";

// Waits until a file system is there.
constexpr const char* kAwait =
    "await() { for try in $(seq 200); do mountpoint -q \"$1\" && return; sleep 0.05; done; "
    "return 1; }\n";

// A disk with one partition, ext4, in which are the files `hello` and `big`.
class ContainersTest : public MountTest {
 protected:
  static void SetUpTestSuite() { engine_ = Engine::start(why_not_); }

  static void TearDownTestSuite() { engine_.reset(); }

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    if (!engine_)
      GTEST_SKIP() << "no containers here: " << why_not_;
    for (const char* program : {"sfdisk", "mkfs.ext4"})
      NEEDS_PROGRAM(program);
    ASSERT_TRUE(
        shell("mkdir files && echo hello > files/hello && "
              "dd if=/dev/urandom of=files/big bs=1M count=3 status=none && "
              "dd if=/dev/urandom of=new bs=1M count=5 status=none && truncate -s 64M raw && "
              "printf '%s\\n' 'label: dos' 'start=2048, size=48M, type=83' | sfdisk -q raw && "
              "mkfs.ext4 -q -F -E offset=1048576 -d files raw 48M && " +
              shell_word(VMDKCTL_PROGRAM) + " convert --from=raw raw disk.vmdk"));
  }

  // On hosts with AppArmor the profile of the engine forbids mounts.
  static std::string may_mount() {
    std::string flags = kMayMount;
    std::ifstream file("/sys/module/apparmor/parameters/enabled");
    if (file.get() == 'Y')
      flags += " --security-opt apparmor=unconfined";
    return flags;
  }

  CommandResult in_container(const std::string& flags, const std::string& script) const {
    return engine_->run(flags, path(""), "set -e\n" + std::string(kAwait) + script);
  }

  void expect_works(const std::string& flags, const std::string& script) const {
    const CommandResult result = in_container(flags, script);
    EXPECT_EQ(result.status, 0) << flags << "\n" << script << "\n" << result.to_text();
  }

  // Expects that a mount is refused with the words `missing`. `before`: what starts the program.
  void expect_missing(const std::string& flags, const std::string& missing,
                      const std::string& before = "") const {
    SCOPED_TRACE(flags);
    const CommandResult result =
        in_container(flags, "mkdir -p /tmp/m; " + before + " vmdkfuse /w/disk.vmdk /tmp/m");
    EXPECT_EQ(result.status, 32) << result.to_text();
    EXPECT_THAT(result.err, HasSubstr(missing)) << result.to_text();
    EXPECT_THAT(result.err, HasSubstr("without FUSE: vmdkctl cat, vmdkctl convert"));
    EXPECT_FALSE(is_mounted("m"));
  }

  // Expects that the image is sound and that its file system holds `new` beside `hello`.
  void expect_written() {
    expect_check("disk.vmdk");
    ASSERT_TRUE(shell(shell_word(VMDKCTL_PROGRAM) +
                      " cat --offset=1M --length=48M disk.vmdk > part && e2fsck -fn part && "
                      "debugfs -R 'dump /new seen' part && cmp seen new"));
    EXPECT_EQ(shell_output("debugfs -R 'cat /hello' part 2>/dev/null"), "hello");
  }

  // Expects that the image is sound and that `new` was written over the disk at 50 MiB.
  void expect_new_at_50_mib() {
    expect_check("disk.vmdk");
    EXPECT_TRUE(shell("dd if=new of=raw bs=1M seek=50 conv=notrunc status=none && " +
                      shell_word(VMDKCTL_PROGRAM) + " compare --raw=b disk.vmdk raw"));
  }

  static std::unique_ptr<Engine> engine_;
  static std::string why_not_;
};

std::unique_ptr<Engine> ContainersTest::engine_;
std::string ContainersTest::why_not_;

TEST_F(ContainersTest, DeviceAndCapabilityDoForFuse2fs) {
  expect_works(may_mount(), R"sh(
    mkdir /m /x
    vmdkfuse /w/disk.vmdk /m
    fuse2fs -f -o fakeroot /m/flat1 /x 2>&1 & server=$!
    await /x
    [ "$(cat /x/hello)" = hello ]
    cmp /x/big /w/files/big
    cp /w/new /x/new
    umount /x && wait $server
    vmdkfuse -u /m)sh");
  expect_written();
}

TEST_F(ContainersTest, PrivilegedLoopMountsNeedNoPartscan) {
  expect_works("--privileged", R"sh(
    ! command -v kpartx
    [ ! -e /run/udev/control ]
    mkdir /m /x
    vmdkfuse /w/disk.vmdk /m
    # A device that the kernel made after the container started has no node in it.
    loop=$(losetup -f) && [ -b "$loop" ] || mknod "$loop" b 7 "${loop#/dev/loop}"
    mount -o loop /m/flat1 /x
    trap 'umount /x 2>/dev/null || true' EXIT
    [ "$(cat /x/hello)" = hello ]
    cmp /x/big /w/files/big
    cp /w/new /x/new
    umount /x
    for try in $(seq 50); do vmdkfuse -u /m && exit; sleep 0.1; done; exit 1)sh");
  expect_written();
}

// The user of the namespace is nobody special outside of it.
TEST_F(ContainersTest, AnUnprivilegedUserNamespace) {
  NEEDS_PROGRAM("fuse2fs");
  ASSERT_TRUE(shell("chmod 755 . && mkdir m x && chown -R 61234:61234 disk.vmdk m x new"));
  const std::string script = kAwait + std::string("set -e; ") + program_for_everybody(path("")) +
                             R"sh( disk.vmdk m
    fuse2fs -f -o fakeroot m/flat1 x 2>&1 & server=$!
    await x
    cp new x/new
    umount x && wait $server
    )sh" + program_for_everybody(path("")) +
                             " -u m";
  const CommandResult result = in_folder(
      with_open_fuse_device(as_user("61234", "61234", "unshare -Urm sh -c " + shell_word(script))));
  if (result.err.find("unshare failed") != std::string::npos)
    GTEST_SKIP() << "no user namespaces for ordinary users here: " << result.err;
  ASSERT_EQ(result.status, 0) << result.to_text();
  expect_written();
}

// As for an ordinary user who runs Podman: root of the container is somebody else outside.
TEST_F(ContainersTest, AContainerInAUserNamespace) {
  ASSERT_TRUE(shell("chmod 755 . && chown -R 100000:100000 disk.vmdk new"));
  const CommandResult result = engine_->run_below(
      "cd " + word("") + " && " + with_open_fuse_device("exec \"$0\" \"$@\"") + " env",
      may_mount() + " --uidmap 0:100000:65536", path(""), kAwait + std::string(R"sh(set -e
    mkdir /tmp/m /tmp/x
    vmdkfuse /w/disk.vmdk /tmp/m
    fuse2fs -f -o fakeroot /tmp/m/flat1 /tmp/x 2>&1 & server=$!
    await /tmp/x
    cp /w/new /tmp/x/new
    umount /tmp/x && wait $server
    vmdkfuse -u /tmp/m)sh"));
  ASSERT_EQ(result.status, 0) << result.to_text();
  expect_written();
}

TEST_F(ContainersTest, WithNothingAtAllDisksAreCopied) {
  ASSERT_TRUE(shell("mkdir out"));
  expect_works("--cap-drop ALL --read-only", R"sh(
    [ ! -e /dev/fuse ]
    vmdkctl cat /w/disk.vmdk | cmp - /w/raw
    vmdkctl convert --type=raw /w/disk.vmdk /w/out/copy.raw
    cmp /w/out/copy.raw /w/raw
    vmdkctl convert --type=streamOptimized --verify /w/disk.vmdk /w/out/stream.vmdk
    vmdkctl compare /w/out/stream.vmdk /w/disk.vmdk
    vmdkctl check /w/disk.vmdk)sh");
  expect_check("out/stream.vmdk");
  EXPECT_TRUE(shell("cmp out/copy.raw raw"));
}

TEST_F(ContainersTest, WhatIsMissingIsNamed) {
  const std::string command = "hint: podman run --device /dev/fuse --cap-add SYS_ADMIN\n";
  const std::string missing = "          missing here: ";
  expect_missing("", "/dev/fuse: No such file or directory (running in a Podman container)\n    " +
                         command + missing + "--device /dev/fuse, --cap-add SYS_ADMIN\n");
  expect_missing("--device /dev/fuse", command + missing + "--cap-add SYS_ADMIN\n");
  expect_missing("--cap-add SYS_ADMIN", command + missing + "--device /dev/fuse (where");
  // The node alone does not do: the device's control group forbids it.
  expect_missing("-v /dev/fuse:/dev/fuse --cap-add SYS_ADMIN",
                 "/dev/fuse: Operation not permitted (running in a Podman container)\n    " +
                     command + missing + "--device /dev/fuse\n");
  // Somebody who is not root mounts with fusermount3, whose rights count.
  ASSERT_TRUE(shell("chmod 711 . && chmod 666 disk.vmdk"));
  expect_missing("--user 1000 --device /dev/fuse", command + missing + "--cap-add SYS_ADMIN\n");
  // Podman gives it what it adds to the capabilities, other engines do not.
  expect_missing(may_mount() + " --user 1000 --security-opt no-new-privileges",
                 command + missing + "no --security-opt no-new-privileges\n",
                 "setpriv --inh-caps=-all --ambient-caps=-all");
}

TEST_F(ContainersTest, OtherEnginesHaveTheirOwnWords) {
  expect_missing("-v /dev/null:/.dockerenv",
                 "(running in a Docker container)\n"
                 "    hint: docker run --device /dev/fuse --cap-add "
                 "SYS_ADMIN\n"
                 "          in compose.yaml: devices: [/dev/fuse], "
                 "cap_add: [SYS_ADMIN]\n");
  expect_missing("-e KUBERNETES_SERVICE_HOST=10.0.0.1", "(running in a Kubernetes pod)\n");
  expect_missing("-e KUBERNETES_SERVICE_HOST=10.0.0.1", "/dev/fuse from a device plugin");
}

// `podman stop`, `docker stop` and the end of a pod send SIGTERM to the first process, which is the
// daemon itself here.
TEST_F(ContainersTest, TheDaemonAsFirstProcessEndsInOrder) {
  ASSERT_TRUE(shell("mkdir m"));
  const CommandResult started =
      run_command(engine_->run_command_line(path("")) + " -d --name first " + may_mount() + " " +
                  Engine::image() + " sh -c 'mkdir /m && exec vmdkfuse -f /w/disk.vmdk /m'");
  ASSERT_EQ(started.status, 0) << started.to_text();
  const CommandResult written = engine_->podman(
      "exec first sh -c 'for try in $(seq 100); do [ -e /m/flat ] && break; sleep 0.1; done; "
      "dd if=/w/new of=/m/flat bs=1M seek=50 conv=notrunc status=none'");
  EXPECT_EQ(written.status, 0) << written.to_text();
  const CommandResult stopped = engine_->podman("stop -t 30 first");
  EXPECT_EQ(stopped.status, 0) << stopped.to_text();
  expect_new_at_50_mib();
}

// One container mounts, the host and another container use the disk.
TEST_F(ContainersTest, AMountIsSharedWhereTheVolumeIs) {
  ASSERT_TRUE(shell("mkdir shared && mount --bind shared shared && mount --make-shared shared"));
  const std::string volume = " -v " + word("shared") + ":/shared:";
  const CommandResult started = run_command(
      engine_->run_command_line(path("")) + " -d --name mounter " + may_mount() + volume +
      "rshared " + Engine::image() +
      " sh -c 'mkdir /shared/m && exec vmdkfuse -f -o allow_other /w/disk.vmdk /shared/m'");
  ASSERT_EQ(started.status, 0) << started.to_text();
  ASSERT_TRUE(eventually([&] { return size_of(path("shared/m/flat")) != 0; }));
  EXPECT_TRUE(shell("cmp shared/m/flat raw"));
  expect_works(volume + "rslave", "cmp /shared/m/flat /w/raw");
  EXPECT_EQ(engine_->podman("stop -t 30 mounter").status, 0);
  EXPECT_FALSE(is_mounted("shared/m"));
  EXPECT_TRUE(shell("umount shared"));
  expect_check("disk.vmdk");
}

// Takes minutes: the programs are compiled.
TEST_F(ContainersTest, TheContainerfileBuilds) {
  if (!soak())
    GTEST_SKIP() << "only among the long runs (VMDK_SOAK)";
  const CommandResult built = engine_->podman(
      std::string("build --network=host --isolation=chroot --build-arg BASE=") + Engine::image() +
          " -f " SOURCE_ROOT "/tools/container/Containerfile -t localhost/built " SOURCE_ROOT,
      std::chrono::minutes(20));
  ASSERT_EQ(built.status, 0) << built.to_text();
  const auto in_built = [&](const std::string& flags, const std::string& words) {
    const CommandResult result =
        engine_->podman(std::string("run --rm ") + Engine::limits() + " -v " + word("") + ":/w " +
                        flags + " localhost/built " + words);
    EXPECT_EQ(result.status, 0) << words << "\n" << result.to_text();
    return result.out;
  };
  EXPECT_THAT(in_built("", ""), HasSubstr("Usage: vmdkfuse [OPTION...] IMAGE MOUNTPOINT"));
  // The lines of the README.
  in_built("", "vmdkctl convert --type=raw /w/disk.vmdk /w/app.raw");
  EXPECT_TRUE(shell("cmp app.raw raw"));
  EXPECT_THAT(
      in_built(may_mount(), "sh -c " + shell_word("mkdir m x && vmdkfuse -r /w/disk.vmdk m && "
                                                  "fuse2fs -o fakeroot,ro m/flat1 x && ls x")),
      HasSubstr("hello"));
  in_built(
      may_mount(),
      "sh -ec " + shell_word("cd /tmp && vmdkctl create disk.vmdk 64M && mkdir m x && "
                             "vmdkfuse disk.vmdk m && mkfs.ext4 -q -F m/flat && "
                             "fuse2fs -o fakeroot m/flat x && echo hello > x/f && umount x && "
                             "until vmdkfuse -u m; do sleep 0.1; done && vmdkctl check disk.vmdk"));
}

}  // namespace
}  // namespace vmdkfuse::test
