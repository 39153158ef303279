/* The activations of drnn.h over every STRIDE-th float32: errors in units in the last place, of float64's results. */
#define DRNN_CELL DRNN_TANH
#define DRNN_KERNEL kernel
#include "drnn.h"

#include <math.h>
#include <stdio.h>

enum { LANES = sizeof(kernel_plain_vector) / sizeof(float) };

static void tanh_of(const float *x, float *y) {
    kernel_plain_vector v = kernel_plain_load(x), d, below;
    kernel_plain_tanhs(1, &v, &d, &below);
    kernel_plain_store(y, d / below);
}

static void sigmoid_of(const float *x, float *y) {
    kernel_plain_vector v = kernel_plain_load(x), below;
    kernel_plain_gates(1, &v, &below);
    kernel_plain_store(y, 1.0f / below);
}

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

/* The largest error, where the value is at least `smallest`; below it, the largest value that comes out. NaN must stay. */
static void measure(void (*of)(const float *, float *), double (*right)(double), double smallest) {
    double worst = 0.0, below = 0.0;
    long lost = 0;
    for (unsigned long long at = 0; at < 1ull << 32; at += LANES * STRIDE) {
        float x[LANES], y[LANES];
        for (unsigned k = 0; k < LANES; k++) {
            const unsigned bits = (unsigned)at + k * STRIDE;
            memcpy(x + k, &bits, sizeof bits);
        }
        of(x, y);
        for (int k = 0; k < LANES; k++) {
            if (isnan(x[k]) || isnan(y[k])) {
                lost += !isnan(x[k]) || !isnan(y[k]);
                continue;
            }
            const double value = right(x[k]);
            if (fabs(value) < smallest) {
                below = fmax(below, fabs(y[k]));
            } else {
                worst = fmax(worst, fabs(y[k] - value) / ldexp(1.0, ilogb(value) - 23));
            }
        }
    }
    printf("%.9g %.9g %ld\n", worst, below, lost);
}

int main(void) {
    measure(tanh_of, tanh, 0x1p-126);
    measure(sigmoid_of, sigmoid, exp(-60.0));
    return 0;
}
