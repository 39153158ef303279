/* Sizes and weights of @NAME@, for @NAME@.c. The weights are written as the bits of their floats. */
#include <stdint.h>

#define DRNN_CELL @CELL@
#define DRNN_KERNEL @NAME@_kernel
@INT8@@WIDTHS@#define DRNN_HEAD_BLOCKS @HEAD_BLOCKS@
#include "drnn.h"
#undef DRNN_HEAD_BLOCKS
#undef DRNN_WIDTHS
#undef DRNN_INT8

@ARRAYS@
static const struct drnn_layer @NAME@_layers[] = {
@LAYERS@
};

static const struct drnn_network @NAME@_network = {
@SIZES@
    .layer = @NAME@_layers,
    .head = @HEAD@,
    .head_biases = @HEAD_BIASES@,
    .table = @TABLE@,
    .kernel = @NAME@_kernel,
};
