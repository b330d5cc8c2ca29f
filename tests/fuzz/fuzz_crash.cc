// The same with power cuts at any point: what was synced is there, and nothing else appears.
#include "fuzz_input.h"
#include "operation_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmdk::test;
  require_recipe(recipe_of(fuzz_input(data, size), true));
  return 0;
}
