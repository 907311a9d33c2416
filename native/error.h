// Errors inside native/: one exception with a code of lib/errors.ts, and a check that throws it.
#pragma once
#include <stdexcept>
#include <string>

namespace partlens {

class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;  // a string literal such as "E_SHAPE"
};

inline void check(bool condition, const char* code, const std::string& message) {
  if (!condition) throw Error(code, message);
}

}  // namespace partlens
