/* The functions of @NAME@.h. Compile this file, or #include it in one source of your program. */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "@NAME@.c gives wrong numbers with -ffast-math, -Ofast and -ffinite-math-only: compile it without, in a file of its own"
#endif
#include "@NAME@.h"
#include "@NAME@_network.h"

static int @NAME@_taken(const @NAME@_sample *x, long steps) { /* a token of no vocabulary would be read beyond the weights */
@CHECK@    (void)x, (void)steps;
    return 1;
}

void @NAME@_init(void *stream, int batch) {
    if (batch > 0) drnn_start(&@NAME@_network, stream, batch);
    else *(int *)stream = 0; /* a stream begins with its batch: this one takes nothing */
}

int @NAME@_push(void *stream, const @NAME@_sample *x, int n, float *y, void *scratch) {
    const int batch = *(const int *)stream;
    if (batch < 1 || n < 1 || !@NAME@_taken(x, (long)batch * n)) return 0;
    drnn_push(&@NAME@_network, stream, x, n, y, scratch);
    return @MACRO@_ANSWERS(n);
}

int @NAME@_step(void *stream, const @NAME@_sample *x, float *y, void *scratch) {
    return @NAME@_push(stream, x, 1, y, scratch);
}

int @NAME@_run(const @NAME@_sample *x, int batch, int length, float *y, void *scratch) {
    if (batch < 1 || length < 1 || !@NAME@_taken(x, (long)batch * length)) return 0;
    drnn_run(&@NAME@_network, x, batch, length, y, scratch);
    return @MACRO@_ANSWERS(length);
}
