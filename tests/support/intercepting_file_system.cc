#include "support/intercepting_file_system.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "support/forwarding_file.h"
#include "support/memory_file_system.h"

namespace vmdk::test {

std::string_view to_string(OpKind kind) noexcept {
  constexpr std::array<std::string_view, kOpKinds> kNames = {
      "open",  "create", "remove", "sync_directory", "list", "read",     "write", "grow",  "resize",
      "punch", "sync",   "size",   "allocated",      "seek", "prefetch", "lock",  "reveal"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::string to_string(const FileOperation& operation) {
  return fmt::format("{} {} at {} length {}", to_string(operation.kind), operation.file,
                     operation.offset, operation.length);
}

class InterceptingFileSystem::Handle : public ForwardingFile {
 public:
  Handle(InterceptingFileSystem& owner, std::unique_ptr<File> below, std::string key)
      : ForwardingFile(std::move(below)), owner_(owner), key_(std::move(key)) {
    owner_.open_files_.fetch_add(1);
  }

  ~Handle() override { owner_.open_files_.fetch_sub(1); }

  Result<std::size_t> read(FileOffset at, std::span<std::byte> into) const override {
    RETURN_IF_ERROR(ask(OpKind::kRead, at.bytes(), into.size()));
    return below().read(at, into);
  }

  Status write(FileOffset at, std::span<const iovec> parts) override {
    std::uint64_t length = 0;
    for (const iovec& part : parts)
      length += part.iov_len;
    const auto fault = owner_.intercept({.kind = OpKind::kWrite,
                                         .file = key_,
                                         .offset = at.bytes(),
                                         .length = length,
                                         .parts = parts.size()});
    if (!fault)
      return below().write(at, parts);
    RETURN_IF_ERROR(write_prefix(at, parts, fault->prefix));
    return Error::from_errno(fault->err, name());
  }

  Status grow(std::uint64_t end) override {
    RETURN_IF_ERROR(ask(OpKind::kGrow, end, 0));
    return below().grow(end);
  }

  Status resize(std::uint64_t size) override {
    RETURN_IF_ERROR(ask(OpKind::kResize, size, 0));
    return below().resize(size);
  }

  Status punch_hole(FileOffset at, std::uint64_t length) override {
    RETURN_IF_ERROR(ask(OpKind::kPunch, at.bytes(), length));
    return below().punch_hole(at, length);
  }

  Status sync() override {
    RETURN_IF_ERROR(ask(OpKind::kSync, 0, 0));
    return below().sync();
  }

  Result<std::uint64_t> size() const override {
    RETURN_IF_ERROR(ask(OpKind::kSize, 0, 0));
    return below().size();
  }

  Result<std::uint64_t> allocated() const override {
    RETURN_IF_ERROR(ask(OpKind::kAllocated, 0, 0));
    return below().allocated();
  }

  Result<std::optional<FileOffset>> next_data(FileOffset from) const override {
    RETURN_IF_ERROR(ask(OpKind::kSeek, from.bytes(), 0));
    return below().next_data(from);
  }

  Result<std::optional<FileOffset>> next_hole(FileOffset from) const override {
    RETURN_IF_ERROR(ask(OpKind::kSeek, from.bytes(), 0));
    return below().next_hole(from);
  }

  void prefetch(FileOffset at, std::uint64_t length) const noexcept override {
    if (ask(OpKind::kPrefetch, at.bytes(), length))
      below().prefetch(at, length);
  }

  // Comes from another thread, at any time: nobody could count on it.
  void start_writing(FileOffset at, std::uint64_t length) noexcept override {
    below().start_writing(at, length);
  }

  Status lock(LockMode mode) override {
    RETURN_IF_ERROR(ask(OpKind::kLock, 0, 0));
    return below().lock(mode);
  }

  Status reveal() override {
    RETURN_IF_ERROR(ask(OpKind::kReveal, 0, 0));
    return below().reveal();
  }

  Status take_place_of(const File& old) override {
    RETURN_IF_ERROR(ask(OpKind::kReveal, 0, 0));
    return below().take_place_of(old);
  }

 private:
  Status ask(OpKind kind, std::uint64_t offset, std::uint64_t length) const {
    const auto fault =
        owner_.intercept({.kind = kind, .file = key_, .offset = offset, .length = length});
    if (fault)
      return Error::from_errno(fault->err, name());
    return {};
  }

  Status write_prefix(FileOffset at, std::span<const iovec> parts, std::uint64_t prefix) {
    std::vector<iovec> kept;
    for (iovec part : parts) {
      part.iov_len = std::min<std::uint64_t>(part.iov_len, prefix);
      prefix -= part.iov_len;
      if (part.iov_len > 0)
        kept.push_back(part);
    }
    return kept.empty() ? Status() : below().write(at, kept);
  }

  InterceptingFileSystem& owner_;
  const std::string key_;
};

Status InterceptingFileSystem::ask(OpKind kind, const std::filesystem::path& path) {
  if (const auto fault = intercept({.kind = kind, .file = normal_path(path)}))
    return Error::from_errno(fault->err, path.string());
  return {};
}

Result<std::unique_ptr<File>> InterceptingFileSystem::wrap(Result<std::unique_ptr<File>> opened,
                                                           const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(auto file, std::move(opened));
  return std::make_unique<Handle>(*this, std::move(file), normal_path(path));
}

Result<std::unique_ptr<File>> InterceptingFileSystem::open(const std::filesystem::path& path,
                                                           Access access) {
  RETURN_IF_ERROR(ask(OpKind::kOpen, path));
  return wrap(below_.open(path, access), path);
}

Result<std::unique_ptr<File>> InterceptingFileSystem::open_device(const std::filesystem::path& path,
                                                                  Access access) {
  RETURN_IF_ERROR(ask(OpKind::kOpen, path));
  return wrap(below_.open_device(path, access), path);
}

Result<std::unique_ptr<File>> InterceptingFileSystem::open_beneath(
    const std::filesystem::path& directory, const std::filesystem::path& relative, Access access) {
  RETURN_IF_ERROR(ask(OpKind::kOpen, directory / relative));
  return wrap(below_.open_beneath(directory, relative, access), directory / relative);
}

Result<std::unique_ptr<File>> InterceptingFileSystem::create(const std::filesystem::path& path) {
  RETURN_IF_ERROR(ask(OpKind::kCreate, path));
  return wrap(below_.create(path), path);
}

Result<std::unique_ptr<File>> InterceptingFileSystem::create_hidden(
    const std::filesystem::path& path) {
  RETURN_IF_ERROR(ask(OpKind::kCreate, path));
  return wrap(below_.create_hidden(path), path);
}

Result<std::unique_ptr<File>> InterceptingFileSystem::create_successor(
    const std::filesystem::path& path) {
  RETURN_IF_ERROR(ask(OpKind::kCreate, path));
  return wrap(below_.create_successor(path), path);
}

Result<std::unique_ptr<File>> InterceptingFileSystem::create_unnamed(
    const std::filesystem::path& directory) {
  const std::filesystem::path shown = directory / "(file without a name)";
  RETURN_IF_ERROR(ask(OpKind::kCreate, shown));
  return wrap(below_.create_unnamed(directory), shown);
}

Status InterceptingFileSystem::remove(const std::filesystem::path& path) {
  RETURN_IF_ERROR(ask(OpKind::kRemove, path));
  return below_.remove(path);
}

Status InterceptingFileSystem::sync_directory(const std::filesystem::path& directory) {
  RETURN_IF_ERROR(ask(OpKind::kSyncDirectory, directory));
  return below_.sync_directory(directory);
}

Result<std::vector<std::string>> InterceptingFileSystem::list(
    const std::filesystem::path& directory) {
  RETURN_IF_ERROR(ask(OpKind::kList, directory));
  return below_.list(directory);
}

FileSystem::Kind InterceptingFileSystem::kind(const std::filesystem::path& path) const noexcept {
  return below_.kind(path);
}

}  // namespace vmdk::test
