// compete: a place counts for its strongest filters.
//   in   x (N, D, H, W)  factor (D), absent: 1   out  y like x
//   grid one task per image and row of cells
//   cost reads x twice (the second time from the cache), writes y once; memory bound for t = 4,
//        other powers are taken twice, in double
//   z = factor x, e = max(scale z, 1e-6)^t, y = z e / (sum over filters of e + tau^t). Backward,
//   the exact gradient with q = sum over filters of g y and w = e / (sum + tau^t): dx = factor w (g
//   + t (g z - q) / z), without the second term where scale z is below 1e-6.
#include "share.h"

namespace partlens {
namespace PL_ISA {

struct Competition {
  const float *x, *factor, *least;  // factor: or nullptr
  long plane, image;                // floats of a block of channels, of an image
  int blocks, W;
  float scale, t, silence;  // silence: tau^t

  Competition(Device& device, const PlTensor& given, const PlTensor& factor_of,
              const CompeteAttrs& a)
      : x(f32(given)),
        factor(f32(factor_of)),
        plane((long)given.dims[2] * given.dims[3] * BLOCK),
        blocks(blocks_of(given.dims[1])),
        W(given.dims[3]),
        scale(a.scale),
        t(a.power),
        silence((float)pow((double)a.tau, (double)a.power)) {
    image = plane * blocks;
    float* lanes = device.scratch(0, padded(given.dims[1]));
    least_bases(lanes, given.dims[1]);
    least = lanes;
  }

  Vec factor_at(int channel) const { return factor ? load(factor + channel) : splat(1); }
  // e of filters `channel` and on, with z; 0 in the padding
  Vec strength(Vec z, int channel) const {
    const Vec base = z * scale, floor = load(least + channel);
    return raised(base > floor ? base : floor, t);
  }
  // inverse[w] = 1 / (sum over filters of e + tau^t) for a row of cells that begins at x + at;
  // sums: W x 16 floats.
  void invert(long at, float* sums, float* inverse) const {
    memset(sums, 0, sizeof(float) * W * BLOCK);
    for (int b = 0; b < blocks; b++) {
      for (int lane = 0; lane < BLOCK; lane += VL) {
        const int channel = b * BLOCK + lane;
        const Vec f = factor_at(channel);
        for (int w = 0; w < W; w++) {
          const Vec e = strength(load(x + at + b * plane + w * BLOCK + lane) * f, channel);
          store(sums + w * BLOCK + lane, load(sums + w * BLOCK + lane) + e);
        }
      }
    }
    for (int w = 0; w < W; w++) inverse[w] = 1 / (lane_total(sums + w * BLOCK) + silence);
  }
  // body(offset, channel, w, z, e, factor) for 16 / VL times each cell and block of a row
  template <class Body>
  void each(long at, Body body) const {
    for (int b = 0; b < blocks; b++) {
      for (int lane = 0; lane < BLOCK; lane += VL) {
        const int channel = b * BLOCK + lane;
        const Vec f = factor_at(channel);
        for (int w = 0; w < W; w++) {
          const long offset = at + b * plane + w * BLOCK + lane;
          const Vec z = load(x + offset) * f;
          body(offset, w, z, strength(z, channel), f);
        }
      }
    }
  }
  long row(int task, int H) const { return task / H * image + (long)(task % H) * W * BLOCK; }
};

void compete_forward(Device& device, const compete_forward_args& t, const CompeteAttrs& a) {
  const Competition k(device, t.x, t.factor, a);
  const ShareLines lines(device, 1, (size_t)k.W * (BLOCK + 1));
  const int H = t.x.dims[2];
  float* y = f32(t.y);
  parallel_for(device, t.x.dims[0] * H, [=](int task, int worker) {
    float *sums = lines.of(worker), *inverse = sums + k.W * BLOCK;
    const long at = k.row(task, H);
    k.invert(at, sums, inverse);
    k.each(at, [=](long i, int w, Vec z, Vec e, Vec) { store(y + i, z * (e * inverse[w])); });
  });
}

void compete_backward(Device& device, const compete_backward_args& t, const CompeteAttrs& a) {
  const Competition k(device, t.x, t.factor, a);
  const ShareLines lines(device, 1, (size_t)k.W * (BLOCK + 2));
  const int H = t.x.dims[2];
  const float* g = f32(t.g);
  float* dx = f32(t.dx);
  parallel_for(device, t.x.dims[0] * H, [=](int task, int worker) {
    float *sums = lines.of(worker), *inverse = sums + k.W * BLOCK, *q = inverse + k.W;
    const long at = k.row(task, H);
    k.invert(at, sums, inverse);
    memset(sums, 0, sizeof(float) * k.W * BLOCK);
    k.each(at, [=](long i, int w, Vec z, Vec e, Vec) {
      float* sum = sums + w * BLOCK + i % BLOCK;
      store(sum, load(sum) + load(g + i) * z * e);
    });
    for (int w = 0; w < k.W; w++) q[w] = lane_total(sums + w * BLOCK) * inverse[w];
    k.each(at, [=](long i, int w, Vec z, Vec e, Vec f) {
      const Vec share = e * inverse[w], direct = load(g + i);
      const Vec lively = z * k.scale > LEAST_BASE ? z : splat(1);
      const Vec rise = k.t * (direct - q[w] / lively);
      store(dx + i, f * share * (direct + (z * k.scale > LEAST_BASE ? rise : Vec{})));
    });
  });
}

}  // namespace PL_ISA
}  // namespace partlens
