/* The kernel of a cell, DRNN_CELL, as a shared library for Python: networks are what it is called with. */
#define DRNN_KERNEL kernel
#include "drnn.h"

#define EXPORTED __attribute__((visibility("default")))
#define NETWORK const struct drnn_network *network

EXPORTED const struct drnn_kernel *native_kernel(void) { return kernel(); }
EXPORTED size_t native_stream_size(NETWORK, int batch) { return drnn_stream_size(network, batch); }
EXPORTED size_t native_push_size(NETWORK, int batch) { return drnn_push_size(network, batch); }
EXPORTED size_t native_run_size(NETWORK, int batch, int length) { return drnn_run_size(network, batch, length); }
EXPORTED void native_start(NETWORK, void *stream, int batch) { drnn_start(network, stream, batch); }

EXPORTED void native_push(NETWORK, void *stream, const void *x, int n, float *y, void *scratch) {
    drnn_push(network, stream, x, n, y, scratch);
}

EXPORTED void native_run(NETWORK, const void *x, int batch, int length, float *y, void *scratch) {
    drnn_run(network, x, batch, length, y, scratch);
}
