/* Runs layers of many sizes, with arrays of exactly the sizes that recurrence.c states. */
#include <stdio.h>
#include <stdlib.h>

#include "recurrence.c"

static float *numbers(int n) {
    float *const values = malloc((size_t)n * sizeof(float));
    if (!values) exit(1);
    for (int i = 0; i < n; i++) values[i] = (float)(i % 7) * 0.25f - 0.75f;
    return values;
}

static void run(int cell, int steps, int rows, int inputs, int hidden, int with_dx) {
    const int G = gates_of[cell], sums = sums_of[cell], states = rows * hidden, all = steps * states;
    float *const x = numbers(steps * rows * inputs), *const h = numbers(states), *const c = numbers(states);
    float *const w = numbers(G * hidden * inputs), *const u = numbers(G * hidden * hidden);
    float *const bias = numbers(sums * hidden), *const y = numbers(all), *const cells = numbers(all);
    float *const kept = numbers(all * sums), *const dy = numbers(all), *const dh = numbers(states);
    float *const dc = numbers(states), *const dx = numbers(steps * rows * inputs);
    float *const dw = numbers(G * hidden * inputs), *const du = numbers(G * hidden * hidden);
    float *const dbias = numbers(sums * hidden);
    struct layer layer = {cell, steps, rows, inputs, hidden, x, h, c, w, u, w, u, bias, y, cells,
                          kept, dy, dh, dc, with_dx ? dx : NULL};
    float *const scratch = numbers((int)recurrence_scratch(&layer));
    recurrence_forward(&layer, 0, rows, scratch);
    recurrence_backward(&layer, 0, rows, dw, du, dbias, scratch);
    layer.kept = NULL;
    recurrence_forward(&layer, 0, rows, scratch);
    float *const arrays[] = {x, h, c, w, u, bias, y, cells, kept, dy, dh, dc, dx, dw, du, dbias, scratch};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

int main(void) {
    const int rows[] = {1, 3, 9, 64, 65}, hidden[] = {1, 2, 3, 7, 16, 21}, inputs[] = {1, 5, 20};
    int count = 0;
    for (int cell = TANH; cell <= LSTM; cell++)
        for (int r = 0; r < 5; r++)
            for (int h = 0; h < 6; h++)
                for (int i = 0; i < 3; i++)
                    for (int steps = 1; steps <= 3; steps++)
                        for (int with_dx = 0; with_dx < 2; with_dx++, count++)
                            run(cell, steps, rows[r], inputs[i], hidden[h], with_dx);
    return printf("%d layers\n", count) < 0;
}
