// The three descriptors that every program may rely on.
#pragma once

namespace vmdk {

// Opens /dev/null for each of the descriptors 0 to 2 that is closed. Without it the first files
// that are opened take these numbers, and what is printed goes into them, the image among them.
// Call it before anything is opened.
void open_standard_streams() noexcept;

}  // namespace vmdk
