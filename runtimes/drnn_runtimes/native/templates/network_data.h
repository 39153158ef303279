/* Sizes and weights of @NAME@, for @NAME@.c. The weights are written as the bits of their floats. */
#include <stdint.h>

#define DRNN_CELL @CELL@
#define DRNN_KERNEL @NAME@_kernel
@WIDTHS@#include "drnn.h"
#undef DRNN_WIDTHS

static const _Alignas(64) union {
    uint32_t bits[@COUNT@];
    float values[@COUNT@];
} @NAME@_weights = {{
@BITS@
}};

static const struct drnn_layer @NAME@_layers[] = {
@LAYERS@
};

static const struct drnn_network @NAME@_network = {
@SIZES@
    .layer = @NAME@_layers,
    .head = @NAME@_weights.values + @HEAD@,
    .table = @NAME@_weights.values + @TABLE@,
    .kernel = @NAME@_kernel,
};
