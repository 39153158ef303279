// The kernel on the host: a fiber for each CUDA thread of a block, barriers as switches between fibers, one block after the
// other. Between two barriers the fibers run in an order that a seed shuffles, and shared memory begins as NaN: a missing
// barrier changes the numbers. A barrier that not all its threads reach, or a write around shared memory, is an error.
// It includes C headers alone, because those of C++ take longer to compile than the kernel.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define DRNN_HOST 1
#define DRNN_DEVICE inline
#define DRNN_BOTH
#define DRNN_UNROLL
#define DRNN_UNROLL_TWICE
#define DRNN_ROLLED

struct alignas(16) float4 { float x, y, z, w; };
struct Index { int x; };
static Index threadIdx, blockIdx;

namespace host {
constexpr int STACK = 64 << 10, WARP = 32, NAMED = 16, GUARD = 4096;  // GUARD: floats around shared memory

struct Barrier {
  int needed, waiting;
  long passed;
};

struct Fiber {
  jmp_buf place;
  bool started, done;
  Barrier* at;
  long passed;
};

static Fiber fibers[DRNN_THREADS];
static int order[DRNN_THREADS];
static Barrier warps[(DRNN_THREADS + WARP - 1) / WARP], named[NAMED];
static char* stacks;
alignas(16) static float memory[GUARD + DRNN_SHARED + GUARD];
static void (*body)();
static jmp_buf scheduler;
static char error[200];

inline void wait(Barrier& barrier, int needed) {
  const int me = threadIdx.x;
  Fiber& fiber = fibers[me];
  if (barrier.waiting && barrier.needed != needed) snprintf(error, sizeof error, "a barrier is waited for with two counts");
  barrier.needed = needed, fiber.at = &barrier, fiber.passed = barrier.passed;
  if (++barrier.waiting == needed) barrier.waiting = 0, barrier.passed++;
  if (!_setjmp(fiber.place)) _longjmp(scheduler, 1);
  threadIdx.x = me;
}

inline void begin() {
  body();
  fibers[threadIdx.x].done = true;
  _longjmp(scheduler, 1);
}

// Runs a fiber up to its next barrier.
__attribute__((noinline)) static void resume(int thread) {
  Fiber& fiber = fibers[thread];
  threadIdx.x = thread;
  if (_setjmp(scheduler)) return;
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = stacks + (size_t)thread * STACK, context.uc_stack.ss_size = STACK, context.uc_link = nullptr;
  makecontext(&context, begin, 0);
  setcontext(&context);
}

static void shuffle(unsigned long& random) {
  for (int i = DRNN_THREADS - 1; i > 0; i--) {
    random = random * 6364136223846793005ul + 1442695040888963407ul;
    const int j = (random >> 33) % (i + 1), kept = order[i];
    order[i] = order[j], order[j] = kept;
  }
}

static void run_block(unsigned long& random) {
  for (float& value : memory) value = NAN;
  for (Fiber& fiber : fibers) fiber = {};
  for (Barrier& barrier : warps) barrier = {};
  for (Barrier& barrier : named) barrier = {};
  for (int thread = 0; thread < DRNN_THREADS; thread++) order[thread] = thread;
  for (int left = DRNN_THREADS; left && !*error;) {
    bool moved = false;
    shuffle(random);
    for (int thread : order) {
      Fiber& fiber = fibers[thread];
      if (fiber.done || (fiber.at && fiber.at->passed == fiber.passed)) continue;
      resume(thread), moved = true, left -= fiber.done;
    }
    if (!moved) snprintf(error, sizeof error, "%d threads wait for a barrier that others never reach", left);
  }
  for (int i = 0; i < GUARD; i++)
    if (!isnan(memory[i]) || !isnan(memory[GUARD + DRNN_SHARED + i])) snprintf(error, sizeof error, "a write is outside shared memory");
}

// Returns null, or what went wrong.
static const char* launch(int grid, unsigned seed, void (*kernel)()) {
  unsigned long random = seed;
  stacks = (char*)malloc((size_t)DRNN_THREADS * STACK);
  body = kernel, *error = 0;
  for (blockIdx.x = 0; blockIdx.x < grid && !*error; blockIdx.x++) run_block(random);
  free(stacks);
  return *error ? error : nullptr;
}
}  // namespace host

inline float exp2_of(float x) { return exp2f(x); }
inline float inverse(float x) { return 1.0f / x; }
inline float tanh_unit(float x) {  // tanh.approx.f32 has a relative error of up to 2^-11: keep 11 bits
  int exponent;
  const float part = frexpf(tanhf(x), &exponent);
  return ldexpf(rintf(part * 2048.0f) / 2048.0f, exponent);
}
inline float widened(unsigned short x) {  // float16
  const int exponent = x >> 10 & 31, mantissa = x & 1023;
  const float size = exponent == 31 ? (mantissa ? NAN : INFINITY)
                     : exponent     ? ldexpf(1024 + mantissa, exponent - 25)
                                    : ldexpf(mantissa, -24);
  return x >> 15 ? -size : size;
}
inline int spread() { return 0; }
inline int warp_index() { return threadIdx.x / host::WARP; }
inline void sync_block() { host::wait(host::named[0], DRNN_THREADS); }
inline void sync_warps(int name, int threads) { host::wait(host::named[name], threads); }
inline void sync_warp() { host::wait(host::warps[threadIdx.x / host::WARP], host::WARP); }
