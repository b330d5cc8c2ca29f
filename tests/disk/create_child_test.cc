// create_image() over a parent, on a file system in memory.
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "disk/image_text.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

class CreateChildTest : public testing::Test {
 protected:
  Result<std::vector<fs::path>> create(const fs::path& image, std::uint64_t capacity,
                                       std::string_view adapter = "") {
    CreateOptions options;
    options.capacity = capacity;
    options.adapter = adapter;
    return create_image(files_, image, options);
  }

  Result<std::vector<fs::path>> create_child(const fs::path& image, const fs::path& parent,
                                             ImageType type = ImageType::kMonolithicSparse) {
    CreateOptions options;
    options.type = type;
    options.parent = parent;
    return create_image(files_, image, options);
  }

  Descriptor descriptor_of(const fs::path& image) {
    auto file = files_.open(image, Access::kReadOnly);
    if (!file)
      throw std::runtime_error(file.error().message());
    auto text = read_image_text(**file);
    if (!text)
      throw std::runtime_error(text.error().message());
    return std::move(text->descriptor);
  }

  // Replaces what stands in a descriptor by something as long.
  void edit(const fs::path& image, std::string_view from, std::string_view to) {
    ASSERT_EQ(from.size(), to.size());
    const std::vector<std::byte> bytes = files_.contents(image);
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // NOLINT
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    files_.poke(image, at, std::as_bytes(std::span(to)));
  }

  MemoryFileSystem files_;
};

TEST_F(CreateChildTest, TakesSizeGeometryAndAdapterAndNamesTheParent) {
  ASSERT_OK(create("/vm/base.vmdk", 10 * kMiB, "buslogic"));
  ASSERT_OK(create_child("/vm/child.vmdk", "/vm/base.vmdk"));
  const Descriptor base = descriptor_of("/vm/base.vmdk");
  const Descriptor child = descriptor_of("/vm/child.vmdk");
  EXPECT_EQ(child.capacity(), base.capacity());
  EXPECT_EQ(child.parent_cid(), base.cid());
  EXPECT_EQ(child.parent_hint(), "base.vmdk");
  EXPECT_NE(child.cid(), base.cid());
  for (const char* key : {"ddb.adapterType", "ddb.geometry.cylinders", "ddb.geometry.heads"})
    EXPECT_EQ(child.value(key), base.value(key)) << key;
  EXPECT_EQ(child.value("ddb.adapterType"), "buslogic");
  // Where QEMU and VMware put it.
  const std::string text = child.text();
  EXPECT_NE(text.find("createType=\"monolithicSparse\"\nparentFileNameHint=\"base.vmdk\"\n"),
            std::string::npos)
      << text;
}

TEST_F(CreateChildTest, KeepsAGeometryThatTheParentAloneHas) {
  ASSERT_OK(create("/vm/base.vmdk", 100 * kMiB));
  edit("/vm/base.vmdk", "geometry.cylinders = \"203\"", "geometry.cylinders = \"777\"");
  ASSERT_OK(create_child("/vm/child.vmdk", "/vm/base.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/child.vmdk").value("ddb.geometry.cylinders"), "777");
}

TEST_F(CreateChildTest, ShowsWhatTheParentHolds) {
  ASSERT_OK(create("/vm/base.vmdk", 10 * kMiB));
  const std::vector<std::byte> written(100000, std::byte{0x5A});
  {
    ASSERT_OK_AND_ASSIGN(const auto base, Disk::open(files_, "/vm/base.vmdk", {}));
    ASSERT_OK(base->write(DiskOffset(12345), written));
    ASSERT_OK(base->close());
  }
  ASSERT_OK(create_child("/vm/child.vmdk", "/vm/base.vmdk", ImageType::kTwoGbMaxExtentSparse));
  OpenOptions options;
  options.access = Access::kReadOnly;
  ASSERT_OK_AND_ASSIGN(const auto child, Disk::open(files_, "/vm/child.vmdk", options));
  std::vector<std::byte> read(written.size());
  ASSERT_OK_AND_ASSIGN(const std::size_t got, child->read(DiskOffset(12345), read));
  EXPECT_EQ(got, read.size());
  EXPECT_EQ(read, written);
  EXPECT_EQ(child->info().layers.size(), 2U);
}

TEST_F(CreateChildTest, NamesAParentInAnotherFolderByTheWayThere) {
  ASSERT_OK(create("/vm/disks/base.vmdk", kMiB));
  ASSERT_OK(create_child("/vm/child.vmdk", "/vm/disks/base.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/child.vmdk").parent_hint(), "disks/base.vmdk");
  ASSERT_OK(create_child("/vm/snapshots/child.vmdk", "/vm/disks/base.vmdk"));
  EXPECT_EQ(descriptor_of("/vm/snapshots/child.vmdk").parent_hint(), "../disks/base.vmdk");
}

TEST_F(CreateChildTest, RefusesFlatChildren) {
  ASSERT_OK(create("/vm/base.vmdk", kMiB));
  for (const ImageType type :
       {ImageType::kMonolithicFlat, ImageType::kTwoGbMaxExtentFlat, ImageType::kVmfs}) {
    const auto made = create_child("/vm/child.vmdk", "/vm/base.vmdk", type);
    EXPECT_THAT(made, IsError(ErrorCode::kInvalidArgument));
    EXPECT_THAT(made, HasMessage("cannot be a child"));
  }
  EXPECT_EQ(files_.files(), std::vector<std::string>{"/vm/base.vmdk"});
}

TEST_F(CreateChildTest, RefusesAnotherSizeThanTheParents) {
  ASSERT_OK(create("/vm/base.vmdk", kMiB));
  CreateOptions options;
  options.parent = "/vm/base.vmdk";
  options.capacity = 2 * kMiB;
  const auto made = create_image(files_, "/vm/child.vmdk", options);
  EXPECT_THAT(made, HasMessage("1048576"));
  EXPECT_THAT(made, IsError(ErrorCode::kInvalidArgument));
  options.capacity = kMiB;
  EXPECT_OK(create_image(files_, "/vm/child.vmdk", options));
}

TEST_F(CreateChildTest, RefusesAMissingParent) {
  EXPECT_THAT(create_child("/vm/child.vmdk", "/vm/base.vmdk"), IsError(ErrorCode::kNotFound));
  EXPECT_TRUE(files_.files().empty());
}

TEST_F(CreateChildTest, RefusesAParentThatSomebodyWrites) {
  ASSERT_OK(create("/vm/base.vmdk", kMiB));
  ASSERT_OK_AND_ASSIGN(const auto writer, Disk::open(files_, "/vm/base.vmdk", {}));
  EXPECT_THAT(create_child("/vm/child.vmdk", "/vm/base.vmdk"), IsError(ErrorCode::kBusy));
  EXPECT_FALSE(files_.exists("/vm/child.vmdk"));
}

TEST_F(CreateChildTest, RefusesItselfAsTheParent) {
  ASSERT_OK(create("/vm/base.vmdk", kMiB));
  EXPECT_THAT(create_child("/vm/base.vmdk", "/vm/base.vmdk"), FailsWith(EEXIST));
}

TEST_F(CreateChildTest, RefusesALoopThroughAParentThatWasFoundElsewhere) {
  ASSERT_OK(create("/vm/base.vmdk", kMiB));
  ASSERT_OK(create_child("/vm/middle.vmdk", "/vm/base.vmdk"));
  // The base moves away: middle.vmdk still says "base.vmdk", where the new image is to be.
  const auto content = files_.content("/vm/base.vmdk");
  ASSERT_OK(files_.remove("/vm/base.vmdk"));
  files_.put_content("/vm/moved.vmdk", content);
  CreateOptions options;
  options.parent = "/vm/middle.vmdk";
  options.parent_options.parents = {"/vm/moved.vmdk"};
  const auto made = create_image(files_, "/vm/base.vmdk", options);
  EXPECT_THAT(made, IsError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(made, HasMessage("loop"));
  EXPECT_FALSE(files_.exists("/vm/base.vmdk"));
}

TEST_F(CreateChildTest, RefusesAParentWhoseContentIdSaysNone) {
  ASSERT_OK(create("/vm/base.vmdk", kMiB));
  const std::string cid = fmt::format("\nCID={:08x}", descriptor_of("/vm/base.vmdk").cid());
  edit("/vm/base.vmdk", cid, "\nCID=ffffffff");
  EXPECT_THAT(create_child("/vm/child.vmdk", "/vm/base.vmdk"), HasMessage("ffffffff"));
}

TEST_F(CreateChildTest, RefusesAParentNameThatTheDescriptorCannotHold) {
  ASSERT_OK(create("/vm/base.vmdk", kMiB));
  files_.put_content("/vm/ba\"se.vmdk", files_.content("/vm/base.vmdk"));
  EXPECT_THAT(create_child("/vm/child.vmdk", "/vm/ba\"se.vmdk"),
              IsError(ErrorCode::kInvalidArgument));
  EXPECT_FALSE(files_.exists("/vm/child.vmdk"));
}

// As many links as can be opened can be made, and no more.
TEST_F(CreateChildTest, MakesChainsAsDeepAsCanBeOpenedAndNoDeeper) {
  ASSERT_OK(create("/vm/0.vmdk", kMiB));
  int last = 0;
  while (last < 200 &&
         create_child(fmt::format("/vm/{}.vmdk", last + 1), fmt::format("/vm/{}.vmdk", last)))
    ++last;
  EXPECT_EQ(last, 63);
  OpenOptions options;
  options.access = Access::kReadOnly;
  ASSERT_OK_AND_ASSIGN(const auto deepest,
                       Disk::open(files_, fmt::format("/vm/{}.vmdk", last), options));
  EXPECT_EQ(deepest->info().layers.size(), static_cast<std::size_t>(last) + 1);
}

}  // namespace
}  // namespace vmdk::test
