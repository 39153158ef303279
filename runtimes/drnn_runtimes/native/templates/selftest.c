/* Compares the network with the golden data of its bundle, whole and streamed. Exit code 0: every error is small enough.
 *
 *     cc -O3 selftest.c -o selftest && ./selftest
 *
 * A noise is what float32's rounding itself does to an output of this network on these inputs.
 */
#include "@NAME@.c"

#include <stdio.h>
#include <stdlib.h>

struct golden_case {
    const char *name;
    int batch, length, answered; /* the last `answered` steps have outputs */
    const @NAME@_sample *x;      /* [batch][length][@MACRO@_SAMPLE] */
    const double *y;             /* [batch][answered][@MACRO@_OUTPUTS], of float64 */
    const double *noise;         /* [answered][@MACRO@_OUTPUTS]; below 0: rounding drowns the output */
};

#include "golden.h"

struct errors {
    double largest; /* in noises */
    long wrong, compared;
};

/* Outputs of the last k steps of `end`. */
static void compare(const struct golden_case *golden, const float *y, int k, int end, struct errors *errors) {
    for (int b = 0; b < golden->batch; b++)
        for (int i = 0; i < k; i++)
            for (int o = 0; o < @MACRO@_OUTPUTS; o++) {
                const int row = end - k + i - (golden->length - golden->answered);
                if (row < 0) continue;
                const double value = (double)y[((long)b * k + i) * @MACRO@_OUTPUTS + o];
                const double difference = value - golden->y[((long)b * golden->answered + row) * @MACRO@_OUTPUTS + o];
                const double error = difference < 0 ? -difference : difference;
                const double noise = golden->noise[(long)row * @MACRO@_OUTPUTS + o];
                errors->wrong += noise < 0 ? !(error - error == 0) : !(error <= GOLDEN_NOISES * noise);
                errors->compared += noise >= 0;
                if (noise > 0 && error > errors->largest * noise) errors->largest = error / noise;
            }
}

static void *memory(size_t bytes) {
    void *const there = malloc(bytes);
    if (!there) fprintf(stderr, "there is not enough memory\n"), exit(2);
    return there;
}

static void run_whole(const struct golden_case *golden, float *y, struct errors *errors) {
    void *const scratch = memory(@MACRO@_RUN_BYTES(golden->batch, golden->length));
    const int k = @NAME@_run(golden->x, golden->batch, golden->length, y, scratch);
    errors->wrong += !k;
    compare(golden, y, k, golden->length, errors);
    free(scratch);
}

/* Between two pieces the state goes to other memory: a copy is all that it takes. */
static void run_streamed(const struct golden_case *golden, float *y, struct errors *errors) {
    static const int pieces[] = {1, 2, 1, 3, 7, 1, 50, 400};
    const size_t bytes = @MACRO@_STREAM_BYTES(golden->batch);
    void *stream = memory(bytes), *other = memory(bytes);
    void *const scratch = memory(@MACRO@_PUSH_BYTES(golden->batch));
    @NAME@_sample *const x = memory(sizeof *x * (size_t)golden->batch * (size_t)golden->length * @MACRO@_SAMPLE);
    @NAME@_init(stream, golden->batch);
    for (int from = 0, piece = 0, n; from < golden->length; from += n, piece = (piece + 1) % 8) {
        n = pieces[piece] < golden->length - from ? pieces[piece] : golden->length - from;
        const long count = (long)n * @MACRO@_SAMPLE;
        for (int b = 0; b < golden->batch; b++)
            memcpy(x + b * count, golden->x + ((long)b * golden->length + from) * @MACRO@_SAMPLE, (size_t)count * sizeof *x);
        const int k = @NAME@_push(stream, x, n, y, scratch);
        errors->wrong += !k;
        compare(golden, y, k, from + n, errors);
        memcpy(other, stream, bytes);
        memset(stream, 0xff, bytes);
        void *const swap = stream;
        stream = other, other = swap;
    }
    free(stream), free(other), free(scratch), free(x);
}

static int sizes_are_right(int batch, int length) {
    return @MACRO@_STREAM_BYTES(batch) == drnn_stream_size(&@NAME@_network, batch) &&
           @MACRO@_PUSH_BYTES(batch) == drnn_push_size(&@NAME@_network, batch) &&
           @MACRO@_RUN_BYTES(batch, length) == drnn_run_size(&@NAME@_network, batch, length);
}

int main(void) {
    struct errors every = {0, 0, 0};
    for (size_t at = 0; at < sizeof golden_cases / sizeof *golden_cases; at++) {
        const struct golden_case *const golden = golden_cases + at;
        float *const y = memory(sizeof *y * (size_t)golden->batch * (size_t)golden->length * @MACRO@_OUTPUTS);
        struct errors whole = {0, 0, 0}, streamed = {0, 0, 0};
        whole.wrong = !sizes_are_right(golden->batch, golden->length);
        run_whole(golden, y, &whole);
        run_streamed(golden, y, &streamed);
        free(y);
        printf("%-12s %d x %d steps: whole %.2f noises, streamed %.2f\n", golden->name, golden->batch, golden->length,
               whole.largest, streamed.largest);
        every.wrong += whole.wrong + streamed.wrong, every.compared += whole.compared + streamed.compared;
        if (every.largest < whole.largest) every.largest = whole.largest;
        if (every.largest < streamed.largest) every.largest = streamed.largest;
    }
    const int passed = !every.wrong && every.compared;
    printf("%s @NAME@: %ld outputs compared, %ld wrong, largest error %.2f noises, up to %g pass\n",
           passed ? "PASSED" : "FAILED", every.compared, every.wrong, every.largest, GOLDEN_NOISES);
    return !passed;
}
