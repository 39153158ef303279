/* The network of network.h as a shared library for Python: weights are an argument, so that networks of one shape share
 * it. Tokens must be of the vocabulary. */
#include "network.h"

#define EXPORTED __attribute__((visibility("default")))

EXPORTED size_t drnn_stream_size(int batch) { return network_stream_size(batch); }
EXPORTED size_t drnn_push_size(int batch) { return network_push_size(batch); }
EXPORTED size_t drnn_run_size(int batch, int length) { return network_run_size(batch, length); }
EXPORTED void drnn_start(void *stream, int batch) { network_start(stream, batch); }

EXPORTED void drnn_push(const float *weights, void *stream, const void *x, int n, float *y, void *scratch) {
    network_push_with(weights, stream, x, n, y, scratch);
}

EXPORTED void drnn_run(const float *weights, const void *x, int batch, int length, float *y, void *scratch) {
    network_run_with(weights, x, batch, length, y, scratch);
}
