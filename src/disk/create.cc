// New images: everything is worked out and refused before the first file is made; then the extent
// files, then the image that names them, each durable before the next step, the directory last.
#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <vmdk/create.h>

#include "disk/create_plan.h"
#include "disk/new_files.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

Status make_extent(NewFiles& made, const NewFile& extent, std::string_view descriptor) {
  RETURN_IF_ERROR(
      made.make(extent.path, [&](File& file) { return write_new_file(file, extent, descriptor); }));
  return {};
}

// Image, extent and descriptor are one file.
Status make_monolithic_sparse(NewFiles& made, const CreatePlan& plan) {
  return make_extent(made, plan.extents.front(), plan.descriptor);
}

Status make_extents_and_descriptor(NewFiles& made, const fs::path& image, const CreatePlan& plan,
                                   const CreateOptions& options) {
  const std::uint64_t total = plan.extents.size() + 1;
  std::uint64_t done = 0;
  const auto report = [&] {
    ++done;
    if (options.progress)
      options.progress(done, total);
  };
  const auto go_on = [&]() -> Status {
    if (options.interrupted && options.interrupted())
      return Error::from_errno(EINTR, image.native());
    return {};
  };
  for (const NewFile& extent : plan.extents) {
    RETURN_IF_ERROR(go_on());
    RETURN_IF_ERROR(make_extent(made, extent, ""));
    report();
  }
  RETURN_IF_ERROR(go_on());
  RETURN_IF_ERROR(
      made.make(image, [&](File& file) { return write_descriptor_file(file, plan.descriptor); }));
  report();
  return {};
}

}  // namespace

Result<std::vector<fs::path>> create_image(FileSystem& file_system, const fs::path& image,
                                           const CreateOptions& options) {
  if (options.type == ImageType::kStreamOptimized)
    return Error::make(ErrorCode::kInvalidArgument,
                       fmt::format("{}: not created: streamOptimized images cannot be written to "
                                   "once they are made",
                                   image.native()))
        .with_hint("vmdkctl convert makes one of a disk that has data");
  // Before thousands of members were made.
  RETURN_IF_ERROR(check_absent(file_system, image));
  ASSIGN_OR_RETURN(const CreatePlan plan, plan_image(file_system, image, options));
  for (const NewFile& extent : plan.extents)
    RETURN_IF_ERROR(check_absent(file_system, extent.path));

  NewFiles made(file_system);
  if (plan.embedded)
    RETURN_IF_ERROR(make_monolithic_sparse(made, plan));
  else
    RETURN_IF_ERROR(make_extents_and_descriptor(made, image, plan, options));
  const fs::path directory = image.parent_path();
  RETURN_IF_ERROR(file_system.sync_directory(directory.empty() ? fs::path(".") : directory));
  std::vector<fs::path> paths = made.keep();
  std::rotate(paths.begin(), paths.end() - 1, paths.end());  // the image was made last
  return paths;
}

}  // namespace vmdk
