#include "cpu_dispatch.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(_WIN32) && defined(__x86_64__)
#include <immintrin.h>
#include <intrin.h>
#endif

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

#if defined(__x86_64__) && defined(_WIN32)
// The compiler's own __builtin_cpu_supports needs a library that the linker of Windows lacks.
__attribute__((target("xsave"))) bool has(const char* isa) {
  int leaf1[4], leaf7[4];
  __cpuidex(leaf1, 1, 0);
  __cpuidex(leaf7, 7, 0);
  const auto bit = [](int word, int index) { return (word >> index & 1) != 0; };
  const bool fma = bit(leaf1[2], 12), xsave = bit(leaf1[2], 27), avx2 = bit(leaf7[1], 5);
  if (!fma || !xsave || !avx2) return false;
  const int kept = static_cast<int>(_xgetbv(0));  // what the system saves: ymm; zmm and masks
  if (!strcmp(isa, "avx2")) return (kept & 0x06) == 0x06;
  const bool foundation = bit(leaf7[1], 16) && bit(leaf7[1], 17);
  return foundation && bit(leaf7[1], 30) && bit(leaf7[1], 31) && (kept & 0xe6) == 0xe6;
}
#endif

bool supported(const char* isa) {
#if defined(__x86_64__) && defined(_WIN32)
  if (strcmp(isa, "sse2") != 0) return has(isa);
#elif defined(__x86_64__)
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
