/* The functions of @NAME@.h. Compile this file, or #include it in one source of your program. */
#include "@NAME@.h"
#include "@NAME@_network.h"

static int @NAME@_taken(const @NAME@_sample *x, long steps) { /* a token of no vocabulary would be read beyond the weights */
    if (steps < 1) return 0;
#if DRNN_INPUT != DRNN_CONTINUOUS
    for (long i = 0; i < steps; i++)
        if (x[i] < 0 || x[i] >= DRNN_VOCABULARY) return 0;
#endif
    (void)x;
    return 1;
}

void @NAME@_init(void *stream, int batch) { @NAME@_start(stream, batch); }

int @NAME@_push(void *stream, const @NAME@_sample *x, int n, float *y, void *scratch) {
    if (!@NAME@_taken(x, (long)((struct @NAME@_stream *)stream)->batch * n)) return 0;
    @NAME@_push_with(@NAME@_weights.values, stream, x, n, y, scratch);
    return @MACRO@_ANSWERS(n);
}

int @NAME@_step(void *stream, const @NAME@_sample *x, float *y, void *scratch) {
    return @NAME@_push(stream, x, 1, y, scratch);
}

int @NAME@_run(const @NAME@_sample *x, int batch, int length, float *y, void *scratch) {
    if (batch < 1 || !@NAME@_taken(x, (long)batch * length)) return 0;
    @NAME@_run_with(@NAME@_weights.values, x, batch, length, y, scratch);
    return @MACRO@_ANSWERS(length);
}

/* Another network may follow in the same source. */
@UNDEF@
