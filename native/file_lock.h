// A file that one holder at a time has, by a lock that the system gives back when its process ends.
#pragma once
#include <string>

namespace partlens {

class FileLock {
 public:
  // Makes the file where there is none, locks it and writes `told` into it, for people and error
  // texts alone. held() is false where another has the lock, in this process too. Throws E_FILE,
  // with errno (or the Windows error) in its details, and "refused" where the file system knows no
  // locks.
  FileLock(const std::string& path, const std::string& told);
  ~FileLock() { close(); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  bool held() const { return held_; }
  // Removes the file, if it still lies there, and gives the lock back. Safe to call twice.
  void release();

 private:
  bool try_lock(const std::string& told);
  void close();

  std::string path_;
  bool held_ = false;
#ifdef _WIN32
  void* handle_ = nullptr;
#else
  int descriptor_ = -1;
#endif
};

}  // namespace partlens
