// filter_loss: minus the mutual information between the maps of a batch and the part templates, and
// its exact gradient with respect to the scores.                        [Zhang, Wu, Zhu 2018]
//   in   x (N, D, n, m)  peak_mean (D)  foreign (N, D), absent: 0
//   out  loss (D)  dscore (N, D, n*m+1, 1)  factor (D)  peak_mean_out (D)
//   grid scores: one task per image and 32 filters; statistics: one task per 16 filters
//   cost two products of (n*m+1) x n*m with the maps; one exponential per score; logarithms in
//        double: the loss is a small difference of them
//   one core with AVX-512: 256x14x14, N=32: 8-9 ms forward, 4 ms backward
//   s(x,T) = sum_ij factor x_ij T_ij; T_mu = tau max(1 - beta |[i,j] - mu|_1 / sqrt(n m), -1),
//   T_- = -tau. With `foreign` each image's cross-entropy of "no part" besides:
//   foreign / N * (log sum_T p(T) exp(s(x,T)) - s(x,T_-) - log p(T_-)).
#include "../cpu_kernels.h"
#include "../simd/chunks.h"
#include "../simd/gemm.h"
#include "mask.h"

namespace partlens {
namespace PL_ISA {

enum { TEMPLATE_SLOT = 8, OFFSETS_SLOT = 9, STATISTICS_SLOT = 10, PEAK_SLOT = 11 };

static float template_cell(int T, int cell, int cells, int m, float side, float beta, float tau) {
  if (T == cells) return -tau;
  const int down = T / m - cell / m, across = T % m - cell % m;
  const float u = 1 - beta * ((down < 0 ? -down : down) + (across < 0 ? -across : across)) / side;
  return tau * (u > -1 ? u : -1);
}

// The left matrix of a product, in blocks [k/16][rows][16]: templates (rows = templates, k = cells)
// or their transpose.
struct Templates {
  float* matrix;
  int* offsets;
  int rows, k;

  Tile tile(const float* panels, long w_panel, float* c, long c_panel) const {
    Tile t;
    t.a = matrix;
    t.offsets = offsets;
    t.full = k / BLOCK;
    t.tail = k % BLOCK ? 1 : 0;
    t.tail_lanes = k % BLOCK;
    t.w = panels;
    t.w_panel = w_panel;
    t.c = c;
    t.c_panel = c_panel;
    return t;
  }
};

static Templates make_templates(Device& device, int n, int m, float beta, float tau,
                                bool transposed) {
  const int cells = n * m, count = cells + 1;
  const float side = side_of(n, m);
  Templates t = {};
  t.rows = transposed ? cells : count;
  t.k = transposed ? count : cells;
  t.matrix = device.scratch(TEMPLATE_SLOT, (size_t)padded(t.k) * t.rows);
  t.offsets = reinterpret_cast<int*>(device.scratch(OFFSETS_SLOT, blocks_of(t.k)));
  const Templates made = t;
  parallel_for(device, blocks_of(t.k), [=](int b, int) {
    made.offsets[b] = b * made.rows * BLOCK;
    for (int row = 0; row < made.rows; row++) {
      for (int lane = 0; lane < BLOCK; lane++) {
        const int k = b * BLOCK + lane;
        const int T = transposed ? k : row, cell = transposed ? row : k;
        made.matrix[((long)b * made.rows + row) * BLOCK + lane] =
            k < made.k ? template_cell(T, cell, cells, m, side, beta, tau) : 0;
      }
    }
  });
  return t;
}

// factor (D): kappa / max(m, floor mean m) with m the running mean of the peaks, or 1.
static void scale_factors(Device& device, const filter_loss_forward_args& t,
                          const FilterLossAttrs& a) {
  const int N = t.x.dims[0], D = t.x.dims[1], cells = t.x.dims[2] * t.x.dims[3];
  const int blocks = blocks_of(D);
  float* factor = f32(t.factor);
  for (int d = 0; d < padded(D); d++) factor[d] = d < D ? 1 : 0;
  if (!a.peak_scale) return;
  const float* x = f32(t.x);
  double* peaks = reinterpret_cast<double*>(device.scratch(PEAK_SLOT, 2 * (size_t)padded(D)));
  parallel_for(device, a.training ? blocks : 0, [=](int block, int) {
    double sum[BLOCK] = {};
    for (int n = 0; n < N; n++) {
      const float* map = x + ((long)n * blocks + block) * cells * BLOCK;
      float top[BLOCK];
      for (int c = 0; c < BLOCK; c++) top[c] = map[c];
      for (int i = 1; i < cells; i++) {
        for (int c = 0; c < BLOCK; c++) {
          const float v = map[i * BLOCK + c];
          top[c] = v > top[c] ? v : top[c];
        }
      }
      for (int c = 0; c < BLOCK; c++) sum[c] += top[c];
    }
    for (int c = 0; c < BLOCK; c++) peaks[block * BLOCK + c] = sum[c] / N;
  });
  double mean = 0;
  for (int d = 0; d < D; d++) {
    const double old = f32(t.peak_mean)[d];
    if (!a.training)
      peaks[d] = old;
    else if (old >= 0)
      peaks[d] = a.momentum * old + (1 - a.momentum) * peaks[d];
    mean += peaks[d] / D;
  }
  for (int d = 0; d < D; d++) {
    const double floor = a.floor * mean;
    const double strength = peaks[d] > floor ? peaks[d] : floor;
    factor[d] = strength > 0 ? (float)(a.kappa / strength) : 0;
    if (t.peak_mean_out.data) f32(t.peak_mean_out)[d] = (float)peaks[d];
  }
}

// Scores s(x,T) of 16 filters: image n at s + n * image, [T][16]. They become dLoss/ds in place.
struct Scores {
  float* s;
  long image;
  int images, templates;
  double p_mu, p_none;  // p(T)

  double p(int T) const { return T == templates - 1 ? p_none : p_mu; }
  int lanes() const { return templates * BLOCK; }
};

// What one task keeps of its 16 filters.
struct Statistics {
  double *log_z, *inverse_z, *kl;  // per template: Z_T = sum over images of exp(s), and KL_T
  double* log_p;                   // per image: log p(x)
  float* top;                      // per template: the largest score
  float* e;                        // exp(s - top), [image][T][16]; p(x|T) = e * inverse_z
  float* likely;                   // one image: p(T) exp(s - its largest)

  static size_t doubles(int images, int templates) {
    const size_t floats = (2 * (size_t)templates + (size_t)images * templates) * BLOCK;
    return (3 * (size_t)templates + images) * BLOCK + floats / 2;
  }
  static Statistics at(double* memory, int images, int templates) {
    const long lanes = (long)templates * BLOCK;
    float* floats = reinterpret_cast<float*>(memory + 3 * lanes + images * BLOCK);
    return {memory, memory + lanes,     memory + 2 * lanes, memory + 3 * lanes,
            floats, floats + 2 * lanes, floats + lanes};
  }
};

static inline DoubleVec at(const double* p) { return *reinterpret_cast<const DoubleVec*>(p); }
static inline DoubleVec& at(double* p) { return *reinterpret_cast<DoubleVec*>(p); }

// Below exp(-69) = 1e-30 probabilities count as zero: no denormal numbers in products.
constexpr float NEGLIGIBLE = -69;

static void log_partition(const Scores& s, const Statistics& k) {
  const int lanes = s.lanes();
  memcpy(k.top, s.s, sizeof(float) * lanes);
  for (int n = 1; n < s.images; n++) {
    const float* row = s.s + n * s.image;
    for (int i = 0; i < lanes; i += VL) {
      const Vec v = load(row + i), best = load(k.top + i);
      store(k.top + i, v > best ? v : best);
    }
  }
  memset(k.inverse_z, 0, sizeof(double) * lanes);
  for (int n = 0; n < s.images; n++) {
    const float* row = s.s + n * s.image;
    float* e = k.e + (long)n * lanes;
    for (int i = 0; i < lanes; i += VL) {
      const Vec below = load(row + i) - load(k.top + i);
      store(e + i, below < NEGLIGIBLE ? Vec{} : exp(below));
    }
    for (int i = 0; i < lanes; i += DL) at(k.inverse_z + i) += widen(e + i);
  }
  for (int i = 0; i < lanes; i += DL) {
    const DoubleVec z = at(k.inverse_z + i);
    at(k.log_z + i) = widen(k.top + i) + log(z);
    at(k.inverse_z + i) = 1 / z;
  }
}

// log sum_T p(T) exp(s - log Z_T) of one image where no template gives it a probability.
static DoubleVec log_of_small(const Scores& s, const Statistics& k, const float* row, int lane) {
  DoubleVec top = DoubleVec{} - 1e300, sum = {};
  for (int T = 0; T < s.templates; T++) {
    const DoubleVec v = widen(row + T * BLOCK + lane) - at(k.log_z + T * BLOCK + lane);
    top = v > top ? v : top;
  }
  for (int T = 0; T < s.templates; T++) {
    const DoubleVec v = widen(row + T * BLOCK + lane) - at(k.log_z + T * BLOCK + lane);
    sum += s.p(T) * exp(v - top);
  }
  return log(sum) + top;
}

// log p(x) = log sum_T p(T) p(x|T), for every image.
static void log_evidence(const Scores& s, const Statistics& k) {
  for (int n = 0; n < s.images; n++) {
    const float* e = k.e + (long)n * s.lanes();
    for (int lane = 0; lane < BLOCK; lane += DL) {
      DoubleVec sum = {};
      for (int i = lane; i < s.lanes() - BLOCK; i += BLOCK)
        sum += widen(e + i) * at(k.inverse_z + i);
      const int last = s.lanes() - BLOCK + lane;
      sum = s.p_mu * sum + s.p_none * (widen(e + last) * at(k.inverse_z + last));
      bool small = false;
      for (int i = 0; i < DL; i++) small |= !(sum[i] > 1e-20);
      at(k.log_p + n * BLOCK + lane) =
          small ? log_of_small(s, k, s.s + n * s.image, lane) : log(sum);
    }
  }
}

// Images that should show no part: weights by (image, filter), the loss of 16 filters.
struct Foreign {
  const float* weight;  // of the first image; or nullptr
  int stride;
  alignas(64) double loss[BLOCK];
  alignas(64) double of_none[BLOCK], of_likely[BLOCK];  // weight / N; that / sum of likely

  // Adds weight / N * cross-entropy of "no part" in image n to the loss. Its gradient is of_likely
  // * likely[T] - of_none [T = T_-], likely = p(T) exp(s - the largest score).
  void add(const Scores& s, const Statistics& k, int n) {
    const float *row = s.s + n * s.image, *none = row + s.lanes() - BLOCK;
    alignas(64) float top[BLOCK];
    for (int lane = 0; lane < BLOCK; lane += VL) {
      Vec most = load(row + lane);
      for (int i = lane; i < s.lanes(); i += BLOCK) {
        const Vec v = load(row + i);
        most = v > most ? v : most;
      }
      store(top + lane, most);
      for (int i = lane; i < s.lanes(); i += BLOCK) {
        const Vec below = load(row + i) - most;
        const Vec e = below < NEGLIGIBLE ? Vec{} : exp(below);
        store(k.likely + i, e * (float)s.p(i / BLOCK));
      }
    }
    alignas(64) double sum[BLOCK] = {};
    for (int i = 0; i < s.lanes(); i += DL) at(sum + i % BLOCK) += widen(k.likely + i);
    for (int c = 0; c < BLOCK; c++) {
      of_none[c] = (double)weight[(long)n * stride + c] / s.images;
      of_likely[c] = of_none[c] / sum[c];
      loss[c] += of_none[c] * (top[c] + ::log(sum[c]) - none[c] - ::log(s.p_none));
    }
  }
  // That gradient, for lanes i and on.
  DoubleVec gradient(const Scores& s, const Statistics& k, int i) const {
    const DoubleVec likely = at(of_likely + i % BLOCK) * widen(k.likely + i);
    return i < s.lanes() - BLOCK ? likely : likely - at(of_none + i % BLOCK);
  }
};

// KL_T = sum_x p(x|T) log(p(x|T) / p(x)); then s becomes -p(T) p(x|T) (log(p(x|T) / p(x)) - KL_T).
static void score_gradient(const Scores& s, const Statistics& k, Foreign& foreign) {
  memset(k.kl, 0, sizeof(double) * s.lanes());
  for (int n = 0; n < s.images; n++) {
    const float *row = s.s + n * s.image, *e = k.e + (long)n * s.lanes();
    const double* log_p = k.log_p + n * BLOCK;
    for (int i = 0; i < s.lanes(); i += DL) {
      const DoubleVec surprise = widen(row + i) - at(k.log_z + i) - at(log_p + i % BLOCK);
      at(k.kl + i) += widen(e + i) * at(k.inverse_z + i) * surprise;
    }
  }
  for (int n = 0; n < s.images; n++) {
    float* row = s.s + n * s.image;
    const float* e = k.e + (long)n * s.lanes();
    const double* log_p = k.log_p + n * BLOCK;
    if (foreign.weight) foreign.add(s, k, n);
    for (int i = 0; i < s.lanes(); i += DL) {
      const DoubleVec surprise =
          widen(row + i) - at(k.log_z + i) - at(log_p + i % BLOCK) - at(k.kl + i);
      DoubleVec gradient = -s.p(i / BLOCK) * (widen(e + i) * at(k.inverse_z + i)) * surprise;
      if (foreign.weight) gradient += foreign.gradient(s, k, i);
      narrow(row + i, gradient);
    }
  }
}

void filter_loss_forward(Device& device, const filter_loss_forward_args& t,
                         const FilterLossAttrs& a) {
  const int N = t.x.dims[0], D = t.x.dims[1], n = t.x.dims[2], m = t.x.dims[3];
  const int cells = n * m, count = cells + 1;
  const int blocks = blocks_of(D), groups = (blocks + TILE_PANELS - 1) / TILE_PANELS;
  scale_factors(device, t, a);
  const Templates templates = make_templates(device, n, m, a.beta, a.tau, false);
  const float *x = f32(t.x), *factor = f32(t.factor);
  float *scores = f32(t.dscore), *loss = f32(t.loss);
  parallel_for(device, N * groups, [=](int task, int) {
    const int block = task % groups * TILE_PANELS;
    const int wide = blocks - block < TILE_PANELS ? blocks - block : TILE_PANELS;
    const long at_block = (long)(task / groups) * blocks + block;
    float* c = scores + at_block * count * BLOCK;
    tile_rows(
        templates.tile(x + at_block * cells * BLOCK, (long)cells * BLOCK, c, (long)count * BLOCK),
        count, wide);
    for (int p = 0; p < wide; p++) {
      float* panel = c + (long)p * count * BLOCK;
      for (int T = 0; T < count; T++) {
        for (int i = 0; i < BLOCK; i++) panel[T * BLOCK + i] *= factor[(block + p) * BLOCK + i];
      }
    }
  });

  const size_t doubles = Statistics::doubles(N, count);
  double* memory =
      reinterpret_cast<double*>(device.scratch(STATISTICS_SLOT, device.threads() * 2 * doubles));
  const double alpha = a.alpha;
  const float* weights = f32(t.foreign);
  const int weights_stride = weights ? row_stride(t.foreign) : 0;
  parallel_for(device, blocks, [=](int block, int worker) {
    const Statistics k = Statistics::at(memory + worker * doubles, N, count);
    const Scores s = {scores + (long)block * count * BLOCK,
                      (long)blocks * count * BLOCK,
                      N,
                      count,
                      alpha / cells,
                      1 - alpha};
    log_partition(s, k);
    log_evidence(s, k);
    Foreign foreign = {weights ? weights + block * BLOCK : nullptr, weights_stride, {}, {}, {}};
    score_gradient(s, k, foreign);
    for (int c = 0; c < BLOCK; c++) {
      double information = 0;
      for (int T = 0; T < count; T++) information += s.p(T) * k.kl[T * BLOCK + c];
      loss[block * BLOCK + c] = block * BLOCK + c < D ? (float)(foreign.loss[c] - information) : 0;
    }
    for (int c = D - block * BLOCK; c < BLOCK; c++) {  // lanes that are no filter
      for (int i = 0; i < N * count; i++) s.s[i / count * s.image + i % count * BLOCK + c] = 0;
    }
  });
}

// dx_ij = g factor sum_T dscore_T T_ij
void filter_loss_backward(Device& device, const filter_loss_backward_args& t,
                          const TemplateAttrs& a) {
  const int N = t.dx.dims[0], n = t.dx.dims[2], m = t.dx.dims[3], cells = n * m, count = cells + 1;
  const int blocks = blocks_of(t.dx.dims[1]), groups = (blocks + TILE_PANELS - 1) / TILE_PANELS;
  const Templates templates = make_templates(device, n, m, a.beta, a.tau, true);
  const float *dscore = f32(t.dscore), *g = f32(t.g), *factor = f32(t.factor);
  float* dx = f32(t.dx);
  parallel_for(device, N * groups, [=](int task, int) {
    const int block = task % groups * TILE_PANELS;
    const int wide = blocks - block < TILE_PANELS ? blocks - block : TILE_PANELS;
    const long at_block = (long)(task / groups) * blocks + block;
    float* c = dx + at_block * cells * BLOCK;
    tile_rows(templates.tile(dscore + at_block * count * BLOCK, (long)count * BLOCK, c,
                             (long)cells * BLOCK),
              cells, wide);
    for (int p = 0; p < wide; p++) {
      const int first = (block + p) * BLOCK;
      float* panel = c + (long)p * cells * BLOCK;
      for (int cell = 0; cell < cells; cell++) {
        for (int i = 0; i < BLOCK; i++) panel[cell * BLOCK + i] *= g[first + i] * factor[first + i];
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
