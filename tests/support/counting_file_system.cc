#include "support/counting_file_system.h"

#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

void add(OpCounts& counts, const FileOperation& operation) {
  const auto kind = static_cast<std::size_t>(operation.kind);
  ++counts.calls.at(kind);
  counts.bytes.at(kind) += operation.length;
  counts.write_parts += operation.parts;
}

}  // namespace

OpCounts CountingFileSystem::total() const {
  const std::lock_guard guard(mutex_);
  return total_;
}

OpCounts CountingFileSystem::of_file(const std::filesystem::path& path) const {
  const std::lock_guard guard(mutex_);
  const auto found = files_.find(normal_path(path));
  return found == files_.end() ? OpCounts() : found->second;
}

void CountingFileSystem::reset() {
  const std::lock_guard guard(mutex_);
  total_ = OpCounts();
  files_.clear();
  log_.clear();
}

void CountingFileSystem::keep_log(bool keep) {
  const std::lock_guard guard(mutex_);
  keep_log_ = keep;
}

std::vector<FileOperation> CountingFileSystem::log() const {
  const std::lock_guard guard(mutex_);
  return log_;
}

std::optional<Fault> CountingFileSystem::intercept(const FileOperation& operation) {
  const std::lock_guard guard(mutex_);
  add(total_, operation);
  add(files_[operation.file], operation);
  if (keep_log_)
    log_.push_back(operation);
  return std::nullopt;
}

}  // namespace vmdk::test
