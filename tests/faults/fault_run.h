// One run of a scenario over files below which calls fail, and what they must show all the same.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/check.h>
#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "crash/workload.h"
#include "faults/scenario.h"
#include "support/crash_file_system.h"
#include "support/faulty_file_system.h"
#include "support/reference_disk.h"
#include "support/sample_disk.h"

namespace vmdk::test {

// What a failed step may have changed of the disk is old or new from then on.
class FaultRun {
 public:
  using Call = std::function<Status()>;
  // Makes a call of the engine; the test's own work is outside of it.
  using Around = std::function<Status(const Call& call)>;

  // `prepared` must outlive it. `decorate`: what stands between the engine and the calls that fail.
  explicit FaultRun(const Prepared& prepared, const Decorate& decorate = {});
  ~FaultRun();
  FaultRun(const FaultRun&) = delete;
  FaultRun& operator=(const FaultRun&) = delete;

  void set_around(Around around) { around_ = std::move(around); }

  FaultyFileSystem& faults() noexcept { return faults_; }

  // nullptr: none is open.
  Disk* disk() noexcept { return disk_.get(); }

  const Prepared& prepared() const noexcept { return prepared_; }

  const SampleDisk& sample() const noexcept { return prepared_.sample; }

  // As they are now.
  MemoryFileSystem& files() noexcept { return crash_.live(); }

  // ---- What steps are made of. Each may be called again after it failed.

  // Opens the sample's image, or the one that `image` names; closes what is open first.
  Status open(OpenOptions options, const std::filesystem::path& image = {});
  // Opens the disk again, as before, when it was closed.
  Status apply(const DiskOperation& operation);
  // Compares what was read.
  Status read(std::uint64_t at, std::size_t length);
  // The disk is gone afterwards, whatever the answer.
  Status close();
  // An exit status other than this counts as a wrong answer.
  Status check(CheckOptions options, int exit_code);
  Status create(const std::filesystem::path& image, const CreateOptions& options);
  // Waits until the committer's own thread has committed, or has said that it could not; after a
  // change that failed there is nothing to wait for.
  Status await_commit();
  // From now on calls succeed. A commit that is under way may still say that it could not.
  void let_calls_succeed();

  // ---- The verdict.

  // Drops the disk, as the death of the program would.
  void drop();

  // The first wrong answer of a step.
  const std::optional<std::string>& wrong_answer() const noexcept { return wrong_answer_; }

  // What the open disk shows wrongly.
  std::optional<std::string> wrong_content();
  // Drops the disk, lets calls succeed again, and judges the files.
  std::optional<std::string> wrong_image();
  // The same for some of the states that a power cut would leave now.
  std::optional<std::string> wrong_after_power_cut(std::uint64_t seed);
  // "disk.vmdk was changed": a file that is not as it was in the beginning, or nullopt.
  std::optional<std::string> changed_file() const;

 private:
  Status call(const Call& call) { return around_ ? around_(call) : call(); }

  Status change(const DiskOperation& operation);
  // `before`: the crash point at which the operation began.
  void note_failure(std::size_t before, const DiskOperation& operation,
                    std::span<const std::byte> bytes);
  // Takes what is not certain out of `actual`.
  std::optional<std::string> difference(std::uint64_t at, std::span<std::byte> actual) const;
  void note_log(LogLevel level, std::string_view text);
  void note_commit();

  const Prepared& prepared_;
  CrashFileSystem crash_;
  FaultyFileSystem faults_;
  std::unique_ptr<FileSystem> between_;
  FileSystem& top_;
  Around around_;
  SectorHistory history_;
  std::vector<bool> uncertain_;  // by sector: a failed step touched it since
  std::uint32_t steps_ = 0;
  bool to_commit_ = false;  // the last change succeeded
  std::optional<std::string> wrong_answer_;

  std::mutex mutex_;
  std::condition_variable told_;
  // Guarded by mutex_: what the committer's thread has said, and how much of it was waited for.
  std::size_t commits_ = 0;
  std::size_t commits_seen_ = 0;
  std::optional<std::string> commit_failure_;
  bool late_failure_ = false;  // the next one may be of a commit that began before calls succeeded

  OpenOptions options_;  // of the last open()
  std::filesystem::path image_;
  std::unique_ptr<Disk> disk_;
};

}  // namespace vmdk::test
