#include "disk/overlay.h"

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <vmdk/create.h>

#include "disk/content_ids.h"
#include "disk/create_plan.h"
#include "disk/image_file.h"
#include "disk/image_text.h"
#include "disk/new_files.h"
#include "disk/path_policy.h"
#include "disk/relative_hint.h"
#include "disk/write_guards.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

CreateOptions child_of(const fs::path& image, const OpenOptions& options) {
  CreateOptions create;
  create.parent = image;
  create.parent_options = options;
  create.parent_options.overlay.reset();
  create.parent_options.log = {};  // the disk that is opened afterwards says it all again
  return create;
}

Result<OverlayFile> make_unnamed(FileSystem& file_system, const fs::path& image,
                                 const OpenOptions& options) {
  const fs::path& folder = options.overlay->scratch_dir;
  const fs::path path = folder / "(overlay without a name)";
  CreateOptions create = child_of(image, options);
  create.zeroed_grains = true;  // no other program has to read it
  ASSIGN_OR_RETURN(const CreatePlan plan,
                   plan_image(file_system, path, create, Purpose::kUnnamedOverlay));
  ASSIGN_OR_RETURN(auto file, file_system.create_unnamed(folder));
  RETURN_IF_ERROR(write_new_file(*file, plan.extents.front(), plan.descriptor));
  return OverlayFile{path, std::move(file), NewFiles(file_system)};
}

Result<OverlayFile> make_named(FileSystem& file_system, const fs::path& image,
                               const OpenOptions& options) {
  const fs::path& path = options.overlay->file;
  ASSIGN_OR_RETURN(const CreatePlan plan,
                   plan_image(file_system, path, child_of(image, options), Purpose::kOverlay));
  NewFiles made(file_system);
  // Locked before it has its name, so that nobody takes it for an overlay to go on with, which a
  // failure here would take away.
  ASSIGN_OR_RETURN(auto file, made.make(path, [&](File& hidden) -> Status {
    RETURN_IF_ERROR(lock_for_writing(hidden));
    return write_new_file(hidden, plan.extents.front(), plan.descriptor);
  }));
  RETURN_IF_ERROR(file_system.sync_directory(path.parent_path()));
  return OverlayFile{path, std::move(file), std::move(made)};
}

// A file that is there and is not what is to be continued.
class Stranger {
 public:
  Stranger(const fs::path& overlay, const fs::path& image) : overlay_(overlay), image_(image) {}

  Error is(ErrorCode code, std::string_view what) const {
    return Error::make(code, fmt::format("{}: exists and is no overlay of {}: {}",
                                         overlay_.native(), image_.native(), what))
        .with_hint("--overlay=FILE makes a new one where no file is");
  }

 private:
  const fs::path& overlay_;
  const fs::path& image_;
};

// Whether the overlay's hint leads to the image, also where one of them is named by a symbolic link
// in another folder. Where it leads to nothing, both may have been moved, and where it leads is not
// looked at outside the folders that may be: the name decides.
Result<bool> names_as_parent(const PathPolicy& policy, const fs::path& overlay,
                             const std::string& hint, const fs::path& image,
                             const File& image_file) {
  const fs::path folder = settled(overlay).parent_path();
  for (const fs::path& from : {folder, real_path(overlay).parent_path()})
    if (real_path(from / hint) == real_path(image))
      return true;
  const auto there =
      open_image([&](const fs::path& path,
                     Access access) { return policy.open(folder, path.native(), access); },
                 folder / hint, Access::kReadOnly);
  if (!there && there.error().code() == ErrorCode::kIo)
    return there.error();
  return there ? (*there)->id() == image_file.id()
               : base_name(hint) == base_name(image_file.name());
}

Status require_overlay_of(FileSystem& file_system, const PathPolicy& policy,
                          const fs::path& overlay, const File& file, const fs::path& image) {
  const Stranger stranger(overlay, image);
  ASSIGN_OR_RETURN(const auto image_file, open_image(file_system, image, Access::kReadOnly));
  if (image_file->id() == file.id())
    return stranger.is(ErrorCode::kInvalidArgument, "it is the image itself");
  const auto text = read_image_text(file);
  if (!text && text.error().code() == ErrorCode::kIo)
    return text.error();
  if (!text)
    return stranger.is(ErrorCode::kInvalidArgument, text.error().message());
  ASSIGN_OR_RETURN(const ImageText parent, read_image_text(*image_file));
  const Descriptor& descriptor = text->descriptor;
  if (!descriptor.parent_cid())
    return stranger.is(ErrorCode::kInvalidArgument,
                       fmt::format("a {} image without a parent", descriptor.create_type()));
  const std::string hint = descriptor.in_utf8(descriptor.parent_hint());
  if (hint.empty())
    return stranger.is(ErrorCode::kInvalidArgument, "a snapshot that does not name its parent");
  ASSIGN_OR_RETURN(const bool names, names_as_parent(policy, overlay, hint, image, *image_file));
  if (!names)
    return stranger.is(ErrorCode::kInvalidArgument, fmt::format("a snapshot of {}", hint));
  if (match_parent(descriptor, parent.descriptor) == ParentMatch::kOther)
    return stranger.is(
        ErrorCode::kStaleParent,
        fmt::format("it was made over another content: content id {:08x} is wanted, {:08x} is "
                    "there",
                    *descriptor.parent_cid(), parent.descriptor.cid()));
  return {};
}

}  // namespace

Result<OverlayFile> open_overlay(FileSystem& file_system, const PathPolicy& policy,
                                 const fs::path& image, const OpenOptions& options) {
  const fs::path& path = options.overlay->file;
  if (path.empty())
    return make_unnamed(file_system, image, options);
  if (file_system.kind(path) == FileSystem::Kind::kNothing)
    return make_named(file_system, image, options);
  ASSIGN_OR_RETURN(auto file, file_system.open(path, Access::kReadWrite));
  RETURN_IF_ERROR(require_overlay_of(file_system, policy, path, *file, image));
  return OverlayFile{path, std::move(file), NewFiles(file_system)};
}

}  // namespace vmdk
