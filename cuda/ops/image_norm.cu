// image_norm: bring every image to one root mean square.
//   in   x (N, C, H, W)                     out  y like x
//   grid sums: one block of 256 threads per part of an image, then one per image; results: four
//        elements a thread
//   cost reads x twice, writes y once; memory bound; backward reads g and x twice
//   y = x target / max(rms, 1e-12), rms over (C, H, W). Backward, the exact gradient: with
//   f = target / rms, u = x / rms, dx = f (g - u mean(g u)); f g where the rms is below 1e-12.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

constexpr double SILENT_RMS = 1e-12;
constexpr int PARTS = 16;  // blocks that share an image

// Images as stretches of floats, padding 0.
struct Images {
  long size;     // floats of one, a multiple of 4
  double count;  // values of one
};

static Images images_of(const PlTensor& x) {
  const Axes axes = axes_of(x);
  return {(long)axes.cells * axes.pitch(), (double)axes.cells * axes.channels};
}

struct ImageSums {
  double squares, along;
};

// partial[image][part] = sums of x^2 and of g x; without g the second is 0.
__global__ void __launch_bounds__(SUM_THREADS)
    image_sums_kernel(const float* x, const float* g, Images images, ImageSums* partial) {
  const long begin = blockIdx.y * images.size / 4;
  double squares = 0, along = 0;
  for (long i = (long)blockIdx.x * SUM_THREADS + threadIdx.x; i < images.size / 4;
       i += PARTS * SUM_THREADS) {
    const float4 v = load4(x + (begin + i) * 4);
    squares += (double)v.x * v.x + (double)v.y * v.y + (double)v.z * v.z + (double)v.w * v.w;
    if (g) {
      const float4 d = load4(g + (begin + i) * 4);
      along += (double)v.x * d.x + (double)v.y * d.y + (double)v.z * d.z + (double)v.w * d.w;
    }
  }
  squares = block_sum(squares);
  along = block_sum(along);
  if (threadIdx.x == 0) partial[blockIdx.y * PARTS + blockIdx.x] = {squares, along};
}

// y = x factor; dx = factor (g - x unit back)
struct ImageFactor {
  float factor, unit, back;
};
struct ImageFactors {
  const ImageSums* partial;
  ImageFactor* factors;
  double count, target;
  __device__ void operator()(long image) const {
    double squares = 0, along = 0;
    for (int part = 0; part < PARTS; part++) {
      squares += partial[image * PARTS + part].squares;
      along += partial[image * PARTS + part].along;
    }
    const double rms = sqrt(squares / count);
    const bool silent = !(rms > SILENT_RMS);
    const double inverse = 1 / (silent ? SILENT_RMS : rms);
    const double mean = silent ? 0 : along * inverse / count;
    factors[image] = {(float)(target * inverse), (float)inverse, (float)mean};
  }
};

static const ImageFactor* image_factors(Device& device, const PlTensor& x, const float* g,
                                        float target) {
  const Images images = images_of(x);
  const int N = x.dims[0];
  ImageSums* partial = device.scratch<ImageSums>(PARTIAL_SLOT, (size_t)N * PARTS);
  ImageFactor* factors = device.scratch<ImageFactor>(STATISTICS_SLOT, N);
  launch(device, image_sums_kernel, dim3(PARTS, N), dim3(SUM_THREADS), 0, (const float*)f32(x), g,
         images, partial);
  for_each(device, N, ImageFactors{partial, factors, images.count, target});
  return factors;
}

// The forward pass, or the backward where g is there.
struct ScaleImages {
  const float *x, *g;  // g: or nullptr
  const ImageFactor* factors;
  float* to;
  long size;
  __device__ void operator()(long i) const {
    const ImageFactor f = factors[i * 4 / size];
    const float4 v = load4(x + i * 4);
    const float4 along = g ? add4(load4(g + i * 4), scale4(-f.back, scale4(f.unit, v))) : v;
    store4(to + i * 4, scale4(f.factor, along));
  }
};

void image_norm_forward(Device& device, const image_norm_forward_args& t, const TargetAttrs& a) {
  const ImageFactor* factors = image_factors(device, t.x, nullptr, a.target);
  for_each(device, elements(t.y) / 4,
           ScaleImages{f32(t.x), nullptr, factors, f32(t.y), images_of(t.x).size});
}

void image_norm_backward(Device& device, const image_norm_backward_args& t, const TargetAttrs& a) {
  const ImageFactor* factors = image_factors(device, t.x, f32(t.g), a.target);
  for_each(device, elements(t.dx) / 4,
           ScaleImages{f32(t.x), f32(t.g), factors, f32(t.dx), images_of(t.x).size});
}

}  // namespace cuda
}  // namespace partlens
