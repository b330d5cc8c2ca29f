#include "fuse/session.h"

namespace vmdkfuse {
namespace {

// libfuse's parser of arguments, fed with separate strings.
class Arguments {
 public:
  ~Arguments() { fuse_opt_free_args(&arguments_); }

  Arguments() = default;
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  bool add(const std::string& argument) noexcept {
    return fuse_opt_add_arg(&arguments_, argument.c_str()) == 0;
  }

  fuse_args* get() noexcept { return &arguments_; }

 private:
  fuse_args arguments_ = FUSE_ARGS_INIT(0, nullptr);
};

}  // namespace

Session new_session(const std::vector<std::string>& options, bool trace,
                    const fuse_lowlevel_ops& handlers, void* user_data) {
  Arguments arguments;
  bool complete = arguments.add("vmdkfuse");
  if (trace)
    complete = complete && arguments.add("-d");
  for (const std::string& option : options)
    complete = complete && arguments.add("-o" + option);
  if (!complete)
    return nullptr;
  return Session(fuse_session_new(arguments.get(), &handlers, sizeof handlers, user_data));
}

}  // namespace vmdkfuse
