// binary: y = f(a, b), one of the functions of binary.h, with broadcasting; backward da, db = g
// df/da, g df/db, summed over the axes along which the operand was repeated.
//   in   a, b maps (N or 1, C or 1, H or 1, W or 1)        out  y (N, C, H, W)
//   tile a stretch of cells of one block of channels; an operand that is one value along the
//   stretch
//        (equal in all cells: squeeze and excitation) stays in registers
//   cost reads one or two, writes one element each; memory bound but for pow
#include "binary.h"

#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

namespace {

constexpr int STRETCH = 256;      // cells
constexpr int TASK_CELLS = 1024;  // of one task, about

// The cells of y, rows joined where no operand tells them apart.
struct Space {
  int N, C, H, W;
  int blocks() const { return blocks_of(C); }
};

struct Operand {
  float* data;
  int N, C, H, W;
  long image, block, row, cell;  // steps in memory, 0 along axes of one
  bool one_channel;              // for all of y

  Operand(const PlTensor& t, const PlTensor& y, bool joined) : data(f32(t)) {
    N = t.dims[0], C = t.dims[1], H = t.dims[2], W = t.dims[3];
    block = C == 1 ? 0 : (long)BLOCK * H * W;
    image = N == 1 ? 0 : (long)padded(C) * H * W;
    one_channel = C == 1 && y.dims[1] > 1;
    if (joined) W *= H, H = 1;
    row = H == 1 ? 0 : (long)BLOCK * W;
    cell = W == 1 ? 0 : BLOCK;
  }
  float* at(int n, int block_, int h, int w) const {
    return data + n * image + block_ * block + h * row + w * cell;
  }
};

// All rows of y, or one value for all of them.
bool joins(const PlTensor& t, const PlTensor& y) {
  return y.dims[2] == 1 || (t.dims[2] == y.dims[2] && t.dims[3] == y.dims[3]) ||
         (t.dims[2] == 1 && t.dims[3] == 1);
}

struct Problem {
  Space y;
  Operand a, b;

  static Problem of(const PlTensor& a, const PlTensor& b, const PlTensor& y) {
    const bool joined = joins(a, y) && joins(b, y);
    const int H = joined ? 1 : y.dims[2], W = joined ? y.dims[2] * y.dims[3] : y.dims[3];
    return {{y.dims[0], y.dims[1], H, W}, Operand(a, y, joined), Operand(b, y, joined)};
  }
};

// Where an operand's stretch lies: cell after cell, or one for all.
struct Stretch {
  const float* from;
  bool constant;
  Vec value[PANEL_VECTORS];
};

Stretch stretch_of(const Operand& o, const float* from, int cells, float* buffer) {
  Stretch found = {from, o.cell == 0, {}};
  if (found.constant) {
    for (int v = 0; v < PANEL_VECTORS; v++) {
      found.value[v] = o.one_channel ? splat(*from) : load(from + v * VL);
    }
  } else if (o.one_channel) {
    for (int i = 0; i < cells; i++) {
      for (int v = 0; v < PANEL_VECTORS; v++)
        store(buffer + i * BLOCK + v * VL, splat(from[i * BLOCK]));
    }
    found.from = buffer;
  }
  return found;
}

struct Lanes {
  IntVec valid[PANEL_VECTORS];
  explicit Lanes(int count) {
    for (int lane = 0; lane < BLOCK; lane++) valid[lane / VL][lane % VL] = lane < count ? -1 : 0;
  }
};

// to = f(g, a, b) in the valid lanes, 0 in the others: padding may hold 0 / 0.
template <bool A_CONSTANT, bool B_CONSTANT, class F>
void fill(F f, const Stretch& a, const Stretch& b, const float* g, float* to, int cells,
          const Lanes& lanes) {
  for (long i = 0; i < (long)cells * BLOCK; i += BLOCK) {
    for (int v = 0; v < PANEL_VECTORS; v++) {
      const long at = i + v * VL;
      const Vec result =
          f(F::GRADIENT ? load(g + at) : Vec{}, A_CONSTANT ? a.value[v] : load(a.from + at),
            B_CONSTANT ? b.value[v] : load(b.from + at));
      store(to + at, lanes.valid[v] ? result : Vec{});
    }
  }
}

template <class F>
void fill_stretch(F f, const Problem& p, int n, int block, int h, int w, int cells, const float* g,
                  float* to) {
  alignas(64) float of_a[STRETCH * BLOCK], of_b[STRETCH * BLOCK];
  const Stretch a = stretch_of(p.a, p.a.at(n, block, h, w), cells, of_a);
  const Stretch b = stretch_of(p.b, p.b.at(n, block, h, w), cells, of_b);
  const Lanes lanes(p.y.C - block * BLOCK);
  if (a.constant) {
    b.constant ? fill<true, true>(f, a, b, g, to, cells, lanes)
               : fill<true, false>(f, a, b, g, to, cells, lanes);
  } else {
    b.constant ? fill<false, true>(f, a, b, g, to, cells, lanes)
               : fill<false, false>(f, a, b, g, to, cells, lanes);
  }
}

// to = f(g, a, b) for all of y; `g` and `to` are of its size.
template <class F>
void fill_all(Device& device, F f, const Problem& p, const float* g, float* to) {
  const Space y = p.y;
  const int rows = y.W >= TASK_CELLS ? 1 : TASK_CELLS / y.W;
  const int columns = y.W < TASK_CELLS ? y.W : TASK_CELLS;
  const int down = (y.H + rows - 1) / rows, across = (y.W + columns - 1) / columns;
  parallel_for(device, y.N * y.blocks() * down * across, [=](int task, int) {
    const int left = task % across * columns, top = task / across % down * rows;
    const int plane = task / across / down, n = plane / y.blocks(), block = plane % y.blocks();
    for (int h = top; h < top + rows && h < y.H; h++) {
      for (int w = left; w < left + columns && w < y.W; w += STRETCH) {
        const int limit = left + columns < y.W ? left + columns : y.W;
        const long at = (((long)plane * y.H + h) * y.W + w) * BLOCK;
        const int cells = limit - w < STRETCH ? limit - w : STRETCH;
        fill_stretch(f, p, n, block, h, w, cells, F::GRADIENT ? g + at : nullptr, to + at);
      }
    }
  });
}

float sum_of_lanes(const float* block) {
  float sum = 0;
  for (int lane = 0; lane < BLOCK; lane++) sum += block[lane];
  return sum;
}

// Adds a stretch of products to the gradient of an operand, or to `total` if that is one cell.
void gather(const Operand& o, const float* products, int cells, float* to, double* total) {
  if (o.cell == 0) {
    Vec sum[PANEL_VECTORS] = {};
    for (long i = 0; i < (long)cells * BLOCK; i += BLOCK) {
      for (int v = 0; v < PANEL_VECTORS; v++) sum[v] += load(products + i + v * VL);
    }
    float lanes[BLOCK];
    for (int v = 0; v < PANEL_VECTORS; v++) store(lanes + v * VL, sum[v]);
    if (o.one_channel) {
      lanes[0] = sum_of_lanes(lanes);
      for (int lane = 1; lane < BLOCK; lane++) lanes[lane] = 0;
    }
    for (int lane = 0; lane < BLOCK; lane++) {
      o.H == 1 ? total[lane] += lanes[lane] : to[lane] += lanes[lane];
    }
    return;
  }
  for (long i = 0; i < (long)cells * BLOCK; i += BLOCK) {
    if (o.one_channel) {
      to[i] += sum_of_lanes(products + i);
      continue;
    }
    for (int v = 0; v < PANEL_VECTORS; v++) {
      store(to + i + v * VL, load(to + i + v * VL) + load(products + i + v * VL));
    }
  }
}

// `o` with its gradient as data: one task for each image and block of channels that it has.
template <class F>
void sum_all(Device& device, F f, const Problem& p, const float* g, const Operand& o) {
  const Space y = p.y;
  const int own_blocks = blocks_of(o.C);
  const long cells_here = (long)o.H * o.W;
  parallel_for(device, o.N * own_blocks, [=](int task, int) {
    alignas(64) float products[STRETCH * BLOCK];
    double total[BLOCK] = {};
    float* own = o.data + task * cells_here * BLOCK;
    memset(own, 0, sizeof(float) * cells_here * BLOCK);
    const int first = task / own_blocks, first_block = task % own_blocks;
    for (int n = first; n < (o.N == y.N ? first + 1 : y.N); n++) {
      for (int block = first_block; block < (o.one_channel ? y.blocks() : first_block + 1);
           block++) {
        for (int h = 0; h < y.H; h++) {
          for (int w = 0; w < y.W; w += STRETCH) {
            const int cells = y.W - w < STRETCH ? y.W - w : STRETCH;
            const long at = ((((long)n * y.blocks() + block) * y.H + h) * y.W + w) * BLOCK;
            fill_stretch(f, p, n, block, h, w, cells, g + at, products);
            gather(o, products, cells, own + h * o.row + w * o.cell, total);
          }
        }
      }
    }
    if (cells_here > 1) return;
    for (int lane = 0; lane < BLOCK; lane++) own[lane] = (float)total[lane];
  });
}

template <int KIND>
struct Combine {
  static constexpr bool GRADIENT = false;
  Vec operator()(Vec, Vec a, Vec b) const { return combine<KIND>(a, b); }
};
template <int KIND, bool BY_B>
struct CombineGradient {
  static constexpr bool GRADIENT = true;
  Vec operator()(Vec g, Vec a, Vec b) const { return combine_gradient<KIND, BY_B>(g, a, b); }
};

// The gradient `d` of one operand.
template <class F>
void differentiate(Device& device, F f, const Problem& p, const PlTensor& g, const Operand& own,
                   const PlTensor& d) {
  if (!d.data) return;
  const Space y = p.y;
  if (own.N == y.N && own.C == y.C && own.H == y.H && own.W == y.W) {
    fill_all(device, f, p, f32(g), f32(d));
    return;
  }
  Operand to = own;
  to.data = f32(d);
  sum_all(device, f, p, f32(g), to);
}

template <int KIND>
void run_backward(Device& device, const binary_backward_args& t) {
  const Problem p = Problem::of(t.a, t.b, t.g);
  differentiate(device, CombineGradient<KIND, false>{}, p, t.g, p.a, t.da);
  differentiate(device, CombineGradient<KIND, true>{}, p, t.g, p.b, t.db);
}

}  // namespace

void binary_forward(Device& device, const binary_forward_args& t, const BinaryAttrs& a) {
  const Problem p = Problem::of(t.a, t.b, t.y);
  switch (a.kind) {
#define BINARY(name)                                                  \
  case BINARY_##name:                                                 \
    fill_all(device, Combine<BINARY_##name>{}, p, nullptr, f32(t.y)); \
    break;
#include "../kinds.def"
#undef BINARY
  }
}

void binary_backward(Device& device, const binary_backward_args& t, const BinaryAttrs& a) {
  switch (a.kind) {
#define BINARY(name)                        \
  case BINARY_##name:                       \
    run_backward<BINARY_##name>(device, t); \
    break;
#include "../kinds.def"
#undef BINARY
  }
}

}  // namespace PL_ISA
}  // namespace partlens
