// A disk that the program has mounted, used by system calls.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "io/posix_file_system.h"
#include "vfsx/images.h"
#include "vfsx/recipe.h"
#include "vfsx/subject.h"

namespace vmdk::test {

// A mount in a folder, and its daemon. Whoever owns it cleans up, also after the one who used it
// died.
class MountPlace {
 public:
  explicit MountPlace(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path path(const std::filesystem::path& name) const { return folder_ / name; }

  const std::filesystem::path& folder() const noexcept { return folder_; }

  std::filesystem::path mountpoint() const { return folder_ / "flat"; }

  // The daemon that was started last, as long as it lives.
  std::optional<pid_t> daemon() const;
  // Kills it with SIGKILL and waits until it is gone.
  Status kill_daemon() const;
  // Takes the mount of a daemon that is gone away.
  Status unmount_dead() const;
  // All of it: whatever is left there of a mount, a daemon, and files.
  void clean() const;

 private:
  bool is_mounted() const;

  const std::filesystem::path folder_;
};

// Why there can be no mount here; nullopt: there can.
std::optional<std::string> why_no_mount();

// A kill is SIGKILL to the daemon, which it has started itself.
class MountSubject final : public Subject {
 public:
  // Puts the files of the image into the place and mounts it. Both must outlive it.
  static Result<std::unique_ptr<MountSubject>> mount(const MountPlace& place,
                                                     const PreparedImage& image,
                                                     const Setup& setup);
  ~MountSubject() override;

  Status read(std::uint64_t at, std::span<std::byte> into, bool mapped) override;
  Status write(std::uint64_t at, std::span<const std::byte> from, bool mapped) override;
  Status punch(std::uint64_t at, std::uint64_t length) override;
  Status zero(std::uint64_t at, std::uint64_t length) override;
  Result<std::uint64_t> next_data(std::uint64_t from) override;
  Result<std::uint64_t> next_hole(std::uint64_t from) override;
  Status sync(bool data_only) override;
  Status reopen() override;
  Status drop_caches() override;
  Status remount(std::uint64_t tag) override;
  std::size_t point() const override;
  Result<std::size_t> kill(std::size_t earliest, std::uint64_t tag) override;
  Status finish() override;

 private:
  MountSubject(const MountPlace& place, const PreparedImage& image, const Setup& setup)
      : place_(place), image_(image), setup_(setup) {}

  std::filesystem::path here(const std::filesystem::path& file) const;
  Status put_files();
  Status start();
  Status open_disk();
  Status close_disk();
  Status end();
  Status require_bases_unchanged();
  Result<std::uint64_t> seek(std::uint64_t from, int whence);
  Status allocate(int mode, std::uint64_t at, std::uint64_t length, const char* what);

  const MountPlace& place_;
  const PreparedImage& image_;
  const Setup setup_;
  PosixFileSystem files_;
  int fd_ = -1;
  std::size_t point_ = 0;
  bool may_leak_ = false;  // a kill has left something that no clean end took away
};

}  // namespace vmdk::test
