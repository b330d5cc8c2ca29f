// libblkid reads from a descriptor, and has no way to be given bytes. So it gets a file in memory,
// as long as the part and with nothing in it but the places that it reads. Most of these are known
// before: the first MiB and the last. Where some kinds have the rest stands in their first sector;
// that is found out by letting libblkid look for one kind alone. It moves the descriptor's position
// when it reads: where it stopped in a place that we had not filled in, it goes on with the next
// try.
#include "vmdkctl/file_system_kind.h"

#include <blkid/blkid.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "io/unique_fd.h"

namespace vmdkctl {
namespace {

using vmdk::Error;
using vmdk::Result;
using vmdk::Status;

constexpr std::uint64_t kBlock = 64 * vmdk::kKiB;
constexpr std::uint64_t kPage = 4 * vmdk::kKiB;
constexpr std::uint64_t kEnds = vmdk::kMiB;
constexpr std::size_t kMaxBlocks = 256;
constexpr int kMaxTries = 12;

// Kinds of which something lies where their first sector says.
constexpr std::array kWithMore = {"ntfs", "exfat", "hfsplus", "hfs", "reiserfs", "udf"};

struct FreeProbe {
  void operator()(blkid_probe probe) const noexcept { blkid_free_probe(probe); }
};

using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe>;

// The part in memory.
class Copy {
 public:
  static Result<Copy> make(vmdk::Disk& disk, vmdk::DiskOffset begin, std::uint64_t length);

  // Reads the blocks in which the range is; outside of the part there is nothing.
  Status fill(std::uint64_t at, std::uint64_t length);
  // The root directory of a FAT, where its label is.
  Status fill_fat_root();
  // Where the last read ended, if that was in a block that is not filled.
  std::optional<std::uint64_t> unfilled_end() const;

  bool is_full() const noexcept { return filled_.size() >= kMaxBlocks; }

  Result<Probe> probe() const;

 private:
  Copy(vmdk::Disk& disk, vmdk::DiskOffset begin, std::uint64_t length, vmdk::UniqueFd file)
      : disk_(&disk), begin_(begin), length_(length), file_(std::move(file)) {}

  Status fill_block(std::uint64_t number);

  vmdk::Disk* disk_;
  vmdk::DiskOffset begin_;
  std::uint64_t length_;
  vmdk::UniqueFd file_;
  std::set<std::uint64_t> filled_;
};

Result<Copy> Copy::make(vmdk::Disk& disk, vmdk::DiskOffset begin, std::uint64_t length) {
  vmdk::UniqueFd file(memfd_create("vmdkctl", MFD_CLOEXEC));
  if (file.get() < 0 || ftruncate(file.get(), static_cast<off_t>(length)) != 0)
    return Error::from_errno(errno, "a file in memory");
  Copy copy(disk, begin, length, std::move(file));
  RETURN_IF_ERROR(copy.fill(0, kEnds));
  RETURN_IF_ERROR(copy.fill(length - std::min(length, kEnds), kEnds));
  RETURN_IF_ERROR(copy.fill_fat_root());
  return copy;
}

Status Copy::fill(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t end = std::min(length_, vmdk::checked_add(at, length).value_or(length_));
  for (std::uint64_t block = at / kBlock; block * kBlock < end && !is_full(); ++block)
    RETURN_IF_ERROR(fill_block(block));
  return {};
}

Status Copy::fill_block(std::uint64_t number) {
  if (!filled_.insert(number).second)
    return {};
  const std::uint64_t at = number * kBlock;
  std::vector<std::byte> bytes(std::min(kBlock, length_ - at));
  ASSIGN_OR_RETURN(const std::size_t got, disk_->read(begin_ + at, bytes));
  // Pages of zeros stay holes.
  for (std::uint64_t page = 0; page < got; page += kPage) {
    const auto part = std::span(bytes).subspan(page, std::min(kPage, got - page));
    if (!vmdk::all_zero(part) &&
        pwrite(file_.get(), part.data(), part.size(), static_cast<off_t>(at + page)) < 0)
      return Error::from_errno(errno, "a file in memory");
  }
  return {};
}

Status Copy::fill_fat_root() {
  std::array<std::byte, vmdk::kSectorSize> sector{};
  ASSIGN_OR_RETURN(const std::size_t got, disk_->read(begin_, sector));
  if (got < sector.size())
    return {};
  const std::uint64_t sector_size = vmdk::load_le16(sector, 11);
  const std::uint64_t reserved = vmdk::load_le16(sector, 14);
  const std::uint64_t tables = vmdk::load_u8(sector, 16);
  const std::uint64_t short_length = vmdk::load_le16(sector, 22);
  const std::uint64_t table_length = short_length != 0 ? short_length : vmdk::load_le32(sector, 36);
  const std::uint64_t cluster = vmdk::load_u8(sector, 13);
  // FAT32 has the root directory in clusters, mostly the first, which is number 2.
  const std::uint64_t root_cluster = vmdk::load_le32(sector, 44);
  const std::uint64_t skipped =
      short_length == 0 && root_cluster > 2 ? (root_cluster - 2) * cluster : 0;
  return fill((reserved + tables * table_length + skipped) * sector_size, kBlock);
}

std::optional<std::uint64_t> Copy::unfilled_end() const {
  const off_t position = lseek(file_.get(), 0, SEEK_CUR);
  if (position <= 0 || static_cast<std::uint64_t>(position) > length_)
    return std::nullopt;
  const auto end = static_cast<std::uint64_t>(position);
  return filled_.contains((end - 1) / kBlock) ? std::nullopt : std::optional(end);
}

Result<Probe> Copy::probe() const {
  Probe probe(blkid_new_probe());
  if (probe == nullptr ||
      blkid_probe_set_device(probe.get(), file_.get(), 0, static_cast<blkid_loff_t>(length_)) != 0)
    return Error::from_errno(errno != 0 ? errno : ENOMEM, "libblkid");
  blkid_probe_enable_partitions(probe.get(), 0);
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(),
                                    BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID);
  return probe;
}

// Until libblkid has read all that it wants to see of this kind.
Status fill_for(Copy& copy, const char* kind) {
  for (int i = 0; i < kMaxTries && !copy.is_full(); ++i) {
    ASSIGN_OR_RETURN(const Probe probe, copy.probe());
    std::string name = kind;
    std::array<char*, 2> names{name.data(), nullptr};
    blkid_probe_filter_superblocks_type(probe.get(), BLKID_FLTR_ONLYIN, names.data());
    static_cast<void>(blkid_do_probe(probe.get()));
    const auto end = copy.unfilled_end();
    if (!end)
      return {};
    const std::uint64_t begin = (*end - 1) / kBlock * kBlock;
    RETURN_IF_ERROR(copy.fill(begin - std::min(begin, kBlock), 2 * kBlock));
  }
  return {};
}

std::string value_of(blkid_probe probe, const char* name) {
  const char* data = nullptr;
  std::size_t length = 0;
  if (blkid_probe_lookup_value(probe, name, &data, &length) != 0)
    return {};
  // The length counts the zero at the end, where there is one.
  std::string value(data, length);
  return value.substr(0, value.find('\0'));
}

}  // namespace

Result<std::optional<FileSystemKind>> recognise(vmdk::Disk& disk, vmdk::DiskOffset begin,
                                                std::uint64_t length) {
  ASSIGN_OR_RETURN(Copy copy, Copy::make(disk, begin, length));
  for (const char* const kind : kWithMore)
    RETURN_IF_ERROR(fill_for(copy, kind));
  ASSIGN_OR_RETURN(const Probe probe, copy.probe());
  if (blkid_do_safeprobe(probe.get()) != 0)
    return std::optional<FileSystemKind>();
  FileSystemKind kind{value_of(probe.get(), "TYPE"), value_of(probe.get(), "LABEL"),
                      value_of(probe.get(), "UUID")};
  if (kind.type.empty())
    return std::optional<FileSystemKind>();
  return std::optional(std::move(kind));
}

}  // namespace vmdkctl
