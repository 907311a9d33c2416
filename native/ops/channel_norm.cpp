// channel_norm: y = (x - mean) / sqrt(var + epsilon) over the channels of each cell.
//   in   x (N, C, H, W) or rows (N, F)      out  y like x
//   grid one task per image and row of cells
//   cost reads x three times (mean, variance, result), from the cache but for the first
//   Backward with xhat = y: dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + epsilon), from x
//   anew. Two passes in double: nothing cancels. [Ba 2016]
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// Rows are maps of one cell.
struct CellAxes {
  int N, C, H, W;
  long plane, image;

  explicit CellAxes(const PlTensor& t) {
    const bool maps = t.layout == PL_MAPS;
    N = maps ? t.dims[0] : row_count(t), C = maps ? t.dims[1] : features(t);
    H = maps ? t.dims[2] : 1, W = maps ? t.dims[3] : 1;
    plane = (long)H * W * BLOCK, image = plane * blocks_of(C);
  }
  // Mean over the channels of term(offset of the channel in the cell).
  template <class Term>
  double mean(Term term) const {
    double lanes[BLOCK] = {};
    int b = 0;
    for (; b < C / BLOCK; b++) {
      for (int c = 0; c < BLOCK; c++) lanes[c] += term(b * plane + c);
    }
    for (int c = 0; c < C % BLOCK; c++) lanes[c] += term(b * plane + c);
    double sum = 0;
    for (double lane : lanes) sum += lane;
    return sum / C;
  }
  // out = term(offset) for the channels, 0 for the padding.
  template <class Term>
  void write(float* out, Term term) const {
    int b = 0;
    for (; b < C / BLOCK; b++) {
      for (int c = 0; c < BLOCK; c++) out[b * plane + c] = (float)term(b * plane + c);
    }
    for (int c = 0; C % BLOCK && c < BLOCK; c++) {
      out[b * plane + c] = c < C % BLOCK ? (float)term(b * plane + c) : 0;
    }
  }
  // Calls body(offset of the cell) for every cell.
  template <class Body>
  void each(Device& device, Body body) const {
    const CellAxes axes = *this;
    parallel_for(device, N * H, [=](int task, int) {
      const long row = task / axes.H * axes.image + (long)(task % axes.H) * axes.W * BLOCK;
      for (int w = 0; w < axes.W; w++) body(row + (long)w * BLOCK);
    });
  }
};

void channel_norm_forward(Device& device, const channel_norm_forward_args& t,
                          const EpsilonAttrs& a) {
  const CellAxes axes(t.x);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const double epsilon = a.epsilon;
  axes.each(device, [=](long at) {
    const float* in = x + at;
    const double mean = axes.mean([=](long i) { return (double)in[i]; });
    const double variance = axes.mean([=](long i) { return (in[i] - mean) * (in[i] - mean); });
    const double scale = 1 / sqrt(variance + epsilon);
    axes.write(y + at, [=](long i) { return (in[i] - mean) * scale; });
  });
}

void channel_norm_backward(Device& device, const channel_norm_backward_args& t,
                           const EpsilonAttrs& a) {
  const CellAxes axes(t.x);
  const float *x = f32(t.x), *g = f32(t.g);
  float* dx = f32(t.dx);
  const double epsilon = a.epsilon;
  axes.each(device, [=](long at) {
    const float *in = x + at, *grad = g + at;
    const double mean = axes.mean([=](long i) { return (double)in[i]; });
    const double variance = axes.mean([=](long i) { return (in[i] - mean) * (in[i] - mean); });
    const double scale = 1 / sqrt(variance + epsilon);
    const double straight = axes.mean([=](long i) { return (double)grad[i]; });
    const double along = axes.mean([=](long i) { return grad[i] * (in[i] - mean); }) * scale;
    axes.write(dx + at, [=](long i) {
      return scale * (grad[i] - straight - (in[i] - mean) * scale * along);
    });
  });
}

}  // namespace PL_ISA
}  // namespace partlens
