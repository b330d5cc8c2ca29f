// The verbs of vmdkctl. Each gets the words behind its name and returns the exit status.
#pragma once

#include <string>
#include <vector>

#include "vmdkctl/options.h"

namespace vmdkctl {

struct Verb {
  Usage usage;
  int (*run)(const Usage& usage, const Arguments& arguments);
  int failure;  // exit status when the answer cannot be written
};

Verb create_verb();
Verb info_verb();
Verb check_verb();
Verb map_verb();
Verb cat_verb();
Verb compare_verb();
Verb convert_verb();
Verb stats_verb();
Verb flush_verb();
Verb snapshot_verb();
Verb commit_verb();
Verb compact_verb();
Verb resize_verb();
Verb rebase_verb();
Verb descriptor_verb();
Verb bench_verb();

}  // namespace vmdkctl
