// What ctypes calls: see `host_build.py`.
static Run host_run;
extern "C" __attribute__((visibility("default"))) const char* drnn_launch(
    int grid, int threads, int shared_bytes, unsigned seed, const float* x, const char* weights, const float* state,
    float* next_state, float* workspace, float* y, int batch, int steps, int answers) {
  if (threads != DRNN_THREADS || shared_bytes != 4 * DRNN_SHARED || grid != (batch + ROWS - 1) / ROWS)
    return "grid, block or shared memory are not what the kernel was compiled for";
  host_run = Run{x, weights, state, next_state, workspace, y, batch, steps, answers};
  return host::launch(grid, seed, [] { run_stack(host_run, host::memory + host::GUARD); });
}
