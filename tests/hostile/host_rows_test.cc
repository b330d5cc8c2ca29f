// Names that lead to what is no regular file, or out of the folder, on a real file system.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/disk.h>

#include "io/posix_file_system.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

struct HostRow {
  std::string name;
  // Makes the extent in a folder; returns the name for the descriptor.
  std::function<std::string(const fs::path& folder)> make;
  std::string cause;
  bool itself = false;  // what is made is opened as the image, not named by one
};

void PrintTo(const HostRow& row, std::ostream* out) {
  *out << row.name;
}

std::string make_socket(const fs::path& folder) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_GE(socket, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (folder / "x").native().copy(address.sun_path, sizeof(address.sun_path) - 1);
  EXPECT_EQ(bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(socket);
  return "x";
}

std::string make_fifo(const fs::path& folder) {
  EXPECT_EQ(mkfifo((folder / "x").c_str(), 0600), 0);
  return "x";
}

std::string make_folder(const fs::path& folder) {
  fs::create_directory(folder / "x");
  return "x";
}

std::function<std::string(const fs::path&)> link_to(const std::string& target) {
  return [target](const fs::path& folder) {
    fs::create_symlink(target, folder / "x");
    return std::string("x");
  };
}

std::function<std::string(const fs::path&)> named(const std::string& name) {
  return [name](const fs::path&) { return name; };
}

const std::vector<HostRow>& host_rows() {
  static const std::vector<HostRow> rows = {
      {"B29_folder", make_folder, "/x: "},
      {"B29_fifo", make_fifo, "not a regular file"},
      {"B29_socket", make_socket, "/x: "},
      {"B29_device", named("/dev/zero"), "/dev/zero: a device: not looked at"},
      {"B29_link_to_a_device", link_to("/dev/zero"), "x: lies outside the folder"},
      {"B29_missing", named("x"), "/x: "},
      {"B30_link_out", link_to("/etc/passwd"), "x: lies outside the folder"},
      {"B30_link_up", link_to("../../../../../../etc/passwd"), "x: lies outside the folder"},
      {"B30_link_to_itself", link_to("x"), "/x: "},
      {"B30_proc", named("/proc/self/fd/0"), "not looked at"},
      {"B30_link_to_proc", link_to("/proc/self/fd/0"), "x: lies outside the folder"},
      {"B30_name_of_300_bytes", named(std::string(300, 'x')), "File name too long"},
      {"B30_path_of_4000_bytes",
       [](const fs::path&) {
         std::string name;
         for (int i = 0; i < 1900; ++i)
           name += "x/";
         return name + "x";
       },
       "line 6"},
      {"image_is_a_folder", make_folder, "/x: ", true},
      {"image_is_a_fifo", make_fifo, "/x: ", true},
      {"image_is_a_socket", make_socket, "/x: ", true},
  };
  return rows;
}

struct HostRowName {
  std::string operator()(const testing::TestParamInfo<HostRow>& row) const {
    return row.param.name;
  }
};

class HostRowTest : public testing::TestWithParam<HostRow> {
 protected:
  fs::path write_descriptor(const std::string& extent) {
    const fs::path image = folder_ / "disk.vmdk";
    std::ofstream(image) << "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
                            "createType=\"monolithicFlat\"\nRW 1 FLAT \""
                         << extent << "\" 0\n";
    return image;
  }

  const TempDir folder_;
  PosixFileSystem files_;
};

// An open that waited for the other end of a FIFO would wait for ever.
TEST_P(HostRowTest, IsRefusedAtOnce) {
  const HostRow& row = GetParam();
  const std::string name = row.make(folder_.path());
  const fs::path image = row.itself ? folder_ / name : write_descriptor(name);
  for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
    OpenOptions options;
    options.access = access;
    alarm(10);
    const auto disk = Disk::open(files_, image, options);
    alarm(0);
    ASSERT_FALSE(disk) << "it was opened";
    EXPECT_THAT(disk, HasMessage(image.native()));
    EXPECT_THAT(disk, HasMessage(row.cause));
  }
}

INSTANTIATE_TEST_SUITE_P(Host, HostRowTest, testing::ValuesIn(host_rows()), HostRowName());

}  // namespace
}  // namespace vmdk::test
