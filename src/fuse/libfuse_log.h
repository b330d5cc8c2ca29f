// What libfuse has to say goes where our own messages go.
#pragma once

#include <string>

#include <vmdk/disk.h>

namespace vmdkfuse {

// While it lives, libfuse's messages go to `sink`; errors while `collecting` are kept instead, for
// the message of the call that failed. One at a time in the process: libfuse has one log.
class LibfuseLog {
 public:
  // `sink` must outlive this object.
  explicit LibfuseLog(const vmdk::LogSink& sink);
  ~LibfuseLog();
  LibfuseLog(const LibfuseLog&) = delete;
  LibfuseLog& operator=(const LibfuseLog&) = delete;

  // Returns the errors kept so far, joined by "; ", and passes later ones on to the sink.
  std::string take_collected();
};

}  // namespace vmdkfuse
