// The mask of an interpretable map, max(1 - beta |[i,j] - mu|_1 / n, 0), for mask_layer and
// mask_pool: 16 maps of one image at a time. [Zhang 2018]
#pragma once
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

// mu[c]: the first largest cell of map c.
static inline void find_peaks(const float* maps, int cells, int* mu) {
  float best[BLOCK];
  for (int c = 0; c < BLOCK; c++) {
    best[c] = maps[c];
    mu[c] = 0;
  }
  for (int i = 1; i < cells; i++) {
    for (int c = 0; c < BLOCK; c++) {
      const float value = maps[i * BLOCK + c];
      mu[c] = value > best[c] ? i : mu[c];
      best[c] = value > best[c] ? value : best[c];
    }
  }
}

static inline float mask_at(float beta_over_n, int distance) {
  const float u = 1 - beta_over_n * distance;
  return u > 0 ? u : 0;
}

// y[i,j] = x[i,j] * mask, 0 where `gate` is there and not above 0; y may be x.
static inline void apply_mask(const float* x, const int* mu, const float* gate, float* y, int n,
                              float beta) {
  int row[BLOCK], column[BLOCK];
  for (int c = 0; c < BLOCK; c++) {
    row[c] = mu[c] / n;
    column[c] = mu[c] % n;
  }
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) {
      const long at = ((long)i * n + j) * BLOCK;
      float masked[BLOCK];
      for (int c = 0; c < BLOCK; c++) {
        const int down = i > row[c] ? i - row[c] : row[c] - i;
        const int across = j > column[c] ? j - column[c] : column[c] - j;
        masked[c] = x[at + c] * mask_at(beta / n, down + across);
      }
      if (gate) {
        for (int c = 0; c < BLOCK; c++) {
          const float value = masked[c];  // read always, as in lrn.cpp
          masked[c] = gate[at + c] > 0 ? value : 0;
        }
      }
      for (int c = 0; c < BLOCK; c++) y[at + c] = masked[c];
    }
  }
}

}  // namespace PL_ISA
}  // namespace partlens
