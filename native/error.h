// Errors inside native/: one exception with a code of lib/errors.ts, and a check that throws it.
#pragma once
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace partlens {

// Numbers for a program to read: {{"bytes", 4096}}.
typedef std::vector<std::pair<const char*, double>> Details;

class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message, Details details = {})
      : std::runtime_error(message), code_(code), details_(std::move(details)) {}
  const char* code() const { return code_; }
  const Details& details() const { return details_; }

 private:
  const char* code_;  // a string literal such as "E_SHAPE"
  Details details_;
};

inline void check(bool condition, const char* code, const std::string& message,
                  Details details = {}) {
  if (!condition) throw Error(code, message, std::move(details));
}

}  // namespace partlens
