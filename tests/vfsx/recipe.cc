#include "vfsx/recipe.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

namespace vmdk::test {
namespace {

// Whether the line is one of the setup; `ok` tells whether it can be understood.
bool read_setup_line(const std::string& line, Setup& setup, bool& ok) {
  std::istringstream words(line);
  std::string name;
  words >> name;
  if (name == "image")
    words >> setup.image;
  else if (name == "batch")
    words >> setup.tuning.batch_grains;
  else if (name == "table-cache")
    words >> setup.tuning.table_cache;
  else if (name == "mount")
    words >> setup.cache;
  else
    return false;
  setup.mount = setup.mount || name == "mount";
  std::string rest;
  ok = !words.fail() && !(words >> rest);
  return true;
}

}  // namespace

std::string to_text(const Recipe& recipe) {
  const Setup& setup = recipe.setup;
  std::string text = fmt::format("image {}\nbatch {}\ntable-cache {}\n", setup.image,
                                 setup.tuning.batch_grains, setup.tuning.table_cache);
  if (setup.mount)
    text += fmt::format("mount {}\n", setup.cache);
  for (const Operation& operation : recipe.operations)
    text += to_text(operation) + "\n";
  return text;
}

Result<Recipe> parse_recipe(std::string_view text) {
  Recipe recipe;
  std::istringstream lines{std::string(text)};
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line.erase(std::min(line.find('#'), line.size()));
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    bool ok = true;
    if (!read_setup_line(line, recipe.setup, ok)) {
      const auto operation = parse_operation(line);
      ok = operation.has_value();
      if (ok)
        recipe.operations.push_back(*operation);
    }
    if (!ok)
      return Error::make(ErrorCode::kInvalidArgument,
                         fmt::format("line {}: \"{}\" is nothing that is known", number, line));
  }
  if (recipe.setup.image.empty())
    return Error::make(ErrorCode::kInvalidArgument, "no line names the image");
  return recipe;
}

}  // namespace vmdk::test
