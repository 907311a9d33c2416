// Loops and sums over flat memory, cut into chunks of one fixed size: the same chunks, and the same
// order of summation, for any number of threads.
#pragma once
#include "layout.h"

namespace partlens {
namespace PL_ISA {

constexpr long CHUNK = 16384;
constexpr int SUM_SLOT = 15;  // scratch slot of the partial sums

static inline long chunk_count(long count) { return (count + CHUNK - 1) / CHUNK; }

// body(begin, end, chunk) for consecutive stretches of 0..count-1.
template <class Body>
static void for_chunks(Device& device, long count, Body body) {
  parallel_for(device, (int)chunk_count(count), [=](int chunk, int) {
    const long begin = chunk * CHUNK;
    body(begin, begin + CHUNK < count ? begin + CHUNK : count, chunk);
  });
}

// Sum over all chunks of body(begin, end), a double, in order.
template <class Body>
static double sum_chunks(Device& device, long count, Body body) {
  const long chunks = chunk_count(count);
  double* partial = reinterpret_cast<double*>(device.scratch(SUM_SLOT, 2 * chunks + 2));
  for_chunks(device, count,
             [=](long begin, long end, int chunk) { partial[chunk] = body(begin, end); });
  double sum = 0;
  for (long chunk = 0; chunk < chunks; chunk++) sum += partial[chunk];
  return sum;
}

// Sum of term(i) for i in begin..end-1 in 16 interleaved lanes: vectorises without reordering.
template <class Term>
static inline double lane_sum(long begin, long end, Term term) {
  double lanes[16] = {};
  long i = begin;
  for (; i + 16 <= end; i += 16) {
    for (int lane = 0; lane < 16; lane++) lanes[lane] += term(i + lane);
  }
  for (int lane = 0; i < end; i++, lane++) lanes[lane] += term(i);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

// Sum of x^2.
static inline double square_sum(Device& device, const float* x, long count) {
  return sum_chunks(device, count, [=](long begin, long end) {
    return lane_sum(begin, end, [=](long i) { return (double)x[i] * x[i]; });
  });
}

}  // namespace PL_ISA
}  // namespace partlens
