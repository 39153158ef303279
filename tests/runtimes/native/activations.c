/* The activations of drnn.h over every STRIDE-th float32: errors in units in the last place, of float64's results. */
#include "network.h"

#include <math.h>
#include <stdio.h>

enum { LANES = sizeof(network_vector_plain) / sizeof(float) };

static void tanh_of(const float *x, float *y) {
    network_vector_plain v = network_load_plain(x), d, below;
    network_tanhs_plain(1, &v, &d, &below);
    network_store_plain(y, d / below);
}

static void sigmoid_of(const float *x, float *y) {
    network_vector_plain v = network_load_plain(x), below;
    network_gates_plain(1, &v, &below);
    network_store_plain(y, 1.0f / below);
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
