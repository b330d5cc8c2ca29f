#include "support/crash_state_builder.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <vmdk/units.h>

namespace vmdk::test {
namespace {

using Kind = LogEntry::Kind;

bool is_name_change(const LogEntry& entry) {
  return entry.kind == Kind::kCreate || entry.kind == Kind::kRemove;
}

bool changes_content(const LogEntry& entry) {
  return entry.kind == Kind::kWrite || entry.kind == Kind::kGrow || entry.kind == Kind::kResize ||
         entry.kind == Kind::kPunch;
}

std::string directory_of(const std::string& file) {
  return normal_path(std::filesystem::path(file).parent_path());
}

void apply_whole(const LogEntry& entry, SparseBytes& content) {
  if (entry.kind == Kind::kWrite)
    content.write(entry.offset, entry.data);
  else if (entry.kind == Kind::kPunch)
    content.punch(entry.offset, entry.length);
  else
    content.resize(entry.length);
}

}  // namespace

CrashStateBuilder::CrashStateBuilder(const MemoryFileSystem& initial, std::span<const LogEntry> log)
    : log_(log), base_(initial.clone()), shortening_(log.size()) {}

void CrashStateBuilder::advance_to(std::size_t point) {
  find_durable(point_, point);
  for (auto& [id, file] : files_) {
    file.size = file.durable.size();
    file.steps.clear();
    file.has_pieces = false;
  }
  pieces_.clear();
  last_.clear();
  // Of each file what is durable by now comes before what is open still.
  for (const std::size_t index : std::exchange(open_, {}))
    replay(index);
  for (; point_ < point; ++point_)
    replay(point_);
  store_durable();
}

void CrashStateBuilder::find_durable(std::size_t begin, std::size_t end) {
  for (std::size_t index = begin; index < end; ++index) {
    const LogEntry& entry = log_[index];
    if (entry.kind == Kind::kSync)
      synced_files_[entry.file_id] = index;
    else if (entry.kind == Kind::kSyncDirectory)
      synced_directories_[entry.file] = index;
  }
}

bool CrashStateBuilder::is_durable(std::size_t index) const {
  const LogEntry& entry = log_[index];
  if (is_name_change(entry)) {
    const auto synced = synced_directories_.find(directory_of(entry.file));
    return synced != synced_directories_.end() && index < synced->second;
  }
  const auto synced = synced_files_.find(entry.file_id);
  return synced != synced_files_.end() && index < synced->second;
}

CrashStateBuilder::FileHistory& CrashStateBuilder::history_of(const LogEntry& entry) {
  const auto [found, made] = files_.try_emplace(entry.file_id);
  FileHistory& file = found->second;
  if (made) {
    file.name = entry.file;
    // A file whose creation is in the log begins empty, whatever had its name before.
    const bool was_there = entry.kind != Kind::kCreate && entry.kind != Kind::kHidden;
    if (was_there && base_->exists(entry.file))
      file.durable = base_->content(entry.file);
    if (was_there)
      names_[entry.file] = entry.file_id;
    file.size = file.durable.size();
  }
  return file;
}

void CrashStateBuilder::replay(std::size_t index) {
  const LogEntry& entry = log_[index];
  if (!changes_content(entry) && !is_name_change(entry) && entry.kind != Kind::kHidden)
    return;
  FileHistory& file = history_of(entry);
  if (entry.kind == Kind::kHidden)
    return;
  const bool durable = is_durable(index);
  if (changes_content(entry)) {
    const std::uint64_t before = file.size;
    if (entry.kind == Kind::kGrow || entry.kind == Kind::kResize)
      file.size = entry.length;
    else if (entry.kind == Kind::kWrite)
      file.size = std::max(file.size, entry.offset + entry.length);
    shortening_[index] = file.size < before;
    if (durable)
      apply_whole(entry, file.durable);
    else if (file.size != before)
      file.steps.emplace_back(index, file.size);
  }
  if (durable) {
    replay_durable(index, file);
  } else {
    open_.push_back(index);
    add_pieces(index);
  }
}

void CrashStateBuilder::replay_durable(std::size_t index, FileHistory& file) {
  const LogEntry& entry = log_[index];
  if (entry.kind == Kind::kRemove) {
    names_.erase(entry.file);
    static_cast<void>(base_->remove(entry.file));
    return;
  }
  if (entry.kind == Kind::kCreate)
    names_[entry.file] = entry.file_id;
  file.to_store = true;
}

void CrashStateBuilder::store_durable() {
  for (const auto& [name, id] : names_) {
    FileHistory& file = files_.at(id);
    if (std::exchange(file.to_store, false))
      base_->put_content(name, file.durable);
  }
}

void CrashStateBuilder::add_pieces(std::size_t index) {
  const LogEntry& entry = log_[index];
  if (entry.kind == Kind::kGrow || (entry.kind == Kind::kResize && !shortening_[index]))
    return;
  if (changes_content(entry))
    files_.at(entry.file_id).has_pieces = true;
  if (entry.kind != Kind::kWrite) {
    if (entry.kind == Kind::kPunch)
      add_hole(index);
    else
      pieces_.push_back({.index = index, .offset = entry.offset, .length = entry.length});
    return;
  }
  const std::uint64_t end = entry.offset + entry.length;
  for (std::uint64_t at = entry.offset; at < end;) {
    const std::uint64_t next = std::min(end, (at / kSectorSize + 1) * kSectorSize);
    CrashPiece piece{.index = index, .offset = at, .length = next - at};
    const auto [last, first] = last_.try_emplace({entry.file_id, at / kSectorSize}, pieces_.size());
    if (!first) {
      const std::size_t before = std::exchange(last->second, pieces_.size());
      // A whole sector does not tell what a hole was there before.
      if (piece.length < kSectorSize || log_[pieces_[before].index].kind == Kind::kWrite)
        piece.before = before;
    }
    pieces_.push_back(piece);
    at = next;
  }
}

// In one piece, but for parts of sectors at its ends: there it is like a write of zeros.
void CrashStateBuilder::add_hole(std::size_t index) {
  const LogEntry& entry = log_[index];
  const std::uint64_t end = entry.offset + entry.length;
  for (std::uint64_t at = entry.offset; at < end;) {
    const bool part = at % kSectorSize != 0 || end - at < kSectorSize;
    const std::uint64_t next = part ? std::min(end, (at / kSectorSize + 1) * kSectorSize)
                                    : end / kSectorSize * kSectorSize;
    CrashPiece piece{.index = index, .offset = at, .length = next - at};
    const auto last = last_.find({entry.file_id, at / kSectorSize});
    if (part && last != last_.end())
      piece.before = last->second;
    for (; at < next; at = std::min(next, (at / kSectorSize + 1) * kSectorSize))
      last_[{entry.file_id, at / kSectorSize}] = pieces_.size();
    pieces_.push_back(piece);
  }
}

std::vector<bool> CrashStateBuilder::with_implied(std::vector<bool> arrived) const {
  for (std::size_t i = arrived.size(); i-- > 0;)
    if (arrived[i] && pieces_[i].before)
      arrived[*pieces_[i].before] = true;
  return arrived;
}

std::vector<std::uint64_t> CrashStateBuilder::sizes_of(std::uint64_t id, const FileHistory& file,
                                                       const std::vector<bool>& arrived,
                                                       bool few) const {
  // Behind an arrived shortening nothing longer than it from before can come back.
  std::size_t first_step = 0;
  std::uint64_t needed = file.durable.size();
  bool any_shortening = false;
  for (std::size_t number = 0; number < file.steps.size(); ++number)
    any_shortening = any_shortening || shortens(file.steps[number].first);
  std::set<std::uint64_t> sizes;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const LogEntry& entry = log_[pieces_[i].index];
    if (!arrived[i] || entry.file_id != id)
      continue;
    if (entry.kind == Kind::kResize) {
      needed = entry.length;
      first_step = pieces_[i].index + 1;
    } else if (entry.kind == Kind::kWrite) {
      needed = std::max(needed, pieces_[i].offset + pieces_[i].length);
    }
  }
  sizes.insert({needed, file.size});
  if (first_step == 0)
    sizes.insert(file.durable.size());
  for (const auto& [index, size] : file.steps) {
    if (!few && index + 1 >= first_step)
      sizes.insert(size);
  }
  // A size that cuts arrived pieces off shows what a smaller subset shows as well.
  if (!few && !any_shortening)
    sizes.erase(sizes.begin(), sizes.lower_bound(needed));
  return {sizes.begin(), sizes.end()};
}

std::vector<CrashSizes> CrashStateBuilder::size_choices(const std::vector<bool>& arrived,
                                                        bool few) const {
  std::vector<CrashSizes> choices = {{}};
  CrashSizes smallest;
  for (const auto& [id, file] : files_) {
    if (file.steps.empty())
      continue;
    const auto sizes = sizes_of(id, file, arrived, few);
    smallest[id] = sizes.front();
    for (const std::uint64_t size : sizes) {
      if (size != file.size)
        choices.push_back({{id, size}});
    }
  }
  if (smallest.size() > 1)
    choices.push_back(smallest);
  return choices;
}

void CrashStateBuilder::apply(const CrashPiece& piece, SparseBytes& content) const {
  const LogEntry& entry = log_[piece.index];
  if (entry.kind == Kind::kWrite)
    content.write(piece.offset,
                  std::span(entry.data).subspan(piece.offset - entry.offset, piece.length));
  else if (entry.kind == Kind::kPunch)
    content.punch(piece.offset, piece.length);
  else
    apply_whole(entry, content);
}

std::unique_ptr<MemoryFileSystem> CrashStateBuilder::build(const std::vector<bool>& arrived,
                                                           const CrashSizes& sizes) const {
  std::map<std::uint64_t, SparseBytes> contents;
  for (const auto& [id, file] : files_) {
    if (file.has_pieces || !file.steps.empty())
      contents.emplace(id, file.durable);
  }
  auto state = base_->clone();
  auto names = names_;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const LogEntry& entry = log_[pieces_[i].index];
    if (!arrived[i])
      continue;
    if (entry.kind == Kind::kCreate) {
      names[entry.file] = entry.file_id;
      state->put_content(entry.file, files_.at(entry.file_id).durable);
    } else if (entry.kind == Kind::kRemove) {
      names.erase(entry.file);
      static_cast<void>(state->remove(entry.file));
    } else {
      apply(pieces_[i], contents.at(entry.file_id));
    }
  }
  for (auto& [id, content] : contents) {
    const FileHistory& file = files_.at(id);
    const auto chosen = sizes.find(id);
    content.resize(chosen == sizes.end() ? file.size : chosen->second);
    const auto name = names.find(file.name);
    if (name != names.end() && name->second == id)
      state->put_content(file.name, content);
  }
  return state;
}

std::string CrashStateBuilder::describe(const std::vector<bool>& arrived,
                                        const CrashSizes& sizes) const {
  constexpr std::size_t kShown = 12;
  std::string text;
  std::size_t count = 0;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (!arrived[i] || ++count > kShown)
      continue;
    const LogEntry& entry = log_[pieces_[i].index];
    text += entry.kind == Kind::kWrite
                ? fmt::format(" [{}@{}+{}]", entry.file, pieces_[i].offset, pieces_[i].length)
                : fmt::format(" [{}]", to_string(entry));
  }
  if (count > kShown)
    text += " …";
  text = fmt::format("{} of {} open pieces arrived:{}", count, pieces_.size(), text);
  for (const auto& [id, size] : sizes)
    text += fmt::format("; {} has size {} of {}", files_.at(id).name, size, files_.at(id).size);
  return text;
}

}  // namespace vmdk::test
