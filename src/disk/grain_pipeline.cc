#include "disk/grain_pipeline.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "base/checked_math.h"
#include "extent/grain_deflater.h"

namespace vmdk {
namespace {

constexpr std::uint64_t kBatchBytes = kMiB;

enum class State { kWaiting, kRunning, kDone };

struct Job {
  GrainBatch batch;
  State state = State::kWaiting;  // guarded by the pipeline's mutex
  Status status;
};

// The batches of a range that have data.
class Cursor {
 public:
  Cursor(ByteSource& source, DiskOffset begin, std::uint64_t length) noexcept
      : source_(source), begin_(begin), length_(length) {}

  // Sets place and length of `batch`; false when there are no more.
  Result<bool> next(GrainBatch& batch) {
    if (at_ >= length_)
      return false;
    if (!stretch_ || stretch_->end <= begin_ + at_) {
      ASSIGN_OR_RETURN(stretch_, source_.next_stretch(begin_ + at_));
      if (!stretch_ || stretch_->begin >= begin_ + length_) {
        at_ = length_;
        return false;
      }
    }
    const std::uint64_t data = stretch_->begin > begin_ + at_ ? stretch_->begin - begin_ : at_;
    batch.begin = align_down(data, kBatchBytes);
    batch.length = std::min(kBatchBytes, length_ - batch.begin);
    at_ = batch.begin + batch.length;
    return true;
  }

 private:
  ByteSource& source_;
  const DiskOffset begin_;
  const std::uint64_t length_;
  std::uint64_t at_ = 0;  // from begin_; a multiple of kBatchBytes, or the end
  std::optional<Stretch> stretch_;
};

class Pipeline {
 public:
  Pipeline(ByteSource& source, DiskOffset begin, std::uint64_t length,
           const GrainPipelineOptions& options)
      : source_(source),
        begin_(begin),
        length_(length),
        options_(options),
        cursor_(source, begin, length),
        most_(options.threads * 2 + 2) {}

  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  ~Pipeline() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_)
      thread.join();
  }

  Status run(const std::function<Status(const GrainBatch&)>& consume) {
    start();
    for (;;) {
      if (options_.interrupted && options_.interrupted())
        return Error::from_errno(EINTR, "convert");
      RETURN_IF_ERROR(fill());
      if (jobs_.empty())
        break;
      Job& oldest = wait_for_oldest();
      RETURN_IF_ERROR(std::move(oldest.status));
      RETURN_IF_ERROR(consume(oldest.batch));
      if (options_.progress)
        options_.progress(oldest.batch.begin + oldest.batch.length, length_);
      const std::lock_guard lock(mutex_);
      spare_.push_back(std::move(jobs_.front()));
      jobs_.pop_front();
    }
    return {};
  }

 private:
  void start() {
    try {
      while (threads_.size() < options_.threads)
        threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // The system has no more threads: there are fewer, or the caller does it all.
    }
  }

  // Gives the threads as much as memory allows.
  Status fill() {
    while (!exhausted_ && jobs_.size() < most_) {
      std::unique_ptr<Job> job = take_spare();
      ASSIGN_OR_RETURN(const bool more, cursor_.next(job->batch));
      exhausted_ = !more;
      if (!more)
        break;
      if (source_.sequential())
        RETURN_IF_ERROR(read(job->batch));
      {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(std::move(job));
      }
      changed_.notify_one();
    }
    return {};
  }

  std::unique_ptr<Job> take_spare() {
    if (spare_.empty())
      return std::make_unique<Job>();
    std::unique_ptr<Job> job = std::move(spare_.back());
    spare_.pop_back();
    job->state = State::kWaiting;
    job->status = {};
    return job;
  }

  Job& wait_for_oldest() {
    std::unique_lock lock(mutex_);
    Job& oldest = *jobs_.front();
    if (threads_.empty()) {
      lock.unlock();
      do_job(oldest, own_deflater_);
      return oldest;
    }
    done_.wait(lock, [&] { return oldest.state == State::kDone; });
    return oldest;
  }

  void work() noexcept {
    std::optional<GrainDeflater> deflater;
    std::unique_lock lock(mutex_);
    for (;;) {
      Job* job = nullptr;
      changed_.wait(lock, [&] { return stopping_ || (job = first_waiting()) != nullptr; });
      if (stopping_)
        return;
      job->state = State::kRunning;
      lock.unlock();
      do_job(*job, deflater);
      lock.lock();
      job->state = State::kDone;
      done_.notify_one();
    }
  }

  // Requires: mutex_ is held.
  Job* first_waiting() noexcept {
    for (const auto& job : jobs_) {
      if (job->state == State::kWaiting)
        return job.get();
    }
    return nullptr;
  }

  // `deflater`: of this thread, made with its first job.
  void do_job(Job& job, std::optional<GrainDeflater>& deflater) noexcept {
    try {
      job.status = make(job.batch, deflater);
    } catch (const std::exception&) {
      job.status = Error::from_errno(ENOMEM, "convert");
    }
  }

  Status read(GrainBatch& batch) {
    batch.bytes.resize(align_up(batch.length, options_.grain_size));
    const auto all = std::span(batch.bytes);
    RETURN_IF_ERROR(source_.read(begin_ + batch.begin, all.first(batch.length)));
    std::fill(all.begin() + static_cast<std::ptrdiff_t>(batch.length), all.end(), std::byte{0});
    return {};
  }

  Status make(GrainBatch& batch, std::optional<GrainDeflater>& deflater) {
    if (!source_.sequential())
      RETURN_IF_ERROR(read(batch));
    batch.records.clear();
    batch.grains.clear();
    if (options_.level && !deflater) {
      ASSIGN_OR_RETURN(deflater, GrainDeflater::make(*options_.level));
    }
    const std::uint64_t size = options_.grain_size;
    for (std::size_t at = 0; at < batch.bytes.size(); at += size) {
      const auto grain = std::span(batch.bytes).subspan(at, size);
      if (all_zero(grain))
        continue;
      const std::uint64_t index = (batch.begin + at) / size;
      const std::size_t record = batch.records.size();
      if (deflater)
        deflater->append_record(index * (size / kSectorSize), grain, batch.records);
      batch.grains.push_back(
          {index, deflater ? record : at, deflater ? batch.records.size() - record : grain.size()});
    }
    return {};
  }

  ByteSource& source_;
  const DiskOffset begin_;
  const std::uint64_t length_;
  const GrainPipelineOptions& options_;
  // Of the calling thread.
  Cursor cursor_;
  const std::size_t most_;  // batches in memory
  bool exhausted_ = false;
  std::vector<std::unique_ptr<Job>> spare_;
  std::optional<GrainDeflater> own_deflater_;  // where there are no threads

  std::mutex mutex_;
  std::condition_variable changed_;  // a job came, or the end
  std::condition_variable done_;     // a job ended
  // Guarded by mutex_; in order.
  std::deque<std::unique_ptr<Job>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

Status run_grain_pipeline(ByteSource& source, DiskOffset begin, std::uint64_t length,
                          const GrainPipelineOptions& options,
                          const std::function<Status(const GrainBatch& batch)>& consume) {
  return Pipeline(source, begin, length, options).run(consume);
}

}  // namespace vmdk
