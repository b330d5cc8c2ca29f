#include "support/faulty_file_system.h"

#include <algorithm>
#include <utility>

#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

bool counts(const FaultRule& rule, const FileOperation& operation) {
  const bool kind_fits = rule.kinds.empty() || std::find(rule.kinds.begin(), rule.kinds.end(),
                                                         operation.kind) != rule.kinds.end();
  return kind_fits && (!rule.matches || rule.matches(operation));
}

bool strikes(const FaultRule& rule, std::uint64_t call) {
  return rule.nth != 0 && (call == rule.nth || (rule.for_ever && call > rule.nth));
}

}  // namespace

std::function<bool(const FileOperation&)> on_file(const std::filesystem::path& path) {
  return
      [key = normal_path(path)](const FileOperation& operation) { return operation.file == key; };
}

std::size_t FaultyFileSystem::add(FaultRule rule) {
  const std::lock_guard guard(mutex_);
  rules_.push_back({.rule = std::move(rule)});
  return rules_.size() - 1;
}

void FaultyFileSystem::clear() {
  const std::lock_guard guard(mutex_);
  rules_.clear();
}

std::vector<FileOperation> FaultyFileSystem::struck() const {
  const std::lock_guard guard(mutex_);
  return struck_;
}

std::uint64_t FaultyFileSystem::matched(std::size_t rule) const {
  const std::lock_guard guard(mutex_);
  return rules_.at(rule).matched;
}

std::uint64_t FaultyFileSystem::failed(std::size_t rule) const {
  const std::lock_guard guard(mutex_);
  return rules_.at(rule).failed;
}

std::optional<Fault> FaultyFileSystem::intercept(const FileOperation& operation) {
  const std::lock_guard guard(mutex_);
  std::optional<Fault> fault;
  for (Armed& armed : rules_) {
    if (!counts(armed.rule, operation))
      continue;
    ++armed.matched;
    if (fault || !strikes(armed.rule, armed.matched))
      continue;
    ++armed.failed;
    struck_.push_back(operation);
    fault = Fault{.err = armed.rule.err, .prefix = armed.rule.prefix};
  }
  return fault;
}

}  // namespace vmdk::test
