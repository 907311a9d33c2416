// Hopper's warpgroup products behind wrappers; assembled for sm_90a only. Operand tiles in shared
// memory have rows of 128 bytes (32 words) with the 128-byte swizzle, the 16-byte chunk c of row r
// at c ^ (r & 7), and start at a multiple of 1024 bytes. Without nvcc the emulator provides these.
//   K major    a row of the tile holds 32 tf32 or 64 bf16 of K
//   row major  bf16 only: a row holds 64 rows of the operand at one k; the 64 after them lie
//              `apart` bytes further
//   descriptor: PTX ISA, "Shared memory matrix layout": start; leading offset, `apart`; stride
//   offset, 1024 to the next 8 rows of the tile; swizzle
#pragma once
#include "ptx.h"

#ifdef __CUDACC__
// Shared memory written by this thread may be read by the tensor cores after this and a barrier.
__device__ __forceinline__ void fence_async_shared() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PL_HAS_WGMMA 1
typedef uint64_t SharedTileAddress;
__device__ __forceinline__ SharedTileAddress shared_tile(const void* start, int apart = 16) {
  const uint64_t address = shared_address(start);
  return (address & 0x3ffff) >> 4 | (uint64_t)(apart >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 |
         1ull << 62;
}
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
// Until at most N groups are under way.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(N) : "memory");
}
// Until all are done: only then may the caller read d. The compiler, which does not know that
// products are under way, moves no use of d before this.
__device__ __forceinline__ void wgmma_finish(float (&d)[64]) {
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < 64; i++) asm volatile("" : "+f"(d[i])::"memory");
}
#define PL_D8(i)                                                                              \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define PL_D64 PL_D8(0), PL_D8(8), PL_D8(16), PL_D8(24), PL_D8(32), PL_D8(40), PL_D8(48), PL_D8(56)
#define PL_WGMMA(shape)                                               \
  "{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\n"                          \
  "wgmma.mma_async.sync.aligned." shape                               \
  " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, "    \
  "%14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, " \
  "%27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, " \
  "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, " \
  "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "

// D (64, 128) += A (64, 8) B (128, 8)^T, by four warps; both K major.
__device__ __forceinline__ void wgmma_m64n128k8_tf32(float (&d)[64], SharedTileAddress a,
                                                     SharedTileAddress b) {
  asm volatile(PL_WGMMA("m64n128k8.f32.tf32.tf32") "%64, %65, p, 1, 1;\n}\n"
               : PL_D64
               : "l"(a), "l"(b));
}
// D (64, 128) += A (64, 16) B (128, 16)^T, both K major or both row major.
template <bool K_MAJOR>
__device__ __forceinline__ void wgmma_m64n128k16_bf16(float (&d)[64], SharedTileAddress a,
                                                      SharedTileAddress b) {
  asm volatile(PL_WGMMA("m64n128k16.f32.bf16.bf16") "%64, %65, p, 1, 1, %66, %66;\n}\n"
               : PL_D64
               : "l"(a), "l"(b), "n"(K_MAJOR ? 0 : 1));
}
#undef PL_WGMMA
#undef PL_D64
#undef PL_D8
#endif
#else
#define PL_HAS_WGMMA 1
#endif
