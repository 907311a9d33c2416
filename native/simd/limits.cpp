#include "limits.h"

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>
#else
#include <unistd.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace partlens {

namespace {

// Folders of the process's group and of all groups above it, of a v1 controller or, for "", of v2.
// Inside a container the upper ones may not be there: their files then read as nothing.
std::vector<std::string> groups(const std::string& controller) {
  const std::string root = "/sys/fs/cgroup" + (controller.empty() ? "" : "/" + controller);
  std::vector<std::string> folders = {root};
  std::ifstream list("/proc/self/cgroup");  // lines of id:controllers:path
  for (std::string line; std::getline(list, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (names.find("," + controller + ",") == std::string::npos) continue;
    std::string path = line.substr(second + 1);
    for (; path.size() > 1; path.resize(path.rfind('/'))) folders.push_back(root + path);
  }
  return folders;
}

// The number that a file begins with; infinity for "max", or if there is no such file.
double number_in(const std::string& path) {
  double number;
  return std::ifstream(path) >> number ? number : std::numeric_limits<double>::infinity();
}

// CPUs of the quota, or infinity. v2: "max 100000" or "200000 100000"; v1: two files, -1 for none.
double cpu_quota() {
  double least = std::numeric_limits<double>::infinity();
  double quota, period;
  for (const std::string& group : groups("")) {
    std::ifstream file(group + "/cpu.max");
    if (file >> quota >> period && period > 0) least = std::min(least, quota / period);
  }
  for (const std::string& group : groups("cpu")) {
    quota = number_in(group + "/cpu.cfs_quota_us");
    period = number_in(group + "/cpu.cfs_period_us");
    if (quota > 0 && std::isfinite(quota) && period > 0) least = std::min(least, quota / period);
  }
  return least;
}

int64_t physical_memory() {
#ifdef _WIN32
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? static_cast<int64_t>(status.ullTotalPhys) : 0;
#else
  return int64_t{1} * sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
#endif
}

}  // namespace

int allowed_threads() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
  const double quota = cpu_quota();
  if (quota < count) count = static_cast<int>(std::ceil(quota));
  return std::max(count, 1);
}

int64_t memory_limit() {
  int64_t limit = physical_memory();
  const auto bound = [&](double bytes) {
    if (bytes > 0 && bytes < static_cast<double>(limit)) limit = static_cast<int64_t>(bytes);
  };
  for (const auto& group : groups("")) bound(number_in(group + "/memory.max"));
  for (const auto& group : groups("memory")) bound(number_in(group + "/memory.limit_in_bytes"));
  return limit;
}

int64_t memory_free() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  for (int64_t kilobytes; file >> name >> kilobytes; std::getline(file, name)) {
    if (name == "MemAvailable:") return std::min(kilobytes * 1024, memory_limit());
  }
  return memory_limit();
}

}  // namespace partlens
