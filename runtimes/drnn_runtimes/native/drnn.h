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
 * It is drnn_cell.h, compiled for each instruction set; which one is chosen when it is called.
 *
 * Rows are time-major: row t * batch + b is step t of sequence b. A row of h has its values padded with zeros to a
 * multiple of 8. Values of h and c below 2^-100 count as 0: denormals would slow a step down.
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
#define DRNN_ONCE static __attribute__((noinline, unused)) /* not copied for its callers: code stays small */
#else
#define DRNN_UNROLL _Pragma("GCC unroll 24")
#define DRNN_ONCE static __attribute__((noinline, noclone, unused))
#endif
#define DRNN_EACH(i, n) DRNN_UNROLL for (int i = 0; i < (n); i++) /* n is a constant, and small */
#if defined(__x86_64__)
#define DRNN_IN_REGISTER(v) __asm__("" : "+v"(v)) /* read several times: gcc would load it each time */
#else
#define DRNN_IN_REGISTER(v) (void)(v)
#endif
#define DRNN_ROWS 32   /* whose sums are computed together */
#define DRNN_ROUND 96  /* steps of the first layer, where layers take turns: weights are read again in each round */
#define DRNN_BLOCK 256 /* rows that are taken through a layer together, unless a stream's batch is larger */

struct drnn_layer {
    int inputs, hidden, dilation;
    const void *weights; /* of the inputs, then of the past */
    const float *biases; /* of the gates; of a GRU's n, what is added to the past's part; scales, of inputs and past */
};

/* Rows of a layer that do not wait for each other: where the first one's values are. */
struct drnn_rows {
    const struct drnn_layer *layer;
    const float *x;        /* inputs, each `xs` values after the one before */
    const int *tokens;     /* instead of x: columns of the weights */
    const float *h0, *c0;  /* the past, each `ps` values after the one before; 0: every row has the same */
    float *h, *c;          /* written */
    float *work;           /* scratch */
    const float *sums;     /* of the inputs, where they were computed before */
    int xs, ps;
};

struct drnn_kernel { /* what a cell does, for one instruction set */
    int gates, states;
    int paired; /* units of a layer up to which two layers in turn are faster than one after the other */
    void (*inputs)(const struct drnn_rows *rows, int count, float *sums); /* biases, and what x adds to the gates */
    void (*rows)(const struct drnn_rows *rows, int count);                /* up to DRNN_ROWS */
    /* `count` rows of each of one or two layers; each waits for the one before, and changes c in its place */
    void (*chains)(const struct drnn_rows *chains, int layers, int count);
    void (*affine)(int blocks, int inputs, const void *weights, const float *biases, const float *x, int stride,
                   int rows, float *y); /* y = bias + x w */
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
 * A stream is: int batch, the next slot of the head's window, that of each layer's rings; then the rings, float32. A
 * layer's rings have dilation + 1 slots: a new h is written beside the one that it is computed from. */
DRNN_INLINE long drnn_stream_head(const struct drnn_network *net) { return (net->layers + 2 + 7) / 8 * 8; }

DRNN_INLINE int drnn_top(const struct drnn_network *net) { return net->layer[net->layers - 1].hidden; }

/* Bytes of a stream of `batch` sequences. */
DRNN_ONCE size_t drnn_stream_size(const struct drnn_network *net, int batch) {
    long values = net->window > 1 ? (long)net->window * DRNN_PAD(drnn_top(net)) : 0;
    for (int i = 0; i < net->layers; i++)
        values += (long)(net->layer[i].dilation + 1) * DRNN_PAD(net->layer[i].hidden) * net->kernel()->states;
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

/* Rows of the first layer, or their tokens where it looks them up itself: of `count` steps from `from` on, or of
 * `steps`. They are copied to `rows`, if they do not lie so already. */
DRNN_STATIC const void *drnn_take(const struct drnn_network *net, const void *x, int batch, int length,
                                  const int *steps, int from, int count, float *rows) {
    const int n = net->features;
    if (batch == 1 && !steps && net->tokens < 2) return (const float *)x + (long)from * n;
    for (int i = 0; i < count; i++) {
        const long t = (steps ? steps[i] : from + i);
        for (int b = 0; b < batch; b++) {
            const long to = ((long)i * batch + b) * n, at = (long)b * length + t;
            const float *const row =
                net->tokens == 2 ? net->table + (long)((const int *)x)[at] * n : (const float *)x + at * n;
            drnn_copy(rows + to, row, n);
        }
    }
    return rows;
}

/* A layer over rows of which each `lag` are independent. Row i has the past of row i - lag, the first ones that of
 * `rows`, but from row `wrap` on that of `h` and `c`. */
DRNN_ONCE void drnn_layer(const struct drnn_kernel *kernel, const struct drnn_rows *rows, int count, int lag,
                            int wrap, const float *h, const float *c) {
    const int hs = DRNN_PAD(rows->layer->hidden), xs = rows->xs;
    const long gates = (long)kernel->gates * hs;
    float *const sums = rows->work, *const work = sums + DRNN_ROWS * gates;
    for (int at = 0, n, known = 0; at < count; at += n) {
        const int end = at < wrap ? wrap : at < lag ? lag : at + lag;
        struct drnn_rows some = *rows;
        if (at >= lag) { /* their past is in this call's rows */
            some.h0 = rows->h + (long)(at - lag) * hs, some.c0 = rows->c + (long)(at - lag) * hs, some.ps = hs;
        } else {
            const long skipped = (long)(at < wrap ? at : at - wrap) * rows->ps;
            some.h0 = (at < wrap ? rows->h0 : h) + skipped, some.c0 = (at < wrap ? rows->c0 : c) + skipped;
        }
        some.x += (long)at * xs, some.h += (long)at * hs, some.c += (long)at * hs;
        if (some.tokens) some.tokens += at;
        some.work = work, some.sums = sums + at % DRNN_ROWS * gates;
        if (at == known) {
            known = DRNN_MIN(count, at + DRNN_ROWS);
            kernel->inputs(&some, known - at, sums);
        }
        n = DRNN_MIN(known, end) - at;
        kernel->rows(&some, n);
    }
}

/* Outputs of rows (step, sequence): y[sequence][first + step]. */
DRNN_INLINE void drnn_head(const struct drnn_network *net, const struct drnn_kernel *kernel, const float *x, int stride,
                           int rows, int batch, float *y, int answers, int first, float *work) {
    const int inputs = net->window * drnn_top(net), n = net->outputs, blocks = DRNN_PAD(n) / 8;
    for (int from = 0; from < rows; from += DRNN_ROWS) {
        const int count = DRNN_MIN(rows - from, DRNN_ROWS);
        kernel->affine(blocks, inputs, net->head, net->head_biases, x + (long)from * stride, stride, count, work);
        for (int i = 0; i < count; i++) {
            const long to = (long)((from + i) % batch) * answers + first + (from + i) / batch;
            drnn_copy(y + to * n, work + i * blocks * 8, n);
        }
    }
}

DRNN_INLINE void drnn_feed(const struct drnn_network *net, void *stream, int batch, const void *x, int n, float *y,
                           void *scratch) {
    const struct drnn_kernel *const kernel = net->kernel();
    int *const places = stream, window = net->window, top = drnn_top(net);
    const int answers = net->last ? DRNN_MIN(net->last, n) : n, unanswered = n - answers, lstm = kernel->states == 2;
    const long rows = DRNN_MAX(batch, DRNN_BLOCK), most = DRNN_MAX(1, DRNN_BLOCK / batch);
    float *const in = scratch, *const out = in + rows * net->widest, *const c = out + rows * net->widest;
    float *const seen = c + rows * net->widest, *const work = seen + (long)batch * window * top;
    for (int from = 0, m; from < n; from += m) {
        m = (int)DRNN_MIN(n - from, most);
        float *ring = (float *)stream + drnn_stream_head(net);
        const float *x0 = drnn_take(net, x, batch, n, 0, from, m, out);
        const int *tokens = net->tokens == 1 ? (const int *)(const void *)x0 : 0;
        for (int i = 0, xs = net->features; i < net->layers; i++) {
            const int d = net->layer[i].dilation, hs = DRNN_PAD(net->layer[i].hidden), slots = d + 1;
            const int slot = places[2 + i], oldest = slot == d ? 0 : slot + 1, kept = DRNN_MIN(m, d);
            const long row = (long)batch * hs, last = (long)(m - kept) * row;
            float *const c_ring = lstm ? ring + row * slots : ring;
            float *const h = m == 1 ? ring + slot * row : x0 == out ? in : out;
            const struct drnn_rows rows = {
                .layer = net->layer + i, .x = x0, .tokens = tokens, .xs = xs, .ps = hs, .work = work,
                .h0 = ring + oldest * row, .c0 = c_ring + oldest * row, .h = h, .c = m == 1 ? c_ring + slot * row : c,
                .sums = 0};
            if (m * batch == 1) {
                kernel->rows(&rows, 1);
            } else {
                const int wrap = DRNN_MIN(slots - oldest, kept) * batch;
                drnn_layer(kernel, &rows, m * batch, kept * batch, wrap, ring, c_ring);
            }
            if (m > 1) {
                drnn_keep(ring, slots, (slot + m - kept) % slots, h + last, kept, row);
                if (lstm) drnn_keep(c_ring, slots, (slot + m - kept) % slots, c + last, kept, row);
            }
            places[2 + i] = m == 1 ? oldest : (slot + m) % slots;
            ring = c_ring + row * slots;
            x0 = h, xs = hs, tokens = 0;
        }
        const int ts = DRNN_PAD(top);
        const long row = (long)batch * ts;
        if (window == 1) {
            const int first = DRNN_MAX(0, unanswered - from);
            if (first < m) {
                drnn_head(net, kernel, x0 + first * row, ts, (m - first) * batch, batch, y, answers,
                          from + first - unanswered, work);
            }
            continue;
        }
        for (int t = 0; t < m; t++) {
            int *const at = places + 1;
            drnn_copy(ring + *at * row, x0 + t * row, row);
            *at = (*at + 1) % window;
            if (from + t < unanswered) continue;
            for (int b = 0; b < batch; b++)
                for (int j = 0; j < window; j++)
                    drnn_copy(seen + ((long)b * window + j) * top, ring + (*at + j) % window * row + (long)b * ts, top);
            drnn_head(net, kernel, seen, window * top, batch, batch, y, answers, from + t - unanswered, work);
        }
    }
}

/* Feed n steps x[batch][n]. The last k of them have outputs, y[batch][k][outputs]: all n where `last` is 0, else at
 * most that many. Tokens must be below the size of the vocabulary. */
DRNN_STATIC void drnn_push(const struct drnn_network *net, void *stream, const void *x, int n, float *y,
                           void *scratch) {
    const int batch = *(const int *)stream;
    if (batch == 1 && n == 1) drnn_feed(net, stream, 1, x, 1, y, scratch); /* constants: less is left to do */
    else drnn_feed(net, stream, batch, x, n, y, scratch);
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
    const long plan = ((long)length + 5) * (net->layers + 2);
    return sizeof(float) * (size_t)((rows * 3 + 2 * net->layers + 1) * net->widest + seen + drnn_work(net) + plan);
}

struct drnn_plan {    /* of a layer, or of what is above the top */
    int count, start; /* of its steps among those of all */
    int lag;          /* how many places before a step stands the one that it has the past of */
    int done, ready;  /* in turn: steps that are computed, that can be in this round */
};

/* The steps of each layer, from the top down: a step needs those before it at distances of d. As the steps of a layer
 * are all that have one of `lag` remainders, the step d before stands `lag` places before. After the plans lie the
 * steps. */
DRNN_STATIC const int *drnn_plan(const struct drnn_network *net, int length, int needed, struct drnn_plan *plan) {
    int *const used = (int *)(void *)(plan + net->layers + 1), *const steps = used + length, end = needed;
    plan[net->layers] = (struct drnn_plan){needed, 0, 0, 0, 0};
    for (int i = 0; i < needed; i++) steps[i] = length - needed + i;
    for (int layer = net->layers - 1; layer >= 0; layer--) {
        const int *const above = steps + plan[layer + 1].start, d = DRNN_MIN(net->layer[layer].dilation, length);
        int *const remainders = steps + end, lag = 0, count = 0;
        memset(used, 0, (size_t)d * sizeof(int));
        for (int i = 0, base = 0; i < plan[layer + 1].count; i++) {
            while (above[i] - base >= d) base += d;
            used[above[i] - base] = 1;
        }
        for (int i = 0; i < d; i++)
            if (used[i]) remainders[lag++] = i;
        for (int base = 0; base < length; base += d)
            for (int i = 0; i < lag && base + remainders[i] < length; i++) remainders[count++] = base + remainders[i];
        plan[layer] = (struct drnn_plan){count, end, lag, 0, 0};
        end += count;
    }
    return steps;
}

/* Rows of the steps that the layer above reads, of a layer's rows. */
DRNN_INLINE void drnn_choose(const struct drnn_plan *plan, const int *steps, const float *rows, long row, float *to) {
    const int *const own = steps + plan[0].start, *const above = steps + plan[1].start;
    for (int i = 0, j = 0; j < plan[1].count; i++)
        if (own[i] == above[j]) drnn_copy(to + j++ * row, rows + i * row, row);
}

/* Whether each step of a layer waits for the one before, and there is room for the rows of all layers. */
DRNN_INLINE int drnn_waits(const struct drnn_network *net, const struct drnn_plan *plan, int length) {
    long rows = 0;
    for (int i = 0; i < net->layers; i++) {
        if (plan[i].lag > 1 || net->layer[i].hidden > net->kernel()->paired) return 0;
        rows += plan[i].count;
    }
    return net->layers > 1 && rows <= 2L * length + net->layers;
}

/* Which row of the layer below a layer's step reads. */
DRNN_INLINE int drnn_below(const struct drnn_network *net, const struct drnn_plan *plan, const int *steps, int i,
                           int step) {
    return (steps[plan[i].start + step] - steps[plan[i - 1].start]) / net->layer[i - 1].dilation;
}

/* The next rows of a layer of one sequence. `h` has the rows of all layers, in the order of the plan, `c` one of each.
 */
DRNN_STATIC struct drnn_rows drnn_chain(const struct drnn_network *net, const struct drnn_plan *plan, const int *steps,
                                        int i, const float *x, const int *tokens, const float *zeros, float *h,
                                        float *c, float *work) {
    const struct drnn_plan *const top = plan + net->layers - 1, *const own = plan + i;
    const int hs = DRNN_PAD(net->layer[i].hidden);
    float *const own_h = h + (long)(own->start - top->start) * net->widest + (long)own->done * hs;
    float *const own_c = c + (long)i * net->widest;
    struct drnn_rows rows = {
        .layer = net->layer + i, .x = x + (long)own->done * net->features, .xs = net->features, .work = work,
        .tokens = tokens ? tokens + own->done : 0, .h0 = own->done ? own_h - hs : zeros, .c0 = own_c, .h = own_h,
        .c = own_c, .sums = 0, .ps = 0};
    if (i) {
        const int first = drnn_below(net, plan, steps, i, own->done),
                  next = drnn_below(net, plan, steps, i, own->done + 1);
        const int below = DRNN_PAD(net->layer[i - 1].hidden);
        rows.x = h + (long)(own[-1].start - top->start) * net->widest + (long)first * below;
        rows.xs = (next - first) * below, rows.tokens = 0;
    }
    return rows;
}

/* Rows of one sequence where each step waits for the one before: two layers take turns, so that one computes while the
 * other waits. A round is DRNN_ROUND steps of the first layer, and what other layers can compute from what the layer
 * below had before the round. When a layer is done with its round, the next one takes its place. */
DRNN_STATIC void drnn_run_in_turn(const struct drnn_network *net, const struct drnn_kernel *kernel,
                                  struct drnn_plan *plan, const int *steps, const float *x, const int *tokens,
                                  const float *zeros, float *h, float *c, float *work) {
    const int top = net->layers - 1;
    memset(c, 0, (size_t)net->layers * (size_t)net->widest * sizeof(float));
    for (int i = 0; i <= top; i++) plan[i].done = plan[i].ready = 0;
    while (plan[top].done < plan[top].count) {
        for (int i = top; i > 0; i--)
            while (plan[i].ready < plan[i].count && drnn_below(net, plan, steps, i, plan[i].ready) < plan[i - 1].done)
                plan[i].ready++;
        plan[0].ready = DRNN_MIN(plan[0].count, plan[0].done + DRNN_ROUND);
        int layers[2] = {0, 1}, next = 2, busy;
        do {
            struct drnn_rows rows[2];
            int count = DRNN_ROUND;
            busy = 0;
            for (int turn = 0; turn < 2; turn++) {
                while (plan[layers[turn]].done == plan[layers[turn]].ready && next <= top) layers[turn] = next++;
                const int i = layers[turn], left = plan[i].ready - plan[i].done;
                if (!left) continue;
                rows[busy] = drnn_chain(net, plan, steps, i, x, tokens, zeros, h, c, work);
                count = DRNN_MIN(count, left), busy++;
            }
            if (busy) kernel->chains(rows, busy, count);
            for (int turn = 0; turn < 2; turn++)
                plan[layers[turn]].done += DRNN_MIN(count, plan[layers[turn]].ready - plan[layers[turn]].done);
        } while (busy);
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
    float *const c = out + rows * net->widest, *const last_c = c + (rows + net->layers) * net->widest;
    float *const seen = last_c + net->layers * net->widest;
    float *const work = seen + (long)batch * answers * window * top;
    struct drnn_plan *const plan = (struct drnn_plan *)(void *)(work + drnn_work(net));
    memset(zeros, 0, (size_t)net->widest * sizeof(float));
    const int *const steps = drnn_plan(net, length, needed, plan);
    const int waits = drnn_waits(net, plan, length);
    for (int from = 0, some; from < batch; from += some) {
        some = DRNN_MIN(batch - from, most);
        const float *const first = (const float *)x + (long)from * length * (net->tokens ? 1 : net->features);
        const int *const chosen = plan[0].count < length ? steps + plan[0].start : 0;
        const float *x0 = drnn_take(net, first, some, length, chosen, 0, plan[0].count, in);
        const int *tokens = net->tokens == 1 ? (const int *)(const void *)x0 : 0;
        const int in_turn = some == 1 && waits;
        if (in_turn) {
            drnn_run_in_turn(net, kernel, plan, steps, x0, tokens, zeros, out, last_c, work);
            drnn_choose(plan + net->layers - 1, steps, out, ts, in);
        }
        for (int layer = in_turn ? net->layers : 0, xs = net->features; layer < net->layers; layer++) {
            const int hs = DRNN_PAD(net->layer[layer].hidden), lag = plan[layer].lag * some;
            const struct drnn_rows own = {.layer = net->layer + layer, .x = x0, .tokens = tokens, .xs = xs,
                                          .h0 = zeros, .c0 = zeros, .h = out, .c = c, .work = work};
            drnn_layer(kernel, &own, plan[layer].count * some, lag, lag, zeros, zeros);
            drnn_choose(plan + layer, steps, out, (long)some * hs, in);
            x0 = in, xs = hs, tokens = 0;
        }
        for (int i = 0; i < answers * some; i++)
            for (int j = 0; j < window; j++) {
                const int at = needed - answers - (window - 1) + i / some + j; /* negative: before the start */
                drnn_copy(seen + ((long)i * window + j) * top, at < 0 ? zeros : in + ((long)at * some + i % some) * ts,
                          top);
            }
        drnn_head(net, kernel, seen, window * top, answers * some, some, y + (long)from * answers * net->outputs,
                  answers, 0, work);
    }
}
#endif

/* ---- the kernel of a cell: for each instruction set, and the choice ---- */
#if defined(DRNN_CELL)
#define DRNN_GATES (DRNN_CELL <= DRNN_RELU ? 1 : DRNN_CELL == DRNN_LSTM ? 4 : 3)
#define DRNN_(name) DRNN_PASTE(DRNN_PASTE(DRNN_KERNEL, _, DRNN_PASS), _, name)
#define DRNN_OF(set) DRNN_PASTE(DRNN_PASTE(DRNN_KERNEL, _, set), _, kernel)
/* the compiler was not told the processor */
#if defined(__x86_64__) && !defined(__AVX512VL__) && !defined(DRNN_NATIVE)
#define DRNN_CHOICE
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
/* x * y + z rounds once where the processor can, also in strict C; x + c - c rounds to whole numbers, whatever the flags */
#pragma GCC optimize("fp-contract=fast", "no-associative-math")
#endif
#define DRNN_PASS plain
#include "drnn_cell.h"
#undef DRNN_PASS
#ifdef DRNN_CHOICE
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define DRNN_PASS avx2
#define DRNN_WIDE
#include "drnn_cell.h"
#undef DRNN_PASS
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl")
#endif
#define DRNN_PASS avx512
#define DRNN_MANY_REGISTERS
#include "drnn_cell.h"
#undef DRNN_PASS
#undef DRNN_WIDE
#undef DRNN_MANY_REGISTERS
#if defined(__clang__)
#pragma clang attribute pop
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
