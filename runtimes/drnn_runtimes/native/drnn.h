/* drnn.h: dilated recurrent networks, h_t = cell(x_t, h_{t-d}), in C11 (Chang et al. 2017, equation 2).
 *
 * network.h, which is generated, says what the network is: its name, sizes, layers and weights. It includes this file,
 * whose public functions stand at the end. Another network in the same program does so under another DRNN_NAME.
 *
 * Rows are time-major: row t * batch + b is step t of sequence b. A row of h has its values padded with zeros to a
 * multiple of 8. Units come in blocks of 8; the gates of a block are computed together and never leave the registers.
 * Weights lie in the order in which they are read: [block][input][gate][8], their biases [block][gate][8].
 *
 * No function allocates, locks or calls the system. Values of h and c below 2^-100 count as 0: denormals would slow
 * a step down. The kernel is compiled once for each instruction set and chosen when it is called.
 */
#ifndef DRNN_H
#define DRNN_H
#include <string.h>

#define DRNN_TANH 0 /* cells */
#define DRNN_RELU 1
#define DRNN_GRU_RESET_AFTER 2
#define DRNN_GRU_RESET_BEFORE 3
#define DRNN_LSTM 4
#define DRNN_CONTINUOUS 0 /* inputs */
#define DRNN_ONE_HOT 1
#define DRNN_EMBEDDING 2

#define DRNN_PASTE_(a, b, c) a##b##c
#define DRNN_PASTE(a, b, c) DRNN_PASTE_(a, b, c)
#define DRNN_PUBLIC(name) DRNN_PASTE(DRNN_NAME, _, name)
#define DRNN_(name) DRNN_PASTE(DRNN_PUBLIC(name), _, DRNN_PASS) /* of one instruction set */
#define DRNN_PAD(n) (((n) + 7) / 8 * 8)
#define DRNN_MAX(a, b) ((a) > (b) ? (a) : (b))
#define DRNN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DRNN_INLINE static inline __attribute__((always_inline, unused))
#define DRNN_EACH(i, n) _Pragma("GCC unroll 24") for (int i = 0; i < (n); i++) /* n is a constant, and small */
#define DRNN_ROWS 16                                                          /* whose sums are computed together */

struct drnn_past { /* rows of h and c, `stride` values apart; 0: every row is the same */
    const float *h, *c;
    int rows, stride;
};

DRNN_INLINE void drnn_copy(void *to, const void *from, long count) { /* of values of 4 bytes */
    memcpy(to, from, (size_t)count * 4);
}
#endif

#if defined(DRNN_PASS) /* ---- the kernel for one instruction set ------------------------------------------------ */

#undef DRNN_LANES
#undef DRNN_SUMS
#if defined(__AVX2__) || defined(DRNN_WIDE)
#define DRNN_LANES 8
#else
#define DRNN_LANES 4
#endif
#if defined(__AVX512VL__) || defined(__aarch64__) || defined(DRNN_MANY)
#define DRNN_SUMS 24 /* registers for sums, of 32 */
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

DRNN_INLINE V DRNN_(pick)(M where, V yes, V no) { return (V)((where & (M)yes) | (~where & (M)no)); }

DRNN_INLINE V DRNN_(clamp)(V x, float low, float high) { /* NaN stays */
#if defined(__clang__)
    return __builtin_elementwise_max(DRNN_(all)(low), __builtin_elementwise_min(DRNN_(all)(high), x));
#elif defined(__SSE2__) && DRNN_LANES == 8
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
    const V size = (V)((M)h & 0x7fffffff);
    return (V)((M)h & ~(M)(size < 0x1p-100f));
}

/* sums[row][block][gate] += x[row] w[block][.][gate]; S partial sums of a single row need not wait for each other */
DRNN_INLINE void DRNN_(products)(const int rows, const int blocks, const int G, const int S, V *sums, const float *x,
                                 const int stride, const int inputs, const float *w) {
    const int width = G * DRNN_HALVES, count = rows * blocks * width;
    V partial[DRNN_SUMS];
    int j = 0;
    DRNN_EACH(i, (S - 1) * count) partial[i] = DRNN_(all)(0.0f);
    for (; j + S <= inputs; j += S) {
        DRNN_EACH(s, S) DRNN_EACH(row, rows) {
            const V value = DRNN_(all)(x[row * stride + j + s]);
            V *const to = s ? partial + (s - 1) * count : sums + row * blocks * width;
            DRNN_EACH(b, blocks) DRNN_EACH(k, width) {
                to[b * width + k] += value * DRNN_(load)(w + (b * inputs + j + s) * G * 8 + k * DRNN_LANES);
            }
        }
    }
    for (; j < inputs; j++) {
        DRNN_EACH(b, blocks) DRNN_EACH(k, width) {
            sums[b * width + k] += x[j] * DRNN_(load)(w + (b * inputs + j) * G * 8 + k * DRNN_LANES);
        }
    }
    DRNN_EACH(i, (S - 1) * count) sums[i % count] += partial[i];
}

/* How many rows and blocks are computed together, so that their sums fit the registers. */
DRNN_INLINE int DRNN_(rows_of)(const int G) {
    const int fit = DRNN_SUMS / (G * DRNN_HALVES);
    return fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
}
DRNN_INLINE int DRNN_(blocks_of)(const int rows, const int G, const int blocks) {
    const int fit = (rows == 1 ? 12 : DRNN_SUMS) / (rows * G * DRNN_HALVES);
    return DRNN_MIN(DRNN_MAX(fit, 1), blocks);
}
DRNN_INLINE int DRNN_(partials_of)(const int rows, const int blocks, const int G) {
    const int fit = 12 / (blocks * G * DRNN_HALVES);
    return rows > 1 || fit < 2 ? 1 : fit >= 4 ? 4 : 2;
}

/* y = bias + x w: a tile of rows and blocks */
DRNN_INLINE void DRNN_(affine_tile)(const int rows, const int blocks, const int G, const float *w, const float *bias,
                                    const float *x, const int stride, const int inputs, float *y, const int ys) {
    V sums[DRNN_SUMS];
    const int width = blocks * G * DRNN_HALVES;
    DRNN_EACH(row, rows) DRNN_EACH(k, width) sums[row * width + k] = DRNN_(load)(bias + k * DRNN_LANES);
    DRNN_(products)(rows, blocks, G, DRNN_(partials_of)(rows, blocks, G), sums, x, stride, inputs, w);
    DRNN_EACH(row, rows) DRNN_EACH(k, width) DRNN_(store)(y + row * ys + k * DRNN_LANES, sums[row * width + k]);
}

/* Do `work` for every tile: (rows, blocks) are constants in it, (row, block) say where. */
#define DRNN_TILES(G, all_rows, all_blocks, work)                                                                     \
    do {                                                                                                              \
        const int R_ = DRNN_(rows_of)(G);                                                                             \
        int row = 0;                                                                                                  \
        if (R_ > 1 && (all_rows) >= R_) {                                                                             \
            const int B_ = DRNN_(blocks_of)(R_, G, all_blocks), L_ = (all_blocks) % B_;                               \
            const int end_ = (all_rows) / R_ * R_;                                                                    \
            int block = 0;                                                                                            \
            for (; block + B_ <= (all_blocks); block += B_)                                                           \
                for (row = 0; row < end_; row += R_) { work(R_, B_) }                                                 \
            if (L_) for (row = 0; row < end_; row += R_) { work(R_, L_) }                                             \
            row = end_;                                                                                               \
        }                                                                                                             \
        for (; row < (all_rows); row++) {                                                                             \
            const int B_ = DRNN_(blocks_of)(1, G, all_blocks), L_ = (all_blocks) % B_;                                \
            int block = 0;                                                                                            \
            for (; block + B_ <= (all_blocks); block += B_) { work(1, B_) }                                           \
            if (L_) { work(1, L_) }                                                                                   \
        }                                                                                                             \
    } while (0)

DRNN_INLINE void DRNN_(affine)(const int G, const int blocks, const int inputs, const float *w, const float *bias,
                               const float *x, const int stride, const int rows, float *y) {
    const int ys = blocks * G * 8;
#define DRNN_AFFINE(R, B)                                                                                             \
    DRNN_(affine_tile)(R, B, G, w + block * inputs * G * 8, bias + block * G * 8, x + row * stride, stride, inputs,   \
                       y + row * ys + block * G * 8, ys);
    DRNN_TILES(G, rows, blocks, DRNN_AFFINE);
#undef DRNN_AFFINE
}

#define HALVES(at) DRNN_(load)((at) + half * DRNN_LANES)

/* New h (and c) of a tile of rows and blocks from the gates of its inputs, gx, and the past. */
DRNN_INLINE void DRNN_(cell_tile)(const int rows, const int blocks, const int hidden, const float *w, const float *bias,
                                  const float *gx, const int gs, const float *h0, const float *c0, const int ps,
                                  const int block, float *h, float *c) {
    const int G = DRNN_GATES, hs = DRNN_PAD(hidden), units = rows * blocks * DRNN_HALVES;
    V sums[DRNN_SUMS];
    DRNN_EACH(row, rows) DRNN_EACH(b, blocks) DRNN_EACH(gate, G) DRNN_EACH(half, DRNN_HALVES) {
        sums[((row * blocks + b) * G + gate) * DRNN_HALVES + half] =
            DRNN_CELL == DRNN_GRU_RESET_AFTER && gate == 2 ? HALVES(bias + b * 8) : HALVES(gx + row * gs + (b * G + gate) * 8);
    }
    DRNN_(products)(rows, blocks, G, DRNN_(partials_of)(rows, blocks, G), sums, h0, ps, hidden, w);
#define AT(u) ((block + (u) / DRNN_HALVES % blocks) * 8 + (u) % DRNN_HALVES * DRNN_LANES) /* in its row */
#define ROW(u) ((u) / DRNN_HALVES / blocks)
#define SUM(gate) sums[((from + u) / DRNN_HALVES * G + gate) * DRNN_HALVES + (from + u) % DRNN_HALVES]
    _Pragma("GCC unroll 24") for (int from = 0; from < units; from += DRNN_UNITS) {
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
        DRNN_EACH(u, n) x[u] = DRNN_(load)(gx + ROW(from + u) * gs + ((from + u) / DRNN_HALVES % blocks * G + 2) * 8 +
                                           (from + u) % DRNN_HALVES * DRNN_LANES) + SUM(2) / y[u];
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
DRNN_INLINE void DRNN_(gates_tile)(const int rows, const int blocks, const int hidden, const float *w, const float *gx,
                                   const int gs, const float *h0, const int ps, const int block, float *reset,
                                   float *update) {
    const int hs = DRNN_PAD(hidden), units = rows * blocks * DRNN_HALVES;
    V sums[DRNN_SUMS];
    DRNN_EACH(row, rows) DRNN_EACH(b, blocks) DRNN_EACH(gate, 2) DRNN_EACH(half, DRNN_HALVES) {
        sums[((row * blocks + b) * 2 + gate) * DRNN_HALVES + half] = HALVES(gx + row * gs + (b * 3 + gate) * 8);
    }
    DRNN_(products)(rows, blocks, 2, DRNN_(partials_of)(rows, blocks, 2), sums, h0, ps, hidden, w);
    DRNN_EACH(u, units) {
        V y[2];
        DRNN_EACH(gate, 2) y[gate] = sums[(u / DRNN_HALVES * 2 + gate) * DRNN_HALVES + u % DRNN_HALVES];
        DRNN_(gates)(2, y, y);
        DRNN_(store)(reset + ROW(u) * hs + AT(u), DRNN_(load)(h0 + ROW(u) * ps + AT(u)) / y[0]);
        DRNN_(store)(update + ROW(u) * hs + AT(u), y[1]);
    }
}

/* ... and its new h. */
DRNN_INLINE void DRNN_(new_tile)(const int rows, const int blocks, const int hidden, const float *w, const float *gx,
                                 const int gs, const float *h0, const int ps, const int block, const float *reset,
                                 const float *update, float *h) {
    const int hs = DRNN_PAD(hidden), units = rows * blocks * DRNN_HALVES;
    V sums[DRNN_SUMS];
    DRNN_EACH(row, rows) DRNN_EACH(b, blocks) DRNN_EACH(half, DRNN_HALVES) {
        sums[(row * blocks + b) * DRNN_HALVES + half] = HALVES(gx + row * gs + (b * 3 + 2) * 8);
    }
    DRNN_(products)(rows, blocks, 1, DRNN_(partials_of)(rows, blocks, 1), sums, reset, hs, hidden, w);
    DRNN_EACH(u, units) {
        const V before = DRNN_(load)(h0 + ROW(u) * ps + AT(u)), z = DRNN_(load)(update + ROW(u) * hs + AT(u));
        V d, y;
        DRNN_(tanhs)(1, sums + u, &d, &y);
        DRNN_(store)(h + ROW(u) * hs + AT(u), DRNN_(settled)((before * y + (z - 1.0f) * d) / (z * y)));
    }
}
#undef AT
#undef ROW

/* One layer over rows, of which each `lag` are independent. Row i has the past of row i - lag, the first ones `past`. */
DRNN_INLINE void DRNN_(layer)(const int inputs, const int hidden, const float *w, const float *x, const int xs,
                              const int *tokens, const int rows, const int lag, const struct drnn_past *past, float *h,
                              float *c, float *work) {
    const int blocks = DRNN_PAD(hidden) / 8, G = DRNN_GATES, hs = blocks * 8, gs = blocks * G * 8;
    const float *const bias = w + blocks * inputs * G * 8, *const u = bias + gs, *const u_bias = u + gs * hidden;
    float *const gx = work, *const reset = gx + DRNN_ROWS * gs, *const update = reset + DRNN_ROWS * hs;
    (void)u_bias, (void)reset, (void)update;
    for (int from = 0, count; from < rows; from += count) {
        count = DRNN_MIN(rows - from, DRNN_ROWS);
        if (tokens) { /* a column of w */
            for (int i = 0; i < count; i++)
                for (int b = 0; b < blocks; b++)
                    for (int k = 0; k < G * 8; k++)
                        gx[i * gs + b * G * 8 + k] =
                            bias[b * G * 8 + k] + w[((long)b * inputs + tokens[from + i]) * G * 8 + k];
        } else {
            DRNN_(affine)(G, blocks, inputs, w, bias, x + (long)from * xs, xs, count, gx);
        }
        for (int done = 0, some; done < count; done += some) {
            const int at = from + done;
            struct drnn_past old = {h + (long)(at - lag) * hs, c + (long)(at - lag) * hs, lag, hs};
            if (at < lag) {
                const int second = at >= past[0].rows, skipped = at - (second ? past[0].rows : 0);
                old = past[second];
                old.h += (long)skipped * old.stride, old.c += (long)skipped * old.stride, old.rows -= skipped;
            }
            some = DRNN_MIN(count - done, old.rows);
            const float *const g = gx + done * gs;
            float *const to_h = h + (long)at * hs, *const to_c = c + (long)at * hs;
            (void)to_c;
#if DRNN_CELL == DRNN_GRU_RESET_BEFORE
            const float *const u_new = u + blocks * hidden * 16;
#define DRNN_WORK(R, B)                                                                                               \
    DRNN_(gates_tile)(R, B, hidden, u + block * hidden * 16, g + row * gs + block * 24, gs, old.h + row * old.stride, \
                      old.stride, block, reset + row * hs, update + row * hs);
            DRNN_TILES(2, some, blocks, DRNN_WORK);
#undef DRNN_WORK
#define DRNN_WORK(R, B)                                                                                               \
    DRNN_(new_tile)(R, B, hidden, u_new + block * hidden * 8, g + row * gs + block * 24, gs,                          \
                    old.h + row * old.stride, old.stride, block, reset + row * hs, update + row * hs,                 \
                    to_h + row * hs);
            DRNN_TILES(1, some, blocks, DRNN_WORK);
#undef DRNN_WORK
#else
#define DRNN_WORK(R, B)                                                                                               \
    DRNN_(cell_tile)(R, B, hidden, u + block * hidden * G * 8, u_bias + block * 8, g + row * gs + block * G * 8, gs,  \
                     old.h + row * old.stride, old.c + row * old.stride, old.stride, block, to_h + row * hs,          \
                     to_c + row * hs);
            DRNN_TILES(G, some, blocks, DRNN_WORK);
#undef DRNN_WORK
#endif
        }
    }
}

/* A function for each shape of layers, so that sizes are constants in it and equal layers share it. */
#define DRNN_SHAPE(index, inputs, hidden)                                                                             \
    static void DRNN_(layer_##index)(const float *w, const float *x, int xs, const int *tokens, int rows, int lag,    \
                                     const struct drnn_past *past, float *h, float *c, float *work) {                 \
        DRNN_(layer)(inputs, hidden, w, x, xs, tokens, rows, lag, past, h, c, work);                                  \
    }
DRNN_SHAPES(DRNN_SHAPE)
#undef DRNN_SHAPE

static void DRNN_(any_layer)(int layer, const float *weights, const float *x, int xs, const int *tokens, int rows, int lag,
                             const struct drnn_past *past, float *h, float *c, float *work) {
    const float *const w = weights + DRNN_PUBLIC(layers)[layer].weights;
    switch (DRNN_PUBLIC(layers)[layer].shape) {
#define DRNN_SHAPE(index, inputs, hidden)                                                                             \
    case index:                                                                                                       \
        DRNN_(layer_##index)(w, x, xs, tokens, rows, lag, past, h, c, work);                                          \
        break;
        DRNN_SHAPES(DRNN_SHAPE)
#undef DRNN_SHAPE
    }
}

/* Outputs of rows (step, sequence): y[sequence][first + step]. */
static void DRNN_(head)(const float *weights, const float *x, int stride, int rows, int batch, float *y, int answers,
                        int first, float *work) {
    enum { INPUTS = DRNN_WINDOW * DRNN_TOP, BLOCKS = DRNN_PAD(DRNN_OUTPUTS) / 8 };
    const float *const w = weights + DRNN_HEAD_WEIGHTS;
    for (int from = 0; from < rows; from += DRNN_ROWS) {
        const int count = DRNN_MIN(rows - from, DRNN_ROWS);
        DRNN_(affine)(1, BLOCKS, INPUTS, w, w + BLOCKS * INPUTS * 8, x + (long)from * stride, stride, count, work);
        for (int i = 0; i < count; i++) {
            const long to = (long)((from + i) % batch) * answers + first + (from + i) / batch;
            drnn_copy(y + to * DRNN_OUTPUTS, work + i * BLOCKS * 8, DRNN_OUTPUTS);
        }
    }
}
#undef V
#undef M
#undef HALVES

#else /* ---- what network.h includes: the kernel for each instruction set, then the functions of the network ------- */

#define DRNN_GATES (DRNN_CELL <= DRNN_RELU ? 1 : DRNN_CELL == DRNN_LSTM ? 4 : 3)
#define DRNN_BLOCK 256 /* rows that are computed together, unless a stream's batch is larger */
#define DRNN_WORK_SIZE (DRNN_ROWS * DRNN_MAX((DRNN_GATES + 2) * DRNN_WIDEST, DRNN_PAD(DRNN_OUTPUTS)))

#if defined(__x86_64__) && !defined(__AVX512VL__) /* choose when called, unless the compiler was told the processor */
#define DRNN_BEST(name)                                                                                               \
    (__builtin_cpu_supports("avx512vl")                                ? DRNN_PASTE(DRNN_PUBLIC(name), _, avx512)    \
     : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? DRNN_PASTE(DRNN_PUBLIC(name), _, avx2)      \
                                                                       : DRNN_PASTE(DRNN_PUBLIC(name), _, plain))
#else
#define DRNN_BEST(name) DRNN_PASTE(DRNN_PUBLIC(name), _, plain)
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast") /* x * y + z rounds once where the processor can, also in strict C */
#endif
#define DRNN_PASS plain
#include "drnn.h"
#undef DRNN_PASS
#if defined(__x86_64__) && !defined(__AVX512VL__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define DRNN_PASS avx2
#define DRNN_WIDE 8
#include "drnn.h"
#undef DRNN_PASS
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl")
#endif
#define DRNN_PASS avx512
#define DRNN_MANY 24
#include "drnn.h"
#undef DRNN_PASS
#undef DRNN_WIDE
#undef DRNN_MANY
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

#if DRNN_INPUT == DRNN_CONTINUOUS
typedef float DRNN_PUBLIC(sample); /* DRNN_FEATURES of them are a step */
#else
typedef int DRNN_PUBLIC(sample); /* a token, 0 to DRNN_VOCABULARY - 1 */
#endif

struct DRNN_PUBLIC(stream) { /* in front of the delay lines */
    int batch, at[DRNN_LAYERS + 1]; /* the oldest step of each ring; the last ring is the head's window */
};

static float *DRNN_PUBLIC(rings)(void *stream) {
    return (float *)((char *)stream + (sizeof(struct DRNN_PUBLIC(stream)) + 31) / 32 * 32);
}

/* Bytes of a stream of `batch` sequences. */
size_t DRNN_PUBLIC(stream_size)(int batch) {
    return (sizeof(struct DRNN_PUBLIC(stream)) + 31) / 32 * 32 + sizeof(float) * (size_t)batch * DRNN_STATE;
}

/* Start a stream at the zero state. */
void DRNN_PUBLIC(start)(void *stream, int batch) {
    memset(stream, 0, DRNN_PUBLIC(stream_size)(batch));
    ((struct DRNN_PUBLIC(stream) *)stream)->batch = batch;
}

/* Bytes of scratch memory of `push`. */
size_t DRNN_PUBLIC(push_size)(int batch) {
    return sizeof(float) * (size_t)((long)DRNN_MAX(batch, DRNN_BLOCK) * 3 * DRNN_WIDEST +
                                    (long)batch * DRNN_WINDOW * DRNN_TOP + DRNN_WORK_SIZE);
}

static void DRNN_PUBLIC(keep)(float *ring, int size, int slot, const float *rows, int count, long row) {
    const int first = DRNN_MIN(count, size - slot);
    drnn_copy(ring + (long)slot * row, rows, (long)first * row);
    drnn_copy(ring, rows + (long)first * row, (count - first) * row);
}

/* Rows of the first layer: of `count` steps from `from` on, or from `steps`; tokens where it looks them up itself. */
static const int *DRNN_PUBLIC(take)(const float *weights, const DRNN_PUBLIC(sample) *x, int batch, int length,
                                    const int *steps, int from, int count, float *rows) {
    (void)weights;
    for (int i = 0; i < count; i++) {
        const long t = (steps ? steps[i] : from + i);
        for (int b = 0; b < batch; b++) {
            const long to = (long)i * batch + b, at = (long)b * length + t;
#if DRNN_INPUT == DRNN_CONTINUOUS
            drnn_copy(rows + to * DRNN_FEATURES, x + at * DRNN_FEATURES, DRNN_FEATURES);
#elif DRNN_INPUT == DRNN_ONE_HOT
            drnn_copy(rows + to, x + at, 1);
#else
            drnn_copy(rows + to * DRNN_FEATURES, weights + DRNN_TABLE + (long)x[at] * DRNN_FEATURES,
                   DRNN_FEATURES);
#endif
        }
    }
    return DRNN_INPUT == DRNN_ONE_HOT ? (const int *)(const void *)rows : 0;
}

/* Feed n steps, x[batch][n], with these weights. The last k of them have outputs, y[batch][k][DRNN_OUTPUTS]: all n with
 * head `sequence`, one with `last`, at most DRNN_LAST with `last_k`. */
static void DRNN_PUBLIC(push_with)(const float *weights, void *stream, const DRNN_PUBLIC(sample) *x, int n, float *y,
                                   void *scratch) {
    struct DRNN_PUBLIC(stream) *const s = stream;
    const int batch = s->batch, most = DRNN_MAX(1, DRNN_BLOCK / batch);
    const int answers = DRNN_LAST ? DRNN_MIN(DRNN_LAST, n) : n, unanswered = n - answers;
    const long rows = (long)DRNN_MAX(batch, DRNN_BLOCK);
    float *in = scratch, *out = in + rows * DRNN_WIDEST, *const c = out + rows * DRNN_WIDEST;
    float *const seen = c + rows * DRNN_WIDEST, *const work = seen + (long)batch * DRNN_WINDOW * DRNN_TOP;
    for (int from = 0, m; from < n; from += m) {
        m = DRNN_MIN(n - from, most);
        float *ring = DRNN_PUBLIC(rings)(s);
        const int *tokens = DRNN_PUBLIC(take)(weights, x, batch, n, 0, from, m, in);
        for (int layer = 0, xs = DRNN_FEATURES; layer < DRNN_LAYERS; layer++) {
            const int d = DRNN_PUBLIC(layers)[layer].dilation, hs = DRNN_PAD(DRNN_PUBLIC(layers)[layer].hidden);
            const int at = s->at[layer], kept = DRNN_MIN(m, d), slot = (at + m - kept) % d;
            const long row = (long)batch * hs, size = row * d, last = (long)(m - kept) * row;
            float *const c_ring = DRNN_CELL == DRNN_LSTM ? ring + size : ring;
            const struct drnn_past past[2] = {{ring + at * row, c_ring + at * row, (d - at) * batch, hs},
                                              {ring, c_ring, at * batch, hs}};
            DRNN_BEST(any_layer)(layer, weights, in, xs, tokens, m * batch, d * batch, past, out, c, work);
            DRNN_PUBLIC(keep)(ring, d, slot, out + last, kept, row);
            if (DRNN_CELL == DRNN_LSTM) DRNN_PUBLIC(keep)(c_ring, d, slot, c + last, kept, row);
            s->at[layer] = (at + m) % d;
            ring = c_ring + size;
            float *const swap = in;
            in = out, out = swap, xs = hs, tokens = 0;
        }
        const long row = (long)batch * DRNN_PAD(DRNN_TOP);
        if (DRNN_WINDOW == 1) {
            const int first = DRNN_MAX(0, unanswered - from);
            if (first < m) {
                DRNN_BEST(head)(weights, in + first * row, DRNN_PAD(DRNN_TOP), (m - first) * batch, batch, y, answers,
                                from + first - unanswered, work);
            }
            continue;
        }
        for (int t = 0; t < m; t++) {
            int *const at = s->at + DRNN_LAYERS;
            drnn_copy(ring + *at * row, in + t * row, row);
            *at = (*at + 1) % DRNN_WINDOW;
            if (from + t < unanswered) continue;
            for (int b = 0; b < batch; b++)
                for (int j = 0; j < DRNN_WINDOW; j++)
                    drnn_copy(seen + ((long)b * DRNN_WINDOW + j) * DRNN_TOP,
                           ring + (*at + j) % DRNN_WINDOW * row + (long)b * DRNN_PAD(DRNN_TOP),
                           DRNN_TOP);
            DRNN_BEST(head)(weights, seen, DRNN_WINDOW * DRNN_TOP, batch, batch, y, answers, from + t - unanswered, work);
        }
    }
}

/* Sequences that `run` takes through all layers together. */
static int DRNN_PUBLIC(run_batch)(int batch, int length) {
    return DRNN_MIN(batch, DRNN_MAX(4, (int)((1L << 16) / ((long)length * DRNN_WIDEST))));
}

/* Bytes of scratch memory of `run`. */
size_t DRNN_PUBLIC(run_size)(int batch, int length) {
    if (!DRNN_LAST) return DRNN_PUBLIC(stream_size)(batch) + DRNN_PUBLIC(push_size)(batch);
    const long rows = (long)DRNN_PUBLIC(run_batch)(batch, length) * length;
    return sizeof(float) * (size_t)(rows * 3 * DRNN_WIDEST + (long)batch * DRNN_LAST * DRNN_WINDOW * DRNN_TOP +
                                    DRNN_WORK_SIZE + DRNN_WIDEST) +
           sizeof(int) * (size_t)length * (DRNN_LAYERS + 2);
}

/* Whole sequences x[batch][length] from the zero state. Only the steps that reach an output are computed. */
static void DRNN_PUBLIC(run_with)(const float *weights, const DRNN_PUBLIC(sample) *x, int batch, int length, float *y,
                                  void *scratch) {
    if (!DRNN_LAST) {
        DRNN_PUBLIC(start)(scratch, batch);
        DRNN_PUBLIC(push_with)(weights, scratch, x, length, y, (char *)scratch + DRNN_PUBLIC(stream_size)(batch));
        return;
    }
    /* The steps of each layer, from the top down: a step needs those before it at distances of d. As the steps of a layer
     * are all that have one of `lag` remainders, the step d before stands `lag` places before. */
    int *steps[DRNN_LAYERS + 1], count[DRNN_LAYERS + 1], lag[DRNN_LAYERS], *free = scratch;
    const int answers = DRNN_MIN(DRNN_LAST, length), needed = DRNN_MIN(length, answers + DRNN_WINDOW - 1);
    int *const used = free;
    free += length;
    steps[DRNN_LAYERS] = free, count[DRNN_LAYERS] = needed;
    for (int i = 0; i < needed; i++) *free++ = length - needed + i;
    for (int layer = DRNN_LAYERS - 1; layer >= 0; layer--) {
        const int d = DRNN_PUBLIC(layers)[layer].dilation, most = DRNN_MIN(d, length);
        int *const remainders = free;
        memset(used, 0, (size_t)most * sizeof(int));
        lag[layer] = count[layer] = 0;
        for (int i = 0; i < count[layer + 1]; i++) used[steps[layer + 1][i] % d] = 1;
        for (int i = 0; i < most; i++)
            if (used[i]) remainders[lag[layer]++] = i;
        for (int base = 0; base < length; base += most)
            for (int i = 0; i < lag[layer] && base + remainders[i] < length; i++)
                remainders[count[layer]++] = base + remainders[i];
        steps[layer] = remainders, free += count[layer];
    }
    float *const zeros = (float *)(void *)((int *)scratch + (long)length * (DRNN_LAYERS + 2));
    const int most = DRNN_PUBLIC(run_batch)(batch, length);
    const long rows = (long)most * length;
    float *in = zeros + DRNN_WIDEST, *out = in + rows * DRNN_WIDEST, *const c = out + rows * DRNN_WIDEST;
    float *const seen = c + rows * DRNN_WIDEST, *const work = seen + (long)answers * DRNN_WINDOW * DRNN_TOP * batch;
    memset(zeros, 0, DRNN_WIDEST * sizeof(float));
    for (int from = 0, some; from < batch; from += some) {
        some = DRNN_MIN(batch - from, most);
        const int *tokens = DRNN_PUBLIC(take)(weights, x + (long)from * length * DRNN_SAMPLE, some, length, steps[0], 0,
                                              count[0], in);
        for (int layer = 0, xs = DRNN_FEATURES; layer < DRNN_LAYERS; layer++) {
            const int hs = DRNN_PAD(DRNN_PUBLIC(layers)[layer].hidden);
            const struct drnn_past past[2] = {{zeros, zeros, lag[layer] * some, 0}, {zeros, zeros, 0, 0}};
            DRNN_BEST(any_layer)(layer, weights, in, xs, tokens, count[layer] * some, lag[layer] * some, past, out, c, work);
            const int *const above = steps[layer + 1];
            const long row = (long)some * hs;
            for (int i = 0, j = 0; j < count[layer + 1]; i++)
                if (steps[layer][i] == above[j]) drnn_copy(in + j++ * row, out + i * row, row);
            xs = hs, tokens = 0;
        }
        for (int i = 0; i < answers * some; i++)
            for (int j = 0; j < DRNN_WINDOW; j++) {
                const int at = needed - answers - (DRNN_WINDOW - 1) + i / some + j; /* negative: before the start */
                drnn_copy(seen + ((long)i * DRNN_WINDOW + j) * DRNN_TOP,
                       at < 0 ? zeros : in + ((long)at * some + i % some) * DRNN_PAD(DRNN_TOP), DRNN_TOP);
            }
        DRNN_BEST(head)(weights, seen, DRNN_WINDOW * DRNN_TOP, answers * some, some,
                        y + (long)from * answers * DRNN_OUTPUTS, answers, 0, work);
    }
}
#endif
