// What this machine reaches with 1..T threads: multiply-adds in registers, and memory that does not
// fit in a cache. Prints {"gflops": ..., "gbs": ...} for the number of threads given.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
typedef float Vec __attribute__((vector_size(4 * LANES)));

constexpr int CHAINS = 12;  // independent sums: latency of a multiply-add times two units
constexpr long ROUNDS = 20000000;
constexpr long FLOATS = 128l << 20;  // 512 MiB, for each of two arrays, shared by the threads
constexpr int SAMPLES = 30;

static volatile float sink;

static void multiply_add() {
  Vec sums[CHAINS], factor = Vec{} + 0.999999f, term = Vec{} + 1e-6f;
  for (int i = 0; i < CHAINS; i++) sums[i] = Vec{} + (float)i;
  for (long round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) sums[i] = sums[i] * factor + term;
  }
  Vec all = {};
  for (int i = 0; i < CHAINS; i++) all += sums[i];
  sink = all[0];
}

// Two reads and one write for each element, nothing allocated in the cache that is not read.
static void update(float* a, const float* b, long count) {
  for (long i = 0; i < count; i++) a[i] = a[i] * 0.5f + b[i];
}

template <class Body>
static double seconds(int threads, Body body) {
  double best = 1e30;
  for (int sample = 0; sample < SAMPLES; sample++) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> all;
    for (int t = 0; t < threads; t++) all.emplace_back([=] { body(t); });
    for (auto& thread : all) thread.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (took.count() < best) best = took.count();
  }
  return best;
}

int main(int, char** arguments) {
  const int threads = atoi(arguments[1]);
  const double sums = seconds(threads, [](int) { multiply_add(); });
  const long share = FLOATS / threads;
  std::vector<std::vector<float>> a(threads), b(threads);
  for (int t = 0; t < threads; t++) {
    a[t].assign(share, 1);
    b[t].assign(share, 1);
  }
  auto *as = &a, *bs = &b;
  const double moved =
      seconds(threads, [=](int t) { update((*as)[t].data(), (*bs)[t].data(), share); });
  printf("{\"gflops\": %.1f, \"gbs\": %.2f}\n",
         2.0 * LANES * CHAINS * ROUNDS * threads / sums / 1e9,
         12.0 * share * threads / moved / 1e9);
}
