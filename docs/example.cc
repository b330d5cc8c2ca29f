// A program that uses the library: says what a disk is, and changes it in a snapshot beside it.
//
//   c++ -std=c++20 $(pkg-config --cflags vmdkfuse) example.cc $(pkg-config --libs vmdkfuse)
//   ./a.out disk.vmdk snapshot.vmdk
#include <cstddef>
#include <iostream>
#include <string_view>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/posix.h>

namespace {

using vmdk::DiskOffset;

void describe(const vmdk::Disk& disk) {
  std::cout << disk.capacity() << " bytes, " << disk.allocated() << " in use\n";
  for (const vmdk::LayerInfo& layer : disk.info().layers)
    std::cout << "layer " << layer.file << ", " << layer.create_type << '\n';
}

// Every call that can fail returns a Status or a Result; these macros hand the error on.
vmdk::Status stamp(vmdk::Disk& disk, std::string_view text) {
  std::vector<std::byte> sector(512);
  ASSIGN_OR_RETURN(const std::size_t got, disk.read(DiskOffset(0), sector));
  std::cout << "read " << got << " bytes; the first is " << std::to_integer<int>(sector.front())
            << '\n';
  RETURN_IF_ERROR(disk.write(DiskOffset(0), std::as_bytes(std::span(text))));
  return disk.flush();  // what was written survives a power cut from here on
}

vmdk::Status run(const char* image, const char* snapshot) {
  const auto files = vmdk::posix_file_system();
  vmdk::OpenOptions options;
  // The image stays as it is: what is written goes to the snapshot, which is made if it is not
  // there.
  options.overlay = vmdk::Overlay{.file = snapshot, .scratch_dir = {}};
  ASSIGN_OR_RETURN(const auto disk, vmdk::Disk::open(*files, image, options));
  describe(*disk);
  RETURN_IF_ERROR(stamp(*disk, "Hello, disk.\n"));
  return disk->close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: example IMAGE SNAPSHOT\n";
    return 1;
  }
  const vmdk::Status status = run(argv[1], argv[2]);
  if (!status)
    std::cerr << "example: " << status.error().to_text() << '\n';
  return status ? 0 : 2;
}
