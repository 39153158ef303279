/* The network of network.h as a shared library for Python: weights are an argument, so that networks of one shape share
 * it, and samples are looked at before they reach the state. */
#include "network.h"

#define EXPORTED __attribute__((visibility("default")))

EXPORTED size_t drnn_stream_size(int batch) { return network_stream_size(batch); }
EXPORTED size_t drnn_push_size(int batch) { return network_push_size(batch); }
EXPORTED size_t drnn_run_size(int batch, int length) { return network_run_size(batch, length); }
EXPORTED void drnn_start(void *stream, int batch) { network_start(stream, batch); }

/* Whether `count` samples are finite, or tokens of the vocabulary. */
EXPORTED int drnn_fits(const network_sample *x, long count) {
    int fits = 1;
    for (long i = 0; i < count; i++) {
#if DRNN_INPUT == DRNN_CONTINUOUS
        fits &= x[i] - x[i] == 0.0f;
#else
        fits &= x[i] >= 0 && x[i] < DRNN_VOCABULARY;
#endif
    }
    return fits;
}

EXPORTED void drnn_push(const float *weights, void *stream, const void *x, int n, float *y, void *scratch) {
    network_push_with(weights, stream, x, n, y, scratch);
}

EXPORTED void drnn_run(const float *weights, const void *x, int batch, int length, float *y, void *scratch) {
    network_run_with(weights, x, batch, length, y, scratch);
}
