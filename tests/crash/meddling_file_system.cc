#include "crash/meddling_file_system.h"

#include "support/forwarding_file.h"

namespace vmdk::test {

class MeddlingFileSystem::Handle : public ForwardingFile {
 public:
  Handle(const Meddling& meddling, std::unique_ptr<File> below)
      : ForwardingFile(std::move(below)), meddling_(meddling) {}

  Status write(FileOffset at, std::span<const iovec> parts) override {
    return meddling_.write ? meddling_.write(below(), at, parts) : below().write(at, parts);
  }

  Status grow(std::uint64_t end) override {
    return meddling_.grow ? meddling_.grow(below(), end) : below().grow(end);
  }

  Status sync() override { return meddling_.sync ? meddling_.sync(below()) : below().sync(); }

 private:
  const Meddling& meddling_;
};

Result<std::unique_ptr<File>> MeddlingFileSystem::meddled(
    Result<std::unique_ptr<File>> opened) const {
  ASSIGN_OR_RETURN(auto file, std::move(opened));
  return std::make_unique<Handle>(meddling_, std::move(file));
}

Result<std::unique_ptr<File>> MeddlingFileSystem::open(const std::filesystem::path& path,
                                                       Access access) {
  return meddled(below_.open(path, access));
}

Result<std::unique_ptr<File>> MeddlingFileSystem::open_beneath(
    const std::filesystem::path& directory, const std::filesystem::path& relative, Access access) {
  return meddled(below_.open_beneath(directory, relative, access));
}

}  // namespace vmdk::test
