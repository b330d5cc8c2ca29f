#include "vmdkctl/foreign_parent.h"

#include <system_error>

#include <fmt/format.h>

#include "vmdkctl/output.h"

namespace vmdkctl {

namespace fs = std::filesystem;

void note_foreign_parent(const fs::path& image, const fs::path& parent) {
  std::error_code ignored;
  const fs::path base = image.parent_path().empty() ? fs::path(".") : image.parent_path();
  const fs::path way = fs::relative(parent, base, ignored);
  if (way.empty() || *way.begin() != "..")
    return;
  // Where the file lies: a link in the folder of the image would name that folder.
  const fs::path real = fs::weakly_canonical(parent, ignored);
  print_note(
      fmt::format("{}: its parent is outside its folder: to open it, --allow-dir={} is needed; and "
                  "nothing keeps anybody from writing to the parent",
                  image.native(),
                  (real.empty() ? fs::absolute(parent, ignored) : real).parent_path().native()));
}

}  // namespace vmdkctl
