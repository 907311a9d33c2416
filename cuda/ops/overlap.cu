// overlap: mean over pairs f != g of -1/2 log(1 - (1 - shrink) s), s = G_fg^2 / (e_f e_g) <= 1,
// e_f = max(G_ff, floor mean G_ff); backward dgram = dloss/dG.                     [Peng 2005]
//   in   gram (D, D, 1, 1), symmetric       out  loss ()   dgram (D, D, 1, 1)
//   grid backward: one block of 256 threads per row
//   cost D^2 numbers, in double: little beside the product that made them
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct Gram {
  const float* data;
  const double* least;  // floor mean G_ff
  int D, pitch;
  double keep;  // 1 - shrink

  __device__ float at(int f, int g) const { return data[(long)f * pitch + g]; }
  // 1 / e_f; 0 where all maps are 0.
  __device__ double inverse(int f) const {
    const double energy = fmax((double)at(f, f), *least);
    return energy > 0 ? 1 / energy : 0;
  }
  __device__ double likeness(int f, int g) const {
    const double value = at(f, g), s = value * value * inverse(f) * inverse(g);
    return s < 1 ? s : 1;
  }
};

struct Diagonal {
  const float* data;
  int pitch;
  __device__ double operator()(long f) const { return data[f * (pitch + 1)]; }
};
struct StoreLeast {
  double* least;
  double share;
  __device__ void operator()(double sum) const { *least = share * sum; }
};

// The Gram matrix with its floor, which the device finds first.
static Gram gram_of(Device& device, const PlTensor& t, const OverlapAttrs& a, double* least) {
  const int D = t.dims[0], pitch = padded(D);
  sum_all(device, D, Diagonal{f32(t), pitch}, StoreLeast{least, (double)a.floor / D});
  return {f32(t), least, D, pitch, 1 - (double)a.shrink};
}

struct PairLoss : Gram {
  __device__ double operator()(long i) const {
    const int f = (int)(i / D), g = (int)(i % D);
    return f == g ? 0 : -log(1 - keep * likeness(f, g));
  }
};
struct StoreOverlap {
  float* loss;
  double share;
  __device__ void operator()(double sum) const {
    store4(loss, make_float4((float)(sum * share), 0, 0, 0));
  }
};

void overlap_forward(Device& device, const overlap_forward_args& t, const OverlapAttrs& a) {
  double* least = device.scratch<double>(STATISTICS_SLOT, 1);
  const Gram gram = gram_of(device, t.gram, a, least);
  const double D = gram.D;
  sum_all(device, (long)gram.D * gram.D, PairLoss{gram},
          StoreOverlap{f32(t.loss), D > 1 ? 1 / (2 * D * (D - 1)) : 0});
}

// Row f of dgram but for the diagonal, and energy[f] = dloss/de_f: the pairs (f, g) and (g, f).
__global__ void __launch_bounds__(SUM_THREADS)
    overlap_backward_kernel(Gram gram, const float* seed, double share, float* dgram,
                            double* energy) {
  const int f = blockIdx.x;
  const double gain = *seed * share * gram.keep, inverse = gram.inverse(f);
  double sum = 0;
  for (int g = threadIdx.x; g < gram.pitch; g += SUM_THREADS) {
    float value = 0;
    if (g < gram.D && g != f) {
      const double s = gram.likeness(f, g), rise = gain / (1 - gram.keep * s);
      value = (float)(rise * gram.at(f, g) * inverse * gram.inverse(g));
      sum -= rise * s * inverse;
    }
    dgram[(long)f * gram.pitch + g] = value;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) energy[f] = sum;
}

// What filters below the floor send to the mean.
struct SharedEnergy : Gram {
  const double* energy;
  __device__ double operator()(long f) const { return at(f, f) > *least ? 0 : energy[f]; }
};
struct SetDiagonal : Gram {
  const double *energy, *shared;
  float* dgram;
  __device__ void operator()(long f) const {
    const double own = at(f, f) > *least ? energy[f] : 0;
    dgram[f * (pitch + 1)] = (float)(own + *shared);
  }
};

void overlap_backward(Device& device, const overlap_backward_args& t, const OverlapAttrs& a) {
  const int D = t.gram.dims[0];
  double* least = device.scratch<double>(STATISTICS_SLOT, 2 + D);
  double *shared = least + 1, *energy = least + 2;
  const Gram gram = gram_of(device, t.gram, a, least);
  const double share = D > 1 ? 1 / ((double)D * (D - 1)) : 0;
  launch(device, overlap_backward_kernel, dim3(D), dim3(SUM_THREADS), 0, gram,
         (const float*)f32(t.g), share, f32(t.dgram), energy);
  sum_all(device, D, SharedEnergy{gram, energy}, StoreLeast{shared, (double)a.floor / D});
  for_each(device, D, SetDiagonal{gram, energy, shared, f32(t.dgram)});
}

}  // namespace cuda
}  // namespace partlens
