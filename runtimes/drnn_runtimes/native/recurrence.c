/* recurrence.c: a recurrent layer over whole sequences and its gradients, for training on a CPU.
 *
 * Arrays are time-major and contiguous: x (T, N, C), h and c (N, H), y (T, N, H). A row of N is a sequence, or a phase
 * of one. Rows do not meet, so that threads may each take some; what they share, gradients of weights, each adds up for
 * itself. Within a step rows go through all products and activations in blocks that stay in the cache.
 */
#include <stddef.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define BLOCK 64 /* rows */
#define MOST 4   /* sums of a unit: of a GRU's candidate, the part that is reset is a sum of its own */
#if defined(__AVX512F__)
#define TILE 8 /* rows whose sums are in registers */
#else
#define TILE 4
#endif

enum cell { TANH, RELU, GRU_AFTER, GRU_BEFORE, LSTM };

static const int gates_of[] = {1, 1, 3, 3, 4}, sums_of[] = {1, 1, 4, 3, 4}; /* GRU_AFTER: r, z, n, what r resets */

struct layer {
    int cell, steps, rows, inputs, hidden;
    const float *x, *h, *c;           /* inputs; states before the first step */
    const float *w, *u;               /* (G, H, C) and (G, H, H), as torch has them */
    const float *w_across, *u_across; /* (G, C, H) and (G, H, H): transposed */
    const float *bias;                /* (sums, H) */
    float *y, *cells, *kept;          /* outputs; c after each step (LSTM); sums for the gradients, or NULL */
    const float *dy;                  /* (T, N, H) */
    float *dh, *dc, *dx;              /* (N, H) of the last states, in the end of the first ones; (T, N, C) or NULL */
};

/* out[i][n] = start[i][n] + sum over k of a[i si + k sk] b[k][n], of rows i and one vector of columns n. */
#define PRODUCT(WIDTH)                                                                                                 \
    typedef float vector##WIDTH __attribute__((vector_size(4 * WIDTH)));                                               \
    typedef float loose##WIDTH __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));                         \
    INLINE void product##WIDTH(const int rows, int depth, const float *a, ptrdiff_t si, ptrdiff_t sk, const float *b,  \
                               ptrdiff_t sb, const float *start, ptrdiff_t ss, float *out, ptrdiff_t so) {             \
        vector##WIDTH sums[TILE];                                                                                      \
        for (int i = 0; i < rows; i++) sums[i] = *(const loose##WIDTH *)(start + i * ss);                              \
        for (int k = 0; k < depth; k++) {                                                                              \
            const vector##WIDTH column = *(const loose##WIDTH *)(b + k * sb);                                          \
            for (int i = 0; i < rows; i++) sums[i] += a[i * si + k * sk] * column;                                     \
        }                                                                                                              \
        for (int i = 0; i < rows; i++) *(loose##WIDTH *)(out + i * so) = sums[i];                                      \
    }                                                                                                                  \
    static void columns##WIDTH(int rows, int depth, const float *a, ptrdiff_t si, ptrdiff_t sk, const float *b,        \
                               ptrdiff_t sb, const float *start, ptrdiff_t ss, float *out, ptrdiff_t so) {             \
        int i = 0;                                                                                                     \
        for (; i + TILE <= rows; i += TILE)                                                                            \
            product##WIDTH(TILE, depth, a + i * si, si, sk, b, sb, start + i * ss, ss, out + i * so, so);              \
        for (; i + TILE / 2 <= rows; i += TILE / 2)                                                                    \
            product##WIDTH(TILE / 2, depth, a + i * si, si, sk, b, sb, start + i * ss, ss, out + i * so, so);          \
        for (; i < rows; i++)                                                                                          \
            product##WIDTH(1, depth, a + i * si, si, sk, b, sb, start + i * ss, ss, out + i * so, so);                 \
    }
PRODUCT(16)
PRODUCT(8)
PRODUCT(4)
PRODUCT(2)
PRODUCT(1)

/* out (rows, width) = start + a (rows, depth) b (depth, width). Strides: a's are si and sk, others lie between rows. */
static void product(int rows, int depth, int width, const float *a, ptrdiff_t si, ptrdiff_t sk, const float *b,
                    ptrdiff_t sb, const float *start, ptrdiff_t ss, float *out, ptrdiff_t so) {
    int n = 0;
    for (; n + 16 <= width; n += 16) columns16(rows, depth, a, si, sk, b + n, sb, start + n, ss, out + n, so);
    for (; n + 8 <= width; n += 8) columns8(rows, depth, a, si, sk, b + n, sb, start + n, ss, out + n, so);
    for (; n + 4 <= width; n += 4) columns4(rows, depth, a, si, sk, b + n, sb, start + n, ss, out + n, so);
    for (; n + 2 <= width; n += 2) columns2(rows, depth, a, si, sk, b + n, sb, start + n, ss, out + n, so);
    if (n < width) columns1(rows, depth, a, si, sk, b + n, sb, start + n, ss, out + n, so);
}

/* The same, added to what is there. */
static void add_product(int rows, int depth, int width, const float *a, ptrdiff_t si, ptrdiff_t sk, const float *b,
                        float *out) {
    product(rows, depth, width, a, si, sk, b, width, out, width, out, width);
}

/* e^x - 1 for |x| <= 80, without losing what is small. */
INLINE float expm1_(float x) {
    const float whole = 12582912.0f; /* 3 * 2^22: numbers there have no fraction */
    x = x > 80.0f ? 80.0f : x;
    x = x < -80.0f ? -80.0f : x;
    const float shifted = x * 1.44269504f + (whole + 127.0f), k = shifted - (whole + 127.0f);
    const float r = x - k * 0.693359375f + k * 2.12194440e-4f;
    const float p = 1.0f + r * (0.5f + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720)))));
    int bits;
    memcpy(&bits, &shifted, 4);
    bits = (int)((unsigned)bits << 23);
    float scale;
    memcpy(&scale, &bits, 4);
    return scale * (r * p) + (scale - 1.0f);
}

INLINE float sigmoid(float x) { return 1.0f / (2.0f + expm1_(-x)); }
INLINE float tanh_(float x) {
    const float e = expm1_(2.0f * x);
    return e / (e + 2.0f);
}


/* Activations of n sums, which they replace, and the new states. */
#define FLOATS float *restrict const
#define GIVEN const float *restrict const

static void tanhs(int n, FLOATS s, FLOATS y) {
    for (int i = 0; i < n; i++) y[i] = tanh_(s[i]);
}

static void relus(int n, FLOATS s, FLOATS y) {
    for (int i = 0; i < n; i++) y[i] = s[i] < 0.0f ? 0.0f : s[i]; /* NaN stays */
}

static void sigmoids(int n, float *s) {
    for (int i = 0; i < n; i++) s[i] = sigmoid(s[i]);
}

static void multiply(int n, GIVEN a, GIVEN b, FLOATS product) {
    for (int i = 0; i < n; i++) product[i] = a[i] * b[i];
}

static void gru(int n, GIVEN z, FLOATS candidate, GIVEN h, FLOATS y) {
    for (int i = 0; i < n; i++) {
        candidate[i] = tanh_(candidate[i]);
        y[i] = candidate[i] + z[i] * (h[i] - candidate[i]);
    }
}

static void add_reset(int n, GIVEN r, GIVEN past, FLOATS candidate) {
    for (int i = 0; i < n; i++) candidate[i] += r[i] * past[i];
}

static void lstm(int n, FLOATS in, FLOATS forget, FLOATS candidate, FLOATS out, GIVEN c, FLOATS y, FLOATS after) {
    for (int i = 0; i < n; i++) {
        in[i] = sigmoid(in[i]), forget[i] = sigmoid(forget[i]);
        candidate[i] = tanh_(candidate[i]), out[i] = sigmoid(out[i]);
        after[i] = forget[i] * c[i] + in[i] * candidate[i];
        y[i] = out[i] * tanh_(after[i]);
    }
}

static void forward_block(const struct layer *l, int step, int row, int rows, float *scratch) {
    const int cell = l->cell, H = l->hidden, C = l->inputs, G = gates_of[cell], sums = sums_of[cell], n = rows * H;
    const ptrdiff_t at = ((ptrdiff_t)step * l->rows + row) * H;
    const float *const x = l->x + ((ptrdiff_t)step * l->rows + row) * C;
    const float *const h = step ? l->y + at - (ptrdiff_t)l->rows * H : l->h + (ptrdiff_t)row * H;
    float *const s = l->kept ? l->kept + at * sums : scratch, *const reset = scratch + MOST * BLOCK * H;
    float *const y = l->y + at;
    for (int g = 0; g < G; g++) {
        const int is_reset = cell == GRU_BEFORE && g == 2, apart = cell == GRU_AFTER && g == 2;
        product(rows, C, H, x, C, 1, l->w_across + (ptrdiff_t)g * C * H, H, l->bias + g * H, 0, s + g * n, H);
        if (is_reset) {
            sigmoids(2 * n, s);
            multiply(n, s, h, reset);
        }
        product(rows, H, H, is_reset ? reset : h, H, 1, l->u_across + (ptrdiff_t)g * H * H, H,
                apart ? l->bias + 3 * H : s + g * n, apart ? 0 : H, s + (apart ? 3 : g) * n, H);
    }
    switch (cell) {
    case TANH: tanhs(n, s, y); break;
    case RELU: relus(n, s, y); break;
    case GRU_AFTER:
        sigmoids(2 * n, s);
        add_reset(n, s, s + 3 * n, s + 2 * n); /* fall through */
    case GRU_BEFORE: gru(n, s + n, s + 2 * n, h, y); break;
    default:
        lstm(n, s, s + n, s + 2 * n, s + 3 * n,
             step ? l->cells + at - (ptrdiff_t)l->rows * H : l->c + (ptrdiff_t)row * H, y, l->cells + at);
    }
}

/* Gradients of the sums from that of the outputs, d, which becomes that of h before the step, but for the products. */
static void tanh_back(int n, GIVEN y, FLOATS d, FLOATS e) {
    for (int i = 0; i < n; i++) e[i] = d[i] * (1.0f - y[i] * y[i]), d[i] = 0.0f;
}

static void relu_back(int n, GIVEN y, FLOATS d, FLOATS e) {
    for (int i = 0; i < n; i++) e[i] = y[i] > 0.0f ? d[i] : 0.0f, d[i] = 0.0f;
}

static void gru_back(int n, GIVEN z, GIVEN candidate, GIVEN h, FLOATS d, FLOATS update, FLOATS e) {
    for (int i = 0; i < n; i++) {
        update[i] = d[i] * (h[i] - candidate[i]) * z[i] * (1.0f - z[i]);
        e[i] = d[i] * (1.0f - z[i]) * (1.0f - candidate[i] * candidate[i]);
        d[i] *= z[i];
    }
}

/* Of a product r * past, d: what r and past get. */
static void reset_back(int n, GIVEN r, GIVEN past, GIVEN d, FLOATS of_reset, FLOATS of_past) {
    for (int i = 0; i < n; i++) {
        of_reset[i] = d[i] * past[i] * r[i] * (1.0f - r[i]);
        of_past[i] += d[i] * r[i];
    }
}

static void lstm_back(int n, GIVEN s, GIVEN before, GIVEN after, FLOATS d, FLOATS dc, FLOATS e) {
    for (int i = 0; i < n; i++) {
        const float in = s[i], forget = s[n + i], candidate = s[2 * n + i], out = s[3 * n + i], c = tanh_(after[i]);
        const float of_c = dc[i] + d[i] * out * (1.0f - c * c);
        e[i] = of_c * candidate * in * (1.0f - in);
        e[n + i] = of_c * before[i] * forget * (1.0f - forget);
        e[2 * n + i] = of_c * in * (1.0f - candidate * candidate);
        e[3 * n + i] = d[i] * c * out * (1.0f - out);
        dc[i] = of_c * forget, d[i] = 0.0f;
    }
}

static void backward_block(const struct layer *l, int step, int row, int rows, float *dw, float *du, float *dbias,
                           float *scratch) {
    const int cell = l->cell, H = l->hidden, C = l->inputs, G = gates_of[cell], sums = sums_of[cell], n = rows * H;
    const ptrdiff_t first = (ptrdiff_t)row * H, at = (ptrdiff_t)step * l->rows * H + first;
    const float *const x = l->x + ((ptrdiff_t)step * l->rows + row) * C, one = 1.0f;
    const float *const h = step ? l->y + at - (ptrdiff_t)l->rows * H : l->h + first, *const s = l->kept ? l->kept + at * sums : NULL;
    float *const e = scratch, *const reset = scratch + MOST * BLOCK * H, *const d = l->dh + first;
    for (int i = 0; i < n; i++) d[i] += l->dy[at + i];
    switch (cell) {
    case TANH: tanh_back(n, l->y + at, d, e); break;
    case RELU: relu_back(n, l->y + at, d, e); break;
    case GRU_AFTER:
        gru_back(n, s + n, s + 2 * n, h, d, e + n, e + 2 * n);
        memset(e + 3 * n, 0, sizeof(float) * (size_t)n);
        reset_back(n, s, s + 3 * n, e + 2 * n, e, e + 3 * n);
        break;
    case GRU_BEFORE:
        gru_back(n, s + n, s + 2 * n, h, d, e + n, e + 2 * n);
        memset(reset, 0, sizeof(float) * (size_t)n);
        add_product(rows, H, H, e + 2 * n, H, 1, l->u + 2 * H * H, reset);
        reset_back(n, s, h, reset, e, d);
        multiply(n, s, h, reset);
        break;
    default:
        lstm_back(n, s, step ? l->cells + at - (ptrdiff_t)l->rows * H : l->c + first, l->cells + at, d, l->dc + first, e);
    }
    float *const dx = l->dx ? l->dx + ((ptrdiff_t)step * l->rows + row) * C : NULL;
    if (dx) memset(dx, 0, sizeof(float) * (size_t)(rows * C));
    for (int i = 0; i < sums; i++) add_product(1, rows, H, &one, 0, 0, e + i * n, dbias + i * H);
    for (int g = 0; g < G; g++) {
        const float *const of_input = e + g * n, *const of_past = e + (cell == GRU_AFTER && g == 2 ? 3 : g) * n;
        const int is_reset = cell == GRU_BEFORE && g == 2;
        add_product(C, rows, H, x, 1, C, of_input, dw + (ptrdiff_t)g * C * H);
        add_product(H, rows, H, is_reset ? reset : h, 1, H, of_past, du + (ptrdiff_t)g * H * H);
        if (dx) add_product(rows, H, C, of_input, H, 1, l->w + (ptrdiff_t)g * H * C, dx);
        if (!is_reset) add_product(rows, H, H, of_past, H, 1, l->u + (ptrdiff_t)g * H * H, d);
    }
}

/* The values of scratch that a thread needs. */
EXPORTED size_t recurrence_scratch(const struct layer *l) { return (size_t)(MOST + 1) * BLOCK * (size_t)l->hidden; }

/* Where rows may be divided: at multiples of it. */
EXPORTED int recurrence_block(void) { return BLOCK; }

/* All steps of rows from `first` to `end`. */
EXPORTED void recurrence_forward(const struct layer *l, int first, int end, float *scratch) {
    for (int step = 0; step < l->steps; step++) {
        for (int row = first; row < end; row += BLOCK) {
            forward_block(l, step, row, end - row < BLOCK ? end - row : BLOCK, scratch);
        }
    }
}

/* Adds to dw (G, C, H), du (G, H, H) and dbias (sums, H). */
EXPORTED void recurrence_backward(const struct layer *l, int first, int end, float *dw, float *du, float *dbias,
                                  float *scratch) {
    for (int step = l->steps - 1; step >= 0; step--) {
        for (int row = first; row < end; row += BLOCK) {
            backward_block(l, step, row, end - row < BLOCK ? end - row : BLOCK, dw, du, dbias, scratch);
        }
    }
}
