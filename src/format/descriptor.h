// The text descriptor of an image (docs/format.md, "Descriptor"): read tolerantly, kept to the
// byte, written in the exact form that VMware, VirtualBox and QEMU read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

class NameConverter;

enum class ExtentAccess { kReadWrite, kReadOnly, kNoAccess };
enum class ExtentType { kFlat, kSparse, kZero, kVmfs, kVmfsSparse, kVmfsRdm, kVmfsRaw, kSeSparse };

// The words of the descriptor: "RW", "VMFSSPARSE".
std::string_view to_string(ExtentAccess access) noexcept;
std::string_view to_string(ExtentType type) noexcept;

// One extent line: `RW 4192256 FLAT "disk-f001.vmdk" 0`.
struct ExtentLine {
  ExtentAccess access = ExtentAccess::kReadWrite;
  ExtentType type = ExtentType::kFlat;
  Sectors length;               // > 0
  std::string file_name;        // bytes as they stand between the quotes; empty for ZERO
  Sectors offset;               // into the file; 0 where the line has none
  std::size_t line_number = 0;  // from 1
};

// `parentCID=ffffffff` says "no parent".
inline constexpr std::uint32_t kNoParentCid = 0xFFFFFFFF;
// A descriptor is at most this long, as a file (1 MiB) or embedded (20480 sectors).
inline constexpr std::size_t kMaxDescriptorBytes = kMiB;
inline constexpr std::uint64_t kMaxEmbeddedDescriptorSectors = 20480;

class Descriptor {
 public:
  // Whether `text` begins as a descriptor does: after a byte-order mark, blanks and comments the
  // first assignment is `version`.
  static bool looks_like_one(std::string_view text) noexcept;

  // Parses up to the first NUL. Errors (kCorrupt, kUnsupported) name the line. Sums and single
  // lengths are checked to stay below 2^54 sectors. Does not judge what only opening can judge:
  // which types are served, whether files exist.
  static Result<Descriptor> parse(std::string_view text);

  // The text, as parsed and edited since.
  const std::string& text() const noexcept { return text_; }

  std::uint32_t version() const noexcept { return version_; }

  std::uint32_t cid() const noexcept { return cid_; }

  // nullopt: no parent (ffffffff, or no such line).
  std::optional<std::uint32_t> parent_cid() const noexcept { return parent_cid_; }

  // Empty: none.
  const std::string& parent_hint() const noexcept { return parent_hint_; }

  const std::string& create_type() const noexcept { return create_type_; }

  std::span<const ExtentLine> extents() const noexcept { return extents_; }

  // Sum of the extent lines.
  Sectors capacity() const noexcept { return capacity_; }

  // The first value of any key (`ddb.adapterType`), unquoted; keys are compared without case.
  std::optional<std::string> value(std::string_view key) const;

  // A name of this descriptor in UTF-8, by its `encoding` key; unchanged where there is nothing to
  // convert or it cannot be done. One thread at a time.
  std::string in_utf8(const std::string& name) const;

  // Whether the bytes are text in its encoding; where that is not known, only ASCII is for sure.
  bool is_text(std::string_view bytes) const;

  // The value of its `encoding` key, if names in it cannot be converted; else empty.
  const std::string& unknown_encoding() const noexcept { return unknown_encoding_; }

  // A file beside the disk notes which of its blocks change: version 3, or a changeTrackPath.
  bool has_change_tracking() const;

  // Takes the change tracking out, in place: the version becomes 1, the line of the path a comment
  // of the same length. Returns [begin, end) of the bytes of text() that may have changed.
  std::pair<std::size_t, std::size_t> drop_change_tracking();

  // Sets the content id in place, in the printed width it has (a width below 8 keeps only that many
  // low digits, with the last bit turned where they would be the old ones), and the long content
  // id, if there is one, to 24 digits of `random` with the new CID behind them. The length of the
  // text does not change. Returns [begin, end) of the bytes of text() that may have changed.
  std::pair<std::size_t, std::size_t> set_content_id(std::uint32_t cid,
                                                     const std::array<std::uint32_t, 3>& random);

  // Digits that the content ids are printed with: in place there is room for no more.
  std::size_t cid_digits() const noexcept;
  // 0: there is no such line.
  std::size_t parent_cid_digits() const noexcept;

  // Sets the parent's content id in place, in the printed width it has. Returns as
  // set_content_id(). Requires: parent_cid(), and a value of at most parent_cid_digits().
  std::pair<std::size_t, std::size_t> set_parent_cid(std::uint32_t cid);

  // The same with another value of a key, or with the key and its value where there is none, behind
  // createType or, of `ddb.` keys, at the end. kInvalidArgument, kCorrupt: the text could not hold
  // it, or would not be readable.
  Result<Descriptor> with_value(std::string_view key, std::string_view value) const;

  // The same with another length of the last extent, and more extents behind it.
  Result<Descriptor> with_last_extent(Sectors length, std::span<const ExtentLine> more) const;

 private:
  struct Assignment {
    std::string key;  // lower case
    std::string value;
    std::size_t begin = 0;  // of the value in text_, without quotes
    std::size_t line_number = 0;
  };

  Status parse_line(std::string_view line, std::size_t begin, std::size_t number);
  Status add_extent(std::string_view line, std::size_t number);
  Status finish();
  Status take_version();
  Status take_content_ids();
  Status take_create_type();
  void take_encoding();
  const Assignment* find(std::string_view key) const noexcept;
  std::pair<std::size_t, std::size_t> replace_value(Assignment& assignment, std::string value);
  Assignment* find_mutable(std::string_view key) noexcept;

  std::string text_;
  std::vector<Assignment> assignments_;
  std::vector<ExtentLine> extents_;
  std::uint32_t version_ = 0;
  std::uint32_t cid_ = 0;
  std::optional<std::uint32_t> parent_cid_;
  std::string parent_hint_;
  std::string create_type_;
  Sectors capacity_;
  std::shared_ptr<NameConverter>
      names_;  // null: there is nothing to convert, or it is not known how
  std::string unknown_encoding_;
};

// As it stands in a descriptor, without a line end.
std::string render_extent(const ExtentLine& extent);

// What a new descriptor says; rendered in the form of docs/format.md.
struct NewDescriptor {
  std::uint32_t cid = 0;
  std::uint32_t parent_cid = kNoParentCid;
  std::string create_type;
  std::string parent_hint;  // empty: no line
  std::vector<ExtentLine> extents;
  std::string adapter;
  std::uint32_t cylinders = 0, heads = 0, sectors = 0;
  std::vector<std::pair<std::string, std::string>>
      more;  // `ddb.` keys and values behind the others
};

// kInvalidArgument for a name that the format cannot hold (a quote, a line end, a NUL).
Result<std::string> render_descriptor(const NewDescriptor& descriptor);

// CHS geometry that VMware would write for a disk of this capacity and adapter (ide: 16 heads, 63
// sectors, at most 16383 cylinders; others: 255 heads, 63 sectors). Informative only.
struct Geometry {
  std::uint32_t cylinders, heads, sectors;
};

Geometry geometry_for(Sectors capacity, std::string_view adapter) noexcept;

// A content id that is neither "none" (ffffffff) nor "never written" (fffffffe).
std::uint32_t usable_cid(std::uint32_t random) noexcept;

}  // namespace vmdk
