/* Runs of one sequence, and of two and three that are the same, in memory that ends where they do: a sanitizer sees a
 * step too far. Prints the largest difference between them. */
#include "net.c"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void *filled(size_t bytes) { /* with NaN */
    void *const memory = malloc(bytes);
    memset(memory, 0xff, bytes);
    return memory;
}

static float run(int batch, int length) {
    const size_t each = (size_t)NET_SAMPLE * (size_t)length, outputs = (size_t)NET_ANSWERS(length) * NET_OUTPUTS;
    float *const x = filled(sizeof(float) * each), *const same = filled(sizeof(float) * each * (size_t)batch);
    float *const y = filled(sizeof(float) * outputs), *const all = filled(sizeof(float) * outputs * (size_t)batch);
    void *const scratch = filled(NET_RUN_BYTES(1, length)), *const more = filled(NET_RUN_BYTES(batch, length));
    float largest = 0;
    for (size_t i = 0; i < each; i++) x[i] = (float)(i * 7919 % 1000) / 500 - 1;
    for (int b = 0; b < batch; b++) memcpy(same + (size_t)b * each, x, sizeof(float) * each);
    if (!net_run(x, 1, length, y, scratch) || !net_run(same, batch, length, all, more)) largest = NAN;
    for (size_t i = 0; i < outputs * (size_t)batch; i++) {
        const float difference = fabsf(all[i] - y[i % outputs]);
        if (!(difference <= largest)) largest = difference;
    }
    free(x), free(same), free(y), free(all), free(scratch), free(more);
    return largest;
}

int main(void) {
    float largest = 0;
    for (int length = 1; length < 330; length += length < 20 ? 1 : 9) {
        for (int batch = 2; batch < 4; batch++) {
            const float difference = run(batch, length);
            if (!(difference <= largest)) largest = difference;
        }
    }
    printf("%g\n", largest);
    return 0;
}
