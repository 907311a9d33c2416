// What CUDA threads do together: block barriers, warp shuffles and votes, atomics.
#pragma once
#include <algorithm>
#include <cmath>

#include "block.h"

namespace emulator {

// Waits for `count` threads of the block, or for all that live (count = 0).
EMULATOR_UNSEEN inline void barrier(int id, int count, int line) {
  Worker* w = worker;
  Thread* t = w->current;
  Barrier& b = w->barriers[id];
  if (b.arrived == 0) {
    b.expected = count;
    b.line = line;
  } else if (b.expected != count) {
    fail("barrier %d is used with %d and with %d threads", id, b.expected, count);
  } else if (b.line != line) {
    fail("threads of one block meet at different barriers: line %d and line %d", b.line, line);
  }
  void* tag = &b.tags[b.generation & 1];
  release(tag);
  {
    Unseen unseen;
    if (++b.arrived == (count ? count : w->living)) {
      open_barrier(w, id);
      t->state = State::READY;
    } else {
      t->state = State::AT_BARRIER;
      t->barrier = id;
      t->barrier_line = line;
    }
    give_way();  // also the last: who goes on first is the scheduler's choice
  }
  acquire(tag);
}

EMULATOR_UNSEEN inline void copy_bytes(void* to, const void* from, int count) {
  for (int i = 0; i < count; i++) {
    static_cast<unsigned char*>(to)[i] = static_cast<const unsigned char*>(from)[i];
  }
}

typedef unsigned char (*Slots)[SLOT_BYTES];
typedef void (*Together)(Slots slots);

EMULATOR_UNSEEN inline Meeting* find_meeting(Worker* w, uint32_t mask) {
  Warp& warp = w->warps[w->current->warp];
  for (Meeting* m : warp.meetings) {
    if (m->mask == mask) return m;
  }
  if (w->meetings_used == w->meetings.size()) w->meetings.emplace_back(new Meeting);
  Meeting* m = w->meetings[w->meetings_used++].get();
  m->mask = mask;
  m->arrived = m->generation = 0;
  m->tags = w->fresh_tags();
  warp.meetings.push_back(m);
  return m;
}

// Every lane of `mask` leaves `bytes` bytes; the last one runs `together` on all of them. `orders`:
// memory is ordered too, as by __syncwarp; shuffles and votes order nothing.
EMULATOR_UNSEEN inline Slots meet(uint32_t mask, const void* value, int bytes, const char* what,
                                  int line, Together together = nullptr, bool orders = false) {
  Unseen unseen;
  Worker* w = worker;
  Thread* t = w->current;
  mask &= w->warps[t->warp].lanes;
  if (!(mask >> t->lane & 1)) fail("%s line %d: lane %d is not in its mask", what, line, t->lane);
  Meeting* m = find_meeting(w, mask);
  if (!m->arrived) {
    m->what = what;
    m->line = line;
  } else if (m->line != line || m->what != what) {
    fail("lanes of one warp meet at %s line %d and at %s line %d", m->what, m->line, what, line);
  }
  const int parity = m->generation & 1;
  if (orders) release(&m->tags[parity]);
  copy_bytes(m->slots[parity][t->lane], value, bytes);
  m->arrived |= 1u << t->lane;
  if (m->arrived == mask) {
    m->arrived = 0;
    m->generation++;
    if (together) together(m->slots[parity]);
    Thread* first = &w->threads[t->warp * 32];
    for (int lane = 0; lane < 32; lane++) {
      if (mask >> lane & 1 && lane != t->lane) first[lane].state = State::READY;
    }
  } else {
    t->state = State::AT_MEETING;
    t->meeting = m;
    give_way();
  }
  if (orders) acquire(&m->tags[parity]);
  return m->slots[parity];
}

template <class T>
EMULATOR_UNSEEN T in_slot(Slots slots, int lane) {
  T value;
  copy_bytes(&value, slots[lane], sizeof(T));
  return value;
}

enum class Shuffle { INDEX, UP, DOWN, XOR };

template <class T>
T shuffle(Shuffle mode, const char* what, int line, uint32_t mask, T value, int argument,
          int width = 32) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  const int lane = worker->current->lane, base = lane & ~(width - 1), local = lane & (width - 1);
  const Slots slots = meet(mask, &value, sizeof(T), what, line);
  int from = lane;
  if (mode == Shuffle::INDEX) from = base + (argument & (width - 1));
  if (mode == Shuffle::UP && local >= argument) from = lane - argument;
  if (mode == Shuffle::DOWN && local + argument < width) from = lane + argument;
  if (mode == Shuffle::XOR && (local ^ argument) < width) from = base + (local ^ argument);
  if (!((mask & worker->warps[worker->current->warp].lanes) >> from & 1)) {
    fail("%s line %d reads lane %d, which is not in mask %08x", what, line, from, mask);
  }
  return in_slot<T>(slots, from);
}

inline unsigned ballot(uint32_t mask, int predicate, int line) {
  const Slots slots = meet(mask, &predicate, sizeof predicate, "vote", line);
  mask &= worker->warps[worker->current->warp].lanes;
  unsigned result = 0;
  for (int lane = 0; lane < 32; lane++) {
    if (mask >> lane & 1 && in_slot<int>(slots, lane)) result |= 1u << lane;
  }
  return result;
}

inline void sync_warp(uint32_t mask, int line) {
  const int nothing = 0;
  meet(mask, &nothing, sizeof nothing, "__syncwarp", line, nullptr, true);
}

// Shared memory of a CU_SHARED object: a heap object of its own for every block.
template <class T>
T* static_shared(const void* key) {
  Unseen unseen;
  for (const Worker::Static& s : worker->static_shared) {
    if (s.key == key) return static_cast<T*>(s.memory);
  }
  worker->static_shared.push_back({key, poisoned_shared(sizeof(T))});
  return static_cast<T*>(worker->static_shared.back().memory);
}

// Relaxed, as on the device, unless the thread has fenced.
template <class T>
T atomic_add(T* place, T value) {
  return worker->current->fenced ? __atomic_fetch_add(place, value, __ATOMIC_ACQ_REL)
                                 : __atomic_fetch_add(place, value, __ATOMIC_RELAXED);
}

}  // namespace emulator

#define threadIdx (::emulator::worker->current->id)
#define blockIdx (::emulator::worker->block)
#define blockDim (::emulator::worker->block_size)
#define gridDim (::emulator::worker->grid_size)
#define __syncthreads() ::emulator::barrier(0, 0, __LINE__)
#define __syncwarp(...) ::emulator::sync_warp(~0u, __LINE__)
#define __shfl_sync(...) \
  ::emulator::shuffle(::emulator::Shuffle::INDEX, "__shfl_sync", __LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) \
  ::emulator::shuffle(::emulator::Shuffle::UP, "__shfl_up_sync", __LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) \
  ::emulator::shuffle(::emulator::Shuffle::DOWN, "__shfl_down_sync", __LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) \
  ::emulator::shuffle(::emulator::Shuffle::XOR, "__shfl_xor_sync", __LINE__, __VA_ARGS__)
#define __ballot_sync(mask, p) ::emulator::ballot(mask, !!(p), __LINE__)
#define __any_sync(mask, p) (::emulator::ballot(mask, !!(p), __LINE__) != 0)
#define __all_sync(mask, p) (::emulator::ballot(mask, !(p), __LINE__) == 0)

inline int atomicAdd(int* place, int value) { return ::emulator::atomic_add(place, value); }
inline unsigned atomicAdd(unsigned* place, unsigned value) {
  return ::emulator::atomic_add(place, value);
}
EMULATOR_UNSEEN inline void __threadfence() { ::emulator::worker->current->fenced = true; }
