#include "support/memory_file_system.h"

#include <algorithm>
#include <cerrno>
#include <shared_mutex>
#include <stdexcept>
#include <utility>

#include "base/bytes.h"
#include "base/checked_math.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kMaxFileSize = 1ULL << 62U;
constexpr std::int64_t kDefaultModified = 1'600'000'000;

bool conflict(LockMode a, LockMode b) {
  if (a == LockMode::kReadBesideWriter || b == LockMode::kReadBesideWriter)
    return false;
  return a == LockMode::kWrite || b == LockMode::kWrite;
}

bool is_device(const std::string& key) {
  return key.starts_with("/dev/") && !key.starts_with("/dev/shm/");
}

// What a directory's files begin with.
std::string prefix_of(const std::string& key) {
  if (key == ".")
    return "";
  return key.ends_with('/') ? key : key + "/";
}

}  // namespace

std::string normal_path(const std::filesystem::path& path) {
  std::string text = path.lexically_normal().string();
  while (text.size() > 1 && text.ends_with('/'))
    text.pop_back();
  return text.empty() ? "." : text;
}

struct MemoryFileSystem::Node {
  explicit Node(std::uint64_t number) : inode(number) {}

  const std::uint64_t inode;
  mutable std::shared_mutex mutex;
  // Guarded by mutex.
  SparseBytes content;
  std::uint32_t permissions = 0644;
  std::int64_t modified = kDefaultModified;
  std::vector<std::pair<const Handle*, LockMode>> locks;

  Node(std::uint64_t number, const SparseBytes& shared) : inode(number), content(shared) {}
};

class MemoryFileSystem::Handle : public File {
 public:
  // Requires: the caller holds the lock of the node.
  Handle(std::shared_ptr<Node> node, std::string name, Access access)
      : node_(std::move(node)),
        name_(std::move(name)),
        writable_(access == Access::kReadWrite),
        modified_(node_->modified),
        permissions_(node_->permissions) {}

  // Of a file that `owner` does not know yet.
  Handle(MemoryFileSystem& owner, std::shared_ptr<Node> node, std::string name)
      : Handle(std::move(node), std::move(name), Access::kReadWrite) {
    hidden_from_ = &owner;
  }

  ~Handle() override {
    const std::unique_lock guard(node_->mutex);
    drop_lock();
  }

  Result<std::size_t> read(FileOffset at, std::span<std::byte> into) const override {
    const std::shared_lock guard(node_->mutex);
    return node_->content.read(at.bytes(), into);
  }

  Status write(FileOffset at, std::span<const iovec> parts) override {
    std::uint64_t length = 0;
    for (const iovec& part : parts)
      length += part.iov_len;
    RETURN_IF_ERROR(check_change(at.bytes(), length));
    const std::unique_lock guard(node_->mutex);
    std::uint64_t position = at.bytes();
    for (const iovec& part : parts) {
      node_->content.write(position, {static_cast<const std::byte*>(part.iov_base), part.iov_len});
      position += part.iov_len;
    }
    return {};
  }

  Status grow(std::uint64_t end) override {
    RETURN_IF_ERROR(check_change(0, end));
    const std::unique_lock guard(node_->mutex);
    if (end > node_->content.size())
      node_->content.resize(end);
    return {};
  }

  Status resize(std::uint64_t size) override {
    RETURN_IF_ERROR(check_change(0, size));
    const std::unique_lock guard(node_->mutex);
    node_->content.resize(size);
    return {};
  }

  Status punch_hole(FileOffset at, std::uint64_t length) override {
    RETURN_IF_ERROR(check_change(at.bytes(), length));
    const std::unique_lock guard(node_->mutex);
    node_->content.punch(at.bytes(), length);
    return {};
  }

  Status sync() override { return {}; }

  Result<std::uint64_t> size() const override {
    const std::shared_lock guard(node_->mutex);
    return node_->content.size();
  }

  Result<std::uint64_t> allocated() const override {
    const std::shared_lock guard(node_->mutex);
    return node_->content.allocated();
  }

  Result<std::optional<FileOffset>> next_data(FileOffset from) const override {
    const std::shared_lock guard(node_->mutex);
    return offset_or_nothing(node_->content.next_data(from.bytes()));
  }

  Result<std::optional<FileOffset>> next_hole(FileOffset from) const override {
    const std::shared_lock guard(node_->mutex);
    return offset_or_nothing(node_->content.next_hole(from.bytes()));
  }

  void prefetch(FileOffset /*at*/, std::uint64_t /*length*/) const noexcept override {}

  void start_writing(FileOffset /*at*/, std::uint64_t /*length*/) noexcept override {}

  Status lock(LockMode mode) override {
    const std::unique_lock guard(node_->mutex);
    for (const auto& [holder, held] : node_->locks) {
      if (holder != this && conflict(held, mode))
        return Error::make(ErrorCode::kBusy, name_ + ": is in use by another handle");
    }
    drop_lock();
    node_->locks.emplace_back(this, mode);
    return {};
  }

  Status reveal() override {
    if (hidden_from_ == nullptr)
      return File::reveal();
    RETURN_IF_ERROR(hidden_from_->give_name(name_, node_));
    hidden_from_ = nullptr;
    return {};
  }

  Status take_place_of(const File& old) override {
    if (hidden_from_ == nullptr)
      return File::take_place_of(old);
    RETURN_IF_ERROR(hidden_from_->change_name(name_, old.id().inode, node_));
    hidden_from_ = nullptr;
    return {};
  }

  FileId id() const noexcept override { return {.device = 1, .inode = node_->inode}; }

  std::int64_t modified_at_open() const noexcept override { return modified_; }

  std::uint32_t permissions() const noexcept override { return permissions_; }

  const std::string& name() const noexcept override { return name_; }

 private:
  static std::optional<FileOffset> offset_or_nothing(std::optional<std::uint64_t> at) {
    return at ? std::optional(FileOffset(*at)) : std::nullopt;
  }

  Status check_change(std::uint64_t at, std::uint64_t length) const {
    if (!writable_)
      return Error::from_errno(EBADF, name_);
    const auto end = checked_add(at, length);
    if (!end || *end > kMaxFileSize)
      return Error::from_errno(EFBIG, name_);
    return {};
  }

  // Requires: the node's lock is held.
  void drop_lock() {
    std::erase_if(node_->locks, [this](const auto& lock) { return lock.first == this; });
  }

  const std::shared_ptr<Node> node_;
  const std::string name_;
  const bool writable_;
  const std::int64_t modified_;
  const std::uint32_t permissions_;
  MemoryFileSystem* hidden_from_ = nullptr;
};

MemoryFileSystem::MemoryFileSystem() = default;
MemoryFileSystem::~MemoryFileSystem() = default;

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::find(const std::string& key) const {
  const std::lock_guard guard(mutex_);
  const auto found = nodes_.find(key);
  return found == nodes_.end() ? nullptr : found->second;
}

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::need(
    const std::filesystem::path& path) const {
  auto node = find(normal_path(path));
  if (!node)
    throw std::out_of_range("no file " + path.string() + " in the memory file system");
  return node;
}

bool MemoryFileSystem::is_directory(const std::string& key) const {
  if (key == "." || key == "/")
    return true;
  const std::string prefix = prefix_of(key);
  const std::lock_guard guard(mutex_);
  const auto file = nodes_.lower_bound(prefix);
  const auto directory = directories_.lower_bound(prefix);
  return directories_.contains(key) || (file != nodes_.end() && file->first.starts_with(prefix)) ||
         (directory != directories_.end() && directory->starts_with(prefix));
}

Result<std::unique_ptr<File>> MemoryFileSystem::open_key(const std::string& key,
                                                         const std::string& shown, Access access) {
  auto node = find(key);
  if (!node && is_directory(key))
    return Error::make(ErrorCode::kUnsupported, shown + ": not a regular file: it is a folder");
  if (!node)
    return Error::from_errno(ENOENT, shown);
  const std::shared_lock guard(node->mutex);
  const std::uint32_t wanted = access == Access::kReadWrite ? 0600 : 0400;
  if ((node->permissions & wanted) != wanted)
    return Error::from_errno(EACCES, shown);
  return std::make_unique<Handle>(node, shown, access);
}

Result<std::unique_ptr<File>> MemoryFileSystem::open(const std::filesystem::path& path,
                                                     Access access) {
  return open_key(normal_path(path), path.string(), access);
}

Result<std::unique_ptr<File>> MemoryFileSystem::open_beneath(const std::filesystem::path& directory,
                                                             const std::filesystem::path& relative,
                                                             Access access) {
  const std::string shown = (directory / relative).string();
  if (relative.is_absolute() || *relative.lexically_normal().begin() == "..")
    return Error::make(ErrorCode::kDenied, shown + ": lies outside the folder");
  return open_key(normal_path(directory / relative), shown, access);
}

Status MemoryFileSystem::give_name(const std::filesystem::path& path, std::shared_ptr<Node> node) {
  const std::string key = normal_path(path);
  if (is_directory(key))
    return Error::from_errno(EEXIST, path.string());
  const std::lock_guard guard(mutex_);
  if (!nodes_.try_emplace(key, std::move(node)).second)
    return Error::from_errno(EEXIST, path.string());
  return {};
}

Status MemoryFileSystem::change_name(const std::filesystem::path& path, std::uint64_t from,
                                     std::shared_ptr<Node> to) {
  const std::lock_guard guard(mutex_);
  const auto found = nodes_.find(normal_path(path));
  if (found == nodes_.end())
    return Error::from_errno(ENOENT, path.string());
  if (found->second->inode != from)
    return Error::make(ErrorCode::kBusy, path.string() + ": was replaced");
  to->permissions = found->second->permissions;
  found->second = std::move(to);
  return {};
}

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::new_node() {
  const std::lock_guard guard(mutex_);
  return std::make_shared<Node>(next_inode_++);
}

Result<std::unique_ptr<File>> MemoryFileSystem::create(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(auto file, create_hidden(path));
  RETURN_IF_ERROR(file->reveal());
  return file;
}

Result<std::unique_ptr<File>> MemoryFileSystem::create_hidden(const std::filesystem::path& path) {
  const std::string key = normal_path(path);
  if (is_directory(key) || find(key))
    return Error::from_errno(EEXIST, path.string());
  return std::make_unique<Handle>(*this, new_node(), path.string());
}

Result<std::unique_ptr<File>> MemoryFileSystem::create_successor(
    const std::filesystem::path& path) {
  return std::make_unique<Handle>(*this, new_node(), path.string());
}

Result<std::unique_ptr<File>> MemoryFileSystem::open_device(const std::filesystem::path& path,
                                                            Access access) {
  if (!is_device(normal_path(path)))
    return Error::make(ErrorCode::kUnsupported, path.string() + ": not a block device");
  return open(path, access);
}

Result<std::unique_ptr<File>> MemoryFileSystem::create_unnamed(
    const std::filesystem::path& directory) {
  if (!is_directory(normal_path(directory)))
    return Error::from_errno(ENOENT, directory.string());
  return std::make_unique<Handle>(new_node(), (directory / "(file without a name)").string(),
                                  Access::kReadWrite);
}

Status MemoryFileSystem::remove(const std::filesystem::path& path) {
  const std::string key = normal_path(path);
  const bool directory = is_directory(key);
  const std::lock_guard guard(mutex_);
  if (nodes_.erase(key) == 0)
    return Error::from_errno(directory ? EISDIR : ENOENT, path.string());
  return {};
}

Status MemoryFileSystem::sync_directory(const std::filesystem::path& directory) {
  if (!is_directory(normal_path(directory)))
    return Error::from_errno(ENOENT, directory.string());
  return {};
}

Result<std::vector<std::string>> MemoryFileSystem::list(const std::filesystem::path& directory) {
  const std::string key = normal_path(directory);
  if (!is_directory(key))
    return Error::from_errno(find(key) ? ENOTDIR : ENOENT, directory.string());
  const std::string prefix = prefix_of(key);
  std::set<std::string> names;
  const auto add = [&](const std::string& path) {
    if (path.starts_with(prefix) && path.size() > prefix.size() && (key != "." || path[0] != '/'))
      names.insert(path.substr(prefix.size(), path.find('/', prefix.size()) - prefix.size()));
  };
  const std::lock_guard guard(mutex_);
  for (const auto& [path, node] : nodes_)
    add(path);
  for (const std::string& path : directories_)
    add(path);
  return std::vector<std::string>(names.begin(), names.end());
}

FileSystem::Kind MemoryFileSystem::kind(const std::filesystem::path& path) const noexcept {
  const std::string key = normal_path(path);
  if (find(key))
    return is_device(key) ? Kind::kOther : Kind::kFile;
  return is_directory(key) ? Kind::kDirectory : Kind::kNothing;
}

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::find_or_make(
    const std::filesystem::path& path) {
  const std::lock_guard guard(mutex_);
  auto& node = nodes_[normal_path(path)];
  if (!node)
    node = std::make_shared<Node>(next_inode_++);
  return node;
}

void MemoryFileSystem::put(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const auto node = find_or_make(path);
  const std::unique_lock guard(node->mutex);
  node->content.resize(0);
  node->content.write(0, bytes);
}

void MemoryFileSystem::put(const std::filesystem::path& path, std::string_view text) {
  put(path, bytes_of(text));
}

std::vector<std::byte> MemoryFileSystem::contents(const std::filesystem::path& path) const {
  return bytes(path, 0, size(path));
}

std::string MemoryFileSystem::text(const std::filesystem::path& path) const {
  const auto node = need(path);
  const std::shared_lock guard(node->mutex);
  std::string text(node->content.size(), '\0');
  node->content.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::vector<std::byte> MemoryFileSystem::bytes(const std::filesystem::path& path, std::uint64_t at,
                                               std::size_t length) const {
  const auto node = need(path);
  const std::shared_lock guard(node->mutex);
  std::vector<std::byte> result(length);
  node->content.read(at, result);
  return result;
}

void MemoryFileSystem::poke(const std::filesystem::path& path, std::uint64_t at,
                            std::span<const std::byte> bytes) {
  const auto node = need(path);
  const std::unique_lock guard(node->mutex);
  node->content.write(at, bytes);
}

void MemoryFileSystem::flip_bit(const std::filesystem::path& path, std::uint64_t bit) {
  const auto node = need(path);
  const std::unique_lock guard(node->mutex);
  std::byte value{};
  if (node->content.read(bit / 8, {&value, 1}) == 0)
    throw std::out_of_range("no such bit in " + path.string());
  value ^= static_cast<std::byte>(1U << (bit % 8));
  node->content.write(bit / 8, {&value, 1});
}

bool MemoryFileSystem::exists(const std::filesystem::path& path) const {
  return find(normal_path(path)) != nullptr;
}

std::uint64_t MemoryFileSystem::size(const std::filesystem::path& path) const {
  const auto node = need(path);
  const std::shared_lock guard(node->mutex);
  return node->content.size();
}

void MemoryFileSystem::truncate(const std::filesystem::path& path, std::uint64_t size) {
  const auto node = need(path);
  const std::unique_lock guard(node->mutex);
  node->content.resize(size);
}

void MemoryFileSystem::make_directory(const std::filesystem::path& path) {
  const std::lock_guard guard(mutex_);
  directories_.insert(normal_path(path));
}

void MemoryFileSystem::set_permissions(const std::filesystem::path& path, std::uint32_t mode) {
  const auto node = need(path);
  const std::unique_lock guard(node->mutex);
  node->permissions = mode;
}

void MemoryFileSystem::set_modified(const std::filesystem::path& path, std::int64_t seconds) {
  const auto node = need(path);
  const std::unique_lock guard(node->mutex);
  node->modified = seconds;
}

SparseBytes MemoryFileSystem::content(const std::filesystem::path& path) const {
  const auto node = need(path);
  const std::unique_lock guard(node->mutex);
  return node->content;
}

void MemoryFileSystem::put_content(const std::filesystem::path& path, const SparseBytes& content) {
  const auto node = find_or_make(path);
  const std::unique_lock guard(node->mutex);
  node->content = content;
}

std::vector<std::string> MemoryFileSystem::files() const {
  const std::lock_guard guard(mutex_);
  std::vector<std::string> names;
  for (const auto& [path, node] : nodes_)
    names.push_back(path);
  return names;
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::clone() const {
  auto copy = std::make_unique<MemoryFileSystem>();
  const std::lock_guard guard(mutex_);
  copy->directories_ = directories_;
  copy->next_inode_ = next_inode_;
  for (const auto& [path, node] : nodes_) {
    const std::unique_lock node_guard(node->mutex);
    auto twin = std::make_shared<Node>(node->inode, node->content);
    twin->permissions = node->permissions;
    twin->modified = node->modified;
    copy->nodes_.emplace(path, std::move(twin));
  }
  return copy;
}

}  // namespace vmdk::test
