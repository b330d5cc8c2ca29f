// Sequences of operations on a disk of any kind that can be written to: it shows what a model
// shows.
#include "fuzz_input.h"
#include "operation_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmdk::test;
  require_recipe(recipe_of(fuzz_input(data, size), false));
  return 0;
}
