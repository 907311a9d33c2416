// flock on POSIX, LockFileEx on Windows. Both belong to an open file: two opens exclude each other
// in one process too, and the system gives the lock back when the process ends, however it ends.
#include "file_lock.h"

#include "error.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

namespace partlens {

// Two or three do; a file system that numbers its files anew each time would take for ever.
static constexpr int MOST_TRIES = 1000;

FileLock::FileLock(const std::string& path, const std::string& told) : path_(path) {
  try {
    // False where the file that was opened is no longer the one of that name: a holder removed it.
    for (int tries = 0; !try_lock(told); tries++) {
      close();
      check(tries < MOST_TRIES, "E_FILE", "Cannot lock " + path + ": it changes all the time.",
            {{"refused", 1.0}});
    }
  } catch (...) {
    close();
    throw;
  }
}

#ifdef _WIN32

namespace {

// Locks of Windows keep others from reading: the byte that is locked lies far behind the text.
constexpr DWORD FAR_AWAY = 0x40000000;

[[noreturn]] void fail(const std::string& path, const char* what) {
  const DWORD code = GetLastError();
  const bool refused = code == ERROR_NOT_SUPPORTED || code == ERROR_INVALID_FUNCTION;
  throw Error("E_FILE",
              std::string("Cannot ") + what + " " + path + ": error " + std::to_string(code) + ".",
              {{"errno", static_cast<double>(code)}, {"refused", refused ? 1.0 : 0.0}});
}

}  // namespace

bool FileLock::try_lock(const std::string& told) {
  const int length = MultiByteToWideChar(CP_UTF8, 0, path_.c_str(), -1, nullptr, 0);
  std::wstring wide(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, path_.c_str(), -1, &wide[0], length);
  HANDLE file = CreateFileW(wide.c_str(), GENERIC_READ | GENERIC_WRITE,
                            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                            OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail(path_, "open");
  handle_ = file;
  OVERLAPPED place = {};
  place.OffsetHigh = FAR_AWAY;
  if (!LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place)) {
    if (GetLastError() == ERROR_LOCK_VIOLATION || GetLastError() == ERROR_IO_PENDING) return true;
    fail(path_, "lock");
  }
  held_ = true;
  DWORD written = 0;
  SetEndOfFile(file);
  WriteFile(file, told.data(), static_cast<DWORD>(told.size()), &written, nullptr);
  return true;
}

// The file stays, empty: a name that is being removed would refuse the next holder.
void FileLock::release() {
  if (held_) {
    SetFilePointer(handle_, 0, nullptr, FILE_BEGIN);
    SetEndOfFile(handle_);
  }
  close();
}

void FileLock::close() {
  if (handle_) CloseHandle(handle_);
  handle_ = nullptr;
  held_ = false;
}

#else

namespace {

// What file systems without locks answer to flock, those of a network above all.
bool is_refusal(int code) {
  return code == ENOLCK || code == EOPNOTSUPP || code == ENOTSUP || code == ENOSYS ||
         code == EINVAL;
}

[[noreturn]] void fail(const std::string& path, const char* what, bool refused = false) {
  const int code = errno;
  throw Error("E_FILE",
              std::string("Cannot ") + what + " " + path + ": " + std::strerror(code) + ".",
              {{"errno", static_cast<double>(code)}, {"refused", refused ? 1.0 : 0.0}});
}

// Whether the open file is the one that has the name now.
bool has_name(int descriptor, const std::string& path) {
  struct stat open_file;
  struct stat named;
  return fstat(descriptor, &open_file) == 0 && stat(path.c_str(), &named) == 0 &&
         open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

}  // namespace

bool FileLock::try_lock(const std::string& told) {
  do descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) fail(path_, "open");
  int status;
  do status = flock(descriptor_, LOCK_EX | LOCK_NB);
  while (status != 0 && errno == EINTR);
  if (status != 0) {
    if (errno != EWOULDBLOCK) fail(path_, "lock", is_refusal(errno));
    return true;
  }
  if (!has_name(descriptor_, path_)) return false;
  held_ = true;
  // What is told is for people: a full disk does not matter here.
  const bool told_all =
      ftruncate(descriptor_, 0) == 0 &&
      write(descriptor_, told.data(), told.size()) == static_cast<ssize_t>(told.size());
  static_cast<void>(told_all);
  return true;
}

// Removed while the lock is held: who opened the file before sees that its name is gone, and asks
// again.
void FileLock::release() {
  if (held_ && has_name(descriptor_, path_)) unlink(path_.c_str());
  close();
}

void FileLock::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  held_ = false;
}

#endif

}  // namespace partlens
