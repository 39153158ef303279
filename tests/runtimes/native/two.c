/* Two networks in one source. Reads x of both, prints the outputs of plain streamed and whole, and of tokens whole, and
 * what they say to tokens that are none. Between begin and end nothing may allocate; with an argument, something does. */
#include "plain.c"
#include "tokens.c"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 3, LENGTH = 40, TOKENS_BATCH = 2, TOKENS_LENGTH = 9, ANSWERS = TOKENS_ANSWERS(TOKENS_LENGTH) };

static int running;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void check(void) {
    static const char message[] = "an allocation\n";
    if (running) _exit(write(2, message, sizeof message - 1) > 0 ? 3 : 4);
}

void *malloc(size_t size) { return check(), __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return check(), __libc_calloc(count, size); }
void *realloc(void *memory, size_t size) { return check(), __libc_realloc(memory, size); }
void *aligned_alloc(size_t alignment, size_t size) { return check(), __libc_memalign(alignment, size); }

static float plain_x[BATCH * LENGTH * PLAIN_SAMPLE], piece[BATCH * LENGTH * PLAIN_SAMPLE];
static float streamed[BATCH * PLAIN_OUTPUTS], whole[BATCH * PLAIN_OUTPUTS], other[BATCH * PLAIN_OUTPUTS];
static int tokens_x[TOKENS_BATCH * TOKENS_LENGTH], none[TOKENS_BATCH] = {0, 6};
static float tokens_y[TOKENS_BATCH * ANSWERS * TOKENS_OUTPUTS];
static unsigned char plain_state[PLAIN_STREAM_BYTES(BATCH)], plain_pushed[PLAIN_PUSH_BYTES(BATCH)];
static unsigned char plain_whole[PLAIN_RUN_BYTES(BATCH, LENGTH)], tokens_whole[TOKENS_RUN_BYTES(TOKENS_BATCH, TOKENS_LENGTH)];
static unsigned char tokens_state[TOKENS_STREAM_BYTES(TOKENS_BATCH)], tokens_pushed[TOKENS_PUSH_BYTES(TOKENS_BATCH)];

static void print(const float *y, int count) {
    for (int i = 0; i < count; i++) printf("%.9g%c", (double)y[i], i + 1 < count ? ' ' : '\n');
}

static int stream_plain(void) { /* 30 steps and a piece of 10 */
    int answers = 0;
    plain_init(plain_state, BATCH);
    for (int t = 0, n; t < LENGTH; t += n) {
        n = t < 30 ? 1 : LENGTH - t;
        for (int b = 0; b < BATCH; b++)
            memcpy(piece + b * n * PLAIN_SAMPLE, plain_x + (b * LENGTH + t) * PLAIN_SAMPLE,
                   sizeof *piece * (size_t)n * PLAIN_SAMPLE);
        answers += n == 1 ? plain_step(plain_state, piece, streamed, plain_pushed)
                          : plain_push(plain_state, piece, n, streamed, plain_pushed);
    }
    return answers;
}

int main(int count, char **words) {
    if (fread(plain_x, sizeof plain_x, 1, stdin) + fread(tokens_x, sizeof tokens_x, 1, stdin) != 2 && count == 1) return 5;
    running = 1;
    const int answers = stream_plain() + plain_run(plain_x, BATCH, LENGTH, whole, plain_whole);
    const int told = tokens_run(tokens_x, TOKENS_BATCH, TOKENS_LENGTH, tokens_y, tokens_whole);
    tokens_init(tokens_state, TOKENS_BATCH);
    const int refused = tokens_step(tokens_state, none, tokens_y, tokens_pushed);
    none[1] = -1;
    const int negative = tokens_run(none, TOKENS_BATCH, 1, tokens_y, tokens_whole);
    const int nothing = plain_run(plain_x, 0, LENGTH, other, plain_whole);
    plain_init(plain_state, -1);
    const int minus = plain_push(plain_state, plain_x, -1, other, plain_pushed) | plain_step(plain_state, plain_x, other, plain_pushed);
    volatile int zero = 0; /* the size is asked for before the run refuses */
    const int asked = PLAIN_RUN_BYTES(BATCH, zero) > 0 && !plain_run(plain_x, BATCH, zero, other, plain_whole);
    if (count > 1) {
        void *volatile memory = malloc(sizeof *words); /* volatile: compilers leave out what no one uses */
        free(memory);
    }
    running = 0;
    if (answers != 32 || told != ANSWERS) return 6;
    print(streamed, BATCH * PLAIN_OUTPUTS);
    print(whole, BATCH * PLAIN_OUTPUTS);
    print(tokens_y, TOKENS_BATCH * ANSWERS * TOKENS_OUTPUTS);
    printf("%d %d %d %d %d\n", refused, negative, nothing, minus, asked);
    return 0;
}
