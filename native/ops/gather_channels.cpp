// gather_channels: y[n,k] = x[n, index[k]]; backward dx[n,c] = sum of g[n,k] over index[k] = c.
//   in   x (N, C, H, W)  index (K) int32    out  y (N, K, H, W)
//   grid one task per image and block of 16 channels of what is written
//   cost reads and writes each element once; whole blocks in order are copied
//   An index outside 0..C-1 counts as the nearest inside. Equal indices are summed in ascending k.
#include "../cpu_kernels.h"
#include "lanes.h"

namespace partlens {
namespace PL_ISA {

static inline int inside(int index, int C) { return index < 0 ? 0 : index < C ? index : C - 1; }

void gather_channels_forward(Device& device, const gather_channels_forward_args& t,
                             const NoAttrs&) {
  const int C = t.x.dims[1], K = t.y.dims[1], cells = t.x.dims[2] * t.x.dims[3];
  const int blocks = blocks_of(K);
  const long plane = (long)cells * BLOCK;
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const int* index = i32(t.index);
  parallel_for(device, t.x.dims[0] * blocks, [=](int task, int) {
    const int k0 = task % blocks * BLOCK;
    const Lanes lanes(C, plane,
                      [=](int lane) { return k0 + lane < K ? inside(index[k0 + lane], C) : -1; });
    lanes.copy(x + task / blocks * blocks_of(C) * plane, 1, y + task * plane, 1, cells);
  });
}

// Chains: first[c] is the smallest k whose index is c, next[k] the one after it; -1 ends a chain.
void gather_channels_backward(Device& device, const gather_channels_backward_args& t,
                              const NoAttrs&) {
  const int C = t.dx.dims[1], K = t.g.dims[1], cells = t.g.dims[2] * t.g.dims[3];
  const int blocks = blocks_of(C);
  const long plane = (long)cells * BLOCK;
  const float* g = f32(t.g);
  float* dx = f32(t.dx);
  const int* index = i32(t.index);
  int* first = reinterpret_cast<int*>(device.scratch(0, (size_t)C + K));
  int* next = first + C;
  for (int c = 0; c < C; c++) first[c] = -1;
  for (int k = K - 1; k >= 0; k--) {
    int& head = first[inside(index[k], C)];
    next[k] = head;
    head = k;
  }
  parallel_for(device, t.dx.dims[0] * blocks, [=](int task, int) {
    const int c0 = task % blocks * BLOCK;
    const float* from = g + task / blocks * blocks_of(K) * plane;
    float* to = dx + task * plane;
    int k[BLOCK];
    bool more = false;
    for (int lane = 0; lane < BLOCK; lane++) k[lane] = c0 + lane < C ? first[c0 + lane] : -1;
    Lanes(K, plane, [&](int lane) { return k[lane]; }).copy(from, 1, to, 1, cells);
    do {
      more = false;
      for (int& at : k) {
        at = at < 0 ? -1 : next[at];
        more = more || at >= 0;
      }
      if (more) Lanes(K, plane, [&](int lane) { return k[lane]; }).add(from, to, cells);
    } while (more);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
