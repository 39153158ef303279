/* drnn_cell.h: rows of a layer, for one cell (DRNN_CELL) and one instruction set; drnn.h includes it for each.
 *
 * A tile is some rows and some blocks of 8 units: from biases to the new h its sums stay in registers. Weights of
 * inputs and of the past lie in the order in which they are read, [block][input][gate][8]; biases and scales are
 * [block][gate][8]. With DRNN_INT8, weights are int8, and each output has a scale.
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
#define DRNN_PAIR 8                  /* of two rows; of a GRU, those of one */

typedef float DRNN_(vector) __attribute__((vector_size(4 * DRNN_LANES)));
typedef int DRNN_(mask) __attribute__((vector_size(4 * DRNN_LANES)));
typedef float DRNN_(unaligned) __attribute__((vector_size(4 * DRNN_LANES), aligned(4), may_alias));
#define V DRNN_(vector)
#define M DRNN_(mask)
#define ALL (DRNN_GATES * 8) /* values of a block, of all gates */

DRNN_INLINE V DRNN_(load)(const float *from) { return *(const DRNN_(unaligned) *)from; }
DRNN_INLINE void DRNN_(store)(float *to, V value) { *(DRNN_(unaligned) *)to = value; }
DRNN_INLINE V DRNN_(all)(float value) { return value - (V){0}; }

#ifdef DRNN_INT8
#define W signed char
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
DRNN_INLINE V DRNN_(weights)(const W *from, const float *scale) {
    (void)scale;
    return DRNN_(load)(from);
}
#endif

DRNN_INLINE V DRNN_(pick)(M where, V yes, V no) { return (V)((where & (M)yes) | (~where & (M)no)); }

DRNN_INLINE V DRNN_(clamp)(V x, V low, V high) { /* NaN stays */
#if defined(__SSE2__) && DRNN_LANES == 8
    return __builtin_ia32_maxps256(low, __builtin_ia32_minps256(high, x));
#elif defined(__SSE2__)
    return __builtin_ia32_maxps(low, __builtin_ia32_minps(high, x));
#else
    x = DRNN_(pick)(x > high, high, x);
    return DRNN_(pick)(x < low, low, x);
#endif
}

/* A constant that is loaded where it is used: compilers would keep all in registers, and sums of products not. */
DRNN_INLINE V DRNN_(constant)(float value) {
    V all = DRNN_(all)(value);
#if defined(__x86_64__)
    __asm__ volatile("" : "+v"(all));
#endif
    return all;
}

/* Activations of n vectors, which are taken through each operation together: a single one waits most of the time.
 * e^(f x) = s e^(f r) with s = 2^k and |f r| < 0.35; f is -1 or -2. */
DRNN_INLINE void DRNN_(exp_parts)(const int n, const float f, const V *x, V *s, V *r) {
    V k[DRNN_PAIR];
    const V scale = DRNN_(constant)(f * 1.44269504f), whole = DRNN_(constant)(12582912.0f + 127);
    DRNN_EACH(i, n) s[i] = x[i] * scale + whole; /* 3 * 2^22: numbers there have no fraction, */
    DRNN_EACH(i, n) k[i] = s[i] - whole;
    const V ln2 = DRNN_(constant)(0.693359375f / f), rest = DRNN_(constant)(-2.12194440e-4f / f);
    DRNN_EACH(i, n) r[i] = x[i] - k[i] * ln2;
    DRNN_EACH(i, n) r[i] = r[i] - k[i] * rest;
    DRNN_EACH(i, n) s[i] = (V)((M)s[i] << 23); /* and their last bits become an exponent */
}

/* p = the polynomial with these coefficients, the highest power first. */
DRNN_INLINE void DRNN_(polynomial)(const int n, const V *r, const float *coefficients, const int count, V *p) {
    DRNN_EACH(j, count) {
        const V c = DRNN_(constant)(coefficients[j]);
        DRNN_EACH(i, n) p[i] = j ? p[i] * r[i] + c : c;
    }
}

/* A gate is 1 / y, tanh(x) is d / y: products of them share a division. Gates below e^-60 count as e^-60. */
DRNN_INLINE void DRNN_(gates)(const int n, const V *x, V *y) { /* y = 1 + e^-x; p is off by 2^-23.3 of e^-r */
    static const float terms[] = {-0x1.0fa826p-7f, 0x1.573a66p-5f, -0x1.555a6cp-3f, 0x1.fffdc6p-2f, -0x1.fffff6p-1f, 1};
    V a[DRNN_PAIR], s[DRNN_PAIR], r[DRNN_PAIR], p[DRNN_PAIR];
    const V low = DRNN_(constant)(-60.0f), high = DRNN_(constant)(60.0f);
    DRNN_EACH(i, n) a[i] = DRNN_(clamp)(x[i], low, high);
    DRNN_(exp_parts)(n, -1, a, s, r);
    DRNN_(polynomial)(n, r, terms, 6, p);
    const V one = DRNN_(constant)(1.0f);
    DRNN_EACH(i, n) y[i] = s[i] * p[i] + one;
}

DRNN_INLINE void DRNN_(tanhs)(const int n, const V *x, V *d, V *y) { /* d = e^(-2x) - 1, y = -(2 + d); p: 2^-26 */
    static const float terms[] = {0x1.6bec08p-4f, -0x1.122772p-2f, 0x1.555674p-1f, -0x1.5554b0p0f, 0x1.fffffep0f};
    V a[DRNN_PAIR], s[DRNN_PAIR], r[DRNN_PAIR], p[DRNN_PAIR];
    const V low = DRNN_(constant)(-10.0f), high = DRNN_(constant)(10.0f);
    DRNN_EACH(i, n) a[i] = DRNN_(clamp)(x[i], low, high);
    DRNN_(exp_parts)(n, -2, a, s, r);
    DRNN_(polynomial)(n, r, terms, 5, p);
    const V one = DRNN_(constant)(1.0f), two = DRNN_(constant)(2.0f);
    DRNN_EACH(i, n) a[i] = r[i] * p[i] - two;
    DRNN_EACH(i, n) d[i] = s[i] * r[i];
    DRNN_EACH(i, n) d[i] = d[i] * a[i] + (s[i] - one);
    DRNN_EACH(i, n) y[i] = -two - d[i];
}

DRNN_INLINE V DRNN_(settled)(V h) { /* without values below 2^-100 */
    DRNN_IN_REGISTER(h);
    return (V)((M)h & ~(M)((V)((M)h & 0x7fffffff) < 0x1p-100f));
}
/* How many rows are computed together, and how many blocks of each, so that their sums fit the registers. */
#define DRNN_FIT(rows, G) ((rows == 1 ? 12 : DRNN_SUMS) / ((rows) * (G) * DRNN_HALVES))
#define DRNN_MANY(G) (DRNN_FIT(4, G) ? 4 : DRNN_FIT(2, G) ? 2 : 1)
#define DRNN_MOST(rows, G) DRNN_MAX(1, DRNN_MIN(4, DRNN_FIT(rows, G))) /* blocks */
#if DRNN_CELL == DRNN_GRU_RESET_BEFORE
#define DRNN_PAIRED 0
#else /* blocks of each of two layers */
#define DRNN_PAIRED DRNN_MIN(4, (DRNN_SUMS == 16 ? 12 : 6) / (DRNN_GATES * DRNN_HALVES))
#endif

/* Do `work(R, B)` for all blocks, B at a time, of rows from `first` to `end`, R at a time, all of about the same size;
 * the last blocks first if `backwards`. R and B are constants in it; (row, block) say where. */
#define DRNN_TILES(R, G, first, end, blocks, backwards, work)                                                          \
    do {                                                                                                               \
        const int parts_ = ((blocks) + DRNN_MOST(R, G) - 1) / DRNN_MOST(R, G),                                         \
                  most_ = parts_ == 1 ? (blocks) : ((blocks) + parts_ - 1) / parts_;                                   \
        for (int part_ = 0; part_ < parts_; part_++) {                                                                 \
            const int block = ((backwards) ? parts_ - 1 - part_ : part_) * most_;                                      \
            DRNN_TILE(1, R, G, first, end, blocks, work)                                                               \
            DRNN_TILE(2, R, G, first, end, blocks, work)                                                               \
            DRNN_TILE(3, R, G, first, end, blocks, work)                                                               \
            DRNN_TILE(4, R, G, first, end, blocks, work)                                                               \
        }                                                                                                              \
    } while (0)
#define DRNN_TILE(B, R, G, first, end, blocks, work)                                                                   \
    if ((B) <= DRNN_MOST(R, G) && DRNN_OCCURS(B, blocks) && DRNN_MIN(most_, (blocks) - block) == (B))                  \
        for (int row = first; row < (end); row += R) work(R, DRNN_MIN(B, DRNN_MOST(R, G)));

#define DRNN_OCCURS(B, blocks) /* leaves out the code for other sizes, where the compiler knows them */                \
    (!__builtin_constant_p(most_) || (B) == most_ || (B) == ((blocks) - 1) % most_ + 1)

/* sums[row][block][gate] += x[row] w[block][.][gate], of G gates of `all`; S partial sums of a single row need not wait
 * for each other */
DRNN_INLINE void DRNN_(products)(const int rows, const int blocks, const int G, const int all, V *sums, const float *x,
                                 const int stride, const int inputs, const W *w, const float *scale) {
    const int width = G * DRNN_HALVES, count = rows * blocks * width, fit = 12 / count;
    const int S = rows > 1 || fit < 2 ? 1 : fit >= 4 ? 4 : 2, of_4 = S == 4 ? count : 0, of_2 = S > 1 ? count : 0;
    const long apart = (long)inputs * all * 8; /* blocks */
#define DRNN_WEIGHTS(j)                                                                                                \
    DRNN_(weights)(w + b * apart + (long)(j) * all * 8 + k * DRNN_LANES, scale + b * all * 8 + k * DRNN_LANES)
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
    DRNN_EACH(i, of_4) partial[i] += partial[2 * count + i] + partial[count + i];
    DRNN_EACH(i, of_2) sums[i] += partial[i];
#undef DRNN_WEIGHTS
}

/* y = bias + x w */
static void DRNN_(affine)(int blocks, int inputs, const void *weights, const float *bias, const float *x, int stride,
                          int rows, float *y) {
#ifdef DRNN_HEAD_BLOCKS /* a constant leaves out the code for other sizes */
    blocks = DRNN_HEAD_BLOCKS;
#endif
    const W *const w = weights;
    const int tiled = rows & ~3, ys = blocks * 8;
#define DRNN_WORK(R, B)                                                                                                \
    {                                                                                                                  \
        V sums[DRNN_SUMS];                                                                                             \
        DRNN_EACH(i, R * B * DRNN_HALVES)                                                                              \
        sums[i] = DRNN_(load)(bias + block * 8 + i % (B * DRNN_HALVES) * DRNN_LANES);                                  \
        DRNN_(products)(R, B, 1, 1, sums, x + (long)row * stride, stride, inputs, w + (long)block * inputs * 8,        \
                        bias + ys + block * 8);                                                                        \
        DRNN_EACH(i, R * B * DRNN_HALVES)                                                                              \
        DRNN_(store)(y + (long)(row + i / (B * DRNN_HALVES)) * ys + block * 8 + i % (B * DRNN_HALVES) * DRNN_LANES,    \
                     sums[i]);                                                                                         \
    }
    if (tiled) DRNN_TILES(4, 1, 0, tiled, blocks, 0, DRNN_WORK);
    DRNN_TILES(1, 1, tiled, rows, blocks, 0, DRNN_WORK);
#undef DRNN_WORK
}

/* Sums of G gates from `first` on: biases, and what the inputs add. */
DRNN_INLINE void DRNN_(of_inputs)(const int rows, const int blocks, const int G, const int first, const int hidden,
                                  const struct drnn_rows *r, const int row, const int block, V *sums) {
    const struct drnn_layer *const layer = r->layer;
    const int inputs = layer->inputs, at = block * ALL + first * 8, width = G * DRNN_HALVES;
    const float *const bias = layer->biases + at;
    const float *const scale = bias + DRNN_PAD(hidden) * (DRNN_GATES + (DRNN_CELL == DRNN_GRU_RESET_AFTER));
    const W *const w = (const W *)layer->weights + (long)block * inputs * ALL + first * 8;
#define PLACE (i / width % blocks * ALL + i % width * DRNN_LANES)
    DRNN_EACH(i, rows * blocks * width) sums[i] = DRNN_(load)(bias + PLACE);
    if (r->tokens) { /* a column of w */
        DRNN_EACH(i, rows * blocks * width) {
            const W *const column = w + (long)r->tokens[row + i / width / blocks] * ALL;
            sums[i] += DRNN_(weights)(column + (long)(i / width % blocks) * inputs * ALL + i % width * DRNN_LANES,
                                      scale + PLACE);
        }
    } else {
        DRNN_(products)(rows, blocks, G, DRNN_GATES, sums, r->x + (long)row * r->xs, r->xs, inputs, w, scale);
    }
}

/* The same, of rows whose sums were computed before if there are several. */
DRNN_INLINE void DRNN_(known_inputs)(const int rows, const int blocks, const int G, const int first, const int hidden,
                                     const struct drnn_rows *r, const int row, const int block, V *sums) {
    const int hs = DRNN_PAD(hidden), width = G * DRNN_HALVES;
    if (rows > 1 || r->sums) {
        const float *const known = r->sums + block * ALL + first * 8;
        DRNN_EACH(i, rows * blocks * width)
        sums[i] = DRNN_(load)(known + (long)(row + i / width / blocks) * hs * DRNN_GATES + PLACE);
    } else {
        DRNN_(of_inputs)(rows, blocks, G, first, hidden, r, row, block, sums);
    }
}

/* A tile of these sums. */
DRNN_INLINE void DRNN_(inputs_tile)(const int rows, const int blocks, const int hidden, const struct drnn_rows *r,
                                    const int row, const int block, float *to) {
    enum { G = DRNN_GATES, width = G * DRNN_HALVES };
    const int hs = DRNN_PAD(hidden);
    V sums[DRNN_SUMS];
    DRNN_(of_inputs)(rows, blocks, G, 0, hidden, r, row, block, sums);
    DRNN_EACH(i, rows * blocks * width)
    DRNN_(store)(to + (long)(row + i / width / blocks) * hs * G + block * ALL + PLACE, sums[i]);
}
#undef PLACE

/* What the past, h, adds. */
DRNN_INLINE void DRNN_(of_past)(const int rows, const int blocks, const int G, const int first, const int hidden,
                                const struct drnn_rows *r, const float *h, const int stride, const int block, V *sums) {
    const struct drnn_layer *const layer = r->layer;
    const int hs = DRNN_PAD(hidden), at = block * ALL + first * 8;
    const W *const u = (const W *)layer->weights + (long)layer->inputs * hs * DRNN_GATES + (long)block * hidden * ALL;
    const float *const scale = layer->biases + hs * (2 * DRNN_GATES + (DRNN_CELL == DRNN_GRU_RESET_AFTER)) + at;
    DRNN_(products)(rows, blocks, G, DRNN_GATES, sums, h, stride, hidden, u + first * 8, scale);
}

#define AT(u) ((block + (u) / DRNN_HALVES % blocks) * 8 + (u) % DRNN_HALVES * DRNN_LANES) /* in its row */
#define ROW(u) ((u) / DRNN_HALVES / blocks)
#define SUM(u, G, gate) sums[((u) / DRNN_HALVES * (G) + (gate)) * DRNN_HALVES + (u) % DRNN_HALVES]
#if DRNN_CELL != DRNN_GRU_RESET_BEFORE
/* Sums of a tile; of a GRU, n_inputs gets what the inputs add to n: reset multiplies the past's part only. */
DRNN_INLINE void DRNN_(cell_sums)(const int rows, const int blocks, const int hidden, const struct drnn_rows *r,
                                  const int row, const int block, V *sums, V *n_inputs) {
    enum { G = DRNN_GATES };
    DRNN_(known_inputs)(rows, blocks, G, 0, hidden, r, row, block, sums);
#if DRNN_CELL == DRNN_GRU_RESET_AFTER
    DRNN_EACH(u, rows * blocks * DRNN_HALVES) {
        n_inputs[u] = SUM(u, G, 2);
        SUM(u, G, 2) = DRNN_(load)(r->layer->biases + DRNN_PAD(hidden) * G + AT(u));
    }
#endif
    (void)n_inputs;
    DRNN_(of_past)(rows, blocks, G, 0, hidden, r, r->h0 + (long)row * r->ps, r->ps, block, sums);
}

/* New h (and c) of a tile, or of a row of each of two layers. */
DRNN_INLINE void DRNN_(cell_tile)(const int rows, const int two, const int blocks, const int hidden,
                                  const struct drnn_rows *r, const int row, const int block) {
    enum { G = DRNN_GATES };
    const int units = rows * blocks * DRNN_HALVES, hs = DRNN_PAD(hidden);
    const int together = two ? (G == 3 ? units / 2 : DRNN_PAIR) : DRNN_UNITS;
    const int late = rows > 1 && !two; /* registers are few */
    V sums[2 * DRNN_SUMS], n_inputs[2 * DRNN_SUMS];
    if (two) {
        DRNN_EACH(i, 2)
        DRNN_(cell_sums)(1, blocks, hidden, r + i, 0, 0, sums + i * units / 2 * G, n_inputs + i * units / 2);
    } else {
        DRNN_(cell_sums)(rows, blocks, hidden, r, row, block, sums, n_inputs);
    }
#define N_AT(u) ((block + (u) / DRNN_HALVES % blocks) * G * 8 + 16 + (u) % DRNN_HALVES * DRNN_LANES)
#define OF(u) (r + (two ? ROW(u) : 0))
#define PLACE(u, stride) ((two ? 0 : (long)(row + ROW(u)) * (stride)) + AT(u))
    DRNN_UNROLL for (int from = 0; from < units; from += together) {
        const int n = DRNN_MIN(units - from, together);
        V x[DRNN_PAIR], y[DRNN_PAIR], z[DRNN_PAIR], d[DRNN_PAIR], after[DRNN_PAIR];
        (void)x, (void)y, (void)z, (void)d, (void)late;
#if DRNN_CELL == DRNN_TANH
        DRNN_EACH(u, n) x[u] = SUM(from + u, G, 0);
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) after[u] = d[u] / y[u];
#elif DRNN_CELL == DRNN_RELU
        DRNN_EACH(u, n) after[u] = DRNN_(pick)(SUM(from + u, G, 0) < 0.0f, (V){0}, SUM(from + u, G, 0));
#elif DRNN_CELL == DRNN_GRU_RESET_AFTER
        DRNN_EACH(u, n) x[u] = SUM(from + u, G, 0);
        DRNN_(gates)(n, x, y);
        DRNN_EACH(u, n) {
            const V known = late ? DRNN_(load)(r->sums + (long)(row + ROW(from + u)) * hs * G + N_AT(from + u))
                                 : n_inputs[from + u];
            x[u] = known + SUM(from + u, G, 2) / y[u];
        }
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) x[u] = SUM(from + u, G, 1);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) x[u] = DRNN_(load)(OF(from + u)->h0 + PLACE(from + u, r->ps)) * y[u];
        DRNN_EACH(u, n) after[u] = (x[u] + (z[u] - 1.0f) * d[u]) / (z[u] * y[u]);
#else
        DRNN_EACH(u, n) x[u] = SUM(from + u, G, 0);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) x[u] = SUM(from + u, G, 2);
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) after[u] = d[u] / (y[u] * z[u]);
        DRNN_EACH(u, n) x[u] = SUM(from + u, G, 1);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) {
            const V before = DRNN_(load)(OF(from + u)->c0 + PLACE(from + u, r->ps));
            x[u] = DRNN_(settled)(before / z[u] + after[u]);
            DRNN_(store)(OF(from + u)->c + PLACE(from + u, hs), x[u]);
        }
        DRNN_(tanhs)(n, x, d, y);
        DRNN_EACH(u, n) x[u] = SUM(from + u, G, 3);
        DRNN_(gates)(n, x, z);
        DRNN_EACH(u, n) after[u] = d[u] / (y[u] * z[u]);
#endif
        DRNN_EACH(u, n) DRNN_(store)(OF(from + u)->h + PLACE(from + u, hs), DRNN_(settled)(after[u]));
    }
#undef OF
#undef N_AT
#undef PLACE
}

#else
/* GRU with reset before the product: reset * h and 1 / update of a tile ... */
DRNN_INLINE void DRNN_(gates_tile)(const int rows, const int blocks, const int hidden, const struct drnn_rows *r,
                                   const int row, const int block) {
    const int units = rows * blocks * DRNN_HALVES, hs = DRNN_PAD(hidden);
    V sums[DRNN_SUMS];
    DRNN_(known_inputs)(rows, blocks, 2, 0, hidden, r, row, block, sums);
    DRNN_(of_past)(rows, blocks, 2, 0, hidden, r, r->h0 + (long)row * r->ps, r->ps, block, sums);
    DRNN_EACH(u, units) {
        V y[2] = {SUM(u, 2, 0), SUM(u, 2, 1)};
        DRNN_(gates)(2, y, y);
        const V before = DRNN_(load)(r->h0 + (long)(row + ROW(u)) * r->ps + AT(u));
        DRNN_(store)(r->work + (row + ROW(u)) * hs + AT(u), before / y[0]);
        DRNN_(store)(r->work + (DRNN_ROWS + (row + ROW(u))) * hs + AT(u), y[1]);
    }
}

/* ... and its new h. */
DRNN_INLINE void DRNN_(new_tile)(const int rows, const int blocks, const int hidden, const struct drnn_rows *r,
                                 const int row, const int block) {
    const int units = rows * blocks * DRNN_HALVES, hs = DRNN_PAD(hidden);
    V sums[DRNN_SUMS];
    DRNN_(known_inputs)(rows, blocks, 1, 2, hidden, r, row, block, sums);
    DRNN_(of_past)(rows, blocks, 1, 2, hidden, r, r->work + row * hs, hs, block, sums);
    DRNN_EACH(u, units) {
        const V before = DRNN_(load)(r->h0 + (long)(row + ROW(u)) * r->ps + AT(u));
        const V z = DRNN_(load)(r->work + (DRNN_ROWS + (row + ROW(u))) * hs + AT(u));
        V d, y;
        DRNN_(tanhs)(1, sums + u, &d, &y);
        DRNN_(store)(r->h + (long)(row + ROW(u)) * hs + AT(u), DRNN_(settled)((before * y + (z - 1.0f) * d) / (z * y)));
    }
}
#endif
#undef SUM
#undef AT
#undef ROW

/* Rows from `first` to `end`, of which `together` are computed together. */
DRNN_INLINE void DRNN_(rows_of)(const int together, const int hidden, const struct drnn_rows *rows, int first,
                                int end) {
    const struct drnn_rows own = *rows, *const r = &own;
    const int blocks = DRNN_PAD(hidden) / 8;
    const size_t values = (size_t)blocks * 8, weights = values * (size_t)hidden * DRNN_GATES * sizeof(W);
    /* Weights beyond the first cache: rows take turns, so that what was read last is read first. */
    const int backwards = weights > 1 << 15 && (size_t)r->h / (values * sizeof(float)) % 2;
#if DRNN_CELL == DRNN_GRU_RESET_BEFORE
#define DRNN_WORK(R, B) DRNN_(gates_tile)(R, B, hidden, r, row, block)
    DRNN_TILES(together, 2, first, end, blocks, backwards, DRNN_WORK);
#undef DRNN_WORK
#define DRNN_WORK(R, B) DRNN_(new_tile)(R, B, hidden, r, row, block)
    DRNN_TILES(together, 1, first, end, blocks, backwards, DRNN_WORK);
#else
#define DRNN_WORK(R, B) DRNN_(cell_tile)(R, 0, B, hidden, r, row, block)
    DRNN_TILES(together, DRNN_GATES, first, end, blocks, backwards, DRNN_WORK);
#endif
#undef DRNN_WORK
}

/* Do DRNN_WORK(R, H) for rows, R at a time, of `hidden` H. Each number of units that DRNN_WIDTHS lists, X(hidden) for
 * each, has code of its own, in which it is a constant. */
#define DRNN_UNITS_OF(H)                                                                                               \
    {                                                                                                                  \
        if (tiled) DRNN_WORK(together, H, 0, tiled);                                                                   \
        if (tiled < count) DRNN_WORK(1, H, tiled, count);                                                              \
    }
#define DRNN_WIDTH(H)                                                                                                  \
    if (rows->layer->hidden == H) DRNN_UNITS_OF(H) else
#ifdef DRNN_WIDTHS
#define DRNN_BY_WIDTH DRNN_WIDTHS(DRNN_WIDTH) {}
#else
#define DRNN_BY_WIDTH DRNN_UNITS_OF(rows->layer->hidden)
#endif

DRNN_ONCE void DRNN_(rows)(const struct drnn_rows *rows, int count) {
    enum { together = DRNN_MANY(DRNN_CELL == DRNN_GRU_RESET_BEFORE ? 2 : DRNN_GATES) };
    const int tiled = together > 1 && rows->sums ? count / together * together : 0;
#define DRNN_WORK(R, H, first, end) DRNN_(rows_of)(R, H, rows, first, end)
    DRNN_BY_WIDTH
#undef DRNN_WORK
}

/* Sums of gates from `first` to `end` of rows: what the inputs add, and biases. */
DRNN_INLINE void DRNN_(inputs_of)(const int together, const int hidden, const struct drnn_rows *rows, int first,
                                  int end, float *to) {
    const struct drnn_rows own = *rows, *const r = &own;
    const int blocks = DRNN_PAD(hidden) / 8;
#define DRNN_WORK(R, B) DRNN_(inputs_tile)(R, B, hidden, r, row, block, to)
    DRNN_TILES(together, DRNN_GATES, first, end, blocks, 0, DRNN_WORK);
#undef DRNN_WORK
}

static void DRNN_(inputs)(const struct drnn_rows *rows, int count, float *to) {
    enum { together = DRNN_MANY(DRNN_GATES) };
    const int tiled = together > 1 ? count / together * together : 0;
#define DRNN_WORK(R, H, first, end) DRNN_(inputs_of)(R, H, rows, first, end, to)
    DRNN_BY_WIDTH
#undef DRNN_WORK
}

#undef DRNN_UNITS_OF
#undef DRNN_WIDTH
#undef DRNN_BY_WIDTH

/* `count` rows of each of `layers` chains, 1 or 2, which do not wait for each other: while one waits for itself, the
 * other computes. */
static void DRNN_(chains)(const struct drnn_rows *chains, int layers, int count) {
    struct drnn_rows rows[2] = {chains[0], chains[layers - 1]};
    const int hidden = rows[0].layer->hidden, paired = layers == 2 && rows[1].layer->hidden == hidden;
    (void)paired;
    for (int step = 0; step < count; step++) {
#if DRNN_CELL != DRNN_GRU_RESET_BEFORE
#define DRNN_PAIR_OF(B, H)                                                                                             \
    if (DRNN_PAIRED >= (B) && paired && hidden == (H) && DRNN_PAD(H) / 8 == (B))                                       \
        DRNN_(cell_tile)(2, 1, DRNN_MIN(B, DRNN_MAX(1, DRNN_PAIRED)), H, rows, 0, 0);                                  \
    else
#ifdef DRNN_WIDTHS
#define DRNN_PAIR_WIDTH(H) DRNN_PAIR_OF(DRNN_PAD(H) / 8, H)
        DRNN_WIDTHS(DRNN_PAIR_WIDTH)
#undef DRNN_PAIR_WIDTH
#else
        DRNN_PAIR_OF(1, hidden)
        DRNN_PAIR_OF(2, hidden)
        DRNN_PAIR_OF(3, hidden)
        DRNN_PAIR_OF(4, hidden)
#endif
#undef DRNN_PAIR_OF
#endif
        for (int i = 0; i < layers; i++) DRNN_(rows)(rows + i, 1);
        for (int i = 0; i < 2; i++) {
            rows[i].h0 = rows[i].h, rows[i].h += DRNN_PAD(rows[i].layer->hidden);
            rows[i].x += rows[i].xs, rows[i].tokens += rows[i].tokens != 0;
        }
    }
}

static const struct drnn_kernel DRNN_(kernel) = {
    DRNN_GATES, DRNN_CELL == DRNN_LSTM ? 2 : 1, DRNN_PAIRED * 8, DRNN_(inputs), DRNN_(rows), DRNN_(chains),
    DRNN_(affine)};
#undef DRNN_PAIRED
#undef V
#undef M
#undef W
#undef ALL
