/* @NAME@: a dilated recurrent network in C: @WHAT@.
 *
 *     static _Alignas(@MACRO@_ALIGNMENT) unsigned char stream[@MACRO@_STREAM_BYTES(1)], scratch[@MACRO@_PUSH_BYTES(1)];
 *     @NAME@_init(stream, 1);
 *     @NAME@_step(stream, x, y, scratch);      for every sample: x[@MACRO@_SAMPLE] in, y[@MACRO@_OUTPUTS] out
 *
 * A stream is @MACRO@_STREAM_BYTES(batch) bytes of yours that hold the state of `batch` sequences. A copy of them is a
 * copy of the state. They belong to this build: another network or version cannot read them.
 *
 * No function allocates, locks or calls the system, and there are no variables but the constant weights. So streams run
 * in any thread, each in one at a time. Scratch memory keeps nothing between calls; what runs at the same time needs its
 * own. Memory is aligned to 4 bytes, for full speed to @MACRO@_ALIGNMENT.
 *
 * NaN and infinity in samples can stay in a stream until @NAME@_init.
 */
#ifndef @MACRO@_H
#define @MACRO@_H
#include <stddef.h>

#define @MACRO@_SAMPLE @SAMPLE@ /* values of a time step: @SAMPLES@ */
#define @MACRO@_OUTPUTS @OUTPUTS@ /* values of a step that has outputs */
#define @MACRO@_ALIGNMENT 64

/* How many of the last steps of n have outputs. */
#define @MACRO@_ANSWERS(n) @ANSWERS@

/* Bytes of a stream of `batch` sequences, and of scratch memory. */
#define @MACRO@_STREAM_BYTES(batch) @STREAM_BYTES@
#define @MACRO@_PUSH_BYTES(batch) @PUSH_BYTES@
#define @MACRO@_RUN_BYTES(batch, length) @RUN_BYTES@

#ifdef __cplusplus
extern "C" {
#endif

typedef @TYPE@ @NAME@_sample;

/* Start a stream of `batch` sequences, from 1 up, at the zero state. */
void @NAME@_init(void *stream, int batch);

/* Feed x[batch][n][@MACRO@_SAMPLE], n from 1 up. Writes y[batch][k][@MACRO@_OUTPUTS], the outputs of the last
 * k = @MACRO@_ANSWERS(n) steps, and returns k. @REFUSES@ */
int @NAME@_push(void *stream, const @NAME@_sample *x, int n, float *y, void *scratch);

/* Feed one step: @NAME@_push with n = 1. */
int @NAME@_step(void *stream, const @NAME@_sample *x, float *y, void *scratch);

/* Run whole sequences x[batch][length][@MACRO@_SAMPLE] from the zero state: like @NAME@_init and @NAME@_push, but only what
 * reaches an output is computed. `scratch` has @MACRO@_RUN_BYTES(batch, length). */
int @NAME@_run(const @NAME@_sample *x, int batch, int length, float *y, void *scratch);

#ifdef __cplusplus
}
#endif
#endif
