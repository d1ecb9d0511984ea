// Small files many at a time, made whole: what a restore does for most of what it writes.

#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

// A row of createFiles, as src/batch/create-files.ts has it.
constexpr size_t NEW_ROW = 8;
constexpr size_t NEW_DIRECTORY = 0, NEW_START = 1, NEW_LENGTH = 2, NEW_MODE = 3, NEW_UID = 4, NEW_GID = 5, NEW_SECONDS = 6, NEW_NANOSECONDS = 7;
constexpr mode_t OWNER_READS_AND_WRITES = 0600;

bool isWhole(double value, double max) { return value >= 0 && value <= max && value == std::floor(value); }

bool writeWhole(int fd, const uint8_t* data, size_t length) {
  while (length > 0) {
    const ssize_t count = write(fd, data, length);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    data += count;
    length -= static_cast<size_t>(count);
  }
  return true;
}

// Owner first: changing it clears set-id bits. Times last: everything else changes them.
bool giveAttributes(int fd, const double* row) {
  struct stat facts;
  if (fstat(fd, &facts) != 0) return false;
  const auto uid = static_cast<uid_t>(row[NEW_UID]);
  const auto gid = static_cast<gid_t>(row[NEW_GID]);
  const auto mode = static_cast<mode_t>(row[NEW_MODE]);
  if ((facts.st_uid != uid || facts.st_gid != gid) && fchown(fd, uid, gid) != 0) return false;
  if (mode != OWNER_READS_AND_WRITES && fchmod(fd, mode) != 0) return false;
  struct timespec times[2];
  times[0].tv_sec = times[1].tv_sec = static_cast<time_t>(row[NEW_SECONDS]);
  times[0].tv_nsec = times[1].tv_nsec = static_cast<long>(row[NEW_NANOSECONDS]);
  return futimens(fd, times) == 0;
}

bool createFile(const char* name, const double* row, const uint8_t* data, bool replace) {
  const int directory = static_cast<int>(row[NEW_DIRECTORY]);
  if (replace && unlinkat(directory, name, 0) != 0 && errno != ENOENT) return false;
  const int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, OWNER_READS_AND_WRITES);
  if (fd < 0) return false;
  bool done = writeWhole(fd, data + static_cast<size_t>(row[NEW_START]), static_cast<size_t>(row[NEW_LENGTH])) && giveAttributes(fd, row);
  // A file server may say only here that there is no space.
  if (close(fd) != 0) done = false;
  if (!done) unlinkat(directory, name, 0);
  return done;
}

// createFiles(names, ends, rows, count, data, replace, done): makes a file for each of the first `count` rows, in the open directory that its row names. `done[i]` is 1 when it is
// there with everything; otherwise nothing is left of it, and whoever asks again by ordinary calls hears why.
napi_value createFiles(napi_env env, napi_callback_info info) {
  Arguments args(env, info, 7);
  Names names(args, 0);
  const Doubles rows = args.doubles(2);
  const size_t count = args.number(3, static_cast<double>(names.count()));
  const Bytes data = args.bytes(4);
  const bool replace = args.number(5, 1) == 1;
  const Bytes done = args.bytes(6);
  if (args.ok() && (rows.count / NEW_ROW < count || done.length < count)) args.fail("there are fewer rows than said");
  for (size_t i = 0; i < count && args.ok(); i++) {
    const double* row = rows.data + NEW_ROW * i;
    if (!isWhole(row[NEW_START], static_cast<double>(data.length)) || !isWhole(row[NEW_LENGTH], static_cast<double>(data.length) - row[NEW_START])) {
      args.fail("the bytes of a file lie outside of the data");
    } else if (!isWhole(row[NEW_DIRECTORY], INT32_MAX) || !isWhole(row[NEW_MODE], 07777) || !isWhole(row[NEW_UID], UINT32_MAX) ||
               !isWhole(row[NEW_GID], UINT32_MAX) || !isWhole(row[NEW_NANOSECONDS], 999999999) || !(std::fabs(row[NEW_SECONDS]) < 1e15)) {
      args.fail("a number of a row is out of range");
    }
  }
  if (!args.ok()) return nullptr;
  for (size_t i = 0; i < count; i++) {
    const char* name = names.name(i);
    done.data[i] = name != nullptr && createFile(name, rows.data + NEW_ROW * i, data.data, replace) ? 1 : 0;
  }
  return nullptr;
}

}  // namespace
