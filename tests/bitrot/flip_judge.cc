#include "bitrot/flip_judge.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/check.h>
#include <vmdk/disk.h>
#include <vmdk/units.h>

#include "base/checked_math.h"
#include "support/file_helpers.h"

namespace vmdk::test {
namespace {

// How bad the answers of a check are, in this order.
enum class Checked { kClean, kLeaks, kDamage, kCouldNotRun };

Checked check(FileSystem& files, const FlipImage& image, bool chain) {
  CheckOptions options;
  options.chain = chain;
  const auto report = check_image(files, image.image, options);
  if (!report)
    return Checked::kCouldNotRun;
  if (report->damage_count != 0)
    return Checked::kDamage;
  return report->leak_count != 0 ? Checked::kLeaks : Checked::kClean;
}

// What can be seen of a disk.
struct View {
  bool opened = false;
  bool tables_warned_of = false;
  bool length_warned_of = false;  // of the disk
  std::vector<std::byte> bytes;   // the whole disk
  std::vector<bool> unreadable;   // by sector; empty: none is

  bool is_readable(std::uint64_t sector) const { return unreadable.empty() || !unreadable[sector]; }

  std::span<const std::byte> sector(std::uint64_t number) const {
    return std::span(bytes).subspan(number * kSectorSize, kSectorSize);
  }

  std::uint64_t sectors() const { return bytes.size() / kSectorSize; }
};

OpenOptions options_for(Access access, View& view) {
  OpenOptions options;
  options.access = access;
  options.commit_interval = {};
  options.log = [&view](LogLevel level, std::string_view text) {
    if (level != LogLevel::kWarning)
      return;
    view.tables_warned_of |= text.find(": grain table ") != text.npos;
    view.length_warned_of |= text.find("capacity") != text.npos;
  };
  return options;
}

// Sector by sector only where something cannot be read.
void read_sectors(Disk& disk, View& view, std::uint64_t first, std::uint64_t count) {
  constexpr std::uint64_t kPieces = 8;
  if (disk.read(DiskOffset(first * kSectorSize),
                std::span(view.bytes).subspan(first * kSectorSize, count * kSectorSize)))
    return;
  if (count == 1) {
    view.unreadable[first] = true;
    return;
  }
  const std::uint64_t piece = ceil_div(count, kPieces);
  for (std::uint64_t at = first; at < first + count; at += piece)
    read_sectors(disk, view, at, std::min(piece, first + count - at));
}

View look(FileSystem& files, const FlipImage& image) {
  View view;
  const auto disk = Disk::open(files, image.image, options_for(Access::kReadOnly, view));
  if (!disk)
    return view;
  view.opened = true;
  // No flip makes a disk longer than twice this: its length is bounded by the file or the header.
  constexpr std::uint64_t kMost = 16 * kMiB;
  view.bytes.resize(std::min((*disk)->capacity(), kMost));
  view.unreadable.resize(view.sectors());
  read_sectors(**disk, view, 0, view.sectors());
  if (std::find(view.unreadable.begin(), view.unreadable.end(), true) == view.unreadable.end())
    view.unreadable.clear();
  return view;
}

bool is_wrong(const View& view, const std::vector<std::byte>& content) {
  if (view.bytes.size() != content.size())
    return true;
  if (view.unreadable.empty())
    return view.bytes != content;
  for (std::uint64_t i = 0; i < view.sectors(); ++i) {
    const auto shown = view.sector(i);
    if (view.is_readable(i) &&
        !std::equal(shown.begin(), shown.end(),
                    content.begin() + static_cast<std::ptrdiff_t>(i * kSectorSize)))
      return true;
  }
  return false;
}

FlipVerdict verdict_of(const View& view, const std::vector<std::byte>& content, Checked checked) {
  if (!view.opened)
    return FlipVerdict::kRefused;
  if (!is_wrong(view, content))
    return view.unreadable.empty() ? FlipVerdict::kRight : FlipVerdict::kError;
  if (view.tables_warned_of || view.length_warned_of)
    return FlipVerdict::kWarned;
  return checked >= Checked::kDamage ? FlipVerdict::kCheckTells : FlipVerdict::kSilent;
}

bool same_files(const MemoryFileSystem& a, const MemoryFileSystem& b) {
  const auto names = a.files();
  return names == b.files() && std::all_of(names.begin(), names.end(), [&](const auto& name) {
           return a.contents(name) == b.contents(name);
         });
}

class Flip {
 public:
  Flip(const FlipImage& image, const std::string& file, std::uint64_t bit)
      : image_(image), flipped_(image.files->clone()) {
    flipped_->flip_bit(file, bit);
    files_ = flipped_->clone();
  }

  FlipResult run() {
    before_ = look(*files_, image_);
    checked_ = check(*files_, image_, true);
    result_.verdict = verdict_of(before_, image_.content, checked_);
    if (before_.tables_warned_of && checked_ < Checked::kDamage)
      fail("its tables are warned of, but the check finds no damage");
    write();
    return std::move(result_);
  }

 private:
  void fail(std::string why) {
    if (!result_.broken)
      result_.broken = std::move(why);
  }

  void require(const Status& status, std::string_view what) {
    if (!status)
      fail(fmt::format("{}: {}", what, status.error().to_text()));
  }

  // Of the image alone: a parent is not written to.
  void write() {
    const Checked own = check(*files_, image_, false);
    View opened;
    auto disk = Disk::open(*files_, image_.image, options_for(Access::kReadWrite, opened));
    if (!same_files(*files_, *flipped_))
      fail("opening or checking changed a file");
    if (!disk)
      return;
    result_.writable = true;
    if (!before_.opened)
      fail("it is opened for writing, but not for reading");
    if (own >= Checked::kDamage)
      fail("it is opened for writing, but the check finds damage");
    if (result_.broken)
      return;
    for (const std::uint64_t at : {image_.hole, image_.data})
      write_sector(**disk, at);
    require((*disk)->flush(), "flush");
    require((*disk)->close(), "close");
    disk->reset();
    look_again(own);
  }

  void write_sector(Disk& disk, std::uint64_t at) {
    if (at + kSectorSize > before_.bytes.size())
      return;
    auto bytes = filled(kSectorSize, 0xC3);
    if (disk.write(DiskOffset(at), bytes))
      written_[at / kSectorSize] = std::move(bytes);
  }

  void look_again(Checked own) {
    const View after = look(*files_, image_);
    if (!after.opened)
      return fail("it does not open any more after a write");
    if (after.bytes.size() != before_.bytes.size())
      return fail("its length changed with a write");
    for (std::uint64_t sector = 0; sector < after.sectors(); ++sector)
      compare(after, sector);
    if (check(*files_, image_, false) > own)
      fail("the check finds more after a write");
  }

  void compare(const View& after, std::uint64_t sector) {
    const auto written = written_.find(sector);
    const bool was_readable = written != written_.end() || before_.is_readable(sector);
    if (was_readable != after.is_readable(sector))
      return fail(
          fmt::format("sector {} can{} be read after a write", sector, was_readable ? "not" : ""));
    if (!was_readable)
      return;
    const auto shown = after.sector(sector);
    const auto wanted = written != written_.end() ? std::span<const std::byte>(written->second)
                                                  : before_.sector(sector);
    if (!std::equal(shown.begin(), shown.end(), wanted.begin()))
      fail(fmt::format("sector {} shows something else after a write", sector));
  }

  const FlipImage& image_;
  const std::unique_ptr<MemoryFileSystem> flipped_;  // stays as it is
  std::unique_ptr<MemoryFileSystem> files_;
  View before_;
  Checked checked_ = Checked::kClean;
  std::map<std::uint64_t, std::vector<std::byte>> written_;
  FlipResult result_;
};

}  // namespace

std::string_view to_string(FlipVerdict verdict) noexcept {
  constexpr std::array<std::string_view, kFlipVerdicts> kWords = {
      "refused", "EIO", "right data", "warned of", "told by the check", "undetectable"};
  return kWords.at(static_cast<std::size_t>(verdict));
}

FlipResult judge_flip(const FlipImage& image, const std::string& file, std::uint64_t bit) {
  return Flip(image, file, bit).run();
}

}  // namespace vmdk::test
