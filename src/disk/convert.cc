// Conversions: everything is worked out and refused before the first file is made; then each file
// is filled while it has no name, made durable and revealed, the image that names the others last.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <vmdk/compare.h>
#include <vmdk/convert.h>

#include "base/bytes.h"
#include "base/shortage.h"
#include "disk/create_plan.h"
#include "disk/grain_pipeline.h"
#include "disk/new_files.h"
#include "disk/sparse_writer.h"
#include "disk/stream_writer.h"
#include "extent/grain_deflater.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

// Of raw and flat files, where there are no grains: what is left out when it is all zeros.
constexpr std::uint64_t kFlatGrain = 64 * kKiB;

bool is_stream(const ConvertOptions& options) noexcept {
  return options.type == ImageType::kStreamOptimized;
}

Error refuse(const fs::path& target, std::string_view why) {
  return Error::make(ErrorCode::kInvalidArgument,
                     fmt::format("{}: not converted: {}", target.native(), why));
}

Status check_options(const fs::path& target, const ByteSource& source,
                     const ConvertOptions& options) {
  if (options.threads < 1 || options.threads > kMostConvertThreads)
    return refuse(target,
                  fmt::format("{} threads are not 1 to {}", options.threads, kMostConvertThreads));
  if (options.level < kLowestDeflateLevel || options.level > kHighestDeflateLevel)
    return refuse(target, fmt::format("level {} is not {} to {}", options.level,
                                      kLowestDeflateLevel, kHighestDeflateLevel));
  if (options.verify && source.sequential())
    return refuse(target, "what can be read only once cannot be compared with the result");
  if (!options.type && source.capacity() == 0)
    return refuse(target, "a disk of 0 bytes");
  if (!options.type &&
      (!options.adapter.empty() || options.grain_size != ConvertOptions{}.grain_size))
    return refuse(target, "a raw file has neither an adapter nor grains");
  return {};
}

Result<CreatePlan> plan_conversion(FileSystem& file_system, const fs::path& target,
                                   const ByteSource& source, const ConvertOptions& options) {
  CreateOptions create;
  create.type = *options.type;
  create.capacity = source.capacity();
  create.grain_size = options.grain_size;
  create.adapter = options.adapter;
  return plan_image(file_system, target, create, Purpose::kConversion);
}

GrainPipelineOptions pipeline_options(const ConvertOptions& options, std::uint64_t grain_size) {
  GrainPipelineOptions pipeline;
  pipeline.grain_size = grain_size;
  pipeline.threads = options.threads;
  pipeline.interrupted = options.interrupted;
  if (is_stream(options))
    pipeline.level = options.level;
  return pipeline;
}

// A part of the disk in one extent: progress is that of the whole.
Status run_part(ByteSource& source, DiskOffset begin, std::uint64_t length,
                const ConvertOptions& options, std::uint64_t grain_size,
                const std::function<Status(const GrainBatch&)>& consume) {
  GrainPipelineOptions pipeline = pipeline_options(options, grain_size);
  if (options.progress)
    pipeline.progress = [&, begin](std::uint64_t done, std::uint64_t) {
      options.progress(begin.bytes() + done, source.capacity());
    };
  RETURN_IF_ERROR(run_grain_pipeline(source, begin, length, pipeline, consume));
  const bool last = begin + length == DiskOffset(source.capacity());
  return last && options.input_ended ? options.input_ended() : Status{};
}

// Appends to a file.
class FileSink : public ByteSink {
 public:
  explicit FileSink(File& file) noexcept : file_(file) {}

  Status write(std::span<const std::byte> bytes) override {
    const iovec part = part_of(bytes);
    RETURN_IF_ERROR(file_.write(at_, {&part, 1}));
    at_ += bytes.size();
    return {};
  }

  Status skip(std::uint64_t length) override {
    at_ += length;
    return file_.resize(at_.bytes());
  }

 private:
  File& file_;
  FileOffset at_;
};

Status write_stream(ByteSource& source, const CreatePlan& plan, const ConvertOptions& options,
                    ByteSink& sink) {
  const SparseHeader& header = plan.extents.front().layout->header;
  StreamWriter writer(sink, header, options.most_bytes);
  RETURN_IF_ERROR(writer.begin(plan.descriptor));
  RETURN_IF_ERROR(run_part(source, DiskOffset(0), source.capacity(), options, header.grain_bytes(),
                           [&](const GrainBatch& batch) { return writer.add(batch); }));
  return writer.end();
}

Status fill_sparse(File& file, const NewFile& extent, std::string_view descriptor,
                   ByteSource& source, DiskOffset begin, const ConvertOptions& options) {
  RETURN_IF_ERROR(lay_down_new_file(file, extent, descriptor));
  const SparseHeader& header = extent.layout->header;
  SparseWriter writer(file, *extent.layout);
  RETURN_IF_ERROR(run_part(source, begin, header.capacity_bytes(), options, header.grain_bytes(),
                           [&](const GrainBatch& batch) { return writer.add(batch); }));
  RETURN_IF_ERROR(writer.end());
  return file.sync();
}

// Neighbouring grains go with one call.
Status write_flat_batch(File& file, const GrainBatch& batch) {
  for (std::size_t i = 0; i < batch.grains.size();) {
    const std::size_t begin = batch.grains[i].at;
    std::size_t end = begin;
    for (; i < batch.grains.size() && batch.grains[i].at == end; ++i)
      end += batch.grains[i].length;
    end = std::min<std::size_t>(end, batch.length);
    const iovec part = part_of(std::span(batch.bytes).subspan(begin, end - begin));
    RETURN_IF_ERROR(file.write(FileOffset(batch.begin + begin), {&part, 1}));
  }
  return {};
}

Status fill_flat(File& file, ByteSource& source, DiskOffset begin, std::uint64_t length,
                 const ConvertOptions& options) {
  RETURN_IF_ERROR(file.resize(length));
  RETURN_IF_ERROR(run_part(source, begin, length, options, kFlatGrain,
                           [&](const GrainBatch& batch) { return write_flat_batch(file, batch); }));
  return file.sync();
}

Status make_raw(NewFiles& made, ByteSource& source, const fs::path& target,
                const ConvertOptions& options) {
  RETURN_IF_ERROR(made.make(target, [&](File& file) {
    return fill_flat(file, source, DiskOffset(0), source.capacity(), options);
  }));
  return {};
}

Status make_stream(NewFiles& made, ByteSource& source, const fs::path& target,
                   const CreatePlan& plan, const ConvertOptions& options) {
  RETURN_IF_ERROR(made.make(target, [&](File& file) -> Status {
    FileSink sink(file);
    if (auto status = write_stream(source, plan, options, sink); !status)
      return std::move(status).error().with_context(target.native());
    return file.sync();
  }));
  return {};
}

Status make_extents(NewFiles& made, ByteSource& source, const fs::path& target,
                    const CreatePlan& plan, const ConvertOptions& options) {
  DiskOffset begin;
  for (const NewFile& extent : plan.extents) {
    const std::uint64_t length =
        extent.layout ? extent.layout->header.capacity_bytes() : extent.size;
    RETURN_IF_ERROR(made.make(extent.path, [&](File& file) {
      if (extent.layout)
        return fill_sparse(file, extent, plan.embedded ? plan.descriptor : std::string(), source,
                           begin, options);
      return fill_flat(file, source, begin, length, options);
    }));
    begin += length;
  }
  if (plan.embedded)
    return {};
  RETURN_IF_ERROR(
      made.make(target, [&](File& file) { return write_descriptor_file(file, plan.descriptor); }));
  return {};
}

Status compare_with(ByteSource& source, ByteSource& result, const fs::path& target,
                    const ConvertOptions& options) {
  CompareOptions how;
  how.progress = options.progress;
  how.interrupted = options.interrupted;
  ASSIGN_OR_RETURN(const Comparison found, compare(source, result, how));
  if (found.first_difference)
    return Error::make(
               ErrorCode::kCorrupt,
               fmt::format("{}: not what was written: it differs from the source at byte {}",
                           target.native(), found.first_difference->bytes()))
        .with_hint("the storage, the memory, or the source, if it was written to, is at fault");
  if (found.a_capacity != found.b_capacity)
    return Error::make(ErrorCode::kCorrupt,
                       fmt::format("{}: not what was written: it has {} bytes, the source {}",
                                   target.native(), found.b_capacity, found.a_capacity));
  return {};
}

Status verify(FileSystem& file_system, ByteSource& source, const fs::path& target,
              const ConvertOptions& options) {
  if (!options.type) {
    ASSIGN_OR_RETURN(const auto file, file_system.open(target, Access::kReadOnly));
    ASSIGN_OR_RETURN(const auto result, source_of(*file));
    return compare_with(source, *result, target, options);
  }
  OpenOptions open;
  open.access = Access::kReadOnly;
  ASSIGN_OR_RETURN(const auto disk, Disk::open(file_system, target, open));
  return compare_with(source, *source_of(*disk), target, options);
}

Status make_all(FileSystem& file_system, NewFiles& made, ByteSource& source, const fs::path& target,
                const ConvertOptions& options) {
  if (!options.type)
    return make_raw(made, source, target, options);
  ASSIGN_OR_RETURN(const CreatePlan plan, plan_conversion(file_system, target, source, options));
  for (const NewFile& extent : plan.extents)
    RETURN_IF_ERROR(check_absent(file_system, extent.path));
  return is_stream(options) ? make_stream(made, source, target, plan, options)
                            : make_extents(made, source, target, plan, options);
}

// After a read that failed: the bytes from `written` on that come before the place which cannot be
// read. What goes wrong here is not told: that read is.
void copy_up_to_gap(ByteSource& source, DiskOffset begin, std::uint64_t written,
                    std::uint64_t length, ByteSink& sink, const ConvertOptions& options) {
  std::vector<std::byte> bytes(kFlatGrain);
  std::uint64_t most = kFlatGrain;  // sector by sector in the end
  while (written < length && !(options.interrupted && options.interrupted())) {
    const auto stretch = source.next_stretch(begin + written);
    if (!stretch || !*stretch || (*stretch)->begin >= begin + length)
      return;
    const std::uint64_t hole = (*stretch)->begin - (begin + written);
    if (hole != 0 && !sink.skip(hole))
      return;
    written += hole;
    const std::uint64_t there = std::min((*stretch)->end, begin + length) - (begin + written);
    const std::uint64_t in_sector = (begin + written).bytes() % kSectorSize;
    const auto piece = std::span(bytes).first(std::min(most - in_sector, there));
    if (source.read(begin + written, piece)) {
      if (!sink.write(piece))
        return;
      written += piece.size();
    } else if (most == kSectorSize) {
      return;
    } else {
      most = kSectorSize;
    }
  }
}

}  // namespace

Result<std::vector<fs::path>> convert_image(FileSystem& file_system, ByteSource& source,
                                            const fs::path& target, const ConvertOptions& options) {
  RETURN_IF_ERROR(check_options(target, source, options));
  RETURN_IF_ERROR(check_absent(file_system, target));
  NewFiles made(file_system);
  RETURN_IF_ERROR(make_all(file_system, made, source, target, options));
  const fs::path directory = target.parent_path();
  RETURN_IF_ERROR(file_system.sync_directory(directory.empty() ? fs::path(".") : directory));
  if (options.verify)
    RETURN_IF_ERROR(verify(file_system, source, target, options));
  std::vector<fs::path> paths = made.keep();
  std::rotate(paths.begin(), paths.end() - 1, paths.end());  // the image was made last
  return paths;
}

Status convert_to_sink(FileSystem& file_system, ByteSource& source, ByteSink& sink,
                       const ConvertOptions& options) {
  const fs::path name = "disk.vmdk";  // what a stream calls itself
  const fs::path output = "standard output";
  RETURN_IF_ERROR(check_options(output, source, options));
  if (options.verify)
    return refuse(output, "what was written to a pipe cannot be read back");
  if (!options.type) {
    RETURN_IF_ERROR(copy_to_sink(source, DiskOffset(0), source.capacity(), sink, options));
    return options.input_ended ? options.input_ended() : Status{};
  }
  if (!is_stream(options))
    return refuse(output,
                  "only streamOptimized and raw are written from the first byte to the last");
  ASSIGN_OR_RETURN(const CreatePlan plan, plan_conversion(file_system, name, source, options));
  return write_stream(source, plan, options, sink);
}

Status copy_to_sink(ByteSource& source, DiskOffset begin, std::uint64_t length, ByteSink& sink,
                    const ConvertOptions& options) {
  GrainPipelineOptions pipeline;
  pipeline.grain_size = kFlatGrain;
  pipeline.threads = options.threads;
  pipeline.interrupted = options.interrupted;
  pipeline.progress = options.progress;
  std::uint64_t written = 0;
  bool taken = true;
  const auto add = [&](const GrainBatch& batch) -> Status {
    taken = false;
    for (const GrainBatch::Grain& grain : batch.grains) {
      const std::uint64_t at = batch.begin + grain.at;
      if (at != written)
        RETURN_IF_ERROR(sink.skip(at - written));
      const auto bytes = std::span(batch.bytes).subspan(grain.at, grain.length);
      const auto inside = bytes.first(std::min<std::uint64_t>(bytes.size(), length - at));
      RETURN_IF_ERROR(sink.write(inside));
      written = at + inside.size();
    }
    taken = true;
    return {};
  };
  if (auto copied = run_grain_pipeline(source, begin, length, pipeline, add); !copied) {
    if (taken && !source.sequential() && !is_shortage(copied.error()))
      copy_up_to_gap(source, begin, written, length, sink, options);
    return copied;
  }
  return written == length ? Status{} : sink.skip(length - written);
}

}  // namespace vmdk
