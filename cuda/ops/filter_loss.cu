// filter_loss: minus the mutual information between the maps of a batch and the part templates, and
// its exact gradient with respect to the scores.                        [Zhang, Wu, Zhu 2018]
//   in   x (N, D, n, m)  peak_mean (D)  foreign (N, D), absent: 0
//   out  loss (D)  dscore (N, D, n*m+1, 1)  factor (D)  peak_mean_out (D)
//   grid scores: one matrix product per image, templates x maps, all filters at once; statistics:
//        one thread per (template, filter) over the batch, sums over the templates per (image,
//        filter); eleven launches in all, of which six read the maps or the scores
//   cost two products of (n*m+1) x n*m with the maps, as three tf32 products each: scores are
//        exponents; reads of the scores are memory bound; logarithms in double: the loss is a small
//        difference of them
//   s(x,T) = sum_ij factor x_ij T_ij; T_mu = tau max(1 - beta |[i,j] - mu|_1 / sqrt(n m), -1),
//   T_- = -tau. With `foreign` each image's cross-entropy of "no part" besides:
//   foreign / N * (log sum_T p(T) exp(s(x,T)) - s(x,T_-) - log p(T_-)).
#include "../cuda_kernels.h"
#include "../device/gemm.h"
#include "mask.h"

namespace partlens {
namespace cuda {

// templates[T][cell], or [cell][T] for the gradient; rows padded with zeros.
struct FillTemplates {
  float* matrix;
  int cells, m, pitch;
  bool transposed;
  float side, beta, tau;
  __device__ void operator()(long i) const {
    const int row = (int)(i / pitch), column = (int)(i % pitch);
    const int T = transposed ? column : row, cell = transposed ? row : column;
    float value = 0;
    if (T < cells && cell < cells) {
      const int distance = abs(T / m - cell / m) + abs(T % m - cell % m);
      value = tau * fmaxf(1 - beta * distance / side, -1);
    } else if (T == cells && cell < cells) {
      value = -tau;
    }
    matrix[i] = value;
  }
};

static Dense<true> make_templates(Device& device, int n, int m, float beta, float tau,
                                  bool transposed) {
  const int cells = n * m, rows = transposed ? cells : cells + 1;
  const int pitch = padded(transposed ? cells + 1 : cells);
  float* matrix = device.scratch<float>(TEMPLATE_SLOT, (size_t)rows * pitch);
  for_each(device, (long)rows * pitch,
           FillTemplates{matrix, cells, m, pitch, transposed, side_of(n, m), beta, tau});
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

// tops[n][d] = the map's largest value; blocks as in mask.h.
__global__ void __launch_bounds__(MASK_LANES* MASK_GROUPS)
    top_values_kernel(const float* x, float* tops, int maps, int pitch, int cells) {
  const int first = (blockIdx.y * MASK_LANES + threadIdx.x) * 4;
  const int4 at = find_peaks(x, {}, first, maps, pitch, cells);
  if (threadIdx.y != 0 || first >= pitch) return;
  const float* image = x + (long)blockIdx.x * cells * pitch + first;
  store4(tops + (long)blockIdx.x * pitch + first,
         make_float4(image[(long)at.x * pitch], image[(long)at.y * pitch + 1],
                     image[(long)at.z * pitch + 2], image[(long)at.w * pitch + 3]));
}

// peaks[d] = mean of tops over the images.
struct MeanPeak {
  const float* tops;
  double* peaks;
  int N, pitch;
  __device__ void operator()(long d) const {
    double sum = 0;
    for (int n = 0; n < N; n++) sum += tops[(long)n * pitch + d];
    peaks[d] = sum / N;
  }
};

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
  const float* foreign;            // [n][pitch], or nullptr; with it
  double *log_all, *charge;        // [n][pitch]: log sum_T p(T) exp(s), and what is charged
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

// p(x) = sum_T p(T) p(x|T): its terms, and what becomes of the sum. column: (n, d).
struct Evidence : Scores {
  __device__ double operator()(long T, int column) const {
    const int n = column / pitch, d = column % pitch;
    const long of_template = T * pitch + d;
    return p((int)T) * e(s[at(n, (int)T, d)], of_template) * inverse_z[of_template];
  }
};
struct StoreLogEvidence : Scores {
  __device__ void operator()(int column, double sum) const {
    log_p[column] = sum > 0 || sum != sum ? log(sum) : of_small(column / pitch, column % pitch);
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

// The charge of an image that should show no part. i: (n, d).
struct ForeignCharge : Scores {
  __device__ void operator()(long i) const {
    const int n = (int)(i / pitch), d = (int)(i % pitch);
    const float none = s[at(n, templates - 1, d)];
    float most = none;
    for (int T = 0; T < templates; T++) most = fmaxf(most, s[at(n, T, d)]);
    double sum = 0;
    for (int T = 0; T < templates; T++) {
      const float below = s[at(n, T, d)] - most;
      sum += below < -69 ? 0 : p(T) * expf(below);
    }
    log_all[i] = most + log(sum);
    charge[i] = foreign[i] * (log_all[i] - none - log(p_none)) / N;
  }
};

// KL_T, then the scores become dLoss/ds = -p(T) p(x|T) (log(p(x|T) / p(x)) - KL_T). i: (T, d).
struct ScoreGradient : Scores {
  // The charge's: foreign / N * (the posterior of T - [T = T_-]).
  __device__ double of_charge(int n, int T, int d, float score) const {
    const long image = (long)n * pitch + d;
    const float log_likely = (float)(score - log_all[image]);
    const double posterior = log_likely < -69 ? 0 : p(T) * expf(log_likely);
    return foreign[image] * (posterior - (T == templates - 1)) / N;
  }
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
      double gradient = -p(T) * (e(score, i) * inverse_z[i]) * surprise;
      if (foreign) gradient += of_charge(n, T, d, score);
      s[at(n, T, d)] = d < D ? (float)gradient : 0;
    }
  }
};

struct TemplateInformation : Scores {
  __device__ double operator()(long T, int d) const { return p((int)T) * kl[T * pitch + d]; }
};
struct StoreLoss : Scores {
  float* loss;
  __device__ void operator()(int d, double information) const {
    double sum = 0;
    for (int n = 0; foreign && n < N; n++) sum += charge[(long)n * pitch + d];
    loss[d] = d < D ? (float)(sum - information) : 0;
  }
};

static Scores scores_of(Device& device, const PlTensor& dscore, const PlTensor& foreign,
                        float alpha) {
  Scores k = {};
  k.s = f32(dscore);
  k.N = dscore.dims[0], k.D = dscore.dims[1], k.templates = dscore.dims[2];
  k.pitch = padded(k.D);
  k.p_mu = (double)alpha / (k.templates - 1), k.p_none = 1 - (double)alpha;
  const size_t lanes = (size_t)k.templates * k.pitch, images = (size_t)k.N * k.pitch;
  double* memory = device.scratch<double>(STATISTICS_SLOT, 3 * lanes + 3 * images + lanes / 2 + 1);
  k.log_z = memory, k.inverse_z = memory + lanes, k.kl = memory + 2 * lanes;
  k.log_p = memory + 3 * lanes;
  k.foreign = f32(foreign);
  k.log_all = k.log_p + images, k.charge = k.log_all + images;
  k.top = reinterpret_cast<float*>(k.charge + images);
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
  const int N = t.x.dims[0], D = t.x.dims[1], n = t.x.dims[2], m = t.x.dims[3];
  const int cells = n * m, pitch = padded(D);
  double* peaks = device.scratch<double>(STATISTICS_SLOT, pitch);
  if (a.peak_scale && a.training) {
    float* tops = device.scratch<float>(PARTIAL_SLOT, (size_t)N * pitch);
    launch(device, top_values_kernel, dim3(N, tiles_of(pitch, MASK_MAPS)),
           dim3(MASK_LANES, MASK_GROUPS), 0, (const float*)f32(t.x), tops, D, pitch, cells);
    for_each(device, pitch, MeanPeak{tops, peaks, N, pitch});
  }
  launch(device, peak_factors_kernel, dim3(1), dim3(SUM_THREADS), 0, (const double*)peaks,
         (const float*)f32(t.peak_mean), f32(t.peak_mean_out), f32(t.factor), D, pitch, a);

  const Dense<true> templates = make_templates(device, n, m, a.beta, a.tau, false);
  const Dense<false> maps = {f32(t.x), pitch, (long)cells * pitch, cells, pitch};
  const StoreScaled store = {f32(t.dscore), f32(t.factor), nullptr, cells + 1, pitch};
  batched_gemm<SmallTile>(device, templates, maps, store, cells + 1, pitch, cells, N);

  const Scores scores = scores_of(device, t.dscore, t.foreign, a.alpha);
  const long lanes = (long)(cells + 1) * pitch;
  for_each(device, lanes, with<LogPartition>(scores));
  sum_columns(device, scores.templates, N * pitch, with<Evidence>(scores),
              with<StoreLogEvidence>(scores));
  if (scores.foreign) for_each(device, (long)N * pitch, with<ForeignCharge>(scores));
  for_each(device, lanes, with<ScoreGradient>(scores));
  StoreLoss store_loss = with<StoreLoss>(scores);
  store_loss.loss = f32(t.loss);
  sum_columns(device, cells + 1, pitch, with<TemplateInformation>(scores), store_loss);
}

// dx_ij = g factor sum_T dscore_T T_ij
void filter_loss_backward(Device& device, const filter_loss_backward_args& t,
                          const TemplateAttrs& a) {
  const int N = t.dx.dims[0], n = t.dx.dims[2], m = t.dx.dims[3], cells = n * m,
            pitch = padded(t.dx.dims[1]);
  const Dense<true> templates = make_templates(device, n, m, a.beta, a.tau, true);
  const Dense<false> dscore = {f32(t.dscore), pitch, (long)(cells + 1) * pitch, cells + 1, pitch};
  const StoreScaled store = {f32(t.dx), f32(t.factor), f32(t.g), cells, pitch};
  batched_gemm<SmallTile>(device, templates, dscore, store, cells, pitch, padded(cells + 1), N);
}

}  // namespace cuda
}  // namespace partlens
