// filter_loss: minus the mutual information between the maps of a batch and the part templates, and
// its exact gradient with respect to the scores.                        [Zhang, Wu, Zhu 2018]
//   in   x (N, D, n, n)  peak_mean (D)
//   out  loss (D)  dscore (N, D, n*n+1, 1)  factor (D)  peak_mean_out (D)
//   grid scores: one matrix product per image, templates x maps, all filters at once; statistics:
//   one
//        thread per (template, filter) over the batch, or per (image, filter) over the templates;
//        seven launches in all
//   cost two products of (n*n+1) x n*n with the maps, as three tf32 products each: scores are
//        exponents; reads of the scores are memory bound; logarithms in double: the loss is a small
//        difference of them
//   s(x,T) = sum_ij factor x_ij T_ij; T_mu = tau max(1 - beta |[i,j] - mu|_1 / n, -1), T_- = -tau.
#include "../cuda_kernels.h"
#include "../device/gemm.h"

namespace partlens {
namespace cuda {

// templates[T][cell], or [cell][T] for the gradient; rows padded with zeros.
struct FillTemplates {
  float* matrix;
  int n, pitch;
  bool transposed;
  float beta, tau;
  __device__ void operator()(long i) const {
    const int row = (int)(i / pitch), column = (int)(i % pitch), cells = n * n;
    const int T = transposed ? column : row, cell = transposed ? row : column;
    float value = 0;
    if (T < cells && cell < cells) {
      const int distance = abs(T / n - cell / n) + abs(T % n - cell % n);
      value = tau * fmaxf(1 - beta * distance / n, -1);
    } else if (T == cells && cell < cells) {
      value = -tau;
    }
    matrix[i] = value;
  }
};

static Dense<true> make_templates(Device& device, int n, float beta, float tau, bool transposed) {
  const int cells = n * n, rows = transposed ? cells : cells + 1;
  const int pitch = padded(transposed ? cells + 1 : cells);
  float* matrix = device.scratch<float>(TEMPLATE_SLOT, (size_t)rows * pitch);
  for_each(device, (long)rows * pitch, FillTemplates{matrix, n, pitch, transposed, beta, tau});
  return {matrix, pitch, 0, rows, pitch};
}

// to[batch][m][n] = c * gain[n] (* gain2[n])
struct StoreScaled {
  float* to;
  const float *gain, *gain2;  // gain2: or nullptr
  int M, N;
  __device__ float of(int n) const { return gain2 ? gain[n] * gain2[n] : gain[n]; }
  __device__ void operator()(int batch, int m, int n, float c0, float c1) const {
    float* place = to + ((long)batch * M + m) * N + n;
    *reinterpret_cast<float2*>(place) = make_float2(c0 * of(n), c1 * of(n + 1));
  }
};

// peaks[d] = mean over images of the map's largest value. Block (32 filters, 8 groups of images).
__global__ void __launch_bounds__(COLUMNS* ROWS_AT_ONCE)
    mean_peaks_kernel(const float* x, double* peaks, int N, int cells, int D, int pitch) {
  PL_SHARED(double, sums, [ROWS_AT_ONCE][COLUMNS]);
  const int lane = threadIdx.x, group = threadIdx.y, d = blockIdx.x * COLUMNS + lane;
  double sum = 0;
  for (int n = group; d < D && n < N; n += ROWS_AT_ONCE) {
    const float* map = x + (long)n * cells * pitch + d;
    float top = map[0];
    for (int i = 1; i < cells; i++) top = fmaxf(top, map[(long)i * pitch]);
    sum += top;
  }
  sums[group][lane] = sum;
  __syncthreads();
  if (group != 0 || d >= D) return;
  for (int g = 1; g < ROWS_AT_ONCE; g++) sum += sums[g][lane];
  peaks[d] = sum / N;
}

// One block: factor = kappa / max(m, floor mean m), m the running mean of the peaks; or 1.
__global__ void __launch_bounds__(SUM_THREADS)
    peak_factors_kernel(const double* peaks, const float* peak_mean, float* peak_mean_out,
                        float* factor, int D, int pitch, FilterLossAttrs a) {
  if (!a.peak_scale) {
    for (int d = threadIdx.x; d < pitch; d += SUM_THREADS) factor[d] = d < D ? 1 : 0;
    return;
  }
  const auto peak_of = [&](int d) -> double {
    const double old = peak_mean[d];
    if (!a.training) return old;
    return old < 0 ? peaks[d] : a.momentum * old + (1 - a.momentum) * peaks[d];
  };
  double sum = 0;
  for (int d = threadIdx.x; d < D; d += SUM_THREADS) sum += peak_of(d) / D;
  const double floor = a.floor * block_sum(sum);
  for (int d = threadIdx.x; d < pitch; d += SUM_THREADS) {
    const double own = d < D ? peak_of(d) : 0, used = d < D && own < floor ? floor : own;
    factor[d] = used > 0 ? (float)(a.kappa / used) : 0;
    if (peak_mean_out && d < D) peak_mean_out[d] = (float)own;
  }
}

// Scores of a batch, score[n][T][d], and what is kept of them.
struct Scores {
  float* s;
  int N, templates, D, pitch;
  double p_mu, p_none;             // p(T)
  double *log_z, *inverse_z, *kl;  // [T][pitch]: Z_T = sum over images of exp(s), and KL_T
  double* log_p;                   // [n][pitch]: log p(x)
  float* top;                      // [T][pitch]: the largest score

  __device__ double p(int T) const { return T == templates - 1 ? p_none : p_mu; }
  __device__ long at(int n, int T, int d) const { return ((long)n * templates + T) * pitch + d; }
  // exp(s - top); below 1e-30 it counts as zero.
  __device__ float e(float score, long of_template) const {
    const float below = score - top[of_template];
    return below < -69 ? 0 : expf(below);
  }
};

// log Z_T over the images. i: (T, d).
struct LogPartition : Scores {
  __device__ void operator()(long i) const {
    const int T = (int)(i / pitch), d = (int)(i % pitch);
    float most = s[at(0, T, d)];
    for (int n = 1; n < N; n++) {
      const float v = s[at(n, T, d)];
      most = v > most ? v : most;
    }
    top[i] = most;
    double z = 0;
    for (int n = 0; n < N; n++) z += e(s[at(n, T, d)], i);
    log_z[i] = most + log(z);
    inverse_z[i] = 1 / z;
  }
};

// log p(x) = log sum_T p(T) p(x|T). i: (n, d).
struct LogEvidence : Scores {
  __device__ void operator()(long i) const {
    const int n = (int)(i / pitch), d = (int)(i % pitch);
    double sum = 0;
    for (int T = 0; T < templates; T++) {
      const long of_template = (long)T * pitch + d;
      sum += p(T) * e(s[at(n, T, d)], of_template) * inverse_z[of_template];
    }
    log_p[i] = sum > 0 || sum != sum ? log(sum) : of_small(n, d);
  }
  // Where no template gives the image a probability that float can hold.
  __device__ double of_small(int n, int d) const {
    double most = -1e300, sum = 0;
    for (int T = 0; T < templates; T++) {
      most = fmax(most, s[at(n, T, d)] - log_z[(long)T * pitch + d]);
    }
    for (int T = 0; T < templates; T++) {
      sum += p(T) * exp(s[at(n, T, d)] - log_z[(long)T * pitch + d] - most);
    }
    return log(sum) + most;
  }
};

// KL_T, then the scores become dLoss/ds = -p(T) p(x|T) (log(p(x|T) / p(x)) - KL_T). i: (T, d).
struct ScoreGradient : Scores {
  __device__ void operator()(long i) const {
    const int T = (int)(i / pitch), d = (int)(i % pitch);
    double sum = 0;
    for (int n = 0; n < N; n++) {
      const float score = s[at(n, T, d)];
      const double surprise = score - log_z[i] - log_p[(long)n * pitch + d];
      sum += e(score, i) * inverse_z[i] * surprise;
    }
    kl[i] = sum;
    for (int n = 0; n < N; n++) {
      const float score = s[at(n, T, d)];
      const double surprise = score - log_z[i] - log_p[(long)n * pitch + d] - sum;
      const double gradient = -p(T) * (e(score, i) * inverse_z[i]) * surprise;
      s[at(n, T, d)] = d < D ? (float)gradient : 0;
    }
  }
};

struct TemplateInformation : Scores {
  __device__ double operator()(long T, int d) const { return p((int)T) * kl[T * pitch + d]; }
};
struct StoreLoss {
  float* loss;
  int D;
  __device__ void operator()(int d, double information) const {
    loss[d] = d < D ? (float)-information : 0;
  }
};

static Scores scores_of(Device& device, const PlTensor& dscore, float alpha) {
  Scores k = {};
  k.s = f32(dscore);
  k.N = dscore.dims[0], k.D = dscore.dims[1], k.templates = dscore.dims[2];
  k.pitch = padded(k.D);
  k.p_mu = (double)alpha / (k.templates - 1), k.p_none = 1 - (double)alpha;
  const size_t lanes = (size_t)k.templates * k.pitch, images = (size_t)k.N * k.pitch;
  double* memory = device.scratch<double>(STATISTICS_SLOT, 3 * lanes + images + lanes / 2 + 1);
  k.log_z = memory, k.inverse_z = memory + lanes, k.kl = memory + 2 * lanes;
  k.log_p = memory + 3 * lanes;
  k.top = reinterpret_cast<float*>(memory + 3 * lanes + images);
  return k;
}

template <class Op>
static Op with(const Scores& scores) {
  Op op;
  static_cast<Scores&>(op) = scores;
  return op;
}

void filter_loss_forward(Device& device, const filter_loss_forward_args& t,
                         const FilterLossAttrs& a) {
  const int N = t.x.dims[0], D = t.x.dims[1], n = t.x.dims[2], cells = n * n, pitch = padded(D);
  double* peaks = device.scratch<double>(STATISTICS_SLOT, pitch);
  if (a.peak_scale && a.training) {
    launch(device, mean_peaks_kernel, dim3(tiles_of(D, COLUMNS)), dim3(COLUMNS, ROWS_AT_ONCE), 0,
           (const float*)f32(t.x), peaks, N, cells, D, pitch);
  }
  launch(device, peak_factors_kernel, dim3(1), dim3(SUM_THREADS), 0, (const double*)peaks,
         (const float*)f32(t.peak_mean), f32(t.peak_mean_out), f32(t.factor), D, pitch, a);

  const Dense<true> templates = make_templates(device, n, a.beta, a.tau, false);
  const Dense<false> maps = {f32(t.x), pitch, (long)cells * pitch, cells, pitch};
  const StoreScaled store = {f32(t.dscore), f32(t.factor), nullptr, cells + 1, pitch};
  batched_gemm<SmallTile>(device, templates, maps, store, cells + 1, pitch, cells, N);

  const Scores scores = scores_of(device, t.dscore, a.alpha);
  const long lanes = (long)(cells + 1) * pitch;
  for_each(device, lanes, with<LogPartition>(scores));
  for_each(device, (long)N * pitch, with<LogEvidence>(scores));
  for_each(device, lanes, with<ScoreGradient>(scores));
  sum_columns(device, cells + 1, pitch, with<TemplateInformation>(scores),
              StoreLoss{f32(t.loss), D});
}

// dx_ij = g factor sum_T dscore_T T_ij
void filter_loss_backward(Device& device, const filter_loss_backward_args& t,
                          const TemplateAttrs& a) {
  const int N = t.dx.dims[0], n = t.dx.dims[2], cells = n * n, pitch = padded(t.dx.dims[1]);
  const Dense<true> templates = make_templates(device, n, a.beta, a.tau, true);
  const Dense<false> dscore = {f32(t.dscore), pitch, (long)(cells + 1) * pitch, cells + 1, pitch};
  const StoreScaled store = {f32(t.dx), f32(t.factor), f32(t.g), cells, pitch};
  batched_gemm<SmallTile>(device, templates, dscore, store, cells, pitch, padded(cells + 1), N);
}

}  // namespace cuda
}  // namespace partlens
