#include <cerrno>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include <vmdk/descriptor_edit.h>

#include "disk/create_plan.h"
#include "disk/grain_header.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/new_files.h"
#include "disk/path_policy.h"
#include "disk/replace_text.h"
#include "disk/successor.h"
#include "disk/write_guards.h"
#include "format/ascii.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

Error refuse(const fs::path& image, std::string_view why) {
  return Error::make(ErrorCode::kInvalidArgument, fmt::format("{}: {}", image.native(), why));
}

Status judge_key(const fs::path& image, std::string_view key) {
  if (!ascii::starts_without_case(key, "ddb.") || key.size() == 4)
    return refuse(image, fmt::format("{}: only ddb. keys are set: the others say how the disk is "
                                     "put together",
                                     ascii::quoted(key)))
        .with_hint("vmdkctl rebase gives it another parent, vmdkctl resize another size");
  if (ascii::equal_without_case(key, "ddb.longContentID"))
    return refuse(image, "ddb.longContentID tells the content and goes with the CID");
  return {};
}

Status judge_text(const fs::path& image, const Descriptor& descriptor, std::string_view key,
                  std::string_view value) {
  if (descriptor.is_text(key) && descriptor.is_text(value))
    return {};
  const std::string encoding = descriptor.value("encoding").value_or("UTF-8");
  if (!descriptor.unknown_encoding().empty())
    return refuse(image, fmt::format("the descriptor's encoding, {}, is not known: only ASCII can "
                                     "be set",
                                     ascii::quoted(encoding)));
  return refuse(
      image, fmt::format("{} = {}: not text in the descriptor's encoding, {}", ascii::quoted(key),
                         ascii::quoted(value), ascii::quoted(encoding)));
}

// What a descriptor that is lost can be made from.
class Rebuild {
 public:
  Rebuild(FileSystem& file_system, const fs::path& image, const DescriptorEditOptions& options)
      : file_system_(file_system), image_(image), options_(options) {
    std::random_device random;
    descriptor_.cid = usable_cid(random());
    descriptor_.adapter = "ide";
  }

  Result<std::string> run() {
    if (file_system_.kind(image_) == FileSystem::Kind::kNothing)
      return from_members(nullptr);
    ASSIGN_OR_RETURN(const auto file, open_image(file_system_, image_, Access::kReadWrite));
    RETURN_IF_ERROR(lock_for_writing(*file));
    if (const auto text = read_image_text(*file))
      return refuse(image_, "its descriptor can be read");
    if (const auto header = read_grain_header(*file)) {
      const auto* hosted = std::get_if<SparseHeader>(&*header);
      if (hosted == nullptr || hosted->descriptor_offset.count() == 0)
        return refuse(image_, "an extent that has its descriptor in another file")
            .with_hint("vmdkctl descriptor --rebuild takes the name of that file");
      return embed(*file, *hosted);
    }
    return from_members(file.get());
  }

 private:
  Result<std::string> embed(File& file, const SparseHeader& header) {
    descriptor_.create_type = header.is_compressed() ? "streamOptimized" : "monolithicSparse";
    add(header.is_compressed() ? ExtentAccess::kReadOnly : ExtentAccess::kReadWrite,
        ExtentType::kSparse, header.capacity, image_.filename().native());
    ASSIGN_OR_RETURN(const std::string text, render());
    ASSIGN_OR_RETURN(const Descriptor changed, Descriptor::parse(text));
    ASSIGN_OR_RETURN(successor_, replace_embedded_text(file_system_, image_, file, changed,
                                                       {{}, options_.interrupted}));
    return text;
  }

  // `damaged`: what is there in place of the text; null: nothing.
  Result<std::string> from_members(const File* damaged) {
    ASSIGN_OR_RETURN(const bool flat, take_flat());
    if (!flat) {
      ASSIGN_OR_RETURN(const bool sparse, take_members(false));
      ASSIGN_OR_RETURN(const bool split_flat, take_members(true));
      if (sparse && split_flat)
        return refuse(image_, "members of a sparse and of a flat disk lie beside it");
      if (!sparse && !split_flat)
        return refuse(image_, fmt::format("no files that belong to it lie beside it: {} or {}",
                                          flat_name_of(image_), member_name_of(image_, false, 1)));
    }
    ASSIGN_OR_RETURN(const std::string text, render());
    const auto fill = [&](File& file) { return write_descriptor_file(file, text); };
    if (damaged != nullptr) {
      ASSIGN_OR_RETURN(successor_, replace_file(file_system_, image_, *damaged, fill));
      return text;
    }
    NewFiles made(file_system_);
    RETURN_IF_ERROR(made.make(image_, fill));
    RETURN_IF_ERROR(file_system_.sync_directory(folder_of(image_)));
    made.keep();
    return text;
  }

  Result<bool> take_flat() {
    const fs::path member = image_.parent_path() / flat_name_of(image_);
    if (file_system_.kind(member) == FileSystem::Kind::kNothing)
      return false;
    descriptor_.create_type = "monolithicFlat";
    RETURN_IF_ERROR(add_flat(member));
    return true;
  }

  Status add_flat(const fs::path& member) {
    ASSIGN_OR_RETURN(const auto file, file_system_.open(member, Access::kReadOnly));
    ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
    if (size == 0 || size % kSectorSize != 0)
      return refuse(image_, fmt::format("{} has {} bytes, which are not a whole number of sectors",
                                        member.native(), size));
    add(ExtentAccess::kReadWrite, ExtentType::kFlat, Sectors(size / kSectorSize),
        member.filename().native());
    return {};
  }

  // All from the first one on, without a gap.
  Result<bool> take_members(bool flat) {
    const auto path_of = [&](std::uint64_t number) {
      return image_.parent_path() / member_name_of(image_, flat, number);
    };
    std::uint64_t number = 1;
    for (; file_system_.kind(path_of(number)) != FileSystem::Kind::kNothing; ++number) {
      if (flat) {
        RETURN_IF_ERROR(add_flat(path_of(number)));
        continue;
      }
      ASSIGN_OR_RETURN(const auto file, file_system_.open(path_of(number), Access::kReadOnly));
      ASSIGN_OR_RETURN(const GrainHeader header, read_grain_header(*file));
      add(ExtentAccess::kReadWrite, ExtentType::kSparse, capacity_of(header),
          path_of(number).filename().native());
    }
    if (number == 1)
      return false;
    if (file_system_.kind(path_of(number + 1)) != FileSystem::Kind::kNothing)
      return refuse(image_, fmt::format("{} is missing", path_of(number).native()));
    descriptor_.create_type = flat ? "twoGbMaxExtentFlat" : "twoGbMaxExtentSparse";
    return true;
  }

  void add(ExtentAccess access, ExtentType type, Sectors length, std::string name) {
    descriptor_.extents.push_back({access, type, length, std::move(name), Sectors(), 0});
    capacity_ = Sectors(capacity_.count() + length.count());
  }

  Result<std::string> render() {
    const Geometry geometry = geometry_for(capacity_, descriptor_.adapter);
    descriptor_.cylinders = geometry.cylinders;
    descriptor_.heads = geometry.heads;
    descriptor_.sectors = geometry.sectors;
    return render_descriptor(descriptor_);
  }

  FileSystem& file_system_;
  const fs::path image_;
  const DescriptorEditOptions& options_;
  NewDescriptor descriptor_;
  Sectors capacity_;
  std::unique_ptr<File> successor_;
};

}  // namespace

Result<std::string> read_descriptor(FileSystem& file_system, const fs::path& image) {
  ASSIGN_OR_RETURN(const auto file, open_image(file_system, image, Access::kReadOnly));
  ASSIGN_OR_RETURN(const ImageText text, read_image_text(*file));
  return text.descriptor.text();
}

Status set_descriptor_value(FileSystem& file_system, const fs::path& image, std::string_view key,
                            std::string_view value, const DescriptorEditOptions& options) {
  RETURN_IF_ERROR(judge_key(image, key));
  ASSIGN_OR_RETURN(const auto file, open_image(file_system, image, Access::kReadWrite));
  RETURN_IF_ERROR(lock_for_writing(*file));
  ASSIGN_OR_RETURN(const ImageText text, read_image_text(*file));
  if (!options.force_stale_lck)
    RETURN_IF_ERROR(require_no_vmware_locks(file_system, real_path(image), text.descriptor));
  RETURN_IF_ERROR(judge_text(image, text.descriptor, key, value));
  auto changed = text.descriptor.with_value(key, value);
  if (!changed)
    return std::move(changed).error().with_context(image.native());
  ASSIGN_OR_RETURN(const auto successor, replace_text(file_system, image, *file, text, *changed,
                                                      {{}, options.interrupted}));
  return {};
}

Result<std::string> rebuild_descriptor(FileSystem& file_system, const fs::path& image,
                                       const DescriptorEditOptions& options) {
  return Rebuild(file_system, image, options).run();
}

}  // namespace vmdk
