/* Reads raw @SAMPLES@ from stdin as a stream, @MACRO@_SAMPLE values a step, and prints the outputs of every step.
 *
 *     cc -O3 example.c -o example && ./example < samples
 */
#include "@NAME@.c" /* or "@NAME@.h", with @NAME@.c compiled beside it */

#include <stdio.h>

static _Alignas(@MACRO@_ALIGNMENT) unsigned char stream[@MACRO@_STREAM_BYTES(1)], scratch[@MACRO@_PUSH_BYTES(1)];

int main(void) {
    @NAME@_sample x[@MACRO@_SAMPLE];
    float y[@MACRO@_OUTPUTS];
    @NAME@_init(stream, 1);
    while (fread(x, sizeof x, 1, stdin) == 1) {
        if (!@NAME@_step(stream, x, y, scratch)) {
            fprintf(stderr, "a token is beyond the vocabulary\n");
            return 2;
        }
        for (int i = 0; i < @MACRO@_OUTPUTS; i++) printf("%s%.9g", i ? " " : "", (double)y[i]);
        printf("\n");
    }
    return 0;
}
