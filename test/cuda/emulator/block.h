// Runs a kernel's blocks: every CUDA thread is a fiber, blocks are spread over the machine's
// threads. Orders are adversarial: EMULATOR_ORDER = forward | reverse | random (EMULATOR_SEED), and
// asynchronous copies land as late as their wait allows unless EMULATOR_COPIES = early.
#pragma once
#include <atomic>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "crew.h"
#include "fiber.h"

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

namespace emulator {

enum class Order { FORWARD, REVERSE, RANDOM };

struct Settings {
  Order order = Order::FORWARD;
  uint64_t seed = 1;
  bool late_copies = true;
  bool copies_ahead = false;  // of what the other stream computes
  int threads = 1;

  Settings() {
    const std::string given = text("EMULATOR_ORDER", "forward");
    order = given == "reverse"  ? Order::REVERSE
            : given == "random" ? Order::RANDOM
                                : Order::FORWARD;
    seed = strtoull(text("EMULATOR_SEED", "1").c_str(), nullptr, 10);
    late_copies = text("EMULATOR_COPIES", "late") != "early";
    copies_ahead = text("EMULATOR_COPIES", "late") == "ahead";
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    threads = atoi(text("EMULATOR_THREADS", std::to_string(cores)).c_str());
    if (threads < 1) threads = 1;
  }
  static std::string text(const char* name, const std::string& otherwise) {
    const char* value = getenv(name);
    return value ? value : otherwise;
  }
};

inline const Settings& settings() {
  static const Settings all;
  return all;
}

struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u) {}
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  }
};

// A meeting of the lanes of one warp that are named by a mask; each leaves up to 64 bytes.
constexpr int SLOT_BYTES = 64;
struct alignas(64) Meeting {
  uint32_t mask = 0, arrived = 0, generation = 0;
  const char* what = "";
  int line = 0;
  char* tags = nullptr;  // as Barrier's
  unsigned char slots[2][32][SLOT_BYTES];
};

struct Barrier {
  int arrived = 0, expected = 0, line = 0, generation = 0;
  char* tags = nullptr;  // two, taken in turns: one would hide races around a loop
};

struct AsyncCopy {
  void* to;
  const void* from;
  int bytes, valid;
};

enum class State : uint8_t { FRESH, READY, AT_BARRIER, AT_MEETING, DONE };

// What a CUDA thread has under way on the tensor cores of a warpgroup: see ptx_wgmma.h.
struct Warpgroup;

struct Thread {
  Fiber fiber;
  uint3 id{};
  int index = 0, lane = 0, warp = 0;
  State state = State::FRESH;
  int barrier = 0, barrier_line = 0;
  const Meeting* meeting = nullptr;
  bool fenced = false;       // __threadfence since the block began
  bool proxy_dirty = false;  // wrote shared memory that wgmma may not see yet
  int wgmma_pending = 0;
  std::vector<AsyncCopy> open_copies;
  std::vector<std::vector<AsyncCopy>> copy_groups;
};

struct Warp {
  std::vector<Meeting*> meetings;
  uint32_t lanes = 0;
};

// One operating system thread and the block that it runs.
struct Worker {
  Scheduler scheduler;
  Thread* current = nullptr;
  uint3 block{};
  dim3 block_size, grid_size;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<int> order;
  std::vector<std::unique_ptr<Meeting>> meetings;
  size_t meetings_used = 0;
  Barrier barriers[16];
  std::vector<std::unique_ptr<char[]>> tags;
  int living = 0;
  unsigned serial = 0;  // counts blocks
  std::string error;
  struct Static {
    const void* key;
    void* memory;
  };
  std::vector<Static> static_shared;
  size_t dynamic_bytes = 0;
  unsigned char* dynamic_shared = nullptr;
  void (*body)(void*) = nullptr;
  void* body_argument = nullptr;
  void* launch_tag = nullptr;  // orders memory before the launch; blocks are not ordered at all
  // For ThreadSanitizer, of this block only: tags that lived on would put its blocks in order.
  char* fresh_tags() {
    tags.emplace_back(new char[2]);
    return tags.back().get();
  }
  Random random{1};
};

inline thread_local Worker* worker = nullptr;

EMULATOR_UNSEEN inline void give_way() {
  Worker* w = worker;
  Thread* t = w->current;
  t->fiber.yield(w->scheduler, t->state == State::DONE);
}

// Abandons the launch with a message that names block and thread.
[[noreturn]] EMULATOR_UNSEEN inline void fail(const char* format, ...) {
  char text[512], place[160];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  Thread* t = worker->current;
  const uint3 b = worker->block;
  snprintf(place, sizeof place, " [block %u,%u,%u thread %u,%u,%u]", b.x, b.y, b.z, t->id.x,
           t->id.y, t->id.z);
  worker->error = std::string(text) + place;
  t->state = State::DONE;
  for (;;) give_way();
}

inline void open_barrier(Worker* w, int id) {
  w->barriers[id].arrived = 0;
  w->barriers[id].generation++;
  for (Thread& t : w->threads) {
    if (t.state == State::AT_BARRIER && t.barrier == id) t.state = State::READY;
  }
}

EMULATOR_UNSEEN inline void thread_main() {
  Worker* w = worker;
  w->current->fiber.arrived(w->scheduler);
  acquire(w->launch_tag);
  w->body(w->body_argument);
  Thread* t = w->current;
  if (!t->open_copies.empty() || !t->copy_groups.empty()) fail("ends with unfinished cp.async");
  if (t->wgmma_pending) fail("ends with unfinished wgmma");
  release(w);
  t->state = State::DONE;
  w->living--;
  for (int id = 0; id < 16; id++) {  // a thread that is gone no longer counts at block barriers
    const Barrier& b = w->barriers[id];
    if (b.arrived > 0 && b.expected == 0 && b.arrived == w->living) open_barrier(w, id);
  }
  give_way();
  abort();
}

inline void run_thread(Worker* w, Thread& t) {
  w->current = &t;
  if (t.state == State::FRESH) {
    t.fiber.start(thread_main, t.index, w->threads.size());
    t.state = State::READY;
  }
  t.fiber.resume(w->scheduler);
  if (t.state == State::DONE) t.fiber.end();
}

inline std::string who_waits(const Worker& w) {
  int at_barrier = 0, at_meeting = 0, gone = 0, shown = 0;
  std::string list;
  for (const Thread& t : w.threads) {
    at_barrier += t.state == State::AT_BARRIER;
    at_meeting += t.state == State::AT_MEETING;
    gone += t.state == State::DONE;
    if ((t.state != State::AT_BARRIER && t.state != State::AT_MEETING) || shown++ >= 4) continue;
    char line[160];
    if (t.state == State::AT_BARRIER) {
      snprintf(line, sizeof line, "; thread %d at barrier %d, line %d", t.index, t.barrier,
               t.barrier_line);
    } else {
      snprintf(line, sizeof line, "; thread %d at %s, line %d, mask %08x, arrived %08x", t.index,
               t.meeting->what, t.meeting->line, t.meeting->mask, t.meeting->arrived);
    }
    list += line;
  }
  return "deadlock in block " + std::to_string(w.block.x) + "," + std::to_string(w.block.y) + ": " +
         std::to_string(at_barrier) + " threads at a block barrier, " + std::to_string(at_meeting) +
         " at a warp's meeting, " + std::to_string(gone) + " gone" + list;
}

inline void prepare_block(Worker* w) {
  const dim3 size = w->block_size;
  const int count = static_cast<int>(size.x * size.y * size.z), warps = (count + 31) / 32;
  if (static_cast<int>(w->threads.size()) != count) {
    w->threads.assign(count, Thread());
    w->order.resize(count);
    for (int i = 0; i < count; i++) {
      w->order[i] = settings().order == Order::REVERSE ? count - 1 - i : i;
    }
  }
  w->warps.resize(warps);
  w->meetings_used = 0;
  for (int i = 0; i < warps; i++) {
    const int lanes = count - i * 32;
    w->warps[i].meetings.clear();
    w->warps[i].lanes = lanes >= 32 ? ~0u : (1u << lanes) - 1;
  }
  for (int i = 0; i < count; i++) {
    Thread& t = w->threads[i];
    t.index = i;
    t.lane = i & 31;
    t.warp = i >> 5;
    const unsigned u = static_cast<unsigned>(i);
    t.id = {u % size.x, u / size.x % size.y, u / size.x / size.y};
    t.state = State::FRESH;
    t.fenced = t.proxy_dirty = false;
    t.wgmma_pending = 0;
    t.open_copies.clear();
    t.copy_groups.clear();
  }
  w->tags.clear();
  for (Barrier& b : w->barriers) {
    b = Barrier();
    b.tags = w->fresh_tags();
  }
  for (const Worker::Static& s : w->static_shared) free(s.memory);
  w->static_shared.clear();
  w->living = count;
  w->serial++;
}

// Shared memory is fresh for every block and full of NaN (0xFF bytes).
inline void* poisoned_shared(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 1024, bytes)) throw std::bad_alloc();
  memset(memory, 0xFF, bytes);
  return memory;
}

inline void run_block(Worker* w) {
  prepare_block(w);
  if (w->dynamic_bytes > 0) {
    w->dynamic_shared = static_cast<unsigned char*>(poisoned_shared(w->dynamic_bytes));
  }
  const size_t count = w->order.size();
  while (w->living > 0 && w->error.empty()) {
    if (settings().order == Order::RANDOM) {
      for (size_t i = count - 1; i > 0; i--)
        std::swap(w->order[i], w->order[w->random.next() % (i + 1)]);
    }
    bool moved = false;
    for (size_t i = 0; i < count && w->error.empty(); i++) {
      Thread& t = w->threads[w->order[i]];
      if (t.state != State::FRESH && t.state != State::READY) continue;
      moved = true;
      run_thread(w, t);
    }
    if (!moved) w->error = who_waits(*w);
  }
  acquire(w);
  for (Thread& t : w->threads) {
    if (t.fiber.stack.memory) t.fiber.end();  // after an error
  }
  free(w->dynamic_shared);
  w->dynamic_shared = nullptr;
}

inline void check_launch(dim3 grid, dim3 block, size_t shared) {
  const size_t threads = static_cast<size_t>(block.x) * block.y * block.z;
  const bool sizes = threads >= 1 && threads <= 1024 && block.z <= 64 && grid.x >= 1 &&
                     grid.y >= 1 && grid.z >= 1 && grid.x <= 2147483647u && grid.y <= 65535 &&
                     grid.z <= 65535;
  if (!sizes) throw std::runtime_error("emulator: invalid launch configuration");
  if (shared > 227 * 1024) throw std::runtime_error("emulator: more than 227 KB of shared memory");
}

// Runs body() once per thread of the grid. Throws std::runtime_error with what went wrong. With two
// workers or more neighbouring blocks run on different ones, so that ThreadSanitizer, for which
// what one stack did is in order, sees their races.
template <class Body>
void launch(dim3 grid, dim3 block, size_t shared, Body body) {
  check_launch(grid, block, shared);
  const size_t blocks = static_cast<size_t>(grid.x) * grid.y * grid.z;
  const size_t workers = std::min<size_t>(settings().threads, blocks);
  std::atomic<bool> failed{false};
  std::string error;
  char tag = 0;
  release(&tag);
  const auto work = [&](int id) {
    Unseen unseen;
    Worker w;
    w.launch_tag = &tag;
    w.block_size = block;
    w.grid_size = grid;
    w.dynamic_bytes = shared;
    w.random = Random(settings().seed + 77 + id);
    w.body = [](void* argument) { (*static_cast<Body*>(argument))(); };
    w.body_argument = &body;
#if defined(__SANITIZE_THREAD__)
    w.scheduler.tsan = __tsan_get_current_fiber();
#endif
    Worker* outer = worker;
    worker = &w;
    for (size_t i = id; i < blocks && !failed; i += workers) {
      const size_t b = settings().order == Order::REVERSE ? blocks - 1 - i : i;
      w.block = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                 static_cast<unsigned>(b / grid.x / grid.y)};
      run_block(&w);
      if (!w.error.empty() && !failed.exchange(true)) error = w.error;
    }
    for (const Worker::Static& s : w.static_shared) free(s.memory);
    worker = outer;
  };
  if (workers == 1)
    work(0);
  else
    Crew::all(settings().threads).run(static_cast<int>(workers), work);
  if (failed) throw std::runtime_error("emulator: " + error);
}

}  // namespace emulator
