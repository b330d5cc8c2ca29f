#include "vfsx/mount_subject.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "support/command.h"
#include "support/file_helpers.h"
#include "support/sparse_bytes.h"
#include "vfsx/mapping.h"
#include "vfsx/soundness.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kPiece = kMiB;

Error failed(const char* what, const CommandResult& result) {
  return Error::make(ErrorCode::kIo, fmt::format("{}: {}", what, result.to_text()));
}

std::string program(const std::string& arguments) {
  return shell_word(VMDKFUSE_PROGRAM) + " " + arguments;
}

bool within_ten_seconds(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// "PID (name) STATE …": one that has ended may wait a while for whoever collects it.
bool lives(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  const std::size_t state = line.rfind(") ");
  return state != std::string::npos && state + 2 < line.size() && line[state + 2] != 'Z' &&
         line[state + 2] != 'X';
}

bool is_our_program(pid_t pid) {
  std::error_code ignored;
  const auto file = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), ignored);
  return file == std::filesystem::weakly_canonical(VMDKFUSE_PROGRAM, ignored);
}

Status copy_out(const SparseBytes& content, FileSystem& files, const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const auto file, files.create(path));
  RETURN_IF_ERROR(file->resize(content.size()));
  std::vector<std::byte> bytes;
  for (auto at = content.next_data(0); at; at = content.next_data(*at + bytes.size())) {
    const std::uint64_t end = content.next_hole(*at).value_or(content.size());
    bytes.resize(std::min(kPiece, end - *at));
    content.read(*at, bytes);
    RETURN_IF_ERROR(write_bytes(*file, *at, bytes));
  }
  return {};
}

Result<bool> shows(const File& file, const SparseBytes& content) {
  ASSIGN_OR_RETURN(const std::uint64_t size, file.size());
  if (size != content.size())
    return false;
  std::vector<std::byte> wanted(kPiece);
  for (std::uint64_t at = 0; at < size; at += kPiece) {
    wanted.resize(std::min(kPiece, size - at));
    content.read(at, wanted);
    ASSIGN_OR_RETURN(const std::vector<std::byte> found, read_bytes(file, at, wanted.size()));
    if (found != wanted)
      return false;
  }
  return true;
}

}  // namespace

// ---- The place

std::optional<pid_t> MountPlace::daemon() const {
  pid_t pid = 0;
  std::ifstream(path("pid")) >> pid;
  // The number may be another's by now.
  return pid > 0 && lives(pid) && is_our_program(pid) ? std::optional(pid) : std::nullopt;
}

Status MountPlace::kill_daemon() const {
  const auto pid = daemon();
  if (!pid)
    return Error::make(ErrorCode::kNotFound, "the daemon is gone already");
  if (::kill(*pid, SIGKILL) != 0)
    return Error::from_errno(errno, "killing the daemon");
  if (!within_ten_seconds([&] { return !lives(*pid); }))
    return Error::make(ErrorCode::kBusy, "the daemon does not die");
  return {};
}

bool MountPlace::is_mounted() const {
  std::ifstream table("/proc/self/mountinfo");
  const std::string wanted = " " + mountpoint().string() + " ";
  for (std::string line; std::getline(table, line);) {
    if (line.find(wanted) != std::string::npos)
      return true;
  }
  return false;
}

Status MountPlace::unmount_dead() const {
  const CommandResult result = run_command("fusermount3 -u " + shell_word(mountpoint().string()));
  if (result.status != 0)
    return failed("taking the dead mount away", result);
  std::filesystem::remove(path("pid"));
  return {};
}

void MountPlace::clean() const {
  if (daemon())
    static_cast<void>(kill_daemon());
  for (int round = 0; round < 20 && is_mounted(); ++round)
    run_command("fusermount3 -u -z " + shell_word(mountpoint().string()));
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    std::error_code ignored;
    std::filesystem::remove(entry.path(), ignored);
  }
}

std::optional<std::string> why_no_mount() {
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0)
    return std::string("/dev/fuse: ") + std::strerror(errno);
  ::close(device);
  return std::nullopt;
}

// ---- The subject

Result<std::unique_ptr<MountSubject>> MountSubject::mount(const MountPlace& place,
                                                          const PreparedImage& image,
                                                          const Setup& setup) {
  std::unique_ptr<MountSubject> subject(new MountSubject(place, image, setup));
  RETURN_IF_ERROR(subject->put_files());
  RETURN_IF_ERROR(subject->start());
  return subject;
}

MountSubject::~MountSubject() {
  if (fd_ >= 0)
    ::close(fd_);
}

std::filesystem::path MountSubject::here(const std::filesystem::path& file) const {
  return place_.path(file.filename());
}

Status MountSubject::put_files() {
  for (const std::string& name : image_.files->files())
    RETURN_IF_ERROR(copy_out(image_.files->content(name), files_, here(name)));
  std::ofstream(place_.mountpoint()).flush();
  return {};
}

Status MountSubject::start() {
  std::string options =
      fmt::format("--pid-file={} --log-file={} --commit=1 --cache={} --batch={} --table-cache={}",
                  shell_word(place_.path("pid")), shell_word(place_.path("log")), setup_.cache,
                  setup_.tuning.batch_grains, setup_.tuning.table_cache);
  if (!image_.overlay.empty())
    options += " --overlay=" + shell_word(here(image_.overlay));
  const CommandResult result = run_command(program(options + " " + shell_word(here(image_.image)) +
                                                   " " + shell_word(place_.mountpoint())));
  if (result.status != 0)
    return failed("mounting", result);
  return open_disk();
}

Status MountSubject::open_disk() {
  fd_ = ::open(place_.mountpoint().c_str(), O_RDWR | O_CLOEXEC);
  if (fd_ < 0)
    return Error::from_errno(errno, "opening the disk");
  return {};
}

Status MountSubject::close_disk() {
  if (::close(std::exchange(fd_, -1)) != 0)
    return Error::from_errno(errno, "closing the disk");
  return {};
}

Status MountSubject::read(std::uint64_t at, std::span<std::byte> into, bool mapped) {
  // Past the page cache there is nothing to map.
  if (mapped && setup_.cache != "none")
    return read_mapped(fd_, at, into);
  for (std::size_t done = 0; done < into.size();) {
    const ssize_t got =
        pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(at + done));
    if (got < 0)
      return Error::from_errno(errno, fmt::format("pread at {}", at + done));
    if (got == 0)
      return Error::make(ErrorCode::kIo, fmt::format("the disk ends at {}", at + done));
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Status MountSubject::write(std::uint64_t at, std::span<const std::byte> from, bool mapped) {
  ++point_;
  if (mapped && setup_.cache != "none")
    return write_mapped(fd_, at, from);
  for (std::size_t done = 0; done < from.size();) {
    const ssize_t put =
        pwrite(fd_, from.data() + done, from.size() - done, static_cast<off_t>(at + done));
    if (put <= 0)
      return Error::from_errno(put == 0 ? EIO : errno, fmt::format("pwrite at {}", at + done));
    done += static_cast<std::size_t>(put);
  }
  return {};
}

Status MountSubject::allocate(int mode, std::uint64_t at, std::uint64_t length, const char* what) {
  ++point_;
  if (fallocate(fd_, mode, static_cast<off_t>(at), static_cast<off_t>(length)) != 0)
    return Error::from_errno(errno, fmt::format("{} at {}", what, at));
  return {};
}

Status MountSubject::punch(std::uint64_t at, std::uint64_t length) {
  return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length, "punching");
}

Status MountSubject::zero(std::uint64_t at, std::uint64_t length) {
  return allocate(FALLOC_FL_ZERO_RANGE, at, length, "zeroing");
}

Result<std::uint64_t> MountSubject::seek(std::uint64_t from, int whence) {
  const off_t found = lseek(fd_, static_cast<off_t>(from), whence);
  if (found >= 0)
    return static_cast<std::uint64_t>(found);
  if (errno == ENXIO)
    return image_.facts.content.capacity();
  return Error::from_errno(errno, fmt::format("lseek from {}", from));
}

Result<std::uint64_t> MountSubject::next_data(std::uint64_t from) {
  return seek(from, SEEK_DATA);
}

Result<std::uint64_t> MountSubject::next_hole(std::uint64_t from) {
  return seek(from, SEEK_HOLE);
}

Status MountSubject::sync(bool data_only) {
  if ((data_only ? fdatasync(fd_) : fsync(fd_)) != 0)
    return Error::from_errno(errno, data_only ? "fdatasync" : "fsync");
  ++point_;
  return {};
}

Status MountSubject::reopen() {
  RETURN_IF_ERROR(close_disk());
  return open_disk();
}

Status MountSubject::drop_caches() {
  if (const int err = posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED); err != 0)
    return Error::from_errno(err, "posix_fadvise");
  return {};
}

Status MountSubject::end() {
  const auto daemon = place_.daemon();
  RETURN_IF_ERROR(close_disk());
  const CommandResult result = run_command(program("-u " + shell_word(place_.mountpoint())));
  if (result.status != 0)
    return failed("unmounting", result);
  // Where the daemon's socket is not in reach, its end was not waited for.
  if (!result.err.empty() && daemon && !within_ten_seconds([&] { return !lives(*daemon); }))
    return Error::make(ErrorCode::kBusy, "the daemon does not end");
  ASSIGN_OR_RETURN(const bool clean, require_sound(files_, here(image_.top()), may_leak_));
  may_leak_ = !clean;
  ++point_;
  return {};
}

Status MountSubject::remount(std::uint64_t /*tag*/) {
  RETURN_IF_ERROR(end());
  return start();
}

std::size_t MountSubject::point() const {
  return point_;
}

Result<std::size_t> MountSubject::kill(std::size_t /*earliest*/, std::uint64_t tag) {
  constexpr std::uint64_t kRepairEvery = 4;
  const std::size_t point = ++point_;
  RETURN_IF_ERROR(place_.kill_daemon());
  // ENOTCONN, of course.
  ::close(std::exchange(fd_, -1));
  RETURN_IF_ERROR(place_.unmount_dead());
  ASSIGN_OR_RETURN(const bool clean, require_sound(files_, here(image_.top()), true));
  may_leak_ = !clean;
  if (tag % kRepairEvery == 0) {
    RETURN_IF_ERROR(require_repairable(files_, here(image_.top())));
    may_leak_ = false;
  }
  RETURN_IF_ERROR(start());
  return point;
}

Status MountSubject::finish() {
  RETURN_IF_ERROR(end());
  return require_bases_unchanged();
}

Status MountSubject::require_bases_unchanged() {
  for (const std::string& base : image_.bases) {
    ASSIGN_OR_RETURN(const auto file, files_.open(here(base), Access::kReadOnly));
    ASSIGN_OR_RETURN(const bool same, shows(*file, image_.files->content(base)));
    if (!same)
      return Error::make(ErrorCode::kCorrupt, base + ": a file of a parent was changed");
  }
  return {};
}

}  // namespace vmdk::test
