// The convolution's products on Hopper's warpgroup instructions (device/wgmma_gemm.h).
//   TF32  maps and weights are rounded before, so the error has no sign: maps by the calls that
//         made them, where the plan says so. Backward weight stays on mma.sync: its K is the
//         pixels, along which nothing is contiguous.
//   bf16  copies of maps and weights, which halve what the product reads nine times; backward
//         weight takes them row major, as they are.
//   cost  a copy reads and writes its tensor once, most of it in the cache: a tenth of the product
#include "../device/wgmma_gemm.h"
#include "conv2d.h"

namespace partlens {
namespace cuda {

struct RoundFour {
  const float* from;
  float* to;
  __device__ void operator()(long i) const {
    store4(to + i * 4, round4(load4(from + i * 4), true));
  }
};

// Eight floats to four words.
struct PackEight {
  const float* from;
  float* to;
  __device__ void operator()(long i) const {
    const float4 a = load4(from + i * 8), b = load4(from + i * 8 + 4);
    store4(to + i * 4, make_float4(pack(a.x, a.y), pack(a.z, a.w), pack(b.x, b.y), pack(b.z, b.w)));
  }
  static __device__ float pack(float low, float high) {
    return __uint_as_float(pack_bf16(low, high));
  }
};

// Elements in a word of an operand.
static int packed(const Device& device) { return device.precision() == PL_BF16 ? 2 : 1; }

// `to`, once it holds what `from` does as the products read it, in `words` words.
static const float* copied(Device& device, const float* from, float* to, long words) {
  if (device.precision() == PL_BF16)
    for_each(device, words / 4, PackEight{from, to});
  else
    for_each(device, words / 4, RoundFour{from, to});
  return to;
}

// The convolution whose channels are words.
static Conv in_words(const Device& device, Conv v) {
  v.C /= packed(device), v.O /= packed(device);
  v.by_C = divisor(v.C), v.by_O = divisor(v.O);
  return v;
}

// Products at float32's accuracy stay on mma.sync, and so does what leaves most of a tile empty.
static bool fits(const Device& device, int channels, int M, int N) {
  return device.precision() != PL_FP32 && channels % (TILE_K * packed(device)) == 0 &&
         wgmma_fits(device, M, N, 1);
}

// Patches of maps times `rows` rows of weights, K words each.
template <class Patches, class Epilogue>
static void product(Device& device, const Patches& maps, const float* weights, int rows,
                    const Epilogue& epilogue, int M, int N, int K) {
  const Dense<true> w = {weights, K, 0, rows, K};
  const GemmSize size = {M, N, K, 1, K};
  if (device.precision() == PL_BF16) return wgmma<Product::BF16>(device, maps, w, epilogue, size);
  wgmma<Product::TF32>(device, maps, w, epilogue, size);
}

bool conv2d_forward_wgmma(Device& device, const Conv& v, const float* x, bool rounded,
                          const float* w, const StoreMaps& store) {
  if (!fits(device, v.C, v.pixels_out(), v.O)) return false;
  const int K = v.taps() * v.C / packed(device);
  const long weights = (long)v.outputs * K, maps = (long)v.pixels_in() * v.C / packed(device);
  const bool ready = rounded && device.rounds();
  float* copies = device.scratch<float>(OPERAND_SLOT, weights + (ready ? 0 : maps));
  const float* w_read = copied(device, w, copies, weights);
  const float* x_read = ready ? x : copied(device, x, copies + weights, maps);
  const InputPatches patches = {x_read, in_words(device, v)};
  product(device, patches, w_read, v.outputs, store, v.pixels_out(), v.O, K);
  return true;
}

bool conv2d_backward_data_wgmma(Device& device, const Conv& v, const float* g, bool rounded,
                                const float* turned, const Store& store) {
  if (!fits(device, v.O, v.pixels_in(), v.C)) return false;
  const int K = v.taps() * v.O / packed(device);
  const long weights = (long)v.C * K, maps = (long)v.pixels_out() * v.O / packed(device);
  const bool turned_ready = device.rounds(), ready = rounded && turned_ready;
  float* copies =
      device.scratch<float>(OPERAND_SLOT, (ready ? 0 : maps) + (turned_ready ? 0 : weights));
  const float* g_read = ready ? g : copied(device, g, copies, maps);
  const float* w_read = turned_ready ? turned : copied(device, turned, copies + maps, weights);
  const GradientPatches patches = {g_read, in_words(device, v)};
  product(device, patches, w_read, v.C, store, v.pixels_in(), v.C, K);
  return true;
}

// to[split][n][m] = c
struct StoreTurned {
  float* to;
  int M, N;
  __device__ void operator()(int split, int m, int n, float c0, float c1) const {
    float* place = to + ((long)split * N + n) * M + m;
    place[0] = c0;
    if (n + 1 < N) place[M] = c1;
  }
};

// dw^T (R S C, O) = patches of x (pixels, R S C)^T  g (pixels, O)
bool conv2d_backward_weight_wgmma(Device& device, const Conv& v, const float* x, const float* g,
                                  float* dw) {
  const int M = v.taps() * v.C, N = v.outputs, pixels = v.pixels_out();
  const GemmSize size = split_size(device, M, N, pixels, WGMMA_M, WGMMA_N);
  const bool whole_chunks = v.C % 8 == 0 && v.O % 8 == 0;
  if (device.precision() != PL_BF16 || !whole_chunks || !wgmma_fits(device, M, N, size.splits))
    return false;
  const long maps = (long)v.pixels_in() * v.C / 2, gradients = (long)pixels * v.O / 2;
  const long plane = (long)M * N;
  float* copies = device.scratch<float>(OPERAND_SLOT, maps + gradients);
  float* to = size.splits == 1 ? dw : device.scratch<float>(PARTIAL_SLOT, size.splits * plane);
  const PatchColumns patches = {copied(device, x, copies, maps), in_words(device, v)};
  const Dense<false> g_read = {copied(device, g, copies + maps, gradients), v.O / 2, 0, pixels,
                               v.O / 2};
  wgmma<Product::BF16>(device, patches, g_read, StoreTurned{to, M, N}, size);
  if (size.splits > 1) add_splits(device, to, Store{dw, M}, size.splits, N, M);
  return true;
}

}  // namespace cuda
}  // namespace partlens
