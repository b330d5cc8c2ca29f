// The comma-separated lists of -o, as mount(8) passes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmdkfuse {

// Splits at commas; `\,` is no separator. Escapes stay in the items; empty items are dropped.
std::vector<std::string> split_option_list(std::string_view list);

// `\x` becomes x.
std::string unescape_option(std::string_view item);

// Puts a backslash before commas and backslashes.
std::string escape_option(std::string_view value);

// Whether the item (`name` or `name=value`) is for the kernel, fusermount3 or libfuse.
bool is_mount_option(std::string_view item);

// Whether the item is right in an fstab line and of no consequence here: it speaks to mount(8) or
// systemd alone, or is about access times and symbolic links, which FUSE leaves to us and we do not
// have.
bool is_without_effect(std::string_view item);

// The names above, for suggestions. Storage is static.
std::vector<std::string_view> mount_option_names();

}  // namespace vmdkfuse
