#include "vmdkctl/work.h"

#include "vmdkctl/interrupts.h"
#include "vmdkctl/output.h"
#include "vmdkctl/progress_line.h"

namespace vmdkctl {

int do_work(const std::string& label, const Arguments& arguments,
            const std::function<vmdk::Status(const WorkOptions& options)>& work) {
  const vmdk::Status status = [&] {
    const Interrupts interrupts;
    ProgressLine progress(label, arguments);
    return work({progress.callback(), Interrupts::pending});
  }();
  if (status)
    return kDone;
  print_error(status.error());
  if (Interrupts::pending())
    Interrupts::die_of_it();
  return status.error().code() == vmdk::ErrorCode::kInvalidArgument ? kUsage : kFailed;
}

int refuse(const vmdk::Error& error) {
  print_error(error);
  return kUsage;
}

}  // namespace vmdkctl
