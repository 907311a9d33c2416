// gather_channels: y[n,k] = x[n, index[k]]; backward dx[n,c] = sum of g[n,k] over index[k] = c.
//   in   x (N, C, H, W)  index (K) int32    out  y (N, K, H, W)
//   grid one thread per element of what is written
//   cost reads and writes each element once; memory bound
//   An index outside 0..C-1 counts as the nearest inside. Equal indices are summed in ascending k.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct ChannelIndex {
  const int* index;
  int C, K;
  __device__ int operator[](int k) const { return max(0, min(index[k], C - 1)); }
};

struct GatherChannels {
  const float* x;
  float* y;
  ChannelIndex index;
  __device__ void operator()(long i) const {
    const int pitch = padded(index.K), k = (int)(i % pitch);
    y[i] = k < index.K ? x[i / pitch * padded(index.C) + index[k]] : 0;
  }
};

void gather_channels_forward(Device& device, const gather_channels_forward_args& t,
                             const NoAttrs&) {
  const ChannelIndex index = {i32(t.index), t.x.dims[1], t.y.dims[1]};
  for_each(device, elements(t.y), GatherChannels{f32(t.x), f32(t.y), index});
}

// Chains: first[c] is the smallest k whose index is c, next[k] the one after it; -1 ends a chain.
struct ChainIndices {
  ChannelIndex index;
  int *first, *next;
  __device__ void operator()(long c) const {
    int last = -1;
    first[c] = -1;
    for (int k = 0; k < index.K; k++) {
      if (index[k] != (int)c) continue;
      (last < 0 ? first[c] : next[last]) = k;
      last = k;
    }
    if (last >= 0) next[last] = -1;
  }
};

struct GatherChannelsGradient {
  const float* g;
  float* dx;
  const int *first, *next;
  int C, K;
  __device__ void operator()(long i) const {
    const int pitch = padded(C), c = (int)(i % pitch);
    const float* pixel = g + i / pitch * padded(K);
    float sum = 0;
    for (int k = c < C ? first[c] : -1; k >= 0; k = next[k]) sum += pixel[k];
    dx[i] = sum;
  }
};

void gather_channels_backward(Device& device, const gather_channels_backward_args& t,
                              const NoAttrs&) {
  const int C = t.dx.dims[1], K = t.g.dims[1];
  int* first = device.scratch<int>(INDEX_SLOT, (size_t)C + K);
  for_each(device, C, ChainIndices{{i32(t.index), C, K}, first, first + C});
  for_each(device, elements(t.dx),
           GatherChannelsGradient{f32(t.g), f32(t.dx), first, first + C, C, K});
}

}  // namespace cuda
}  // namespace partlens
