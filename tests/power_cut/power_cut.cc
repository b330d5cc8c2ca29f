// The part of tests/power_cut/life that knows what was written: writes to a mounted disk by a seed,
// and judges by the same seed what a power cut left of the image.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include <vmdk/disk.h>

#include "io/posix_file_system.h"
#include "support/boundary_random.h"
#include "support/esx_builder.h"
#include "support/must.h"
#include "support/reference_disk.h"

namespace {

using namespace vmdk::test;
using vmdk::kMiB;

constexpr const char* kUsage = R"(Usage:
  power_cut write FLAT SEED ANSWERS         write to FLAT, by the seed, until the power fails; a
                                            letter for each answer goes to the file ANSWERS
  power_cut judge IMAGE KNOWN SEED ANSWERS  whether IMAGE, which showed KNOWN, may show what it does,
                                            and then what that is; on stderr how many sectors
                                            are torn
  power_cut list SEED COUNT                 the first requests of the seed
  power_cut show IMAGE                      what it shows in its last 4 MiB, on stdout
  power_cut delta PARENT IMAGE              make a snapshot as ESX does
)";

// Where the requests go: the last bytes of the disk. The rest of it is zeros.
constexpr std::uint64_t kWindow = 4 * kMiB;
constexpr std::size_t kLongestWrite = 300 * vmdk::kKiB;

enum class Kind : char { kWrite = 'w', kDiscard = 'd', kSync = 's', kRefused = 'x' };

struct Request {
  Kind kind = Kind::kSync;
  DiskRange range = {};
  std::vector<std::byte> bytes = {};  // of a write
};

// Endless; the same for the same seed.
class Requests {
 public:
  explicit Requests(std::uint32_t seed)
      : random_({.capacity = kWindow}, seed), sync_one_in_(kSyncOneIn[seed % kSyncOneIn.size()]) {}

  Request next() {
    if (random_.one_in(sync_one_in_))
      return {};
    Request request{.kind = random_.one_in(10) ? Kind::kDiscard : Kind::kWrite,
                    .range = random_.range(kLongestWrite)};
    if (request.kind == Kind::kWrite)
      request.bytes = random_.fill(request.range.length);
    return request;
  }

 private:
  // Often, and so rarely that much is on its way.
  static constexpr std::array<std::uint64_t, 3> kSyncOneIn{6, 30, 150};

  BoundaryRandom random_;
  const std::uint64_t sync_one_in_;
};

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// Returns the letter of its answer.
char make(const Request& request, int disk, off_t window) {
  const off_t at = window + static_cast<off_t>(request.range.at);
  const auto length = static_cast<off_t>(request.range.length);
  switch (request.kind) {
    case Kind::kWrite:
      if (pwrite(disk, request.bytes.data(), request.bytes.size(), at) != length)
        fail(fmt::format("write of {} bytes at {}", length, at));
      break;
    case Kind::kDiscard:
      if (fallocate(disk, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length) != 0) {
        if (errno == EOPNOTSUPP)
          return static_cast<char>(Kind::kRefused);
        fail(fmt::format("discard of {} bytes at {}", length, at));
      }
      break;
    case Kind::kSync:
    case Kind::kRefused:
      if (fsync(disk) != 0)
        fail("fsync");
      break;
  }
  return static_cast<char>(request.kind);
}

int write_until_the_end(const std::string& flat, std::uint32_t seed, const std::string& answers) {
  const int disk = open(flat.c_str(), O_RDWR | O_CLOEXEC);
  if (disk < 0)
    fail(flat);
  const int told = open(answers.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (told < 0)
    fail(answers);
  const off_t window = lseek(disk, 0, SEEK_END) - static_cast<off_t>(kWindow);
  Requests requests(seed);
  while (true) {
    const char answer = make(requests.next(), disk, window);
    if (write(told, &answer, 1) != 1)
      fail(answers);
  }
}

std::string content_of(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    fail(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// What may be in the disk after these answers. One request more may have been on its way.
SectorHistory history_of(const std::string& known, std::uint32_t seed, const std::string& answers,
                         std::size_t& point) {
  ReferenceDisk start(kWindow);
  start.write(0, std::as_bytes(std::span(known)));
  SectorHistory history(start);
  Requests requests(seed);
  for (std::size_t i = 0; i <= answers.size(); ++i) {
    const bool answered = i < answers.size();
    const Request request = requests.next();
    if (answered && answers[i] == static_cast<char>(Kind::kRefused))
      continue;
    if (answered && answers[i] != static_cast<char>(request.kind))
      throw std::runtime_error(fmt::format("answer {} is not one of this seed", i));
    if (request.kind == Kind::kWrite)
      history.write(point++, request.range.at, request.bytes);
    else if (request.kind == Kind::kDiscard)
      history.zero(point++, request.range.at, request.range.length);
    else if (answered)
      history.flushed(++point);
  }
  return history;
}

class Image {
 public:
  explicit Image(const std::string& name) {
    vmdk::OpenOptions options;
    options.access = vmdk::Access::kReadOnly;
    disk_ = must(vmdk::Disk::open(file_system_, std::filesystem::absolute(name), options));
    window_ = disk_->capacity() - kWindow;
  }

  std::vector<std::byte> read_window(std::uint64_t at, std::size_t length) {
    return read(window_ + at, length);
  }

  // Whether all in front of the window is zeros.
  bool rest_is_zero() {
    const auto data = must(disk_->next_data(vmdk::DiskOffset(0)));
    return !data || data->bytes() >= window_;
  }

 private:
  std::vector<std::byte> read(std::uint64_t at, std::size_t length) {
    std::vector<std::byte> bytes(length);
    bytes.resize(must(disk_->read(vmdk::DiskOffset(at), bytes)));
    return bytes;
  }

  vmdk::PosixFileSystem file_system_;
  std::unique_ptr<vmdk::Disk> disk_;
  std::uint64_t window_ = 0;
};

int show(Image& image) {
  const std::vector<std::byte> bytes = image.read_window(0, kWindow);
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() ||
      std::fflush(stdout) != 0)
    fail("stdout");
  return 0;
}

using Sector = std::vector<std::byte>;

// Linux goes on copying into a page that is on its way to a disk, unless the file system wants
// stable pages. Then the disk gets the begin of a new sector and the rest of the old one.
bool is_torn(const Sector& actual, const std::vector<Sector>& legal) {
  std::size_t begin = 0;
  std::size_t end = 0;
  for (const Sector& value : legal) {
    const auto head = std::mismatch(value.begin(), value.end(), actual.begin());
    begin = std::max(begin, static_cast<std::size_t>(head.first - value.begin()));
    const auto tail = std::mismatch(value.rbegin(), value.rend(), actual.rbegin());
    end = std::max(end, static_cast<std::size_t>(tail.first - value.rbegin()));
  }
  return legal.size() > 1 && begin + end >= actual.size();
}

// Returns how many sectors are torn. Throws when one has what it must not.
int judge_sectors(const SectorHistory& history, std::size_t point, Image& image) {
  int torn = 0;
  for (std::uint64_t sector = 0; sector < kWindow / vmdk::kSectorSize; ++sector) {
    const Sector actual = image.read_window(sector * vmdk::kSectorSize, vmdk::kSectorSize);
    const std::vector<Sector> legal = history.legal(point, sector);
    if (actual.size() != vmdk::kSectorSize)
      throw std::runtime_error(fmt::format("sector {} cannot be read", sector));
    if (std::find(legal.begin(), legal.end(), actual) != legal.end())
      continue;
    if (!is_torn(actual, legal))
      throw std::runtime_error(
          fmt::format("sector {} has none of its {} legal values", sector, legal.size()));
    ++torn;
  }
  return torn;
}

int judge(const std::string& name, const std::string& known, std::uint32_t seed,
          const std::string& answers_file) {
  const std::string answers = content_of(answers_file);
  std::size_t point = 0;
  const SectorHistory history = history_of(content_of(known), seed, answers, point);
  Image image(name);
  const int torn = judge_sectors(history, point, image);
  if (!image.rest_is_zero())
    throw std::runtime_error("something is in front of all that was written");
  if (torn != 0)
    std::cerr << torn << '\n';
  return show(image);
}

int make_delta(const std::string& parent, const std::string& name) {
  vmdk::PosixFileSystem file_system;
  vmdk::OpenOptions options;
  options.access = vmdk::Access::kReadOnly;
  const auto base = must(vmdk::Disk::open(file_system, std::filesystem::absolute(parent), options));
  DescriptorSpec descriptor;
  descriptor.parent_cid = base->info().layers[0].cid;
  descriptor.parent_hint = parent;
  must(build_cowd_disk(file_system, std::filesystem::absolute(name), {.capacity = base->capacity()},
                       descriptor));
  return 0;
}

int list(std::uint32_t seed, std::uint64_t count) {
  Requests requests(seed);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Request request = requests.next();
    fmt::print("{} {} {} {}\n", i, static_cast<char>(request.kind), request.range.at,
               request.range.length);
  }
  return 0;
}

int run(const std::vector<std::string>& words) {
  const std::string command = words.empty() ? "" : words[0];
  if (command == "write" && words.size() == 4)
    return write_until_the_end(words[1], static_cast<std::uint32_t>(std::stoul(words[2])),
                               words[3]);
  if (command == "judge" && words.size() == 5)
    return judge(words[1], words[2], static_cast<std::uint32_t>(std::stoul(words[3])), words[4]);
  if (command == "show" && words.size() == 2) {
    Image image(words[1]);
    return show(image);
  }
  if (command == "list" && words.size() == 3)
    return list(static_cast<std::uint32_t>(std::stoul(words[1])), std::stoull(words[2]));
  if (command == "delta" && words.size() == 3)
    return make_delta(words[1], words[2]);
  std::cerr << kUsage;
  return 2;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run({words + 1, words + count});
  } catch (const std::exception& error) {
    std::cerr << "power_cut: " << error.what() << '\n';
    return 1;
  }
}
