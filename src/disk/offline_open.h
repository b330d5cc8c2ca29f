// How work on an image without a mount opens disks, and what it says where it ends early.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

namespace vmdk {

// Of what the user said: where files may lie and what is forced; nothing of views.
OpenOptions plain_options(const OpenOptions& said, Access access);

// The image beneath `disk`, with its own parents, to be read; null: there is none.
Result<std::unique_ptr<Disk>> open_parent_of(FileSystem& file_system, const Disk& disk,
                                             const OpenOptions& said);

// Whether an extent of the image, as it was opened, has the mark of a session that did not end.
bool is_unclean(const Disk& disk);
// Ends what such a session left, the mark at last, as `vmdkctl check --repair` does. The image, on
// which nothing else is open, is sound.
Status end_unclean_session(FileSystem& file_system, const std::filesystem::path& image,
                           const OpenOptions& said);

// The options for the image that was found as the parent of another one.
OpenOptions options_of_parent(OpenOptions options, const std::filesystem::path& parent);

// The error that ended work of `verb` early, with `state`, how it leaves the images, and that the
// next run goes on from there.
Error with_next_run(Error error, std::string_view state, std::string_view verb);

}  // namespace vmdk
