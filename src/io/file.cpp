// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "io/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/try.hpp"
#include "io/faults.hpp"

namespace seqkv::io {

Error system_error(const std::string& what, const fs::path& path, int errno_value) {
  ErrorCode code = ErrorCode::io;
  if (errno_value == ENOSPC || errno_value == EDQUOT) code = ErrorCode::disk_full;
  if (errno_value == ENOENT) code = ErrorCode::file_not_found;
  return Error(code, fmt::format("{}: {}", what, std::strerror(errno_value))).in_file(path.string());
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Descriptor> open_for_reading(const fs::path& path, Links links) {
  const int nofollow = links == Links::refuse ? O_NOFOLLOW : 0;
  // Nonblocking, or a pipe would wait for its writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | nofollow));
  if (file.get() < 0) return system_error("cannot open", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_error("cannot stat", path, errno);
  if (!S_ISREG(info.st_mode)) return Error(ErrorCode::io, "not a regular file").in_file(path.string());
  return file;
}

Result<Descriptor> open_for_writing(const fs::path& path, Existing existing) {
  int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
  if (existing != Existing::need) flags |= O_CREAT;
  if (existing == Existing::empty) flags |= O_TRUNC;
  if (const int problem = fault(Step::create)) return system_error("cannot open", path, problem);
  Descriptor file(::open(path.c_str(), flags, 0600));
  if (file.get() < 0) return system_error("cannot open", path, errno);
  return file;
}

Result<void> write_all(const Descriptor& file, const fs::path& path, std::span<const std::byte> bytes,
                       std::int64_t offset) {
  while (!bytes.empty()) {
    std::size_t count = bytes.size();
    if (const int problem = fault(Step::write, count)) return system_error("cannot write", path, problem);
    const ssize_t written = ::pwrite(file.get(), bytes.data(), count, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error("cannot write", path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
  return {};
}

Result<void> read_all(const Descriptor& file, const fs::path& path, std::span<std::byte> bytes, std::int64_t offset) {
  while (!bytes.empty()) {
    std::size_t count = bytes.size();
    if (const int problem = fault(Step::read, count)) return system_error("cannot read", path, problem);
    const ssize_t got = ::pread(file.get(), bytes.data(), count, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("cannot read", path, errno);
    if (got == 0) {
      return Error(ErrorCode::truncated, fmt::format("the file ends {} bytes too early", bytes.size()))
          .in_file(path.string())
          .at_byte(offset);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
  return {};
}

void prefetch(const Descriptor& file, std::int64_t offset, std::int64_t bytes) noexcept {
  ::posix_fadvise(file.get(), offset, bytes, POSIX_FADV_WILLNEED);
}

namespace {

void advise(std::span<const std::byte> mapped, int advice) noexcept {
  if (mapped.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(mapped.data()) + mapped.size();
  ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

void prefetch(std::span<const std::byte> mapped) noexcept { advise(mapped, MADV_WILLNEED); }
void forget(std::span<const std::byte> mapped) noexcept { advise(mapped, MADV_DONTNEED); }

Result<void> sync(const Descriptor& file, const fs::path& path) {
  if (const int problem = fault(Step::sync)) return system_error("cannot fsync", path, problem);
  if (::fsync(file.get()) != 0) return system_error("cannot fsync", path, errno);
  return {};
}

Result<void> truncate(const Descriptor& file, const fs::path& path, std::int64_t size) {
  if (const int problem = fault(Step::truncate)) return system_error("cannot resize", path, problem);
  if (::ftruncate(file.get(), size) != 0) return system_error("cannot resize", path, errno);
  return {};
}

Result<std::int64_t> file_size(const Descriptor& file, const fs::path& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_error("cannot stat", path, errno);
  return std::int64_t{info.st_size};
}

Result<void> rename(const fs::path& from, const fs::path& to) {
  if (const int problem = fault(Step::rename)) return system_error("cannot rename to", to, problem);
  if (::rename(from.c_str(), to.c_str()) != 0) return system_error("cannot rename to", to, errno);
  return {};
}

Result<void> remove(const fs::path& path) {
  if (const int problem = fault(Step::remove)) return system_error("cannot remove", path, problem);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("cannot remove", path, errno);
  return {};
}

Result<void> sync_directory(const fs::path& directory) {
  const fs::path name = directory.empty() ? fs::path(".") : directory;
  const Descriptor folder(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return system_error("cannot open", name, errno);
  return sync(folder, name);
}

Result<MappedFile> MappedFile::open(const fs::path& path, Links links) {
  MappedFile mapped;
  SEQKV_ASSIGN(mapped.file_, open_for_reading(path, links));
  mapped.path_ = path;
  SEQKV_ASSIGN(const std::int64_t bytes, file_size(mapped.file_, path));
  if (bytes == 0) return mapped;
  const auto size = static_cast<std::size_t>(bytes);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, mapped.file_.get(), 0);
  if (memory == MAP_FAILED) return system_error("cannot map", path, errno);
  mapped.bytes_ = {static_cast<const std::byte*>(memory), size};
  return mapped;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

namespace {

/// Where a new file of this name belongs: behind symbolic links, which a rename would replace.
Result<fs::path> target_of(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    // A rename over a pipe or a device would take it away from everyone.
    if (!S_ISREG(info.st_mode)) return Error(ErrorCode::io, "not a regular file").in_file(path.string());
  } else if (errno != ENOENT) {
    return system_error("cannot create", path, errno);
  }
  constexpr int most_links = 40;  // as Linux; stat has refused loops
  fs::path target = path;
  std::error_code problem;
  for (int i = 0; i < most_links; ++i) {
    const fs::path next = fs::read_symlink(target, problem);
    if (problem) break;  // no link
    target = target.parent_path() / next;
  }
  return target;
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  AtomicFile out;
  SEQKV_ASSIGN(out.path_, target_of(path));
  fs::path temporary = out.path_;
  temporary += fmt::format(".tmp-{}-{}", ::getpid(), counter.fetch_add(1));
  if (const int problem = fault(Step::create)) return system_error("cannot create", path, problem);
  out.file_ = Descriptor(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (out.file_.get() < 0) {
    Error error = system_error("cannot create", path, errno);
    if (error.code == ErrorCode::file_not_found) error.code = ErrorCode::io;  // it is the folder that is missing
    return error;
  }
  out.temporary_ = temporary;
  return out;
}

AtomicFile::~AtomicFile() {
  flush_.reset();
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> AtomicFile::write_at(std::span<const std::byte> bytes, std::int64_t offset) {
  SEQKV_TRY(write_all(file_, path_, bytes, offset));
  size_ = std::max(size_, offset + static_cast<std::int64_t>(bytes.size()));
  // The disk works while the next bytes are made; left to commit(), it would begin when everything else is done.
  unflushed_ += static_cast<std::int64_t>(bytes.size());
  if (unflushed_ >= worth_a_flush) {
    if (flush_ == nullptr) flush_ = std::make_unique<EarlyFlush>(file_.get());
    flush_->request();
    unflushed_ = 0;
  }
  return {};
}

Result<void> AtomicFile::reserve(std::int64_t size) {
#if defined(__linux__)
  struct statfs system {};
  // In memory there is no order of blocks to win, and what is done now is as slow as in the writes.
  if (::fstatfs(file_.get(), &system) == 0 && system.f_type == TMPFS_MAGIC) return {};
  int problem = 0;
  do {
    problem = ::fallocate(file_.get(), 0, 0, size) == 0 ? 0 : errno;
  } while (problem == EINTR);
  if (problem == ENOSPC || problem == EDQUOT || problem == EFBIG) {
    return system_error(fmt::format("cannot reserve {} bytes", size), path_, problem);
  }
#endif
  return {};  // any other answer: this file system has no such thing
}

Result<void> AtomicFile::append(std::span<const std::byte> bytes) { return write_at(bytes, size_); }

Result<void> AtomicFile::resize(std::int64_t size) {
  SEQKV_TRY(io::truncate(file_, path_, size));
  size_ = size;
  return {};
}

Result<void> AtomicFile::commit() {
  flush_.reset();
  SEQKV_TRY(sync(file_, path_));
  SEQKV_TRY(io::rename(temporary_, path_));
  temporary_.clear();
  return sync_directory(path_.parent_path());
}

Result<std::string> read_file(const fs::path& path, std::int64_t limit) {
  SEQKV_ASSIGN(const Descriptor file, open_for_reading(path));
  SEQKV_ASSIGN(const std::int64_t size, file_size(file, path));
  if (size > limit) {
    return Error(ErrorCode::limit_exceeded, fmt::format("{} bytes, more than the {} allowed", size, limit))
        .in_file(path.string());
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  SEQKV_TRY(read_all(file, path, std::as_writable_bytes(std::span(text)), 0));
  return text;
}

Result<void> write_file(const fs::path& path, std::span<const std::byte> bytes) {
  SEQKV_ASSIGN(AtomicFile file, AtomicFile::create(path));
  SEQKV_TRY(file.append(bytes));
  return file.commit();
}

}  // namespace seqkv::io
