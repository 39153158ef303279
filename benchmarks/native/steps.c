/* How long each step of a stream takes: a network that `drnn-export --native` wrote as "timed". Beside it, what the timer
 * and the machine do by themselves: an empty loop, and one that counts for as long as a step takes, as a longer turn is
 * interrupted more often.
 *
 *     cc -O3 -I FOLDER steps.c -o steps && taskset -c 1 ./steps 1000000
 *
 * Prints three lines of nanoseconds, of steps, of counting and of the empty loop: median, p99, p99.99 and maximum. They take
 * turns of 20,000, so that what disturbs the machine disturbs them alike. Between turns the program sleeps, which a thread
 * of real-time priority must, else the system stops it; a few steps after that are not counted.
 */
#define _POSIX_C_SOURCE 199309L
#include "timed.c"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 1000000, TURN = 20000, WARM = 5000, WAKING = 10, INPUTS = 4096, KINDS = 3 };

static _Alignas(TIMED_ALIGNMENT) unsigned char stream[TIMED_STREAM_BYTES(1)], scratch[TIMED_PUSH_BYTES(1)];
static timed_sample inputs[INPUTS][TIMED_SAMPLE];
static float outputs[TIMED_OUTPUTS];
static long counted; /* in the time of a step */
static unsigned times[KINDS][MOST];

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void step(long i) { timed_step(stream, inputs[i % INPUTS], outputs, scratch); }

static void count(long i) {
    for (long k = 0; k < counted; k++) __asm__ volatile("" : "+r"(i));
}

static void nothing(long i) { __asm__ volatile("" : : "r"(i)); }

static inline __attribute__((always_inline)) void measure(void (*work)(long), unsigned *of, long from, long turns) {
    for (long i = 0; i < WAKING; i++) work(i);
    for (long i = from; i < from + turns; i++) {
        const long long started = now();
        work(i);
        of[i] = (unsigned)(now() - started);
    }
}

static long long least(void (*work)(long)) { /* time of WARM calls, of the best of five tries */
    long long best = 0;
    for (int i = 0; i < 5; i++) {
        const long long started = now();
        for (long j = 0; j < WARM; j++) work(j);
        const long long time = now() - started;
        if (!i || time < best) best = time;
    }
    return best;
}

static int ascending(const void *a, const void *b) {
    const unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

static void print(unsigned *of, long turns) {
    qsort(of, (size_t)turns, sizeof *of, ascending);
    printf("%u %u %u %u\n", of[turns / 2], of[turns - 1 - turns / 100], of[turns - 1 - turns / 10000], of[turns - 1]);
}

int main(int count_of_words, char **words) {
    const long turns = count_of_words == 2 ? strtol(words[1], 0, 10) : 0;
    if (turns < 1 || turns > MOST) {
        fprintf(stderr, "usage: steps COUNT, up to %d\n", MOST);
        return 2;
    }
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j < TIMED_SAMPLE; j++) inputs[i][j] = (timed_sample)rand() / (timed_sample)RAND_MAX * 2 - 1;
    memset(times, 1, sizeof times); /* so that no page is touched for the first time in a step */
    timed_init(stream, 1);
    counted = 1000;
    counted = (long)(1000 * least(step) / least(count));
    for (long from = 0; from < turns; from += TURN) {
        const long some = turns - from < TURN ? turns - from : TURN;
        nanosleep(&(struct timespec){.tv_nsec = 8000000}, 0);
        measure(step, times[0], from, some);
        measure(count, times[1], from, some);
        measure(nothing, times[2], from, some);
    }
    for (int kind = 0; kind < KINDS; kind++) print(times[kind], turns);
    return 0;
}
