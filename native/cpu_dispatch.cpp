#include "cpu_dispatch.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#define PL_ISAS(X) X(avx512) X(avx2) X(sse2)
#elif defined(__aarch64__)
#define PL_ISAS(X) X(neon)
#else
#define PL_ISAS(X) X(baseline)
#endif

namespace partlens {

#define X(isa)                    \
  namespace isa {                 \
  extern const PlBackend backend; \
  }
PL_ISAS(X)
#undef X

namespace {
thread_local char last_error[256] = "";

bool supported(const char* isa) {
#if defined(__x86_64__)
  if (!strcmp(isa, "avx512")) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
  }
  if (!strcmp(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return isa != nullptr;
}
}  // namespace

void cpu_set_last_error(const char* text) { snprintf(last_error, sizeof last_error, "%s", text); }
const char* cpu_last_error() { return last_error; }

const PlBackend* cpu_backend(const char** reason) {
#define X(isa) &isa::backend,
  static const PlBackend* const builds[] = {PL_ISAS(X)};
#undef X
  const char* forced = getenv("PARTLENS_ISA");
  if (forced && !*forced) forced = nullptr;
  for (const PlBackend* build : builds) {
    if (forced && strcmp(forced, build->isa) != 0) continue;
    if (supported(build->isa)) return build;
    if (forced) {
      *reason = "PARTLENS_ISA names an instruction set that this machine lacks";
      return nullptr;
    }
  }
#define X(isa) " " #isa
  *reason = "PARTLENS_ISA names no instruction set of this build, which has" PL_ISAS(X);
#undef X
  return nullptr;
}

}  // namespace partlens
