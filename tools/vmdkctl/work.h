// Long work of a verb: progress, interruptions, exit status.
#pragma once

#include <functional>
#include <string>

#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "vmdkctl/options.h"

namespace vmdkctl {

struct WorkOptions {
  vmdk::Progress progress;
  std::function<bool()> interrupted;
};

// Does it. What goes wrong is printed; an interruption ends the program by its signal, after the
// work has ended in order. Returns the exit status.
int do_work(const std::string& label, const Arguments& arguments,
            const std::function<vmdk::Status(const WorkOptions& options)>& work);

// Prints an error of the command line. Returns the exit status.
int refuse(const vmdk::Error& error);

}  // namespace vmdkctl
