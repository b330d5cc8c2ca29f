#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "base/text.h"
#include "io/posix_file_system.h"
#include "vmdkctl/image_types.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"
#include "vmdkctl/work.h"

namespace vmdkctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMostRequestBytes = 64 * vmdk::kMiB;

struct Job {
  std::string image;
  bool write = false;
  std::uint64_t bytes = 128 * vmdk::kMiB;
  std::uint64_t request_bytes = 128 * vmdk::kKiB;
  vmdk::ImageType type = vmdk::ImageType::kMonolithicSparse;
};

struct Timing {
  std::uint64_t requests = 0;
  double seconds = 0;        // of all requests and, of writes, the flush behind them
  double flush_seconds = 0;  // of it
};

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

vmdk::Result<Job> job_of(const Usage& usage, const Arguments& arguments) {
  Job job;
  job.image = arguments.operands[0];
  job.write = arguments.has("write");
  if (const auto size = arguments.value("size")) {
    ASSIGN_OR_RETURN(job.bytes, parse_size_option(usage, *size));
  }
  if (const auto size = arguments.value("bs")) {
    ASSIGN_OR_RETURN(job.request_bytes, parse_size_option(usage, *size));
  }
  if (job.request_bytes == 0 || job.request_bytes > kMostRequestBytes || job.bytes == 0 ||
      job.bytes % job.request_bytes != 0)
    return usage_error(usage, fmt::format("--size is a multiple of --bs, which is at most {}",
                                          vmdk::format_size(kMostRequestBytes)));
  if (const auto type = arguments.value("type")) {
    if (!job.write)
      return usage_error(usage, "--type goes with --write");
    ASSIGN_OR_RETURN(job.type, parse_created_type(usage, *type));
  }
  return job;
}

// One request after the other, from the beginning of the disk on, and again from there.
template <class Request>
vmdk::Result<Timing> run_requests(const Job& job, std::uint64_t capacity, const WorkOptions& work,
                                  const Request& request) {
  if (capacity < job.request_bytes)
    return vmdk::Error::make(
        vmdk::ErrorCode::kInvalidArgument,
        fmt::format("{}: has {} bytes, fewer than one request", job.image, capacity));
  const std::uint64_t places = capacity / job.request_bytes;
  Timing timing;
  const auto begin = Clock::now();
  for (; timing.requests < job.bytes / job.request_bytes; ++timing.requests) {
    if (work.interrupted())
      return vmdk::Error::from_errno(EINTR, job.image);
    RETURN_IF_ERROR(request(vmdk::DiskOffset(timing.requests % places * job.request_bytes)));
    if (work.progress)
      work.progress((timing.requests + 1) * job.request_bytes, job.bytes);
  }
  timing.seconds = since(begin);
  return timing;
}

vmdk::Result<Timing> read_disk(const Job& job, vmdk::OpenOptions open, const WorkOptions& work) {
  vmdk::PosixFileSystem file_system;
  ASSIGN_OR_RETURN(const auto disk, vmdk::Disk::open(file_system, job.image, std::move(open)));
  std::vector<std::byte> buffer(job.request_bytes);
  return run_requests(job, disk->capacity(), work, [&](vmdk::DiskOffset at) -> vmdk::Status {
    const auto got = disk->read(at, buffer);
    return got ? vmdk::Status{} : vmdk::Status(got.error());
  });
}

vmdk::Result<Timing> write_disk(vmdk::FileSystem& file_system, const Job& job,
                                const WorkOptions& work) {
  bool given_up = false;
  vmdk::OpenOptions open;
  // An image that goes again is not missed when it is closed with half of what was written.
  open.log = [&given_up, tell = log_to_stderr()](vmdk::LogLevel level, std::string_view text) {
    if (!given_up)
      tell(level, text);
  };
  ASSIGN_OR_RETURN(const auto disk, vmdk::Disk::open(file_system, job.image, std::move(open)));
  const std::vector<std::byte> buffer(job.request_bytes, std::byte{0x5A});
  auto written = run_requests(job, disk->capacity(), work,
                              [&](vmdk::DiskOffset at) { return disk->write(at, buffer); });
  given_up = !written;
  ASSIGN_OR_RETURN(Timing timing, std::move(written));
  const auto begin = Clock::now();
  RETURN_IF_ERROR(disk->flush());
  timing.flush_seconds = since(begin);
  timing.seconds += timing.flush_seconds;
  RETURN_IF_ERROR(disk->close());
  return timing;
}

// Into an image of its own, which goes again.
vmdk::Result<Timing> write_new_disk(const Job& job, const WorkOptions& work) {
  vmdk::PosixFileSystem file_system;
  vmdk::CreateOptions create;
  create.type = job.type;
  create.capacity = job.bytes;
  ASSIGN_OR_RETURN(const auto made, vmdk::create_image(file_system, job.image, create));
  auto timing = write_disk(file_system, job, work);
  for (const auto& path : made)
    if (auto removed = file_system.remove(path); !removed && timing)
      timing = std::move(removed).error();
  return timing;
}

void print_timing(const Job& job, const Timing& timing, bool json) {
  const double rate = static_cast<double>(job.bytes) / std::max(timing.seconds, 1e-9);
  if (json) {
    Json object;
    object["schema"] = kSchema;
    put_bytes(object, "image", job.image);
    object["mode"] = job.write ? "write" : "read";
    object["requests"] = timing.requests;
    object["requestBytes"] = job.request_bytes;
    object["bytes"] = job.bytes;
    object["seconds"] = timing.seconds;
    object["flushSeconds"] = timing.flush_seconds;
    object["bytesPerSecond"] = rate;
    print_line(to_text(object));
    return;
  }
  print_line(
      fmt::format("{}: {} of {} each, one after the other: {:.3f} s{}, {:.1f} MiB/s",
                  job.write ? "write" : "read", timing.requests,
                  vmdk::format_size(job.request_bytes), timing.seconds,
                  job.write ? fmt::format(" ({:.3f} s of it the sync)", timing.flush_seconds) : "",
                  rate / static_cast<double>(vmdk::kMiB)));
}

int run_bench(const Usage& usage, const Arguments& arguments) {
  const auto job = job_of(usage, arguments);
  if (!job)
    return refuse(job.error());
  Timing timing;
  const int exit_status =
      do_work(job->image, arguments, [&](const WorkOptions& work) -> vmdk::Status {
        ASSIGN_OR_RETURN(timing, job->write
                                     ? write_new_disk(*job, work)
                                     : read_disk(*job, open_options(usage, arguments), work));
        return {};
      });
  if (exit_status == kDone)
    print_timing(*job, timing, arguments.has("json"));
  return exit_status;
}

}  // namespace

Verb bench_verb() {
  Usage usage{"bench",
              "IMAGE",
              "Measures sequential reads of a disk. They are made in this process, without a\n"
              "mount. With --write: writes and a sync, into a new image IMAGE that is removed\n"
              "afterwards.",
              {{"write", 0, OptionKind::kFlag, "", "measure writes; IMAGE must not exist"},
               {"size", 0, OptionKind::kValue, "SIZE", "bytes in all (128M)"},
               {"bs", 0, OptionKind::kValue, "SIZE", "bytes of a request (128K)"},
               {"type", 0, OptionKind::kValue, "T", "with --write: kind of IMAGE, as of create"},
               {"json", 0, OptionKind::kFlag, "", "one JSON object"},
               progress_option()},
              1,
              1};
  usage.add(chain_options());
  return {std::move(usage), run_bench, kFailed};
}

}  // namespace vmdkctl
