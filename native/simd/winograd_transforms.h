// The transforms of Winograd convolution of 3x3 windows, one axis of each:
//   y = A' ((G w) * (B' x))     for tiles of OUT outputs from IN = OUT + 2 inputs  [Lavin, Gray
//   2016]
// and the transposes of A' and G for the gradients. Rows belong to points, the last one to
// infinity.
#pragma once
#include "vec.h"

namespace partlens {
namespace PL_ISA {

#define PL_INLINE static inline __attribute__((always_inline))

constexpr int TILE_TAPS = 3;

// F(4x4, 3x3): 36 instead of 144 products. The points are 0, +-5/8, +-3/2 and infinity: every
// constant of A and B is exact in float32 and the error is half of that of the usual 0, +-1, +-2.
struct Winograd4 {
  static constexpr int OUT = 4, IN = OUT + TILE_TAPS - 1, CELLS = IN * IN;

  static constexpr float POINT_A = 0.625f, POINT_B = 1.5f;
  static constexpr float SQUARE_A = POINT_A * POINT_A, SQUARE_B = POINT_B * POINT_B;
  static constexpr float SQUARE_SUM = SQUARE_A + SQUARE_B, SQUARE_PRODUCT = SQUARE_A * SQUARE_B;
  // The rows of G are (1, p, p^2) times these.
  static constexpr float G_ZERO = (float)(1.0 / (double)SQUARE_PRODUCT);
  static constexpr float G_A = (float)(0.5 / ((double)SQUARE_A * (SQUARE_A - (double)SQUARE_B)));
  static constexpr float G_B = (float)(0.5 / ((double)SQUARE_B * (SQUARE_B - (double)SQUARE_A)));

  struct Inputs {  // B'
    PL_INLINE void apply(const Vec (&d)[IN], Vec (&r)[IN]) {
      const Vec even_a = d[4] - SQUARE_B * d[2], odd_a = POINT_A * (d[3] - SQUARE_B * d[1]);
      const Vec even_b = d[4] - SQUARE_A * d[2], odd_b = POINT_B * (d[3] - SQUARE_A * d[1]);
      r[0] = SQUARE_PRODUCT * d[0] + (d[4] - SQUARE_SUM * d[2]);
      r[1] = even_a + odd_a;
      r[2] = even_a - odd_a;
      r[3] = even_b + odd_b;
      r[4] = even_b - odd_b;
      r[5] = SQUARE_PRODUCT * d[1] + (d[5] - SQUARE_SUM * d[3]);
    }
  };

  struct Filters {  // G
    PL_INLINE void apply(const Vec (&w)[TILE_TAPS], Vec (&r)[IN]) {
      const Vec even_a = G_A * (w[0] + SQUARE_A * w[2]), odd_a = (G_A * POINT_A) * w[1];
      const Vec even_b = G_B * (w[0] + SQUARE_B * w[2]), odd_b = (G_B * POINT_B) * w[1];
      r[0] = G_ZERO * w[0];
      r[1] = even_a + odd_a;
      r[2] = even_a - odd_a;
      r[3] = even_b + odd_b;
      r[4] = even_b - odd_b;
      r[5] = w[2];
    }
  };

  struct Outputs {  // A'
    PL_INLINE void apply(const Vec (&m)[IN], Vec (&r)[OUT]) {
      const Vec even_a = m[1] + m[2], odd_a = m[1] - m[2];
      const Vec even_b = m[3] + m[4], odd_b = m[3] - m[4];
      r[0] = m[0] + even_a + even_b;
      r[1] = POINT_A * odd_a + POINT_B * odd_b;
      r[2] = SQUARE_A * even_a + SQUARE_B * even_b;
      r[3] = (POINT_A * SQUARE_A) * odd_a + ((POINT_B * SQUARE_B) * odd_b + m[5]);
    }
  };

  struct OutputGradients {  // A
    PL_INLINE void apply(const Vec (&g)[OUT], Vec (&r)[IN]) {
      const Vec even_a = g[0] + SQUARE_A * g[2], odd_a = POINT_A * (g[1] + SQUARE_A * g[3]);
      const Vec even_b = g[0] + SQUARE_B * g[2], odd_b = POINT_B * (g[1] + SQUARE_B * g[3]);
      r[0] = g[0];
      r[1] = even_a + odd_a;
      r[2] = even_a - odd_a;
      r[3] = even_b + odd_b;
      r[4] = even_b - odd_b;
      r[5] = g[3];
    }
  };

  struct FilterGradients {  // G'
    PL_INLINE void apply(const Vec (&u)[IN], Vec (&r)[TILE_TAPS]) {
      const Vec even_a = G_A * (u[1] + u[2]), odd_a = (G_A * POINT_A) * (u[1] - u[2]);
      const Vec even_b = G_B * (u[3] + u[4]), odd_b = (G_B * POINT_B) * (u[3] - u[4]);
      r[0] = G_ZERO * u[0] + even_a + even_b;
      r[1] = odd_a + odd_b;
      r[2] = SQUARE_A * even_a + (SQUARE_B * even_b + u[5]);
    }
  };
};

// F(2x2, 3x3): 16 instead of 36 products. The points are 0, +-1 and infinity: A and B only add and
// subtract, G halves.
struct Winograd2 {
  static constexpr int OUT = 2, IN = OUT + TILE_TAPS - 1, CELLS = IN * IN;

  struct Inputs {  // B'
    PL_INLINE void apply(const Vec (&d)[IN], Vec (&r)[IN]) {
      r[0] = d[0] - d[2];
      r[1] = d[2] + d[1];
      r[2] = d[2] - d[1];
      r[3] = d[3] - d[1];
    }
  };

  struct Filters {  // G
    PL_INLINE void apply(const Vec (&w)[TILE_TAPS], Vec (&r)[IN]) {
      const Vec even = 0.5f * (w[0] + w[2]), odd = 0.5f * w[1];
      r[0] = w[0];
      r[1] = even + odd;
      r[2] = even - odd;
      r[3] = w[2];
    }
  };

  struct Outputs {  // A'
    PL_INLINE void apply(const Vec (&m)[IN], Vec (&r)[OUT]) {
      r[0] = m[0] + (m[1] + m[2]);
      r[1] = (m[1] - m[2]) + m[3];
    }
  };

  struct OutputGradients {  // A
    PL_INLINE void apply(const Vec (&g)[OUT], Vec (&r)[IN]) {
      r[0] = g[0];
      r[1] = g[0] + g[1];
      r[2] = g[0] - g[1];
      r[3] = g[1];
    }
  };

  struct FilterGradients {  // G'
    PL_INLINE void apply(const Vec (&u)[IN], Vec (&r)[TILE_TAPS]) {
      const Vec even = 0.5f * (u[1] + u[2]);
      r[0] = u[0] + even;
      r[1] = 0.5f * (u[1] - u[2]);
      r[2] = even + u[3];
    }
  };
};

}  // namespace PL_ISA
}  // namespace partlens
