#include "fuse/server.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "fuse/compat.h"
#include "fuse/front.h"
#include "fuse/libfuse_log.h"
#include "fuse/request_loop.h"
#include "fuse/requests.h"
#include "fuse/session.h"
#include "fuse/true_size.h"

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;
using vmdk::Status;

}  // namespace

class Server::Impl {
 public:
  Impl(vmdk::Disk& disk, MountOptions options)
      : front_(disk, std::move(options)), log_(front_.options.log) {}

  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status attach(int device);
  Status start();
  Status wait();

  dev_t device() const noexcept { return device_.load(); }

  Front& front() noexcept { return front_; }

  void on_end(std::function<void()> callback) { on_end_ = std::move(callback); }

 private:
  void serve();
  Status wait_for_init();
  Status look_at_mount();
  Status show_size();
  void restore_sizes();
  timespec disk_time();
  void log_failure(const Status& status);
  void add_texts();
  std::string statistics_text() const;
  std::string path_of(const View& view) const;

  std::string disk_path() { return path_of(front_.views.disk()); }

  void forget_attributes();
  void drop_old_pages();

  Front front_;
  LibfuseLog log_;
  // Asked for before anybody may have lost the right to read it from the system's files.
  const unsigned processors_ = std::thread::hardware_concurrency();
  Session session_;
  std::thread thread_;
  std::function<void()> on_end_;
  // Of the mount; constant after start(). Until then a handler of somebody's last close may read
  // it, and takes the mount for another's.
  std::atomic<dev_t> device_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  // guarded by mutex_
  bool initialised_ = false;
  bool ended_ = false;
  int loop_result_ = 0;
};

Status Server::Impl::attach(int device) {
  const fuse_lowlevel_ops handlers = request_handlers();
  session_ = new_session(front_.options.mount_options, front_.options.trace, handlers, &front_);
  // The form of a mountpoint by which libfuse is told that somebody else has mounted.
  if (session_ == nullptr ||
      fuse_session_mount(session_.get(), fmt::format("/dev/fd/{}", device).c_str()) != 0) {
    close(device);
    return Error::make(ErrorCode::kIo, fmt::format("{}: not served: {}", front_.options.mountpoint,
                                                   log_.take_collected()));
  }
  if (!PrivilegePromise::watch(*session_))
    return Error::from_errno(ENOMEM, front_.options.mountpoint);
  log_.take_collected();
  front_.on_init = [this] {
    const std::lock_guard lock(mutex_);
    initialised_ = true;
    changed_.notify_all();
  };
  front_.disk.on_commit([this] {
    Statistics::add(front_.statistics.commits);
    front_.notifier.refresh_blocks();
  });
  front_.figures = [this] { return statistics_text(); };
  if (front_.options.directory)
    add_texts();
  return {};
}

void Server::Impl::add_texts() {
  std::uint64_t node = kFirstTextNode;
  if (front_.options.info)
    front_.texts.add(node++, "info.json", front_.options.info);
  front_.texts.add(node++, "stats", front_.figures);
  if (front_.options.log_text)
    front_.texts.add(node++, "log", front_.options.log_text);
}

// A word and a number a line, as `vmdkctl stats` reads them.
std::string Server::Impl::statistics_text() const {
  const Statistics& made = front_.statistics;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
                           std::chrono::steady_clock::now() - made.begin)
                           .count();
  return fmt::format(
      "seconds {}\nreads {}\nreadBytes {}\nwrites {}\nwrittenBytes {}\nclears {}\nsyncs {}\n"
      "commits {}\nlostWrites {}\nvirtualBytes {}\nallocatedBytes {}\n",
      seconds, made.reads.load(), made.read_bytes.load(), made.writes.load(),
      made.written_bytes.load(), made.clears.load(), made.syncs.load(), made.commits.load(),
      front_.lost_writes.load(), front_.disk.capacity(), front_.disk.allocated());
}

Server::Impl::~Impl() {
  if (thread_.joinable())
    thread_.join();
  front_.notifier.stop();
  front_.disk.on_commit({});
}

void Server::Impl::serve() {
  const int result =
      RequestLoop(*session_, front_.options.single_thread ? 1 : front_.options.threads, processors_)
          .run();
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    loop_result_ = result;
    changed_.notify_all();
  }
  if (on_end_)
    on_end_();
}

Status Server::Impl::wait_for_init() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return initialised_ || ended_; });
  if (initialised_ && !ended_)
    return {};
  return Error::make(ErrorCode::kIo, fmt::format("{}: the kernel ended the mount at once",
                                                 front_.options.mountpoint));
}

std::string Server::Impl::path_of(const View& view) const {
  const std::string folder =
      front_.options.mountpoint + (view.place.folder == kLayersNode ? "/layers" : "");
  return view.place.name.empty() ? folder : folder + "/" + view.place.name;
}

// Answered by the threads that serve, so it must not be called on one of them.
Status Server::Impl::look_at_mount() {
  struct stat found {};

  if (stat(front_.options.mountpoint.c_str(), &found) != 0)
    return Error::from_errno(errno, front_.options.mountpoint);
  device_.store(found.st_dev);
  return {};
}

Status Server::Impl::show_size() {
  return show_true_size(disk_path(), device_, front_.disk.capacity());
}

void Server::Impl::restore_sizes() {
  for (const ViewPointer& view : front_.views.all()) {
    // In this order, so that whoever waits for it sees one of them until it is done.
    view->size_is_being_set.store(true);
    if (view->size_is_wrong.exchange(false))
      log_failure(show_true_size(path_of(*view), device_, view->length()));
    view->size_is_being_set.store(false);
  }
}

timespec Server::Impl::disk_time() {
  return front_.attributes.of(front_.views.disk()).st_mtim;
}

// For jobs that nobody waits for.
void Server::Impl::log_failure(const Status& status) {
  // What is mounted elsewhere, or not any more, is somebody else's.
  if (!status && status.error().code() != ErrorCode::kNotFound && front_.options.log)
    front_.options.log(vmdk::LogLevel::kWarning, status.error().message());
}

void Server::Impl::forget_attributes() {
  // A failure means that the kernel does not know the file (any more): nothing to forget.
  for (const ViewPointer& view : front_.views.all()) {
    if (view->known.load())
      fuse_lowlevel_notify_inval_inode(session_.get(), view->node(), -1, 0);
  }
}

// The kernel waits here until pages that it is reading are read.
void Server::Impl::drop_old_pages() {
  for (const ViewPointer& view : front_.views.all()) {
    if (view->has_old_pages.exchange(false) && view->known.load())
      fuse_lowlevel_notify_inval_inode(session_.get(), view->node(), 0, 0);
  }
}

Status Server::Impl::start() {
  // What is wrong with the table is told while somebody reads it.
  front_.views.refresh();
  front_.show_time = [this] { log_failure(show_true_time(disk_path(), device_, disk_time())); };
  front_.notifier.start({.refresh_attributes = [this] { forget_attributes(); },
                         .refresh_blocks =
                             [this] {
                               if (front_.attributes.blocks_changed())
                                 forget_attributes();
                             },
                         .restore_size = [this] { restore_sizes(); },
                         .drop_pages = [this] { drop_old_pages(); }});
  thread_ = std::thread([this] { serve(); });
  RETURN_IF_ERROR(wait_for_init());
  RETURN_IF_ERROR(look_at_mount());
  // The kernel creates the root with size 0 and, writing back, would never ask us for it. In a
  // directory the size comes with the name.
  if (front_.writeback && !front_.options.directory) {
    // Truncating makes the kernel set the time to now.
    const timespec modified = disk_time();
    RETURN_IF_ERROR(show_size());
    RETURN_IF_ERROR(show_true_time(disk_path(), device_, modified));
  }
  return {};
}

Status Server::Impl::wait() {
  if (thread_.joinable())
    thread_.join();
  front_.notifier.stop();
  const std::lock_guard lock(mutex_);
  if (loop_result_ < 0)
    return Error::from_errno(-loop_result_, "/dev/fuse");
  return {};
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::attach(vmdk::Disk& disk, MountOptions options, int device) {
  auto impl = std::make_unique<Impl>(disk, std::move(options));
  RETURN_IF_ERROR(impl->attach(device));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::on_last_close(std::function<void()> callback) {
  impl_->front().on_last_close = std::move(callback);
}

void Server::on_end(std::function<void()> callback) {
  impl_->on_end(std::move(callback));
}

Status Server::start() {
  return impl_->start();
}

dev_t Server::device() const noexcept {
  return impl_->device();
}

Status Server::wait() {
  return impl_->wait();
}

Server::LostWrites Server::lost_writes() const noexcept {
  return {impl_->front().lost_writes.load(), impl_->front().lost_errno.load()};
}

std::vector<ShownFile> Server::shown() const {
  std::vector<ShownFile> files;
  for (const auto& [view, type] : impl_->front().views.with_types())
    files.push_back({view->place.name, type, view->place.begin.bytes(), view->length()});
  return files;
}

ServerVersion server_version() {
  return {fmt::format("{}.{}", FUSE_MAJOR_VERSION, FUSE_MINOR_VERSION), fuse_pkgversion()};
}

}  // namespace vmdkfuse
