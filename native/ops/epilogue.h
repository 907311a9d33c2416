// What ends a convolution, on outputs that are still in the cache: y = f(y + residual).
#pragma once
#include "../simd/vec.h"

namespace partlens {
namespace PL_ISA {

// `activation` of the kernels of convolutions (lib/engine/ops/window.ts numbers them): none, relu,
// clip to alpha..beta, then those of kinds.def that leave 0 where it is.
enum Ending { ENDING_NONE, ENDING_RELU, ENDING_CLIP, ENDING_FUNCTIONS };

struct Epilogue {
  float* y = nullptr;               // of the first image
  const float* residual = nullptr;  // like y, or none
  int activation = ENDING_NONE;
  float alpha = 0, beta = 0;

  template <class Args, class Attrs>
  static Epilogue of(const Args& t, const Attrs& a) {
    return {f32(t.y), f32(t.residual), a.activation, a.alpha, a.beta};
  }
  // What a tile does where it stores its sums, and what is left to do then.
  Range range(bool relu) const {
    if (residual || relu) return relu_range(relu);
    return activation == ENDING_CLIP ? Range{alpha, beta} : relu_range(activation == ENDING_RELU);
  }
  Epilogue rest(bool relu) const {
    const bool done = !residual && !relu && activation <= ENDING_CLIP;
    return done ? Epilogue{y} : *this;
  }
  bool changes() const { return residual || activation != ENDING_NONE; }
  // The `count` outputs from `begin` on.
  void end(float* begin, long count) const {
    if (changes()) run(begin - y, count);
  }

 private:
  void run(long at, long count) const;
};

}  // namespace PL_ISA
}  // namespace partlens
