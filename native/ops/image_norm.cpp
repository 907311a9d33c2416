// image_norm: bring every image to one root mean square.
//   in   x (N, C, H, W)                     out  y like x
//   grid one task per image and block of 16 channels
//   cost reads x twice, writes y once; memory bound; backward reads g and x twice
//   y = x target / max(rms, 1e-12), rms over (C, H, W). Backward, the exact gradient: with
//   f = target / rms, u = x / rms, dx = f (g - u mean(g u)); f g where the rms is below 1e-12.
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

constexpr double SILENT_RMS = 1e-12;

// Per image and block of channels: sums over its values, in double, added in order of the blocks.
struct ImageSums {
  double* partial;
  int N, blocks;
  long block_size;  // floats of a block of channels
  double count;     // values of an image

  ImageSums(Device& device, const PlTensor& x, int slot)
      : N(x.dims[0]),
        blocks(blocks_of(x.dims[1])),
        block_size((long)x.dims[2] * x.dims[3] * BLOCK),
        count((double)x.dims[1] * x.dims[2] * x.dims[3]) {
    partial = reinterpret_cast<double*>(device.scratch(slot, 2 * (size_t)N * blocks));
  }

  // Lanes of the padding are 0 in a and b.
  void of_products(Device& device, const float* a, const float* b) const {
    const ImageSums s = *this;
    parallel_for(device, N * blocks, [=](int task, int) {
      double lanes[BLOCK] = {};
      for (long i = task * s.block_size; i < (task + 1) * s.block_size; i += BLOCK) {
        for (int c = 0; c < BLOCK; c++) lanes[c] += (double)a[i + c] * b[i + c];
      }
      double sum = 0;
      for (double lane : lanes) sum += lane;
      s.partial[task] = sum;
    });
  }

  double of(int image) const {
    double sum = 0;
    for (int b = 0; b < blocks; b++) sum += partial[(long)image * blocks + b];
    return sum;
  }
};

void image_norm_forward(Device& device, const image_norm_forward_args& t, const TargetAttrs& a) {
  const ImageSums squares(device, t.x, 0);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const double target = a.target;
  squares.of_products(device, x, x);
  parallel_for(device, squares.N * squares.blocks, [=](int task, int) {
    const double rms = sqrt(squares.of(task / squares.blocks) / squares.count);
    const float factor = (float)(target / (rms > SILENT_RMS ? rms : SILENT_RMS));
    const long begin = task * squares.block_size, end = begin + squares.block_size;
    for (long i = begin; i < end; i++) y[i] = x[i] * factor;
  });
}

void image_norm_backward(Device& device, const image_norm_backward_args& t, const TargetAttrs& a) {
  const ImageSums squares(device, t.x, 0), along(device, t.x, 1);
  const float *g = f32(t.g), *x = f32(t.x);
  float* dx = f32(t.dx);
  const double target = a.target;
  squares.of_products(device, x, x);
  along.of_products(device, g, x);
  parallel_for(device, squares.N * squares.blocks, [=](int task, int) {
    const int image = task / squares.blocks;
    const double rms = sqrt(squares.of(image) / squares.count);
    const bool silent = !(rms > SILENT_RMS);
    const double inverse = 1 / (silent ? SILENT_RMS : rms);
    const double mean = silent ? 0 : along.of(image) * inverse / squares.count;
    const float factor = (float)(target * inverse), unit = (float)inverse, back = (float)mean;
    const long begin = task * squares.block_size, end = begin + squares.block_size;
    for (long i = begin; i < end; i++) dx[i] = factor * (g[i] - x[i] * unit * back);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
