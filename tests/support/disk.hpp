// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A disk that fails, or a process that dies, at a given step: in the library's own files (io/faults.hpp) and, through
/// a VFS of SQLite, in the index.
#pragma once

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "io/faults.hpp"

namespace seqkv::test::disk {

/// What happens at which step, counted over files and index. Negative: nothing.
struct Plan {
  int at = -1;
  int problem = EIO;
  bool die = false;
  bool few = false;  ///< reads and writes move a few bytes at a time
  int steps = 0;
  std::string* log = nullptr;  ///< a letter a step, if it is wanted: see library_fault and the methods below
};
inline Plan plan;

inline void note(char step) {
  if (plan.log != nullptr) plan.log->push_back(step);
}

/// Whether this step is the one.
inline bool strikes() {
  if (plan.steps++ != plan.at) return false;
  if (plan.die) _exit(42);
  return true;
}

inline int library_fault(io::Step step, std::size_t& bytes) {
  note("crwstnd"[static_cast<std::size_t>(step)]);  // create, read, write, sync, truncate, (re)name, delete
  if (plan.few && (step == io::Step::read || step == io::Step::write)) bytes = std::min<std::size_t>(bytes, 7);
  return strikes() ? plan.problem : 0;
}

// SQLite's files: the default VFS with steps counted.

struct CountedFile {
  sqlite3_file base;
  sqlite3_file* real;
};
inline sqlite3_vfs* real_vfs = nullptr;
inline sqlite3_file* real(sqlite3_file* file) { return reinterpret_cast<CountedFile*>(file)->real; }

inline int failed() { return plan.problem == ENOSPC ? SQLITE_FULL : SQLITE_IOERR; }

inline const sqlite3_io_methods methods = {
    1,
    [](sqlite3_file* file) {
      const int status = real(file)->pMethods->xClose(real(file));
      sqlite3_free(real(file));
      return status;
    },
    [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) { return real(f)->pMethods->xRead(real(f), to, n, at); },
    [](sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
      note('i');  // the index
      return strikes() ? failed() : real(f)->pMethods->xWrite(real(f), from, n, at);
    },
    [](sqlite3_file* f, sqlite3_int64 n) { return strikes() ? failed() : real(f)->pMethods->xTruncate(real(f), n); },
    [](sqlite3_file* f, int flags) {
      return strikes() ? SQLITE_IOERR_FSYNC : real(f)->pMethods->xSync(real(f), flags);
    },
    [](sqlite3_file* f, sqlite3_int64* n) { return real(f)->pMethods->xFileSize(real(f), n); },
    [](sqlite3_file* f, int lock) { return real(f)->pMethods->xLock(real(f), lock); },
    [](sqlite3_file* f, int lock) { return real(f)->pMethods->xUnlock(real(f), lock); },
    [](sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); },
    [](sqlite3_file* f, int op, void* arg) { return real(f)->pMethods->xFileControl(real(f), op, arg); },
    [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); },
    [](sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); },
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

inline int open_counted(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  auto* counted = reinterpret_cast<CountedFile*>(file);
  counted->base.pMethods = nullptr;
  counted->real = static_cast<sqlite3_file*>(sqlite3_malloc(real_vfs->szOsFile));
  const int status = real_vfs->xOpen(real_vfs, name, counted->real, flags, out);
  if (status == SQLITE_OK) {
    counted->base.pMethods = &methods;
  } else {
    sqlite3_free(counted->real);
  }
  return status;
}

/// From now on SQLite goes through here.
inline void install() {
  static sqlite3_vfs vfs;
  if (real_vfs != nullptr) return;
  real_vfs = sqlite3_vfs_find(nullptr);
  vfs = *real_vfs;
  vfs.pNext = nullptr;
  vfs.szOsFile = sizeof(CountedFile);
  vfs.zName = "counted";
  vfs.xOpen = open_counted;
  vfs.xDelete = [](sqlite3_vfs*, const char* name, int sync) {
    return strikes() ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, name, sync);
  };
  sqlite3_vfs_register(&vfs, 1);
}

}  // namespace seqkv::test::disk
