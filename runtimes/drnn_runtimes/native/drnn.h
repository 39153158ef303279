/* drnn.h: dilated recurrent networks, h_t = cell(x_t, h_{t-d}), in C11 (Chang et al. 2017, equation 2).
 *
 * A network is a `struct drnn_network`: sizes, weights and the kernel of its cell. The functions for it stand first:
 * drnn_start and drnn_push feed a stream, drnn_run takes whole sequences. They allocate nothing, lock nothing and call
 * no system: the caller gives them memory of the sizes that drnn_stream_size, drnn_push_size and drnn_run_size tell.
 *
 * The kernel of a cell is made by including this file once more, with the cell and a name:
 *
 *     #define DRNN_CELL DRNN_LSTM
 *     #define DRNN_KERNEL lstm_kernel
 *     #include "drnn.h"
 *
 * It is compiled for each instruction set, and chosen when it is called.
 *
 * Rows are time-major: row t * batch + b is step t of sequence b. A row of h has its values padded with zeros to a
 * multiple of 8. Units come in blocks of 8; the gates of a block are computed together and never leave the registers.
 * Weights lie in the order in which they are read: [panel][input][block][gate][8], see DRNN_PANEL; biases and scales
 * are [block][gate][8]. With DRNN_INT8, weights are int8, and each output has a scale. Values of h and c below 2^-100
 * count as 0: denormals would slow a step down.
 */
#ifndef DRNN_H
#define DRNN_H
#include <string.h>

#define DRNN_TANH 0 /* cells */
#define DRNN_RELU 1
#define DRNN_GRU_RESET_AFTER 2
#define DRNN_GRU_RESET_BEFORE 3
#define DRNN_LSTM 4

#define DRNN_PASTE_(a, b, c) a##b##c
#define DRNN_PASTE(a, b, c) DRNN_PASTE_(a, b, c)
#define DRNN_PAD(n) (((n) + 7) / 8 * 8)
#define DRNN_MAX(a, b) ((a) > (b) ? (a) : (b))
#define DRNN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DRNN_INLINE static inline __attribute__((always_inline, unused))
#define DRNN_STATIC static __attribute__((unused))
#if defined(__clang__)
#define DRNN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DRNN_UNROLL _Pragma("GCC unroll 24")
#endif
#define DRNN_EACH(i, n) DRNN_UNROLL for (int i = 0; i < (n); i++) /* n is a constant, and small */
#if defined(__x86_64__)
#define DRNN_IN_REGISTER(v)                                                                                            \
    __asm__(""                                                                                                         \
            : "+v"(v)) /* it is read several times: gcc would compute or load it each time                             \
                        */
#else
#define DRNN_IN_REGISTER(v) (void)(v)
#endif
#define DRNN_ROWS 32   /* whose sums are computed together */
#define DRNN_BLOCK 256 /* rows that are taken through a layer together, unless a stream's batch is larger */

struct drnn_layer {
    int inputs, hidden, dilation;
    const void *weights; /* of the inputs, then of the past */
    const float *biases; /* of the gates; of a GRU's n, what is added to the past's part; scales, of inputs and past */
};

struct drnn_past { /* rows of h and c, `stride` values apart; 0: every row is the same */
    const float *h, *c;
    int rows, stride;
};

struct drnn_kernel { /* what a cell does, for one instruction set */
    int gates, states;
    void (*layer)(const struct drnn_layer *layer, const float *x, int xs, const int *tokens, int rows, int lag,
                  const struct drnn_past past[2], float *h, float *c, float *work);
    void (*affine)(int blocks, int inputs, const void *weights, const float *biases, const float *x, int stride,
                   int rows, float *y);
};

struct drnn_network {
    int layers, outputs;
    int features; /* values of a step for the first layer; 1 with one-hot tokens */
    int tokens;   /* 0: inputs are float32; 1: int32, one-hot; 2: int32, looked up in the table */
    int last;     /* steps that the head answers, 0 for all */
    int window;   /* steps of the top layer that the head reads, 1 without a fusion layer */
    int widest;   /* the most values of a row */
    const struct drnn_layer *layer;
    const void *head;
    const float *head_biases, *table; /* biases, scales; the embedding */
    const struct drnn_kernel *(*kernel)(void);
};

DRNN_INLINE void drnn_copy(void *to, const void *from, long count) { /* of values of 4 bytes */
    memcpy(to, from, (size_t)count * 4);
}
/* ---- streams and whole sequences ------------------------------------------------------------------------------------
 *
 * A stream is: int batch, the oldest slot of the head's window, that of each layer's rings; then the rings, float32. */
DRNN_INLINE long drnn_stream_head(const struct drnn_network *net) { return (net->layers + 2 + 7) / 8 * 8; }

DRNN_INLINE int drnn_top(const struct drnn_network *net) { return net->layer[net->layers - 1].hidden; }

/* Bytes of a stream of `batch` sequences. */
DRNN_STATIC size_t drnn_stream_size(const struct drnn_network *net, int batch) {
    long values = net->window > 1 ? (long)net->window * DRNN_PAD(drnn_top(net)) : 0;
    for (int i = 0; i < net->layers; i++)
        values += (long)net->layer[i].dilation * DRNN_PAD(net->layer[i].hidden) * net->kernel()->states;
    return sizeof(float) * (size_t)(drnn_stream_head(net) + batch * values);
}

/* Start a stream at the zero state. */
DRNN_STATIC void drnn_start(const struct drnn_network *net, void *stream, int batch) {
    memset(stream, 0, drnn_stream_size(net, batch));
    *(int *)stream = batch;
}

DRNN_INLINE long drnn_work(const struct drnn_network *net) { /* values */
    return DRNN_ROWS * (long)DRNN_MAX((net->kernel()->gates + 2) * net->widest, DRNN_PAD(net->outputs));
}

/* Bytes of scratch memory of `drnn_push`. */
DRNN_STATIC size_t drnn_push_size(const struct drnn_network *net, int batch) {
    return sizeof(float) * (size_t)((long)DRNN_MAX(batch, DRNN_BLOCK) * 3 * net->widest +
                                    (long)batch * net->window * drnn_top(net) + drnn_work(net));
}

DRNN_INLINE void drnn_keep(float *ring, int size, int slot, const float *rows, int count, long row) {
    const int first = DRNN_MIN(count, size - slot);
    drnn_copy(ring + (long)slot * row, rows, (long)first * row);
    drnn_copy(ring, rows + (long)first * row, (count - first) * row);
}

/* Rows of the first layer: of `count` steps from `from` on, or from `steps`; tokens where it looks them up itself. */
DRNN_STATIC const int *drnn_take(const struct drnn_network *net, const void *x, int batch, int length, const int *steps,
                                 int from, int count, float *rows) {
    const int n = net->features;
    for (int i = 0; i < count; i++) {
        const long t = (steps ? steps[i] : from + i);
        for (int b = 0; b < batch; b++) {
            const long to = ((long)i * batch + b) * n, at = (long)b * length + t;
            if (net->tokens == 2) {
                drnn_copy(rows + to, net->table + (long)((const int *)x)[at] * n, n);
            } else {
                drnn_copy(rows + to, (const float *)x + at * n, n);
            }
        }
    }
    return net->tokens == 1 ? (const int *)(const void *)rows : 0;
}

/* Outputs of rows (step, sequence): y[sequence][first + step]. */
DRNN_STATIC void drnn_head(const struct drnn_network *net, const float *x, int stride, int rows, int batch, float *y,
                           int answers, int first, float *work) {
    const int inputs = net->window * drnn_top(net), n = net->outputs, blocks = DRNN_PAD(n) / 8;
    for (int from = 0; from < rows; from += DRNN_ROWS) {
        const int count = DRNN_MIN(rows - from, DRNN_ROWS);
        net->kernel()->affine(blocks, inputs, net->head, net->head_biases, x + (long)from * stride, stride, count,
                              work);
        for (int i = 0; i < count; i++) {
            const long to = (long)((from + i) % batch) * answers + first + (from + i) / batch;
            drnn_copy(y + to * n, work + i * blocks * 8, n);
        }
    }
}

/* Feed n steps x[batch][n]. The last k of them have outputs, y[batch][k][outputs]: all n where `last` is 0, else at
 * most that many. Tokens must be below the size of the vocabulary. */
DRNN_STATIC void drnn_push(const struct drnn_network *net, void *stream, const void *x, int n, float *y,
                           void *scratch) {
    const struct drnn_kernel *const kernel = net->kernel();
    int *const places = stream, batch = places[0], window = net->window, top = drnn_top(net);
    const int answers = net->last ? DRNN_MIN(net->last, n) : n, unanswered = n - answers, lstm = kernel->states == 2;
    const long rows = DRNN_MAX(batch, DRNN_BLOCK), most = DRNN_MAX(1, DRNN_BLOCK / batch);
    float *in = scratch, *out = in + rows * net->widest, *const c = out + rows * net->widest;
    float *const seen = c + rows * net->widest, *const work = seen + (long)batch * window * top;
    for (int from = 0, m; from < n; from += m) {
        m = (int)DRNN_MIN(n - from, most);
        float *ring = (float *)stream + drnn_stream_head(net);
        const int *tokens = drnn_take(net, x, batch, n, 0, from, m, in);
        for (int layer = 0, xs = net->features; layer < net->layers; layer++) {
            const int d = net->layer[layer].dilation, hs = DRNN_PAD(net->layer[layer].hidden);
            int *const place = places + 2 + layer;
            const int at = *place, kept = DRNN_MIN(m, d), slot = (at + m - kept) % d;
            const long row = (long)batch * hs, last = (long)(m - kept) * row;
            float *const c_ring = lstm ? ring + row * d : ring;
            const struct drnn_past past[2] = {{ring + at * row, c_ring + at * row, (d - at) * batch, hs},
                                              {ring, c_ring, at * batch, hs}};
            kernel->layer(net->layer + layer, in, xs, tokens, m * batch, d * batch, past, out, c, work);
            drnn_keep(ring, d, slot, out + last, kept, row);
            if (lstm) drnn_keep(c_ring, d, slot, c + last, kept, row);
            *place = (at + m) % d;
            ring = c_ring + row * d;
            float *const swap = in;
            in = out, out = swap, xs = hs, tokens = 0;
        }
        const int ts = DRNN_PAD(top);
        const long row = (long)batch * ts;
        if (window == 1) {
            const int first = DRNN_MAX(0, unanswered - from);
            if (first < m) {
                drnn_head(net, in + first * row, ts, (m - first) * batch, batch, y, answers, from + first - unanswered,
                          work);
            }
            continue;
        }
        for (int t = 0; t < m; t++) {
            int *const at = places + 1;
            drnn_copy(ring + *at * row, in + t * row, row);
            *at = (*at + 1) % window;
            if (from + t < unanswered) continue;
            for (int b = 0; b < batch; b++)
                for (int j = 0; j < window; j++)
                    drnn_copy(seen + ((long)b * window + j) * top, ring + (*at + j) % window * row + (long)b * ts, top);
            drnn_head(net, seen, window * top, batch, batch, y, answers, from + t - unanswered, work);
        }
    }
}

/* Sequences that `drnn_run` takes through all layers together. */
DRNN_INLINE int drnn_run_batch(const struct drnn_network *net, int batch, int length) {
    return DRNN_MIN(batch, DRNN_MAX(4, (int)((1L << 16) / ((long)length * net->widest))));
}

/* Bytes of scratch memory of `drnn_run`. */
DRNN_STATIC size_t drnn_run_size(const struct drnn_network *net, int batch, int length) {
    if (!net->last) return drnn_stream_size(net, batch) + drnn_push_size(net, batch);
    const long rows = (long)drnn_run_batch(net, batch, length) * length;
    const long seen = (long)batch * DRNN_MIN(net->last, length) * net->window * drnn_top(net);
    const long plan = ((long)length + 3) * (net->layers + 2);
    return sizeof(float) * (size_t)((rows * 3 + 1) * net->widest + seen + drnn_work(net) + plan);
}

/* The steps of each layer, from the top down: a step needs those before it at distances of d. As the steps of a layer
 * are all that have one of `lag` remainders, the step d before stands `lag` places before.
 *
 * `plan` gets, for each layer and what is above the top, count, start and lag, then the steps themselves. */
DRNN_STATIC void drnn_plan(const struct drnn_network *net, int length, int needed, int *plan) {
    int *const used = plan + (net->layers + 1) * 3, *const steps = used + length, end = needed;
    plan[net->layers * 3] = needed, plan[net->layers * 3 + 1] = 0;
    for (int i = 0; i < needed; i++) steps[i] = length - needed + i;
    for (int layer = net->layers - 1; layer >= 0; layer--) {
        int *const mine = plan + layer * 3, *const remainders = steps + end, lag = 0, count;
        const int *const above = steps + mine[4], most = DRNN_MIN(net->layer[layer].dilation, length);
        memset(used, 0, (size_t)most * sizeof(int));
        for (int i = 0; i < mine[3]; i++) used[above[i] % net->layer[layer].dilation] = 1;
        for (int i = 0; i < most; i++)
            if (used[i]) remainders[lag++] = i;
        count = 0;
        for (int base = 0; base < length; base += most)
            for (int i = 0; i < lag && base + remainders[i] < length; i++) remainders[count++] = base + remainders[i];
        mine[0] = count, mine[1] = end, mine[2] = lag;
        end += count;
    }
}

/* Whole sequences x[batch][length] from the zero state. Only the steps that reach an output are computed. */
DRNN_STATIC void drnn_run(const struct drnn_network *net, const void *x, int batch, int length, float *y,
                          void *scratch) {
    const struct drnn_kernel *const kernel = net->kernel();
    const int window = net->window, top = drnn_top(net), ts = DRNN_PAD(top);
    if (!net->last) {
        drnn_start(net, scratch, batch);
        drnn_push(net, scratch, x, length, y, (char *)scratch + drnn_stream_size(net, batch));
        return;
    }
    const int answers = DRNN_MIN(net->last, length), needed = DRNN_MIN(length, answers + window - 1);
    const int most = drnn_run_batch(net, batch, length);
    const long rows = (long)most * length;
    float *const zeros = scratch, *in = zeros + net->widest, *out = in + rows * net->widest;
    float *const c = out + rows * net->widest, *const seen = c + rows * net->widest;
    float *const work = seen + (long)batch * answers * window * top;
    int *const plan = (int *)(void *)(work + drnn_work(net)), *const steps = plan + (net->layers + 1) * 3 + length;
    memset(zeros, 0, (size_t)net->widest * sizeof(float));
    drnn_plan(net, length, needed, plan);
    for (int from = 0, some; from < batch; from += some) {
        some = DRNN_MIN(batch - from, most);
        const char *const first =
            (const char *)x + (size_t)from * (size_t)length * (net->tokens ? 4 : (size_t)net->features * 4);
        const int *tokens = drnn_take(net, first, some, length, steps + plan[1], 0, plan[0], in);
        for (int layer = 0, xs = net->features; layer < net->layers; layer++) {
            const int hs = DRNN_PAD(net->layer[layer].hidden), *const mine = plan + layer * 3;
            const int count = mine[0], lag = mine[2], *const own = steps + mine[1], *const above = steps + mine[4];
            const struct drnn_past past[2] = {{zeros, zeros, lag * some, 0}, {zeros, zeros, 0, 0}};
            kernel->layer(net->layer + layer, in, xs, tokens, count * some, lag * some, past, out, c, work);
            const long row = (long)some * hs;
            for (int i = 0, j = 0; j < mine[3]; i++)
                if (own[i] == above[j]) drnn_copy(in + j++ * row, out + i * row, row);
            xs = hs, tokens = 0;
        }
        for (int i = 0; i < answers * some; i++)
            for (int j = 0; j < window; j++) {
                const int at = needed - answers - (window - 1) + i / some + j; /* negative: before the start */
                drnn_copy(seen + ((long)i * window + j) * top, at < 0 ? zeros : in + ((long)at * some + i % some) * ts,
                          top);
            }
        drnn_head(net, seen, window * top, answers * some, some, y + (long)from * answers * net->outputs, answers, 0,
                  work);
    }
}
#endif

#if defined(DRNN_PASS) /* ---- the kernel of a cell for one instruction set ----------------------------------------   \
                        */
#undef DRNN_LANES
#undef DRNN_SUMS
#if defined(__AVX2__) || defined(DRNN_WIDE)
#define DRNN_LANES 8
#else
#define DRNN_LANES 4
#endif
#if defined(__AVX512VL__) || defined(__aarch64__) || defined(DRNN_MANY_REGISTERS)
#define DRNN_SUMS 16 /* registers for sums, of 32 */
#else
#define DRNN_SUMS 12 /* of 16 */
#endif
#define DRNN_HALVES (8 / DRNN_LANES) /* vectors of a block */
#define DRNN_UNITS 4                 /* vectors of units whose activations are computed together */

typedef float DRNN_(vector) __attribute__((vector_size(4 * DRNN_LANES)));
typedef int DRNN_(mask) __attribute__((vector_size(4 * DRNN_LANES)));
typedef float DRNN_(unaligned) __attribute__((vector_size(4 * DRNN_LANES), aligned(4), may_alias));
#define V DRNN_(vector)
#define M DRNN_(mask)

DRNN_INLINE V DRNN_(load)(const float *from) { return *(const DRNN_(unaligned) *)from; }
DRNN_INLINE void DRNN_(store)(float *to, V value) { *(DRNN_(unaligned) *)to = value; }
DRNN_INLINE V DRNN_(all)(float value) { return value - (V){0}; }

#ifdef DRNN_INT8
#define W signed char
#define SCALED(weight, scale) ((weight) * (scale))
DRNN_INLINE V DRNN_(weights)(const W *from, const float *scale) {
#if defined(__x86_64__) && !defined(__clang__) && DRNN_LANES == 8 /* gcc 12 would convert them one by one */
    typedef long long packed __attribute__((aligned(1), may_alias)), pair __attribute__((vector_size(16)));
    typedef char bytes __attribute__((vector_size(16)));
    const M whole = (M)__builtin_ia32_pmovsxbd256((bytes)(pair){*(const packed *)(const void *)from, 0});
#else
    typedef signed char bytes __attribute__((vector_size(DRNN_LANES), aligned(1), may_alias));
    typedef short shorts __attribute__((vector_size(2 * DRNN_LANES)));
    const M whole = __builtin_convertvector(__builtin_convertvector(*(const bytes *)from, shorts), M);
#endif
    return __builtin_convertvector(whole, V) * DRNN_(load)(scale);
}
#else
#define W float
#define SCALED(weight, scale) (weight)
DRNN_INLINE V DRNN_(weights)(const W *from, const float *scale) {
    (void)scale;
    return DRNN_(load)(from);
}
#endif

DRNN_INLINE V DRNN_(pick)(M where, V yes, V no) { return (V)((where & (M)yes) | (~where & (M)no)); }

DRNN_INLINE V DRNN_(clamp)(V x, float low, float high) { /* NaN stays */
#if defined(__SSE2__) && DRNN_LANES == 8
    return __builtin_ia32_maxps256(DRNN_(all)(low), __builtin_ia32_minps256(DRNN_(all)(high), x));
#elif defined(__SSE2__)
    return __builtin_ia32_maxps(DRNN_(all)(low), __builtin_ia32_minps(DRNN_(all)(high), x));
#else
    x = DRNN_(pick)(x > high, DRNN_(all)(high), x);
    return DRNN_(pick)(x < low, DRNN_(all)(low), x);
#endif
}

/* Activations of n vectors, which are taken through each operation together: a single one waits most of the time.
 *
 * e^x = s + s m with s = 2^k and |x - k ln 2| < 0.35. The polynomial is off by at most 2^-26 of its value. */
DRNN_INLINE void DRNN_(exp_parts)(const int n, const V *x, V *s, V *m) {
    V r[DRNN_UNITS];
    DRNN_EACH(i, n) s[i] = x[i] * 1.44269504f + 12582912.0f; /* 3 * 2^22: numbers there have no fraction, */
    DRNN_EACH(i, n) r[i] = x[i] - (s[i] - 12582912.0f) * 0.693359375f;
    DRNN_EACH(i, n) r[i] = r[i] - (s[i] - 12582912.0f) * -2.12194440e-4f;
    DRNN_EACH(i, n) s[i] = (V)(((M)s[i] << 23) + 0x3f800000); /* and the last bits are those of k */
    DRNN_EACH(i, n) m[i] = r[i] * 0x1.6bec08p-10f + 0x1.122772p-7f;
    DRNN_EACH(i, n) m[i] = m[i] * r[i] + 0x1.555674p-5f;
    DRNN_EACH(i, n) m[i] = m[i] * r[i] + 0x1.5554b0p-3f;
    DRNN_EACH(i, n) m[i] = m[i] * r[i] + 0x1.fffffep-2f;
    DRNN_EACH(i, n) m[i] = r[i] * r[i] * m[i] + r[i];
}

/* A gate is 1 / y, tanh(x) is d / y: products of them share a division. Gates below e^-60 count as e^-60. */
DRNN_INLINE void DRNN_(gates)(const int n, const V *x, V *y) { /* y = 1 + e^-x */
    V a[DRNN_UNITS], s[DRNN_UNITS], m[DRNN_UNITS];
    DRNN_EACH(i, n) a[i] = DRNN_(clamp)(-x[i], -60.0f, 60.0f);
    DRNN_(exp_parts)(n, a, s, m);
    DRNN_EACH(i, n) y[i] = 1.0f + (s[i] * m[i] + s[i]);
}

DRNN_INLINE void DRNN_(tanhs)(const int n, const V *x, V *d, V *y) { /* d = e^(-2x) - 1, y = -(2 + d) */
    V a[DRNN_UNITS], s[DRNN_UNITS], m[DRNN_UNITS];
    DRNN_EACH(i, n) a[i] = DRNN_(clamp)(x[i], -10.0f, 10.0f) * -2.0f;
    DRNN_(exp_parts)(n, a, s, m);
    DRNN_EACH(i, n) d[i] = s[i] * m[i] + (s[i] - 1.0f);
    DRNN_EACH(i, n) y[i] = -2.0f - d[i];
}

DRNN_INLINE V DRNN_(settled)(V h) { /* without values below 2^-100 */
    DRNN_IN_REGISTER(h);
    const V size = (V)((M)h & 0x7fffffff);
    return (V)((M)h & ~(M)(size < 0x1p-100f));
}

/* sums[row][block][gate] += x[row] w[block][.][gate]; S partial sums of a single row need not wait for each other */
DRNN_INLINE void DRNN_(products)(const int rows, const int blocks, const int G, const int S, V *sums, const float *x,
                                 const int stride, const int inputs, const W *w, const int ws, const float *scale) {
    const int width = G * DRNN_HALVES, count = rows * blocks * width;
#define DRNN_PLACE ((b * width + k) * DRNN_LANES)
#define DRNN_WEIGHTS(j) DRNN_(weights)(w + (long)(j) * ws + DRNN_PLACE, scale + DRNN_PLACE)
    V partial[DRNN_SUMS];
    int j = 0;
    DRNN_EACH(i, (S - 1) * count) partial[i] = DRNN_(all)(0.0f);
    for (; j + S <= inputs; j += S) {
        DRNN_EACH(s, S) {
            V weights[DRNN_SUMS];
            DRNN_EACH(b, blocks) DRNN_EACH(k, width) {
                weights[b * width + k] = DRNN_WEIGHTS(j + s);
                if (rows > 1) DRNN_IN_REGISTER(weights[b * width + k]);
            }
            DRNN_EACH(row, rows) {
                const V value = DRNN_(all)(x[row * stride + j + s]);
                V *const to = s ? partial + (s - 1) * count : sums + row * blocks * width;
                DRNN_EACH(i, blocks * width) to[i] += value * weights[i];
            }
        }
    }
    for (; j < inputs; j++) {
        DRNN_EACH(b, blocks) DRNN_EACH(k, width) { sums[b * width + k] += x[j] * DRNN_WEIGHTS(j); }
    }
    DRNN_EACH(i, (S - 1) * count) sums[i % count] += partial[i];
#undef DRNN_WEIGHTS
#undef DRNN_PLACE
}

/* Weights of an input lie side by side for a panel of blocks: all of a few, else as many as a tile of four rows takes.
 */
#define DRNN_PANEL(blocks, G) ((blocks) > 4 ? DRNN_MAX(1, 4 / (G)) : (blocks))
#define DRNN_SIDE_BY_SIDE(block, blocks, G)                                                                            \
    DRNN_MIN(DRNN_PANEL(blocks, G), (blocks) - (block) / DRNN_PANEL(blocks, G) * DRNN_PANEL(blocks, G))
#define DRNN_PLACE_OF(block, blocks, inputs, G)                                                                        \
    (((long)((block) / DRNN_PANEL(blocks, G) * DRNN_PANEL(blocks, G)) * (inputs) + (block) % DRNN_PANEL(blocks, G)) *  \
     (G) * 8)
#define DRNN_MATRIX(w, block, blocks, inputs, G)                                                                       \
    (w) + DRNN_PLACE_OF(block, blocks, inputs, G), DRNN_SIDE_BY_SIDE(block, blocks, G) * (G) * 8

/* How many rows are computed together, and how many blocks of each, so that their sums fit the registers. */
#define DRNN_FIT(rows, G) ((rows == 1 ? 12 : DRNN_SUMS) / ((rows) * (G) * DRNN_HALVES))
#define DRNN_MANY(G) (DRNN_FIT(4, G) ? 4 : DRNN_FIT(2, G) ? 2 : 1)
#define DRNN_MOST(rows, G) DRNN_MAX(1, DRNN_MIN(4, DRNN_FIT(rows, G))) /* blocks */

DRNN_INLINE int DRNN_(partials)(const int rows, const int blocks, const int G) {
    const int fit = 12 / (blocks * G * DRNN_HALVES);
    return rows > 1 || fit < 2 ? 1 : fit >= 4 ? 4 : 2;
}

/* Do `work` for all rows and blocks, some rows R and blocks B at a time, which are constants in it; (row, block) say
 * where. Rows that wait for each other are `chained`: one after the other, all blocks at once. */
#define DRNN_TILES(G, rows, blocks, chained, work)                                                                     \
    do {                                                                                                               \
        int row = 0, next = 0;                                                                                         \
        if (DRNN_MANY(G) > 1 && !(chained) && (rows) >= DRNN_MANY(G)) {                                                \
            next = (rows) / DRNN_MANY(G) * DRNN_MANY(G);                                                               \
            DRNN_BLOCKS(DRNN_MANY(G), G, 0, next, blocks, work);                                                       \
        }                                                                                                              \
        if (next < (rows)) DRNN_BLOCKS(1, G, next, rows, blocks, work);                                                \
    } while (0)
#define DRNN_BLOCKS(R, G, first, end, blocks, work)                                                                    \
    for (int block = 0, some_; block < (blocks); block += some_) {                                                     \
        some_ = DRNN_MIN(DRNN_MOST(R, G), DRNN_SIDE_BY_SIDE(block, blocks, G) - block % DRNN_PANEL(blocks, G));        \
        DRNN_CASE(1, R, G, first, end, blocks, work)                                                                   \
        DRNN_CASE(2, R, G, first, end, blocks, work)                                                                   \
        DRNN_CASE(3, R, G, first, end, blocks, work)                                                                   \
        DRNN_CASE(4, R, G, first, end, blocks, work)                                                                   \
    }
#define DRNN_CASE(B, R, G, first, end, blocks, work)                                                                   \
    if (DRNN_OCCURS(B, DRNN_MOST(R, G), blocks, DRNN_PANEL(blocks, G)) && some_ == B)                                  \
        for (row = first; row < (end); row += R) {                                                                     \
            work(R, DRNN_MIN(B, DRNN_MOST(R, G)))                                                                      \
        }
#define DRNN_OCCURS(B, most, blocks, panel) /* tiles of B blocks; what never does is not compiled */                   \
    ((B) <= (most) &&                                                                                                  \
     (((B) == (most) && (panel) >= (B)) || (panel) % (most) == (B) || (blocks) % (panel) % (most) == (B)))

#define HALVES(at) DRNN_(load)((at) + half * DRNN_LANES)

/* sums[row][block][gate] = BIAS + x w, of a tile; BIAS says it for (row, b, gate, half) */
#define DRNN_SUM(rows, blocks, G, BIAS, scale, x, stride, inputs, w, ws)                                               \
    V sums[DRNN_SUMS];                                                                                                 \
    DRNN_EACH(row, rows) DRNN_EACH(b, blocks) DRNN_EACH(gate, G) DRNN_EACH(half, DRNN_HALVES) {                        \
        sums[((row * blocks + b) * G + gate) * DRNN_HALVES + half] = BIAS;                                             \
    }                                                                                                                  \
    DRNN_(products)(rows, blocks, G, DRNN_(partials)(rows, blocks, G), sums, x, stride, inputs, w, ws, scale)

/* y = bias + x w: a tile of rows and blocks */
DRNN_INLINE void DRNN_(affine_tile)(const int rows, const int blocks, const int G, const W *w, const int ws,
                                    const float *bias, const float *scale, const float *x, const int stride,
                                    const int inputs, float *y, const int ys) {
    DRNN_SUM(rows, blocks, G, HALVES(bias + (b * G + gate) * 8), scale, x, stride, inputs, w, ws);
    const int width = blocks * G * DRNN_HALVES;
    DRNN_EACH(row, rows) DRNN_EACH(k, width) DRNN_(store)(y + row * ys + k * DRNN_LANES, sums[row * width + k]);
}

DRNN_INLINE void DRNN_(affine_of)(const int G, const int blocks, const int inputs, const W *w, const float *bias,
                                  const float *scale, const float *x, const int stride, const int rows, float *y) {
    const int ys = blocks * G * 8;
#define DRNN_WORK(R, B)                                                                                                \
    DRNN_(affine_tile)(R, B, G, DRNN_MATRIX(w, block, blocks, inputs, G), bias + block * G * 8, scale + block * G * 8, \
                       x + (long)row * stride, stride, inputs, y + row * ys + block * G * 8, ys);
    DRNN_TILES(G, rows, blocks, 0, DRNN_WORK);
#undef DRNN_WORK
}

static void DRNN_(affine)(int blocks, int inputs, const void *w, const float *biases, const float *x, int stride,
                          int rows, float *y) {
#ifdef DRNN_HEAD_BLOCKS /* a constant leaves out the code for other sizes */
    blocks = DRNN_HEAD_BLOCKS;
#endif
    DRNN_(affine_of)(1, blocks, inputs, w, biases, biases + blocks * 8, x, stride, rows, y);
}

/* New h (and c) of a tile of rows and blocks from the gates of its inputs, gx, and the past. */
DRNN_INLINE void DRNN_(cell_tile)(const int rows, const int blocks, const int hidden, const W *w, const int ws,
                                  const float *bias, const float *scale, const float *gx, const int gs, const float *h0,
                                  const float *c0, const int ps, const int hs, const int block, float *h, float *c) {
    const int G = DRNN_GATES, units = rows * blocks * DRNN_HALVES;
#define BIAS                                                                                                           \
    (DRNN_CELL == DRNN_GRU_RESET_AFTER && gate == 2 ? HALVES(bias + b * 8) : HALVES(gx + row * gs + (b * G + gate) * 8))
    DRNN_SUM(rows, blocks, G, BIAS, scale, h0, ps, hidden, w, ws);
#undef BIAS
#define AT(u) ((block + (u) / DRNN_HALVES % blocks) * 8 + (u) % DRNN_HALVES * DRNN_LANES) /* in its row */
#define ROW(u) ((u) / DRNN_HALVES / blocks)
#define SUM(gate) sums[((from + u) / DRNN_HALVES * G + gate) * DRNN_HALVES + (from + u) % DRNN_HALVES]
    DRNN_UNROLL for (int from = 0; from < units; from += DRNN_UNITS) {
        const int n = DRNN_MIN(units - from, DRNN_UNITS);
        V x[DRNN_UNITS], y[DRNN_UNITS], z[DRNN_UNITS], d[DRNN_UNITS], after[DRNN_UNITS];
        (void)c0, (void)c, (void)x, (void)y, (void)z, (void)d;
#if DRNN_CELL == DRNN_TANH
        DRNN_EACH(u, n) x[u] = SUM(0);
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) after[u] = d[u] / y[u];
#elif DRNN_CELL == DRNN_RELU
        DRNN_EACH(u, n) after[u] = DRNN_(clamp)(SUM(0), 0.0f, 3.402823466e38f);
#elif DRNN_CELL == DRNN_GRU_RESET_AFTER
        DRNN_EACH(u, n) x[u] = SUM(0);
        DRNN_(gates)(n, x, y);
        DRNN_EACH(u, n)
        x[u] = DRNN_(load)(gx + ROW(from + u) * gs + ((from + u) / DRNN_HALVES % blocks * G + 2) * 8 +
                           (from + u) % DRNN_HALVES * DRNN_LANES) +
               SUM(2) / y[u];
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) x[u] = SUM(1);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) {
            const V before = DRNN_(load)(h0 + ROW(from + u) * ps + AT(from + u));
            after[u] = (before * y[u] + (z[u] - 1.0f) * d[u]) / (z[u] * y[u]);
        }
#else
        DRNN_EACH(u, n) x[u] = SUM(0);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) x[u] = SUM(2);
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) after[u] = d[u] / (y[u] * z[u]);
        DRNN_EACH(u, n) x[u] = SUM(1);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) {
            x[u] = DRNN_(settled)(DRNN_(load)(c0 + ROW(from + u) * ps + AT(from + u)) / z[u] + after[u]);
            DRNN_(store)(c + ROW(from + u) * hs + AT(from + u), x[u]);
        }
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) x[u] = SUM(3);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) after[u] = d[u] / (y[u] * z[u]);
#endif
        DRNN_EACH(u, n) DRNN_(store)(h + ROW(from + u) * hs + AT(from + u), DRNN_(settled)(after[u]));
    }
#undef SUM
}

/* GRU with reset before the product: reset * h and 1 / update of a tile ... */
DRNN_INLINE void DRNN_(gates_tile)(const int rows, const int blocks, const int hidden, const W *w, const int ws,
                                   const float *scale, const float *gx, const int gs, const float *h0, const int ps,
                                   const int hs, const int block, float *reset, float *update) {
    const int units = rows * blocks * DRNN_HALVES;
    DRNN_SUM(rows, blocks, 2, HALVES(gx + row * gs + (b * 3 + gate) * 8), scale, h0, ps, hidden, w, ws);
    DRNN_EACH(u, units) {
        V y[2];
        DRNN_EACH(gate, 2) y[gate] = sums[(u / DRNN_HALVES * 2 + gate) * DRNN_HALVES + u % DRNN_HALVES];
        DRNN_(gates)(2, y, y);
        DRNN_(store)(reset + ROW(u) * hs + AT(u), DRNN_(load)(h0 + ROW(u) * ps + AT(u)) / y[0]);
        DRNN_(store)(update + ROW(u) * hs + AT(u), y[1]);
    }
}

/* ... and its new h. */
DRNN_INLINE void DRNN_(new_tile)(const int rows, const int blocks, const int hidden, const W *w, const int ws,
                                 const float *scale, const float *gx, const int gs, const float *h0, const int ps,
                                 const int hs, const int block, const float *reset, const float *update, float *h) {
    const int units = rows * blocks * DRNN_HALVES;
    DRNN_SUM(rows, blocks, 1, HALVES(gx + row * gs + (b * 3 + 2 + gate) * 8), scale, reset, hs, hidden, w, ws);
    DRNN_EACH(u, units) {
        const V before = DRNN_(load)(h0 + ROW(u) * ps + AT(u)), z = DRNN_(load)(update + ROW(u) * hs + AT(u));
        V d, y;
        DRNN_(tanhs)(1, sums + u, &d, &y);
        DRNN_(store)(h + ROW(u) * hs + AT(u), DRNN_(settled)((before * y + (z - 1.0f) * d) / (z * y)));
    }
}
#undef AT
#undef ROW

/* One layer over rows, of which each `lag` are independent. Row i has the past of row i - lag, the
 * first ones `past`. */
DRNN_INLINE void DRNN_(layer_of)(const struct drnn_layer *layer, const int hidden, const float *x, const int xs,
                                 const int *tokens, const int rows, const int lag, const struct drnn_past past[2],
                                 float *h, float *c, float *work) {
    enum { G = DRNN_GATES, APART = DRNN_CELL == DRNN_GRU_RESET_AFTER };
    const int inputs = layer->inputs, blocks = DRNN_PAD(hidden) / 8, hs = blocks * 8, gs = hs * G;
    const W *const w = layer->weights, *const u = w + (long)gs * inputs;
    const float *const bias = layer->biases, *const u_bias = bias + gs, *const scale = u_bias + APART * hs;
    const float *const u_scale = scale + gs;
    float *const gx = work, *const reset = gx + DRNN_ROWS * gs, *const update = reset + DRNN_ROWS * hs;
    const int chain = DRNN_CELL != DRNN_GRU_RESET_BEFORE && lag < DRNN_MANY(G) && blocks <= DRNN_MOST(1, G);
    (void)u_bias, (void)u_scale, (void)reset, (void)update, (void)c;
    for (int from = 0, count; from < rows; from += count) {
        count = DRNN_MIN(rows - from, DRNN_ROWS);
        if (tokens) { /* a column of w */
            for (int i = 0; i < count; i++)
                for (int b = 0; b < blocks; b++) {
                    const int step = DRNN_SIDE_BY_SIDE(b, blocks, G) * G * 8;
                    const W *const column = w + DRNN_PLACE_OF(b, blocks, inputs, G) + (long)tokens[from + i] * step;
                    for (int k = b * G * 8; k < (b + 1) * G * 8; k++)
                        gx[i * gs + k] = bias[k] + SCALED((float)column[k - b * G * 8], scale[k]);
                }
        } else {
            DRNN_(affine_of)(G, blocks, inputs, w, bias, scale, x + (long)from * xs, xs, count, gx);
        }
        for (int done = 0, some; done < count; done += some) {
            const int at = from + done;
            struct drnn_past old;
            if (rows == 1) {
                old = past[0];
            } else if (at < lag) {
                const int second = at >= past[0].rows, skipped = at - (second ? past[0].rows : 0);
                old = past[second];
                old.h += (long)skipped * old.stride, old.c += (long)skipped * old.stride, old.rows -= skipped;
            } else {
                old = (struct drnn_past){h + (long)(at - lag) * hs, c + (long)(at - lag) * hs, chain ? count : lag, hs};
            }
            some = rows == 1 ? 1 : DRNN_MIN(count - done, old.rows);
            const float *const g = gx + done * gs;
            float *const to_h = h + (long)at * hs, *const to_c = c + (long)at * hs;
            (void)to_c;
#if DRNN_CELL == DRNN_GRU_RESET_BEFORE
            const W *const u_new = u + (long)blocks * hidden * 16;
#define DRNN_WORK(R, B)                                                                                                \
    DRNN_(gates_tile)(R, B, hidden, DRNN_MATRIX(u, block, blocks, hidden, 2), u_scale + block * 16,                    \
                      g + row * gs + block * 24, gs, old.h + row * old.stride, old.stride, hs, block,                  \
                      reset + row * hs, update + row * hs);
            DRNN_TILES(2, some, blocks, 0, DRNN_WORK);
#undef DRNN_WORK
#define DRNN_WORK(R, B)                                                                                                \
    DRNN_(new_tile)(R, B, hidden, DRNN_MATRIX(u_new, block, blocks, hidden, 1), u_scale + hs * 2 + block * 8,          \
                    g + row * gs + block * 24, gs, old.h + row * old.stride, old.stride, hs, block, reset + row * hs,  \
                    update + row * hs, to_h + row * hs);
            DRNN_TILES(1, some, blocks, 0, DRNN_WORK);
#undef DRNN_WORK
#else
#define DRNN_WORK(R, B)                                                                                                \
    DRNN_(cell_tile)(R, B, hidden, DRNN_MATRIX(u, block, blocks, hidden, G), u_bias + block * 8,                       \
                     u_scale + block * G * 8, g + row * gs + block * G * 8, gs, old.h + row * old.stride,              \
                     old.c + row * old.stride, old.stride, hs, block, to_h + row * hs, to_c + row * hs);
            DRNN_TILES(G, some, blocks, chain, DRNN_WORK);
#undef DRNN_WORK
#endif
        }
    }
}

/* A single row has code of its own, without loops over rows: it is a step of a stream. So has each number of units that
 * DRNN_WIDTHS lists, X(hidden) for each: they are constants in it. */
static void DRNN_(layer)(const struct drnn_layer *layer, const float *x, int xs, const int *tokens, int rows, int lag,
                         const struct drnn_past past[2], float *h, float *c, float *work) {
#define DRNN_UNITS_OF(H)                                                                                               \
    {                                                                                                                  \
        if (rows == 1) DRNN_(layer_of)(layer, H, x, xs, tokens, 1, lag, past, h, c, work);                             \
        else DRNN_(layer_of)(layer, H, x, xs, tokens, rows, lag, past, h, c, work);                                    \
    }
#define DRNN_WIDTH(H)                                                                                                  \
    if (layer->hidden == H) DRNN_UNITS_OF(H) else
#ifdef DRNN_WIDTHS
    DRNN_WIDTHS(DRNN_WIDTH) {}
#else
    DRNN_UNITS_OF(layer->hidden)
#endif
#undef DRNN_WIDTH
#undef DRNN_UNITS_OF
}

static const struct drnn_kernel DRNN_(kernel) = {DRNN_GATES, DRNN_CELL == DRNN_LSTM ? 2 : 1, DRNN_(layer),
                                                 DRNN_(affine)};
#undef V
#undef M
#undef W
#undef SCALED
#undef HALVES
#endif

/* ---- the kernel of a cell: for each instruction set, and the choice ---- */
#if defined(DRNN_CELL) && !defined(DRNN_PASS)
#define DRNN_GATES (DRNN_CELL <= DRNN_RELU ? 1 : DRNN_CELL == DRNN_LSTM ? 4 : 3)
#define DRNN_(name) DRNN_PASTE(DRNN_PASTE(DRNN_KERNEL, _, DRNN_PASS), _, name)
#define DRNN_OF(set) DRNN_PASTE(DRNN_PASTE(DRNN_KERNEL, _, set), _, kernel)
/* the compiler was not told the processor */
#if defined(__x86_64__) && !defined(__AVX512VL__) && !defined(DRNN_NATIVE)
#define DRNN_CHOICE
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast") /* x * y + z rounds once where the processor can, also in strict C */
#endif
#define DRNN_PASS plain
#include "drnn.h"
#undef DRNN_PASS
#ifdef DRNN_CHOICE
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define DRNN_PASS avx2
#define DRNN_WIDE
#include "drnn.h"
#undef DRNN_PASS
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl")
#endif
#define DRNN_PASS avx512
#define DRNN_MANY_REGISTERS
#include "drnn.h"
#undef DRNN_PASS
#undef DRNN_WIDE
#undef DRNN_MANY_REGISTERS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

static const struct drnn_kernel *DRNN_KERNEL(void) {
#ifdef DRNN_CHOICE
    if (__builtin_cpu_supports("avx512vl")) return &DRNN_OF(avx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &DRNN_OF(avx2);
#endif
    return &DRNN_OF(plain);
}
#undef DRNN_CHOICE
#undef DRNN_GATES
#undef DRNN_OF
#undef DRNN_
#undef DRNN_CELL
#undef DRNN_KERNEL
#endif
