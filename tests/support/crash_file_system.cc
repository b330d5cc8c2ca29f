#include "support/crash_file_system.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/crash_state_builder.h"
#include "support/forwarding_file.h"

namespace vmdk::test {
namespace {

std::string_view word_for(LogEntry::Kind kind) {
  switch (kind) {
    case LogEntry::Kind::kWrite:
      return "write";
    case LogEntry::Kind::kGrow:
      return "grow";
    case LogEntry::Kind::kResize:
      return "resize";
    case LogEntry::Kind::kPunch:
      return "punch";
    case LogEntry::Kind::kSync:
      return "sync";
    case LogEntry::Kind::kHidden:
      return "create hidden";
    case LogEntry::Kind::kCreate:
      return "create";
    case LogEntry::Kind::kRemove:
      return "remove";
    case LogEntry::Kind::kSyncDirectory:
      return "sync directory";
    case LogEntry::Kind::kMarker:
      return "marker";
  }
  return "";
}

// Which of the pieces arrive, and why just these.
struct Choice {
  std::vector<bool> arrived;
  std::string label;
};

using Choices = std::vector<Choice>;

// At most `most` of the numbers below `count`, evenly spread, the first and the last among them.
std::vector<std::size_t> spread(std::size_t count, std::size_t most) {
  std::vector<std::size_t> numbers;
  if (count <= most) {
    for (std::size_t i = 0; i < count; ++i)
      numbers.push_back(i);
  } else {
    for (std::size_t i = 0; i < most; ++i)
      numbers.push_back(most == 1 ? 0 : i * (count - 1) / (most - 1));
  }
  return numbers;
}

void add_all_subsets(std::size_t count, Choices& choices) {
  for (std::uint64_t mask = 0; mask < 1ULL << count; ++mask) {
    Choice choice{.arrived = std::vector<bool>(count), .label = "subset"};
    for (std::size_t i = 0; i < count; ++i)
      choice.arrived[i] = ((mask >> i) & 1U) != 0;
    choices.push_back(std::move(choice));
  }
  // As in the families: nothing, then everything, then the others.
  if (choices.size() > 2)
    std::swap(choices[1], choices.back());
}

void add_prefixes_and_single_pieces(std::size_t count, std::size_t most, Choices& choices) {
  choices.push_back({std::vector<bool>(count, false), "nothing"});
  choices.push_back({std::vector<bool>(count, true), "everything"});
  for (const std::size_t i : spread(count, most)) {
    Choice prefix{.arrived = std::vector<bool>(count, false), .label = "prefix"};
    std::fill_n(prefix.arrived.begin(), i + 1, true);
    choices.push_back(std::move(prefix));
    Choice missing{.arrived = std::vector<bool>(count, true), .label = "one missing"};
    missing.arrived[i] = false;
    missing.label = fmt::format("all but piece {}", i);
    choices.push_back(std::move(missing));
    Choice present{.arrived = std::vector<bool>(count, false), .label = "one present"};
    present.arrived[i] = true;
    choices.push_back(std::move(present));
  }
}

void add_random_subsets(std::size_t count, const CrashLimits& limits, std::size_t point,
                        Choices& choices) {
  std::mt19937_64 random(limits.seed * 1'000'003 + point);
  for (std::size_t number = 0; number < limits.random_subsets; ++number) {
    Choice choice{.arrived = std::vector<bool>(count),
                  .label = fmt::format("random subset {} of seed {}", number, limits.seed)};
    for (std::size_t i = 0; i < count; ++i)
      choice.arrived[i] = (random() & 1U) != 0;
    choices.push_back(std::move(choice));
  }
}

// Names arrive with either side: without its name a file would show nothing.
void add_tables_or_data(std::span<const CrashPiece> pieces, std::span<const LogEntry> log,
                        const CrashLimits& limits, Choices& choices) {
  Choice tables{.arrived = std::vector<bool>(pieces.size()), .label = "tables without data"};
  Choice data{.arrived = std::vector<bool>(pieces.size()), .label = "data without tables"};
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const LogEntry& entry = log[pieces[i].index];
    const bool name =
        entry.kind == LogEntry::Kind::kCreate || entry.kind == LogEntry::Kind::kRemove;
    const bool metadata = !name && limits.is_metadata(entry.file, pieces[i].offset);
    tables.arrived[i] = name || metadata;
    data.arrived[i] = name || !metadata;
  }
  choices.push_back(std::move(tables));
  choices.push_back(std::move(data));
}

Choices choices_at(const CrashStateBuilder& builder, std::span<const LogEntry> log,
                   const CrashLimits& limits, std::size_t point) {
  Choices choices;
  const std::size_t count = builder.pieces().size();
  if (count <= limits.exhaustive_pieces) {
    add_all_subsets(count, choices);
    return choices;
  }
  add_prefixes_and_single_pieces(count, limits.of_each_family, choices);
  if (limits.is_metadata)
    add_tables_or_data(builder.pieces(), log, limits, choices);
  add_random_subsets(count, limits, point, choices);
  return choices;
}

// Moves `most` of the choices to the front and drops the others; the first two count as chosen.
void sample(Choices& choices, std::size_t most, std::mt19937_64& random) {
  if (choices.size() <= most)
    return;
  for (std::size_t i = most > 2 ? 2 : 0; i < most; ++i)
    std::swap(choices[i], choices[i + random() % (choices.size() - i)]);
  choices.resize(most);
}

}  // namespace

std::string to_string(const LogEntry& entry) {
  if (entry.kind == LogEntry::Kind::kMarker)
    return fmt::format("marker \"{}\"", entry.text);
  return fmt::format("{} {} at {} length {}", word_for(entry.kind), entry.file, entry.offset,
                     entry.length);
}

class CrashFileSystem::Handle : public ForwardingFile {
 public:
  Handle(CrashFileSystem& owner, std::unique_ptr<File> below, std::string key)
      : ForwardingFile(std::move(below)), owner_(owner), key_(std::move(key)) {}

  Status write(FileOffset at, std::span<const iovec> parts) override {
    LogEntry entry = entry_for(LogEntry::Kind::kWrite);
    for (const iovec& part : parts) {
      const auto* bytes = static_cast<const std::byte*>(part.iov_base);
      entry.data.insert(entry.data.end(), bytes, bytes + part.iov_len);
    }
    entry.offset = at.bytes();
    entry.length = entry.data.size();
    const std::lock_guard guard(owner_.mutex_);
    RETURN_IF_ERROR(below().write(at, parts));
    owner_.append(std::move(entry));
    return {};
  }

  Status grow(std::uint64_t end) override {
    const std::lock_guard guard(owner_.mutex_);
    RETURN_IF_ERROR(below().grow(end));
    return append_size(LogEntry::Kind::kGrow);
  }

  Status resize(std::uint64_t size) override {
    const std::lock_guard guard(owner_.mutex_);
    RETURN_IF_ERROR(below().resize(size));
    return append_size(LogEntry::Kind::kResize);
  }

  Status punch_hole(FileOffset at, std::uint64_t length) override {
    LogEntry entry = entry_for(LogEntry::Kind::kPunch);
    entry.offset = at.bytes();
    entry.length = length;
    const std::lock_guard guard(owner_.mutex_);
    RETURN_IF_ERROR(below().punch_hole(at, length));
    owner_.append(std::move(entry));
    return {};
  }

  Status sync() override {
    const std::lock_guard guard(owner_.mutex_);
    RETURN_IF_ERROR(below().sync());
    owner_.append(entry_for(LogEntry::Kind::kSync));
    return {};
  }

  Status reveal() override {
    const std::lock_guard guard(owner_.mutex_);
    RETURN_IF_ERROR(below().reveal());
    owner_.append(entry_for(LogEntry::Kind::kCreate));
    return {};
  }

  Status take_place_of(const File& old) override {
    const std::lock_guard guard(owner_.mutex_);
    RETURN_IF_ERROR(below().take_place_of(old));
    owner_.append(entry_for(LogEntry::Kind::kCreate));
    return {};
  }

 private:
  LogEntry entry_for(LogEntry::Kind kind) const {
    LogEntry entry;
    entry.kind = kind;
    entry.file = key_;
    entry.file_id = id().inode;
    return entry;
  }

  // Requires: the owner's mutex is held.
  Status append_size(LogEntry::Kind kind) {
    LogEntry entry = entry_for(kind);
    ASSIGN_OR_RETURN(entry.length, below().size());
    owner_.append(std::move(entry));
    return {};
  }

  CrashFileSystem& owner_;
  const std::string key_;
};

CrashFileSystem::CrashFileSystem(const MemoryFileSystem& initial)
    : initial_(initial.clone()), live_(initial.clone()) {}

CrashFileSystem::~CrashFileSystem() = default;

void CrashFileSystem::append(LogEntry entry) {
  log_.push_back(std::move(entry));
}

Result<std::unique_ptr<File>> CrashFileSystem::wrap(Result<std::unique_ptr<File>> opened,
                                                    const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(auto file, std::move(opened));
  return std::make_unique<Handle>(*this, std::move(file), normal_path(path));
}

Result<std::unique_ptr<File>> CrashFileSystem::open(const std::filesystem::path& path,
                                                    Access access) {
  return wrap(live_->open(path, access), path);
}

Result<std::unique_ptr<File>> CrashFileSystem::open_beneath(const std::filesystem::path& directory,
                                                            const std::filesystem::path& relative,
                                                            Access access) {
  return wrap(live_->open_beneath(directory, relative, access), directory / relative);
}

Result<std::unique_ptr<File>> CrashFileSystem::wrap_new(Result<std::unique_ptr<File>> made,
                                                        LogEntry::Kind kind,
                                                        const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(auto file, std::move(made));
  LogEntry entry;
  entry.kind = kind;
  entry.file = normal_path(path);
  entry.file_id = file->id().inode;
  append(std::move(entry));
  return wrap(std::move(file), path);
}

Result<std::unique_ptr<File>> CrashFileSystem::create(const std::filesystem::path& path) {
  const std::lock_guard guard(mutex_);
  return wrap_new(live_->create(path), LogEntry::Kind::kCreate, path);
}

Result<std::unique_ptr<File>> CrashFileSystem::create_hidden(const std::filesystem::path& path) {
  const std::lock_guard guard(mutex_);
  return wrap_new(live_->create_hidden(path), LogEntry::Kind::kHidden, path);
}

Result<std::unique_ptr<File>> CrashFileSystem::create_successor(const std::filesystem::path& path) {
  const std::lock_guard guard(mutex_);
  return wrap_new(live_->create_successor(path), LogEntry::Kind::kHidden, path);
}

Result<std::unique_ptr<File>> CrashFileSystem::create_unnamed(
    const std::filesystem::path& directory) {
  return live_->create_unnamed(directory);
}

Status CrashFileSystem::remove(const std::filesystem::path& path) {
  const std::lock_guard guard(mutex_);
  ASSIGN_OR_RETURN(const auto file, live_->open(path, Access::kReadOnly));
  RETURN_IF_ERROR(live_->remove(path));
  LogEntry entry;
  entry.kind = LogEntry::Kind::kRemove;
  entry.file = normal_path(path);
  entry.file_id = file->id().inode;
  append(std::move(entry));
  return {};
}

Status CrashFileSystem::sync_directory(const std::filesystem::path& directory) {
  const std::lock_guard guard(mutex_);
  RETURN_IF_ERROR(live_->sync_directory(directory));
  LogEntry entry;
  entry.kind = LogEntry::Kind::kSyncDirectory;
  entry.file = normal_path(directory);
  append(std::move(entry));
  return {};
}

Result<std::vector<std::string>> CrashFileSystem::list(const std::filesystem::path& directory) {
  return live_->list(directory);
}

FileSystem::Kind CrashFileSystem::kind(const std::filesystem::path& path) const noexcept {
  return live_->kind(path);
}

void CrashFileSystem::marker(std::string_view text) {
  LogEntry entry;
  entry.text = text;
  const std::lock_guard guard(mutex_);
  append(std::move(entry));
}

std::size_t CrashFileSystem::point_now() const {
  const std::lock_guard guard(mutex_);
  return log_.size();
}

std::vector<std::size_t> CrashFileSystem::boundary_points() const {
  std::vector<std::size_t> points;
  for (std::size_t index = 0; index < log_.size(); ++index) {
    const LogEntry::Kind kind = log_[index].kind;
    if (kind == LogEntry::Kind::kSync || kind == LogEntry::Kind::kSyncDirectory ||
        kind == LogEntry::Kind::kMarker)
      points.push_back(index);
  }
  points.push_back(log_.size());
  return points;
}

std::vector<std::string> CrashFileSystem::markers_before(std::size_t point) const {
  std::vector<std::string> markers;
  for (std::size_t index = 0; index < point; ++index) {
    if (log_[index].kind == LogEntry::Kind::kMarker)
      markers.push_back(log_[index].text);
  }
  return markers;
}

// The states of the point at which a builder stands.
class CrashFileSystem::StatesOfPoint {
 public:
  StatesOfPoint(const CrashStateBuilder& builder, std::span<const LogEntry> log, std::size_t point,
                const CrashLimits& limits)
      : builder_(builder),
        point_(point),
        limits_(limits),
        few_(builder.pieces().size() > limits.exhaustive_pieces),
        random_(limits.seed * 1'000'033 + point),
        choices_(choices_at(builder, log, limits, point)),
        where_(fmt::format("crash at point {} of {}, behind {}", point, log.size(),
                           point == 0 ? "nothing" : to_string(log[point - 1]))) {
    sample(choices_, limits.most, random_);
  }

  std::size_t visit(const std::function<void(CrashState&)>& visit) {
    const bool one_size_each = choices_.size() * kUsualSizes > limits_.most;
    for (const Choice& choice : choices_) {
      const auto arrived = builder_.with_implied(choice.arrived);
      const auto sizes = builder_.size_choices(arrived, few_);
      if (one_size_each) {
        visit_once(choice, arrived, sizes[random_() % sizes.size()], visit);
        continue;
      }
      for (const CrashSizes& size : sizes)
        visit_once(choice, arrived, size, visit);
    }
    return visited_;
  }

 private:
  // A file has about so many sizes to choose from.
  static constexpr std::size_t kUsualSizes = 2;

  void visit_once(const Choice& choice, const std::vector<bool>& arrived, const CrashSizes& sizes,
                  const std::function<void(CrashState&)>& visit) {
    // What several choices lead to is one state.
    if (::testing::Test::HasFailure() || !known_.emplace(arrived, sizes).second)
      return;
    CrashState state{
        .point = point_,
        .file_system = builder_.build(arrived, sizes),
        .text = fmt::format("{}; {}: {}", where_, choice.label, builder_.describe(arrived, sizes))};
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, state.text);
    ++visited_;
    visit(state);
  }

  const CrashStateBuilder& builder_;
  const std::size_t point_;
  const CrashLimits& limits_;
  const bool few_;
  std::mt19937_64 random_;
  Choices choices_;
  const std::string where_;
  std::set<std::pair<std::vector<bool>, CrashSizes>> known_;
  std::size_t visited_ = 0;
};

std::size_t CrashFileSystem::for_each_state(std::size_t point, const CrashLimits& limits,
                                            const std::function<void(CrashState&)>& visit) const {
  return for_each_state(std::span(&point, 1), limits, visit);
}

std::size_t CrashFileSystem::for_each_state(std::span<const std::size_t> points,
                                            const CrashLimits& limits,
                                            const std::function<void(CrashState&)>& visit) const {
  CrashStateBuilder builder(*initial_, log_);
  std::size_t visited = 0;
  for (const std::size_t point : points) {
    if (::testing::Test::HasFailure())
      break;
    builder.advance_to(point);
    visited += StatesOfPoint(builder, log_, point, limits).visit(visit);
  }
  return visited;
}

std::unique_ptr<MemoryFileSystem> CrashFileSystem::everything_at(std::size_t point) const {
  CrashStateBuilder builder(*initial_, log_);
  builder.advance_to(point);
  return builder.build(std::vector<bool>(builder.pieces().size(), true), {});
}

}  // namespace vmdk::test
