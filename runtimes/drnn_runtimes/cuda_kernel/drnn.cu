// A dilated recurrent stack as one kernel: h_t = cell(x_t, h_{t-d}) in every layer, from inputs to the top layer's h.
//
// `constants.py` writes the constants of a network (DRNN_...) in front of this text. They are constants because weights
// live in registers: a register has no index, so each loop over weights is unrolled. NVRTC, nvcc and, with
// `host_shim.h` in front, g++ compile the same text.
//
// Resident: a block takes DRNN_ROWS sequences, a group of warps each layer, a thread each unit. Recurrent weights are in
// registers, input weights in shared memory. Layers are a pipeline over blocks of DRNN_BLOCK steps: layer l works on block
// i - l while layer l - 1 works on the next one, so that only a layer's own past is waited for from step to step.
// Streamed: for networks beyond a block's memory. The whole block of threads takes one layer after the other and reads
// weights from the L2 cache; steps that do not depend on each other share what is read.
//
// A layer computes the steps t with (t - (steps - answers)) mod d < fold: all where fold = d, and else those that can reach
// the last `answers` steps. Counted in time order, computed step i needs computed step i - fold.
#ifndef DRNN_HOST
#define DRNN_DEVICE __device__ __forceinline__
#define DRNN_KERNEL extern "C" __global__ void __launch_bounds__(DRNN_THREADS, 1)
#define DRNN_SHARED_MEMORY(name) extern __shared__ __align__(16) float name[]
#define DRNN_BOTH __host__ __device__
#define DRNN_UNROLL _Pragma("unroll")
#define DRNN_UNROLL_TWICE _Pragma("unroll 2")  // more loads under way
#define DRNN_ROLLED _Pragma("unroll 1")
DRNN_DEVICE float exp2_of(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
DRNN_DEVICE float inverse(float x) { float y; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
#if DRNN_APPROXIMATE
DRNN_DEVICE float tanh_unit(float x) { float y; asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
#endif
DRNN_DEVICE float widened(unsigned short x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
DRNN_DEVICE void sync_block() { asm volatile("bar.sync 0;" ::: "memory"); }
DRNN_DEVICE void sync_warps(int name, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory"); }
DRNN_DEVICE void sync_warp() { __syncwarp(); }
DRNN_DEVICE int spread() { return threadIdx.y; }  // 0, of which the compiler cannot know that it is uniform
DRNN_DEVICE int warp_index() { return __shfl_sync(0xffffffffu, threadIdx.x / 32, 0); }  // so that the compiler knows: uniform
#endif

enum Cell { RNN_TANH, RNN_RELU, GRU_AFTER, GRU_BEFORE, LSTM };
constexpr int CELL = DRNN_CELL, GATES = CELL <= RNN_RELU ? 1 : CELL == LSTM ? 4 : 3;
constexpr int ROWS = DRNN_ROWS, BLOCK = DRNN_BLOCK, AHEAD = DRNN_AHEAD, LAYERS = DRNN_LAYERS, TOP = DRNN_TOP;
constexpr int CHAINS = GATES == 1 ? 4 : 2;  // partial sums of a product: a multiply-add takes four cycles
DRNN_BOTH constexpr int padded(int values) { return (values + 3) / 4 * 4; }  // rows are read four values at a time
#if DRNN_HALF
typedef unsigned short Weight;
DRNN_DEVICE float loaded(Weight x) { return widened(x); }
struct alignas(8) Weights4 { Weight x, y, z, w; };
#else
typedef float Weight;
DRNN_DEVICE float loaded(Weight x) { return x; }
struct alignas(16) Weights4 { Weight x, y, z, w; };
#endif

// Where a layer's parts are: in bytes from the weights, in floats from shared memory, the workspace and, for each sequence
// of the batch, the states. See `constants.py`.
struct Layer {
  int index, shape, begin, end, dilation, fold, weights, biases, h_state, c_state;
  int in, out, ring, inputs, past, mixed, workspace;
};
struct Run {
  const float* x;
  const char* weights;
  const float* state;
  float* next_state;
  float* workspace;
  float* y;
  int batch, steps, answers;
};

DRNN_DEVICE int modulo(int a, int b) { const int r = a % b; return r < 0 ? r + b : r; }

DRNN_DEVICE float sigmoid(float x) {
#if DRNN_APPROXIMATE
  return fmaf(tanh_unit(0.5f * x), 0.5f, 0.5f);
#else
  return inverse(1.0f + exp2_of(-1.4426950408889634f * x));
#endif
}

DRNN_DEVICE float tanh_of(float x) {
#if DRNN_APPROXIMATE
  return tanh_unit(x);
#else
  const float large = fmaf(-2.0f, inverse(1.0f + exp2_of(2.8853900817779268f * x)), 1.0f);  // loses small x in the 1
  const float square = x * x;
  float series = fmaf(square, 0.021869488536155203f, -0.053968253968253971f);  // of tanh(x) / x
  series = fmaf(square, series, 0.13333333333333333f);
  series = fmaf(square, series, -0.33333333333333331f);
  const float small = fmaf(x * square, series, x);
  return square < 0.0625f ? small : large;
#endif
}

DRNN_DEVICE float relu(float x) { return x < 0.0f ? 0.0f : x; }  // NaN stays, as fmaxf would not let it

// A product of a unit's weights with a row: in CHAINS sums, the first of which begins at `sum`.
template <int H> DRNN_DEVICE float product(const float (&weights)[H], const float (&row)[padded(H)], float sum) {
  float part[CHAINS];
  DRNN_UNROLL for (int c = 0; c < CHAINS; c++) part[c] = c ? 0.0f : sum;
  DRNN_UNROLL for (int k = 0; k < H; k++) part[k % CHAINS] = fmaf(weights[k], row[k], part[k % CHAINS]);
  if (CHAINS == 4) return (part[0] + part[1]) + (part[2 % CHAINS] + part[3 % CHAINS]);
  return part[0] + part[1];
}

template <int N> DRNN_DEVICE void load_row(const float* from, float (&row)[N]) {
  DRNN_UNROLL for (int k = 0; k < N; k += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + k);
    row[k] = v.x, row[k + 1] = v.y, row[k + 2] = v.z, row[k + 3] = v.w;
  }
}

#if !DRNN_STREAMED
// The layer of a warp; the warps behind the last layer's move inputs and outputs.
DRNN_DEVICE Layer layer_of(int warp) {
#define DRNN_PICK(...) { const Layer at{__VA_ARGS__}; if (warp * 32 < at.end) return at; }
  DRNN_EACH_LAYER(DRNN_PICK)
#undef DRNN_PICK
  return Layer{};
}

// A layer. Its past is a ring of slots (h and c, ROWS, HP): near, in shared memory, with a slot more than the past, so that a
// step never overwrites what it reads; far, in the workspace, from where `gather` brings a block's past at once. Even: the
// steps that it computes have equal distances.
template <int C, int H, int FAR, int EVEN> struct Resident {
  static constexpr int CP = padded(C), HP = padded(H), IN = ROWS * CP, OUT = ROWS * HP, WARPS = (H + 31) / 32;
  static constexpr int SLOT = (CELL == LSTM ? 2 : 1) * OUT;
  const Layer at;
  const Run& run;
  float *shared, *ring;
  int unit, row0, first, last, write, read;  // the last four: where slots begin in `ring`
  bool mine;
  float r[GATES][H], bias[GATES], past_bias;

  DRNN_DEVICE Resident(const Layer& layer, const Run& arguments, float* memory) : at(layer), run(arguments), shared(memory) {
    const int lane = threadIdx.x - at.begin;
    mine = lane < H, unit = mine ? lane : H - 1, row0 = blockIdx.x * ROWS;
    ring = FAR ? run.workspace + at.workspace : shared, first = FAR ? 0 : at.ring + spread();
    last = first + (at.fold - FAR) * SLOT, write = first, read = FAR ? first : first + SLOT;
    load_weights();
    load_state();
  }

  DRNN_DEVICE void sync_layer() const {
    if (WARPS == 1) sync_warp();
    else sync_warps(at.index + 1, 32 * WARPS);
  }

  DRNN_DEVICE int after(int slot) const { return slot == last ? first : slot + SLOT; }

  DRNN_DEVICE void load_weights() {
    const Weights4* matrix = reinterpret_cast<const Weights4*>(run.weights + at.weights) + unit;  // (CP / 4 + HP / 4, GATES, H)
    const float* biases = reinterpret_cast<const float*>(run.weights + at.biases) + unit;          // (GATES + 1, H)
    Weights4* inputs = reinterpret_cast<Weights4*>(shared + at.inputs) + unit;
    DRNN_ROLLED for (int k = 0; k < CP / 4 * GATES; k++) inputs[k * H] = matrix[k * H];
    DRNN_UNROLL for (int g = 0; g < GATES; g++) {
      bias[g] = biases[g * H];
      DRNN_UNROLL for (int k = 0; k < H; k += 4) {
        const Weights4 four = matrix[((CP / 4 + k / 4) * GATES + g) * H];
        r[g][k] = loaded(four.x);
        if (k + 1 < H) r[g][k + 1 < H ? k + 1 : k] = loaded(four.y);
        if (k + 2 < H) r[g][k + 2 < H ? k + 2 : k] = loaded(four.z);
        if (k + 3 < H) r[g][k + 3 < H ? k + 3 : k] = loaded(four.w);
      }
    }
    past_bias = biases[GATES * H];
  }

  // Where a sequence's h of age j is in the states, for each sequence of the batch; c is `c_state - h_state` behind.
  DRNN_DEVICE long long state_place(int i, int j) const {
    return (long long)at.h_state * run.batch + ((long long)(row0 + i) * at.dilation + j) * H + unit;
  }

  DRNN_DEVICE void load_state() {
    const long long cells = (long long)(at.c_state - at.h_state) * run.batch;
    for (int j = 0, slot = read; j < at.fold && mine; j++, slot = after(slot)) DRNN_UNROLL for (int i = 0; i < ROWS; i++) {
      const bool kept = run.state && row0 + i < run.batch;
      ring[slot + i * HP + unit] = kept ? run.state[state_place(i, j)] : 0.0f;
      if (CELL == LSTM) ring[slot + OUT + i * HP + unit] = kept ? run.state[state_place(i, j) + cells] : 0.0f;
    }
  }

  DRNN_DEVICE void store_state() const {
    const long long cells = (long long)(at.c_state - at.h_state) * run.batch;
    if (run.next_state && mine)
      for (int j = 0, slot = read; j < at.fold; j++, slot = after(slot)) DRNN_UNROLL for (int i = 0; i < ROWS; i++) {
        if (row0 + i >= run.batch) continue;
        run.next_state[state_place(i, j)] = ring[slot + i * HP + unit];
        if (CELL == LSTM) run.next_state[state_place(i, j) + cells] = ring[slot + OUT + i * HP + unit];
      }
  }

  // The past of a block of a far layer: its steps need none of each other's.
  DRNN_DEVICE void gather() const {
    DRNN_ROLLED for (int s = 0, slot = read; s < BLOCK; s++, slot = after(slot)) DRNN_UNROLL for (int i = 0; i < SLOT; i += HP)
      if (mine) shared[at.past + s * SLOT + i + unit] = ring[slot + i + unit];
    sync_layer();  // all of the past is there
  }

  // What the inputs of COUNT computed steps add to the gates; each weight is read once for all of them.
  template <int COUNT> DRNN_DEVICE void project(const int (&from)[COUNT], float (&sum)[COUNT][ROWS][GATES]) const {
    DRNN_UNROLL for (int s = 0; s < COUNT; s++)
      DRNN_UNROLL for (int i = 0; i < ROWS; i++)
        DRNN_UNROLL for (int g = 0; g < GATES; g++) sum[s][i][g] = bias[g];
    const Weights4* weights = reinterpret_cast<const Weights4*>(shared + at.inputs) + unit;
    DRNN_UNROLL for (int k = 0; k < C; k += 4) {
      float w[GATES][4];
      DRNN_UNROLL for (int g = 0; g < GATES; g++) {
        const Weights4 four = weights[(k / 4 * GATES + g) * H];
        w[g][0] = loaded(four.x), w[g][1] = loaded(four.y), w[g][2] = loaded(four.z), w[g][3] = loaded(four.w);
      }
      DRNN_UNROLL for (int s = 0; s < COUNT; s++) DRNN_UNROLL for (int i = 0; i < ROWS; i++) {
        float v[4];
        load_row(shared + from[s] + i * CP + k, v);
        DRNN_UNROLL for (int j = 0; j < 4 && k + j < C; j++)
          DRNN_UNROLL for (int g = 0; g < GATES; g++) sum[s][i][g] = fmaf(w[g][j], v[j], sum[s][i][g]);
      }
    }
  }

  // One step: what its inputs add to the gates, and where in shared memory its past is and its h goes.
  DRNN_DEVICE void step(const float (&fed)[ROWS][GATES], int past, int out) {
    const float* before = shared + past;
    float h[ROWS], c[ROWS], update[ROWS];
    DRNN_UNROLL for (int i = 0; i < ROWS; i++) {
      const float(&a)[GATES] = fed[i];
      float row[HP];
      load_row(before + i * HP, row);
      if (CELL == RNN_TANH) h[i] = tanh_of(product(r[0], row, a[0]));
      if (CELL == RNN_RELU) h[i] = relu(product(r[0], row, a[0]));
      if (CELL == GRU_AFTER) {
        const float reset = sigmoid(product(r[0], row, a[0]));
        const float recalled = product(r[2 % GATES], row, past_bias);
        const float z = sigmoid(product(r[1 % GATES], row, a[1 % GATES])), old = before[i * HP + unit];
        const float proposed = tanh_of(fmaf(reset, recalled, a[2 % GATES]));
        h[i] = fmaf(z, old - proposed, proposed);
      }
      if (CELL == GRU_BEFORE) {
        const float reset = sigmoid(product(r[0], row, a[0]));
        if (mine) shared[at.mixed + i * HP + unit] = reset * before[i * HP + unit];
        update[i] = sigmoid(product(r[1 % GATES], row, a[1 % GATES]));
      }
      if (CELL == LSTM) {
        const float in = sigmoid(product(r[0], row, a[0])), proposed = tanh_of(product(r[2 % GATES], row, a[2 % GATES]));
        const float forget = sigmoid(product(r[1 % GATES], row, a[1 % GATES])), open = sigmoid(product(r[3 % GATES], row, a[3 % GATES]));
        c[i] = fmaf(forget, before[OUT + i * HP + unit], in * proposed);
        h[i] = open * tanh_of(c[i]);
      }
    }
    if (CELL == GRU_BEFORE) {
      sync_layer();  // all have written reset * h
      DRNN_UNROLL for (int i = 0; i < ROWS; i++) {
        float row[HP];
        load_row(shared + at.mixed + i * HP, row);
        const float proposed = tanh_of(product(r[2 % GATES], row, fed[i][2 % GATES]));
        h[i] = fmaf(update[i], before[i * HP + unit] - proposed, proposed);
      }
    }
    if (mine) DRNN_UNROLL for (int i = 0; i < ROWS; i++) {
      ring[write + i * HP + unit] = h[i];
      if (CELL == LSTM) ring[write + OUT + i * HP + unit] = c[i];
      shared[out + i * HP + unit] = h[i];
    }
    sync_layer();  // all see h_t, and have read h_{t-d}, which the next step overwrites
    write = FAR ? after(write) : read, read = after(read);
  }

  // The computed step after the computed step t.
  DRNN_DEVICE int time_after(int t) const {
    if (EVEN) return t + (at.fold == 1 ? at.dilation : 1);
    const int phase = modulo(t - run.steps + run.answers, at.dilation);
    return t + (phase + 1 == at.fold ? at.dilation - at.fold + 1 : 1);
  }

  // The computed steps from t on while COUNT of them are before `stop`. in, out: where the rows of step 0 would be.
  template <int COUNT> DRNN_DEVICE void steps(int& t, int& past, int stop, int in, int out) {
    for (;;) {
      int times[COUNT + 1], from[COUNT];
      times[0] = t;
      DRNN_UNROLL for (int s = 0; s < COUNT; s++) times[s + 1] = time_after(times[s]), from[s] = in + times[s] * IN;
      if (times[COUNT - 1] >= stop) break;
      float sum[COUNT][ROWS][GATES];
      project(from, sum);
      DRNN_UNROLL for (int s = 0; s < COUNT; s++) step(sum[s], FAR ? past + s * SLOT : read, out + times[s] * OUT);
      t = times[COUNT], past += COUNT * SLOT;
    }
  }

  DRNN_DEVICE void compute(int blocks) {
    const int residue = modulo(run.answers - run.steps, at.dilation);  // of step 0, counted from the first that is needed
    int t = residue < at.fold ? 0 : at.dilation - residue;
    sync_block();  // what all write at first is there
    DRNN_ROLLED for (int turn = 0; turn < blocks + LAYERS; turn++) {
      const int block = turn - at.index;
      if (block >= 0 && block < blocks) {
        const int start = block * BLOCK, stop = start + BLOCK < run.steps ? start + BLOCK : run.steps;
        const int in = at.in + ((block & 1) * BLOCK - start) * IN, out = at.out + ((block & 1) * BLOCK - start) * OUT;
        int past = at.past;
        if (FAR && t < stop) gather();
        if (AHEAD > 1) steps<AHEAD>(t, past, stop, in, out);
        steps<1>(t, past, stop, in, out);
      }
      sync_block();  // a block of steps is done
    }
    store_state();
  }
};

// Brings the inputs of the next block, and takes away what the top layer has finished.
DRNN_DEVICE void move(const Run& run, float* shared, int blocks) {
  constexpr int C = DRNN_INPUTS, CP = padded(C), HP = padded(TOP), LANES = DRNN_THREADS - DRNN_MOVERS;
  const int lane = threadIdx.x - DRNN_MOVERS, row0 = blockIdx.x * ROWS;
  for (int turn = -1; turn < blocks + LAYERS; turn++) {
    const int next = (turn + 1) * BLOCK, done = (turn - LAYERS) * BLOCK, first = run.steps - run.answers;
    float* in = shared + DRNN_IN + ((turn + 1) & 1) * BLOCK * ROWS * CP;
    if (next < run.steps) for (int i = lane; i < BLOCK * ROWS * C; i += LANES) {
      const int c = i % C, s = i / C % BLOCK, r = i / C / BLOCK, row = row0 + r < run.batch ? row0 + r : run.batch - 1;
      if (next + s < run.steps) in[(s * ROWS + r) * CP + c] = run.x[((long long)row * run.steps + next + s) * C + c];
    }
    const float* out = shared + DRNN_OUT + ((turn - LAYERS) & 1) * BLOCK * ROWS * HP;
    if (done >= 0 && done + BLOCK > first) for (int i = lane; i < BLOCK * ROWS * TOP; i += LANES) {
      const int u = i % TOP, s = i / TOP % BLOCK, r = i / TOP / BLOCK, t = done + s;
      if (t >= first && t < run.steps && row0 + r < run.batch)
        run.y[((long long)(row0 + r) * run.answers + t - first) * TOP + u] = out[(s * ROWS + r) * HP + u];
    }
    sync_block();  // inputs are there
  }
}

DRNN_DEVICE void run_stack(Run run, float* shared) {
  const int blocks = (run.steps + BLOCK - 1) / BLOCK;
  run.workspace += (long long)blockIdx.x * DRNN_WORKSPACE;
  for (int i = threadIdx.x; i < DRNN_SHARED; i += DRNN_THREADS) shared[i] = 0.0f;
  sync_block();  // shared memory is cleared
  const int warp = warp_index();
  if (warp * 32 >= DRNN_MOVERS) { move(run, shared, blocks); return; }
  const Layer at = layer_of(warp);
#define DRNN_COMPUTE(shape_, C, H, FAR, EVEN) \
  if (at.shape == shape_) Resident<C, H, FAR, EVEN>(at, run, shared).compute(blocks);
  DRNN_EACH_SHAPE(DRNN_COMPUTE)
#undef DRNN_COMPUTE
}

#else
DRNN_DEVICE Layer layer_at(int index) {
#define DRNN_PICK(...) { const Layer at{__VA_ARGS__}; if (index == at.index) return at; }
  DRNN_EACH_LAYER(DRNN_PICK)
#undef DRNN_PICK
  return Layer{};
}

// Which steps a layer computes: the residue of step 0, counted from the first step that is needed, decides.
struct Steps {
  int d, fold, residue, before;
  DRNN_DEVICE Steps(const Layer& at, const Run& run)
      : d(at.dilation), fold(at.fold), residue(modulo(run.answers - run.steps, d)), before(residue < fold ? residue : fold) {}
  DRNN_DEVICE int computed_before(int t) const {
    const int u = t + residue, rest = u % d;
    return u / d * fold + (rest < fold ? rest : fold) - before;
  }
  DRNN_DEVICE int time_of(int i) const { return (i + before) / fold * d + (i + before) % fold - residue; }
};

template <int C, int H> struct Streamed {
  static constexpr int CP = padded(C), HP = padded(H), COLUMNS = (H + 31) / 32 * 32, GROUPS = DRNN_THREADS / COLUMNS;
  static constexpr int TILE = DRNN_TILE;
  const Layer at;
  const Run& run;
  float *shared, *ring;  // ring: (fold, ROWS, H) of h, and of an LSTM the same of c
  const Weights4* matrix;
  const float* biases;
  int column, unit, group;

  DRNN_DEVICE Streamed(const Layer& layer, const Run& arguments, float* memory)
      : at(layer), run(arguments), shared(memory), ring(run.workspace + at.workspace),
        matrix(reinterpret_cast<const Weights4*>(run.weights + at.weights)),
        biases(reinterpret_cast<const float*>(run.weights + at.biases)) {
    column = threadIdx.x % COLUMNS, group = threadIdx.x / COLUMNS, unit = column < H ? column : H - 1;
    matrix += unit, biases += unit;
  }

  // Adds the products of rows of K values with the gates FIRST to LAST - 1 to the sums; `weights` are the unit's.
  template <int K, int FIRST, int LAST, int WIDTH>
  DRNN_DEVICE void add(const Weights4* weights, const float* const (&rows)[TILE], float (&sum)[TILE][WIDTH]) const {
    DRNN_UNROLL_TWICE for (int k = 0; k < K; k += 4) {
      float w[LAST - FIRST][4];
      DRNN_UNROLL for (int g = FIRST; g < LAST; g++) {
        const Weights4 four = weights[(k / 4 * GATES + g) * H];
        w[g - FIRST][0] = loaded(four.x), w[g - FIRST][1] = loaded(four.y);
        w[g - FIRST][2] = loaded(four.z), w[g - FIRST][3] = loaded(four.w);
      }
      DRNN_UNROLL for (int j = 0; j < TILE; j++) {
        float v[4];
        load_row(rows[j] + k, v);
        DRNN_UNROLL for (int n = 0; n < 4; n++)
          DRNN_UNROLL for (int g = 0; g < LAST - FIRST; g++) sum[j][g] = fmaf(w[g][n], v[n], sum[j][g]);
      }
    }
  }

  // The computed steps i to i + count - 1, of which none needs another.
  DRNN_DEVICE void compute(const Steps& steps, int i, int count, int start, const float* in, float* out) const {
    float *past = shared + DRNN_PAST, *mixed = shared + DRNN_MIXED;
    const int rows = count * ROWS;
    for (int e = threadIdx.x; e < rows * HP; e += DRNN_THREADS) {
      const int row = e / HP, u = e % HP, slot = (i + row / ROWS) % at.fold;
      past[e] = u < H ? ring[(slot * ROWS + row % ROWS) * H + u] : 0.0f;
      if (CELL == GRU_BEFORE && u >= H) mixed[e] = 0.0f;
    }
    sync_block();  // the past is there, and in the first layer the inputs
    for (int base = 0; base < rows; base += GROUPS * TILE) {
      const float *from[TILE], *before[TILE], *reset_rows[TILE];
      int place[TILE], kept[TILE];  // of a row's h in `out` and in the ring
      float a[TILE][GATES], b[TILE][GATES];
      DRNN_UNROLL for (int j = 0; j < TILE; j++) {
        const int asked = base + group * TILE + j, row = asked < rows ? asked : rows - 1, step = i + row / ROWS;
        const int offset = (steps.time_of(step) - start) * ROWS + row % ROWS;
        from[j] = in + offset * CP, before[j] = past + row * HP, reset_rows[j] = mixed + row * HP;
        place[j] = asked < rows && group < GROUPS ? offset * HP : -1, kept[j] = (step % at.fold * ROWS + row % ROWS) * H;
        DRNN_UNROLL for (int g = 0; g < GATES; g++) a[j][g] = biases[g * H], b[j][g] = 0.0f;
        if (CELL == GRU_AFTER) b[j][2 % GATES] = biases[GATES * H];
      }
      add<CP, 0, GATES>(matrix, from, a);
      add<HP, 0, CELL == GRU_BEFORE ? 2 % GATES : GATES>(matrix + CP / 4 * GATES * H, before, b);
      if (CELL == GRU_BEFORE) {
        float n[TILE][1];
        DRNN_UNROLL for (int j = 0; j < TILE; j++) {
          n[j][0] = 0.0f;
          if (place[j] >= 0 && column < H) mixed[reset_rows[j] - mixed + unit] = sigmoid(a[j][0] + b[j][0]) * before[j][unit];
        }
        sync_block();  // reset * h is there
        add<HP, 2 % GATES, 2 % GATES + 1>(matrix + CP / 4 * GATES * H, reset_rows, n);
        DRNN_UNROLL for (int j = 0; j < TILE; j++) b[j][2 % GATES] = n[j][0];
      }
      DRNN_UNROLL for (int j = 0; j < TILE; j++) {
        if (place[j] < 0 || column >= HP) continue;
        float h = 0.0f, first = a[j][0] + b[j][0];
        if (CELL == RNN_TANH) h = tanh_of(first);
        if (CELL == RNN_RELU) h = relu(first);
        if (CELL == GRU_AFTER || CELL == GRU_BEFORE) {
          const float reset = CELL == GRU_AFTER ? sigmoid(first) : 1.0f, z = sigmoid(a[j][1 % GATES] + b[j][1 % GATES]);
          const float proposed = tanh_of(fmaf(reset, b[j][2 % GATES], a[j][2 % GATES]));
          h = fmaf(z, before[j][unit] - proposed, proposed);
        }
        if (CELL == LSTM) {
          float* cell = ring + at.fold * ROWS * H + kept[j] + unit;
          const float open = sigmoid(a[j][3 % GATES] + b[j][3 % GATES]), forget = sigmoid(a[j][1 % GATES] + b[j][1 % GATES]);
          const float c = fmaf(forget, *cell, sigmoid(first) * tanh_of(a[j][2 % GATES] + b[j][2 % GATES]));
          if (column < H) *cell = c;
          h = open * tanh_of(c);
        }
        if (column < H) ring[kept[j] + unit] = h;
        out[place[j] + column] = column < H ? h : 0.0f;  // the next layer reads whole rows of padded length
      }
    }
    sync_block();  // h is there, the past may be overwritten
  }

  DRNN_DEVICE void block(int start, int stop, const float* in, float* out) const {
    const Steps steps(at, run);
    const int end = steps.computed_before(stop);
    for (int i = steps.computed_before(start); i < end; i += at.fold) {
      compute(steps, i, at.fold < end - i ? at.fold : end - i, start, in, out);
    }
  }

  DRNN_DEVICE void move_state(bool in) const {
    const int first = in ? 0 : Steps(at, run).computed_before(run.steps), size = at.fold * ROWS * H;
    for (int e = threadIdx.x; e < (CELL == LSTM ? 2 : 1) * size; e += DRNN_THREADS) {
      const int u = e % H, r = e / H % ROWS, j = e % size / (ROWS * H), row = blockIdx.x * ROWS + r;
      const long long place = (long long)(e < size ? at.h_state : at.c_state) * run.batch + ((long long)row * at.dilation + j) * H + u;
      float& slot = ring[e / size * size + ((first + j) % at.fold * ROWS + r) * H + u];
      if (in) slot = run.state && row < run.batch ? run.state[place] : 0.0f;
      else if (row < run.batch) run.next_state[place] = slot;
    }
  }
};

// The buffers take turns: layer l reads the one that layer l - 1 wrote.
DRNN_DEVICE void run_stack(Run run, float* shared) {
  constexpr int C = DRNN_INPUTS, CP = padded(C), HP = padded(TOP);
  const int row0 = blockIdx.x * ROWS, first = run.steps - run.answers;
  run.workspace += (long long)blockIdx.x * DRNN_WORKSPACE;
  for (int i = threadIdx.x; i < DRNN_SHARED; i += DRNN_THREADS) shared[i] = 0.0f;
#define DRNN_STREAM(shape_, C, H, FAR, EVEN) if (at.shape == shape_) Streamed<C, H>(at, run, shared).DRNN_DO;
#define DRNN_DO move_state(true)
  for (int l = 0; l < LAYERS; l++) { const Layer at = layer_at(l); DRNN_EACH_SHAPE(DRNN_STREAM) }
#undef DRNN_DO
  sync_block();  // the workspace is filled
  DRNN_ROLLED for (int start = 0; start < run.steps; start += BLOCK) {
    const int stop = start + BLOCK < run.steps ? start + BLOCK : run.steps;
    for (int i = threadIdx.x; i < (stop - start) * ROWS * CP; i += DRNN_THREADS) {
      const int c = i % CP, s = i / CP % (stop - start), r = i / CP / (stop - start);
      const int row = row0 + r < run.batch ? row0 + r : run.batch - 1;
      shared[DRNN_IN + (s * ROWS + r) * CP + c] = c < C ? run.x[((long long)row * run.steps + start + s) * C + c] : 0.0f;
    }
    DRNN_ROLLED for (int l = 0; l < LAYERS; l++) {
      const Layer at = layer_at(l);
      const float* in = shared + at.in;
      float* out = shared + at.out;
#define DRNN_DO block(start, stop, in, out)
      DRNN_EACH_SHAPE(DRNN_STREAM)
#undef DRNN_DO
    }
    for (int i = threadIdx.x; i < (stop - start) * ROWS * TOP; i += DRNN_THREADS) {
      const int u = i % TOP, s = i / TOP % (stop - start), r = i / TOP / (stop - start), t = start + s;
      if (t >= first && row0 + r < run.batch)
        run.y[((long long)(row0 + r) * run.answers + t - first) * TOP + u] = shared[DRNN_OUT + (s * ROWS + r) * HP + u];
    }
    sync_block();  // the buffers may be overwritten
  }
  if (run.next_state) {
#define DRNN_DO move_state(false)
    for (int l = 0; l < LAYERS; l++) { const Layer at = layer_at(l); DRNN_EACH_SHAPE(DRNN_STREAM) }
#undef DRNN_DO
  }
#undef DRNN_STREAM
}
#endif

#ifndef DRNN_HOST
DRNN_KERNEL drnn_stack(const float* x, const char* weights, const float* state, float* next_state, float* workspace,
                       float* y, int batch, int steps, int answers) {
  DRNN_SHARED_MEMORY(shared);
  run_stack(Run{x, weights, state, next_state, workspace, y, batch, steps, answers}, shared);
}
#endif
