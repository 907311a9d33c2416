// group_norm: y = (x - mean) / sqrt(var + epsilon) over the channels of a group, all cells.
//   in   x (N, C, H, W)                     out  y like x
//   grid one task per image and block of 16 channels, whatever the groups
//   cost reads x three times (mean, variance, result), writes y once
//   Each channel's mean and squares about it first, then those of a group from them: nothing
//   cancels [Chan 1979]. Backward: dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + epsilon).
//   [Wu 2018]
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// Per image and channel, lanes of the padding 0: what the result is made of.
struct GroupMoments {
  double *mean, *scale;      // of the channel's group; scale 1 / sqrt(var + epsilon)
  double *straight, *along;  // backward: means of g and of g xhat over the group
  int N, C, blocks, groups;
  long cells;

  GroupMoments(Device& device, const PlTensor& x, int groups)
      : N(x.dims[0]),
        C(x.dims[1]),
        blocks(blocks_of(C)),
        groups(groups),
        cells((long)x.dims[2] * x.dims[3]) {
    const size_t count = (size_t)N * blocks * BLOCK;
    mean = reinterpret_cast<double*>(device.scratch(0, 8 * count));
    scale = mean + count, straight = scale + count, along = straight + count;
  }

  // to[channel] = sum over the cells of the block of term(lane, offset)
  template <class Term>
  void sum_cells(long task, double* to, Term term) const {
    double sum[BLOCK] = {};
    for (long i = task * cells * BLOCK; i < (task + 1) * cells * BLOCK; i += BLOCK) {
      for (int c = 0; c < BLOCK; c++) sum[c] += term(c, i + c);
    }
    for (int c = 0; c < BLOCK; c++) to[task * BLOCK + c] = sum[c];
  }

  // Replaces the sums of channels by f(first channel of the group, channels of it) in all of them.
  template <class Combine>
  void combine(Combine f) const {
    const int width = C / groups;
    for (int n = 0; n < N; n++) {
      const long image = (long)n * blocks * BLOCK;
      for (int c = 0; c < C; c += width) f(image + c, width);
    }
  }

  // mean and scale. Sums of squares lie in `scale` before the groups are known.
  void find(Device& device, const float* x, double epsilon) const {
    const GroupMoments m = *this;
    parallel_for(device, N * blocks, [=](int task, int) {
      double* mean = m.mean + task * (long)BLOCK;
      m.sum_cells(task, m.mean, [=](int, long i) { return (double)x[i]; });
      for (int c = 0; c < BLOCK; c++) mean[c] /= m.cells;
      m.sum_cells(task, m.scale,
                  [=](int c, long i) { return (x[i] - mean[c]) * (x[i] - mean[c]); });
    });
    combine([=](long at, int width) {
      double mean = 0, squares = 0;
      for (int c = 0; c < width; c++) mean += m.mean[at + c];
      mean /= width;
      for (int c = 0; c < width; c++) {
        const double away = m.mean[at + c] - mean;
        squares += m.scale[at + c] + m.cells * away * away;
      }
      const double scale = 1 / sqrt(squares / ((double)m.cells * width) + epsilon);
      for (int c = 0; c < width; c++) m.mean[at + c] = mean, m.scale[at + c] = scale;
    });
  }
};

void group_norm_forward(Device& device, const group_norm_forward_args& t, const GroupNormAttrs& a) {
  const GroupMoments m(device, t.x, a.groups);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  m.find(device, x, a.epsilon);
  // The padding has mean 0 and x 0, so that its result is 0 with any scale.
  parallel_for(device, m.N * m.blocks, [=](int task, int) {
    const double *mean = m.mean + task * (long)BLOCK, *scale = m.scale + task * (long)BLOCK;
    for (long i = task * m.cells * BLOCK; i < (task + 1) * m.cells * BLOCK; i += BLOCK) {
      for (int c = 0; c < BLOCK; c++) y[i + c] = (float)((x[i + c] - mean[c]) * scale[c]);
    }
  });
}

void group_norm_backward(Device& device, const group_norm_backward_args& t,
                         const GroupNormAttrs& a) {
  const GroupMoments m(device, t.x, a.groups);
  const float *x = f32(t.x), *g = f32(t.g);
  float* dx = f32(t.dx);
  m.find(device, x, a.epsilon);
  parallel_for(device, m.N * m.blocks, [=](int task, int) {
    const double *mean = m.mean + task * (long)BLOCK, *scale = m.scale + task * (long)BLOCK;
    m.sum_cells(task, m.straight, [=](int, long i) { return (double)g[i]; });
    m.sum_cells(task, m.along, [=](int c, long i) { return g[i] * ((x[i] - mean[c]) * scale[c]); });
  });
  m.combine([=](long at, int width) {
    double* const both[] = {m.straight, m.along};
    for (double* of : both) {
      double sum = 0;
      for (int c = 0; c < width; c++) sum += of[at + c];
      for (int c = 0; c < width; c++) of[at + c] = sum / ((double)m.cells * width);
    }
  });
  parallel_for(device, m.N * m.blocks, [=](int task, int) {
    const long at = task * (long)BLOCK;
    for (long i = at * m.cells; i < (at + BLOCK) * m.cells; i += BLOCK) {
      for (int c = 0; c < BLOCK; c++) {
        const double scale = m.scale[at + c], xhat = (x[i + c] - m.mean[at + c]) * scale;
        dx[i + c] = (float)(scale * (g[i + c] - m.straight[at + c] - xhat * m.along[at + c]));
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
