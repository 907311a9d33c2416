// binary: y = f(a, b) with broadcasting; backward da, db = g df/da, g df/db, summed over the axes
// along which the operand was repeated.
//   in   a, b maps (N or 1, C or 1, H or 1, W or 1)        out  y (N, C, H, W)
//   grid elementwise; a sum: a block for each cell of the operand and 32 of its channels
//   cost reads one or two, writes one element each; memory bound
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

#define BINARY(name) BINARY_##name,
enum Binary {
#include "kinds.def"
  BINARY_KINDS
};
#undef BINARY

struct Place {
  int n, h, w, c;
};

// Splits the number of a group of four channels of y, or of a cell.
struct Space {
  int N, C, H, W;
  Divisor by_groups, by_cells, by_width;

  explicit Space(const PlTensor& y)
      : N(y.dims[0]),
        C(y.dims[1]),
        H(y.dims[2]),
        W(y.dims[3]),
        by_groups(divisor(padded(C) / 4)),
        by_cells(divisor(H * W)),
        by_width(divisor(W)) {}

  __device__ Place cell(int row) const {
    const int n = by_cells.quotient(row), rest = row - n * by_cells.by, h = by_width.quotient(rest);
    return {n, h, rest - h * W, 0};
  }
  __device__ Place group(int i) const {
    const int row = by_groups.quotient(i);
    Place place = cell(row);
    place.c = 4 * (i - row * by_groups.by);
    return place;
  }
};

struct Operand {
  const float* data;
  long image, row, cell;  // steps in memory, 0 along axes of one
  bool one_channel, whole;

  Operand(const PlTensor& t, const PlTensor& y) : data(f32(t)) {
    const long pitch = padded(t.dims[1]);
    image = t.dims[0] == 1 ? 0 : pitch * t.dims[2] * t.dims[3];
    row = t.dims[2] == 1 ? 0 : pitch * t.dims[3];
    cell = t.dims[3] == 1 ? 0 : pitch;
    one_channel = t.dims[1] == 1 && y.dims[1] > 1;
    whole = true;
    for (int axis = 0; axis < 4; axis++) whole = whole && t.dims[axis] == y.dims[axis];
  }
  __device__ const float* at(const Place& p) const {
    return data + p.n * image + p.h * row + p.w * cell + (one_channel ? 0 : p.c);
  }
  __device__ float4 four(const Place& p) const {
    const float* from = at(p);
    return one_channel ? make_float4(*from, *from, *from, *from) : load4(from);
  }
};

template <int KIND>
struct Combine {
  __device__ float operator()(float a, float b) const {
    if constexpr (KIND == BINARY_add) return a + b;
    if constexpr (KIND == BINARY_sub) return a - b;
    if constexpr (KIND == BINARY_mul) return a * b;
    if constexpr (KIND == BINARY_div) return a / b;
    if constexpr (KIND == BINARY_max) return a < b || b != b ? b : a;  // NaN of either stays
    if constexpr (KIND == BINARY_min) return a > b || b != b ? b : a;
    if constexpr (KIND == BINARY_pow) return powf(a, b);
  }
};

// The derivative by a, or by b. Where max and min tie, all of it is a's.
template <int KIND, bool BY_B>
struct Slope {
  __device__ float operator()(float a, float b) const {
    if constexpr (KIND == BINARY_add) return 1;
    if constexpr (KIND == BINARY_sub) return BY_B ? -1 : 1;
    if constexpr (KIND == BINARY_mul) return BY_B ? a : b;
    if constexpr (KIND == BINARY_div) return BY_B ? -(a / b) / b : 1 / b;
    if constexpr (KIND == BINARY_max) return (a < b) == BY_B;
    if constexpr (KIND == BINARY_min) return (a > b) == BY_B;
    if constexpr (KIND == BINARY_pow && BY_B) return a == 0 ? 0 : powf(a, b) * logf(a);
    if constexpr (KIND == BINARY_pow) return b == 0 ? 0 : b * powf(a, b - 1);
  }
};

// to = f(a, b), times g if that is there, for all of y; 0 in padding, which may hold 0 / 0.
template <class F>
struct FillAll {
  Space y;
  Operand a, b;
  const float* g;
  float* to;
  __device__ void operator()(long i) const {
    const Place place = y.group((int)i);
    const float4 of_a = a.whole ? load4(a.data + i * 4) : a.four(place);
    const float4 of_b = b.whole ? load4(b.data + i * 4) : b.four(place);
    float4 v = map4(of_a, of_b, F{});
    if (g) v = times4(v, load4(g + i * 4));
    store4(to + i * 4, first4(v, y.C - place.c));
  }
};

// d of one cell (block x) of an operand and 32 of its channels (block y): sums of g f(a, b) over
// the cells, images and channels of y for which it stands.
template <class F>
__global__ void __launch_bounds__(COLUMNS* ROWS_AT_ONCE)
    binary_sum_kernel(Space y, Operand a, Operand b, const float* g, Space own, float* d) {
  PL_SHARED(double, sums, [ROWS_AT_ONCE][COLUMNS]);
  const int lane = threadIdx.x, group = threadIdx.y, column = blockIdx.y * COLUMNS + lane;
  const Place home = own.cell((int)blockIdx.x);
  const int N = own.N == y.N ? 1 : y.N, H = own.H == y.H ? 1 : y.H, W = own.W == y.W ? 1 : y.W;
  const bool one_channel = own.C == 1 && y.C > 1;
  const F f{};
  double sum = 0;
  for (long k = group; k < (long)N * H * W; k += ROWS_AT_ONCE) {
    Place place = {home.n + (int)(k / W / H), home.h + (int)(k / W % H), home.w + (int)(k % W),
                   column};
    const long row = ((long)place.n * y.H + place.h) * y.W + place.w;
    for (; place.c < y.C; place.c += COLUMNS) {
      sum += (double)f(*a.at(place), *b.at(place)) * g[row * padded(y.C) + place.c];
      if (!one_channel) break;
    }
  }
  if (one_channel) {
    sum = warp_sum(sum);
    if (lane > 0) sum = 0;
  }
  sums[group][lane] = sum;
  __syncthreads();
  if (group != 0 || column >= padded(own.C)) return;
  for (int i = 1; i < ROWS_AT_ONCE; i++) sum += sums[i][lane];
  d[(long)blockIdx.x * padded(own.C) + column] = (float)sum;
}

// The gradient `d` of one operand of the shape of `own`.
template <class F>
static void differentiate(Device& device, const binary_backward_args& t, const PlTensor& own,
                          const PlTensor& d) {
  if (!d.data) return;
  const Space y(t.g), of_own(own);
  const Operand a(t.a, t.g), b(t.b, t.g);
  if (Operand(own, t.g).whole) {
    for_each(device, elements(t.g) / 4, FillAll<F>{y, a, b, f32(t.g), f32(d)});
    return;
  }
  const dim3 grid((unsigned)axes_of(own).rows(), (unsigned)tiles_of(padded(of_own.C), COLUMNS));
  launch(device, binary_sum_kernel<F>, grid, dim3(COLUMNS, ROWS_AT_ONCE), 0, y, a, b,
         (const float*)f32(t.g), of_own, f32(d));
}

void binary_forward(Device& device, const binary_forward_args& t, const BinaryAttrs& a) {
  const Space y(t.y);
  const Operand of_a(t.a, t.y), of_b(t.b, t.y);
  switch (a.kind) {
#define BINARY(name)                                                             \
  case BINARY_##name:                                                            \
    for_each(device, elements(t.y) / 4,                                          \
             FillAll<Combine<BINARY_##name>>{y, of_a, of_b, nullptr, f32(t.y)}); \
    break;
#include "kinds.def"
#undef BINARY
  }
}

void binary_backward(Device& device, const binary_backward_args& t, const BinaryAttrs& a) {
  switch (a.kind) {
#define BINARY(name)                                                  \
  case BINARY_##name:                                                 \
    differentiate<Slope<BINARY_##name, false>>(device, t, t.a, t.da); \
    differentiate<Slope<BINARY_##name, true>>(device, t, t.b, t.db);  \
    break;
#include "kinds.def"
#undef BINARY
  }
}

}  // namespace cuda
}  // namespace partlens
