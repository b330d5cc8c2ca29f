// The FUSE front: shows a disk as one file and answers the kernel's requests from it.
// Nothing of libfuse appears here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/result.h>

namespace vmdkfuse {

// What the kernel's page cache over the flat file does.
enum class CacheMode {
  kWriteback,     // keeps written pages and merges them into large requests
  kWritethrough,  // keeps what was read or written, but each write reaches us at once
  kNone,          // nothing is kept: direct I/O
};

struct MountOptions {
  std::string mountpoint;  // absolute
  bool directory = false;  // MOUNTPOINT is a directory and shows `flat`; else it is the disk itself
  bool partitions = true;  // with `directory`: also shows `flat1`, `flat2`...
  bool layers = true;      // with `directory`: also shows each link of the chain in `layers`
  bool read_only = false;
  CacheMode cache = CacheMode::kWriteback;  // kWriteback only when not read_only
  // Somebody else may write to the image: nothing that we answer may be kept.
  bool may_change = false;
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0;  // permission bits of the disk
  // For `-o` of libfuse, one item each, commas and backslashes escaped.
  std::vector<std::string> mount_options;
  unsigned max_read = 0;       // bytes; what `max_read=` among them says, 0 where it is not
  unsigned threads = 8;        // at most so many requests are served at once
  bool single_thread = false;  // one request after the other
  bool trace = false;          // libfuse prints each request to stderr
  vmdk::LogSink log;
  // Texts of `.vmdkfuse/info.json` and `log`, with `directory`; where one is empty there is no such
  // file. Any thread.
  std::function<std::string()> info;
  std::function<std::string()> log_text;
};

// A file of the mount that shows the disk or a part of it.
struct ShownFile {
  std::string name;          // beneath the mountpoint
  std::string type;          // of a partition, as its table says; empty: the disk
  std::uint64_t begin = 0;   // byte of the disk
  std::uint64_t length = 0;  // bytes
};

struct ServerVersion {
  std::string built;   // libfuse when this program was built
  std::string loaded;  // and the one that is there now
};

ServerVersion server_version();

// Serves a mount that is there already (fuse/device_mount.h): attach(), start(), wait(). Taking it
// away, after an error too, is for whoever has mounted.
class Server {
 public:
  // Takes over `device`, the mount's descriptor of /dev/fuse, whatever it returns. Starts no
  // thread. `disk` must outlive the server, which asks it for on_commit().
  static vmdk::Result<std::unique_ptr<Server>> attach(vmdk::Disk& disk, MountOptions options,
                                                      int device);
  // Waits for the end of the session, unless start() was never called.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Called when the last open handle was closed, on a thread that serves; must not block.
  void on_last_close(std::function<void()> callback);
  // Called once when the kernel has ended the session, on a thread of the server; must not block.
  void on_end(std::function<void()> callback);

  // Begins to serve on threads of its own. Returns when the kernel has been answered and the file
  // shows its true size and time.
  vmdk::Status start();

  // The mount's device number. Requires: start() has succeeded.
  dev_t device() const noexcept;

  // Waits until the kernel has ended the session. An error is one of the device, not of the disk.
  vmdk::Status wait();

  // Writes that failed after the kernel had taken them from its users, who may have learned it at
  // their fsync() or close(), or not at all.
  struct LostWrites {
    std::uint64_t count = 0;
    int first_errno = 0;
  };

  LostWrites lost_writes() const noexcept;

  // What there is now, without `layers`. Any thread.
  std::vector<ShownFile> shown() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmdkfuse
