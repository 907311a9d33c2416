// overlap: mean over pairs f != g of -1/2 log(1 - (1 - shrink) s), s = G_fg^2 / (e_f e_g) <= 1,
// e_f = max(G_ff, floor mean G_ff); backward dgram = dloss/dG.                     [Peng 2005]
//   in   gram (D, D, 1, 1), symmetric       out  loss ()   dgram (D, D, 1, 1)
//   cost D^2 numbers, in double: little beside the product that made them
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

namespace {

struct Gram {
  const float* data;
  int D;
  double least, keep;  // floor mean G_ff, 1 - shrink

  Gram(const PlTensor& t, const OverlapAttrs& a) : data(f32(t)), D(t.dims[0]), keep(1 - a.shrink) {
    double sum = 0;
    for (int f = 0; f < D; f++) sum += data[at(f, f)];
    least = a.floor * sum / D;
  }
  long at(int f, int g) const {
    const long block = (long)(f / BLOCK) * blocks_of(D) + g / BLOCK;
    return (block * BLOCK + g % BLOCK) * BLOCK + f % BLOCK;
  }
  // 1 / e_f; 0 where all maps are 0.
  double inverse(int f) const {
    const double own = data[at(f, f)], energy = own > least ? own : least;
    return energy > 0 ? 1 / energy : 0;
  }
  double likeness(int f, int g) const {
    const double value = data[at(f, g)], s = value * value * inverse(f) * inverse(g);
    return s < 1 ? s : 1;
  }
};

// term(f) of each filter, by blocks of filters: a double each.
template <class Term>
static const double* each_filter(Device& device, int D, Term term) {
  double* terms = reinterpret_cast<double*>(device.scratch(SUM_SLOT, 2 * (size_t)D));
  parallel_for(device, blocks_of(D), [=](int block, int) {
    const int end = block * BLOCK + BLOCK < D ? block * BLOCK + BLOCK : D;
    for (int f = block * BLOCK; f < end; f++) terms[f] = term(f);
  });
  return terms;
}

}  // namespace

void overlap_forward(Device& device, const overlap_forward_args& t, const OverlapAttrs& a) {
  const Gram gram(t.gram, a);
  const int D = gram.D;
  const double* terms = each_filter(device, D, [=](int f) {
    double sum = 0;
    for (int g = 0; g < f; g++) sum -= log(1 - gram.keep * gram.likeness(f, g));
    return sum;
  });
  double sum = 0;
  for (int f = 0; f < D; f++) sum += terms[f];
  memset(f32(t.loss), 0, sizeof(float) * BLOCK);
  f32(t.loss)[0] = D > 1 ? (float)(sum / ((double)D * (D - 1))) : 0;
}

void overlap_backward(Device& device, const overlap_backward_args& t, const OverlapAttrs& a) {
  const Gram gram(t.gram, a);
  const int D = gram.D;
  const double gain = D > 1 ? f32(t.g)[0] / ((double)D * (D - 1)) : 0;
  float* dgram = f32(t.dgram);
  memset(dgram, 0, sizeof(float) * elements(t.dgram));
  // dloss/de_f: the pairs (f, g) and (g, f)
  const double* energy = each_filter(device, D, [=](int f) {
    const double inverse = gram.inverse(f);
    double sum = 0;
    for (int g = 0; g < D; g++) {
      if (g == f) continue;
      const double s = gram.likeness(f, g), rise = gain * gram.keep / (1 - gram.keep * s);
      dgram[gram.at(f, g)] = (float)(rise * gram.data[gram.at(f, g)] * inverse * gram.inverse(g));
      sum -= rise * s * inverse;
    }
    return sum;
  });
  double shared = 0;  // what filters below the floor send to the mean
  for (int f = 0; f < D; f++) {
    if (gram.data[gram.at(f, f)] > gram.least)
      dgram[gram.at(f, f)] = (float)energy[f];
    else
      shared += energy[f] * a.floor / D;
  }
  for (int f = 0; f < D; f++) dgram[gram.at(f, f)] += (float)shared;
}

}  // namespace PL_ISA
}  // namespace partlens
