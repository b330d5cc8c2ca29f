#include "fuse/views.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <new>
#include <utility>

#include <fmt/format.h>

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;

constexpr const char* kFlatName = "flat";
// RELEASE comes after close(2) has returned, and may be overtaken by the next OPEN.
constexpr std::chrono::milliseconds kPatience{200};

View::Place place_of_disk(const vmdk::Disk& disk, const MountOptions& options) {
  return {.node = options.directory ? kFlatNode : kRootNode,
          .name = options.directory ? kFlatName : "",
          .begin = vmdk::DiskOffset(0),
          .length = disk.capacity(),
          .has_table = true};
}

bool is_always_direct(const MountOptions& options) noexcept {
  return options.cache == CacheMode::kNone || options.may_change;
}

// "1-disk-000001" for the image .../disk-000001.vmdk, when one is beneath it.
std::string layer_name(std::size_t number, const std::string& file) {
  constexpr std::size_t kLongest = 255;
  const std::filesystem::path name = std::filesystem::path(file).filename();
  const std::string shown = name.extension() == ".vmdk" ? name.stem().native() : name.native();
  return fmt::format("{}-{}", number, shown).substr(0, kLongest);
}

}  // namespace

Views::Views(vmdk::Disk& disk, const MountOptions& options)
    : disk_(disk),
      options_(options),
      disk_view_(std::make_shared<View>(place_of_disk(disk, options), is_always_direct(options))),
      layers_(make_layers()),
      next_node_(kFirstFreeNode + layers_.size()),
      table_is_old_(options.directory && options.partitions) {
  // The kernel never asks for its root.
  disk_view_->known.store(!options.directory);
}

// The layer that is shown as the disk changes with it, by ways that the kernel does not know of.
std::vector<ViewPointer> Views::make_layers() const {
  std::vector<ViewPointer> layers;
  if (!options_.directory || !options_.layers)
    return layers;
  const vmdk::DiskInfo info = disk_.info();
  for (std::size_t number = 0; number < info.layers.size(); ++number) {
    const std::size_t layer = info.layers.size() - 1 - number;
    const bool changes = layer == 0 && !options_.read_only;
    layers.push_back(
        std::make_shared<View>(View::Place{.node = kFirstFreeNode + number,
                                           .folder = kLayersNode,
                                           .name = layer_name(number, info.layers[layer].file),
                                           .layer = layer,
                                           .read_only = true,
                                           .begin = vmdk::DiskOffset(0),
                                           .length = disk_.layer_capacity(layer)},
                               is_always_direct(options_) || changes));
  }
  return layers;
}

ViewPointer Views::find(std::uint64_t node) const {
  // Without counting: it outlives every request.
  if (node == disk_view_->node())
    return {ViewPointer(), disk_view_.get()};
  if (node >= kFirstFreeNode && node - kFirstFreeNode < layers_.size())
    return {ViewPointer(), layers_[node - kFirstFreeNode].get()};
  const std::shared_lock lock(list_mutex_);
  for (const auto* list : {&partitions_, &retired_}) {
    for (const ViewPointer& each : *list) {
      if (each->node() == node)
        return each;
    }
  }
  return nullptr;
}

ViewPointer Views::look_up(std::uint64_t folder, std::string_view name) const {
  for (ViewPointer& each : listed(folder)) {
    if (each->place.name == name)
      return std::move(each);
  }
  return nullptr;
}

std::vector<ViewPointer> Views::listed(std::uint64_t folder) const {
  if (folder == kLayersNode)
    return layers_;
  if (folder != kRootNode)
    return {};
  std::vector<ViewPointer> list{disk_view_};
  const std::shared_lock lock(list_mutex_);
  list.insert(list.end(), partitions_.begin(), partitions_.end());
  return list;
}

std::vector<std::pair<ViewPointer, std::string>> Views::with_types() const {
  std::vector<std::pair<ViewPointer, std::string>> list{{disk_view_, ""}};
  const std::shared_lock lock(list_mutex_);
  for (std::size_t i = 0; i < partitions_.size(); ++i)
    list.emplace_back(partitions_[i], types_[i]);
  return list;
}

std::vector<ViewPointer> Views::all() const {
  std::vector<ViewPointer> list = listed(kRootNode);
  list.insert(list.end(), layers_.begin(), layers_.end());
  const std::shared_lock lock(list_mutex_);
  list.insert(list.end(), retired_.begin(), retired_.end());
  return list;
}

void Views::log(vmdk::LogLevel level, std::string_view text) const {
  if (options_.log)
    options_.log(level, text);
}

// --- the table -----------------------------------------------------------------------------------

void Views::closes(View& view) noexcept {
  if (!view.place.has_table || !view.written.exchange(false))
    return;
  const std::lock_guard lock(table_mutex_);
  table_is_old_ = options_.directory && options_.partitions;
}

void Views::refresh() {
  std::unique_lock lock(table_mutex_);
  // Who comes while it is read waits for what is read.
  table_read_.wait(lock, [this] { return !reading_; });
  if (!std::exchange(table_is_old_, false))
    return;
  reading_ = true;
  lock.unlock();
  const auto end = [&](bool read) noexcept {
    lock.lock();
    reading_ = false;
    table_is_old_ = table_is_old_ || !read;
    table_read_.notify_all();
  };
  try {
    install(read_table());
  } catch (const std::bad_alloc&) {
    end(false);
    throw;
  }
  end(true);
}

vmdk::PartitionTable Views::read_table() const {
  auto table = vmdk::read_partition_table(disk_);
  if (!table) {
    log(vmdk::LogLevel::kWarning,
        fmt::format("partitions are not shown: {}", table.error().message()));
    return {};
  }
  for (const std::string& warning : table->warnings)
    log(vmdk::LogLevel::kWarning, warning);
  return *std::move(table);
}

ViewPointer Views::make(View::Place place) const {
  return std::make_shared<View>(std::move(place), is_always_direct(options_));
}

// Requires list_mutex_.
ViewPointer Views::same_as(const View::Place& place) const {
  for (const auto* list : {&partitions_, &retired_}) {
    for (const ViewPointer& each : *list) {
      if (each->place.name == place.name && each->place.begin == place.begin &&
          each->place.length == place.length && each->place.has_table == place.has_table)
        return each;
    }
  }
  return nullptr;
}

void Views::install(const vmdk::PartitionTable& table) {
  const std::lock_guard opening(open_mutex_);
  const std::lock_guard lock(list_mutex_);
  std::vector<ViewPointer> now;
  std::vector<std::string> types;
  for (const vmdk::Partition& partition : table.partitions) {
    types.push_back(partition.type);
    View::Place place{.node = next_node_,
                      .name = fmt::format("{}{}", kFlatName, partition.number),
                      .begin = partition.begin,
                      .length = partition.length,
                      .has_table = partition.extended};
    if (ViewPointer same = same_as(place)) {
      now.push_back(std::move(same));
    } else {
      now.push_back(make(std::move(place)));
      ++next_node_;
    }
  }
  std::vector<ViewPointer> gone;
  for (const auto* list : {&partitions_, &retired_}) {
    for (const ViewPointer& each : *list) {
      if (each->modes.is_open() && std::find(now.begin(), now.end(), each) == now.end())
        gone.push_back(each);
    }
  }
  partitions_ = std::move(now);
  types_ = std::move(types);
  retired_ = std::move(gone);
}

// --- opening -------------------------------------------------------------------------------------

template <typename Visit>
void Views::visit_overlapping(const View& view, const Visit& visit) const noexcept {
  const std::shared_lock lock(list_mutex_);
  const auto visit_one = [&](View& other) {
    if (&other != &view && other.overlaps(view))
      visit(other);
  };
  visit_one(*disk_view_);
  for (const auto* list : {&layers_, &partitions_, &retired_}) {
    for (const ViewPointer& each : *list)
      visit_one(*each);
  }
}

// Requires open_mutex_. Who must be closed before the view can be opened.
const View* Views::holder_against(const View& view, bool writable) const noexcept {
  const View* holder = nullptr;
  if (writable)
    visit_overlapping(view, [&](const View& other) {
      if (holder == nullptr && other.modes.is_cached())
        holder = &other;
    });
  return holder;
}

// Requires open_mutex_.
bool Views::is_written_elsewhere(const View& view) const noexcept {
  bool written = false;
  visit_overlapping(view,
                    [&](const View& other) { written = written || other.modes.has_writers(); });
  return written;
}

// Requires open_mutex_. Whether there are any.
bool Views::make_others_old(const View& view) const noexcept {
  bool any = false;
  visit_overlapping(view, [&](View& other) {
    other.modes.make_pages_old();
    other.has_old_pages.store(true);
    any = true;
  });
  return any;
}

Result<Views::Opened> Views::open(View& view, int flags) {
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(open_mutex_);
  while (const View* const holder = holder_against(view, writable)) {
    // With one thread for all requests, it is this one that would hear of the close.
    if (options_.single_thread || std::chrono::steady_clock::now() >= deadline)
      return Error::make(ErrorCode::kBusy,
                         fmt::format("{}: not opened for writing: {} is open, and has bytes of it",
                                     view.place.name, holder->place.name));
    closed_.wait_until(lock, deadline);
  }
  Opened opened{.mode = view.modes.open(flags, is_written_elsewhere(view)), .drops_pages = false};
  ++open_;
  if (writable)
    writers_.fetch_add(1, std::memory_order_acq_rel);
  if (opened.mode.first_writer)
    opened.drops_pages = make_others_old(view);
  return opened;
}

Views::Closed Views::close(View& view, Handle handle) noexcept {
  if (handle.writable())
    closes(view);
  const std::lock_guard lock(open_mutex_);
  const OpenModes::Closed mode = view.modes.close(handle);
  if (handle.writable())
    writers_.fetch_sub(1, std::memory_order_acq_rel);
  Closed closed{.last_writer = mode.last_writer, .last = --open_ == 0, .drops_pages = false};
  // Once more: whoever had one open meanwhile may have mapped it.
  if (mode.last_writer)
    closed.drops_pages = make_others_old(view);
  closed_.notify_all();
  return closed;
}

}  // namespace vmdkfuse
