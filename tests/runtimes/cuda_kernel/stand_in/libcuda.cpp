// A stand-in for libcuda on a machine without a GPU. It keeps what a launcher must keep to (memory of the GPU, order of a
// stream, recorded graphs, sizes of a launch), and runs the kernel's host build where a GPU would run its image. It shows
// that the launcher is right, and nothing of a GPU.
//
// An image is a shared library of this machine, see `images.py`. A stream does nothing before somebody waits for it, so
// that a wait which is missing changes the numbers. Memory begins as NaN.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <utility>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int
enum { INVALID = 1, NOT_INITIALIZED = 3, NO_CONTEXT = 201, BAD_IMAGE = 200, NO_BINARY = 209, NOT_FOUND = 500, ILLEGAL = 700, CAPTURING = 900 };
constexpr unsigned SHARED_UNASKED = 48 << 10, SHARED_MOST = 163 << 10;

typedef std::function<int()> Work;
struct Image {
  void* library;
  const char* (*launch)(int, int, int, unsigned, const void*, const void*, const void*, void*, void*, void*, int, int, int);
  void (*needs)(int, int, int, long long*);
  unsigned shared;
};
struct Function {
  Image* image;
  void (*plain)(void**);  // of a kernel of one thread that is not drnn_stack
};
struct Stream {
  std::vector<Work> waiting, *recorded;
};

static std::map<uintptr_t, size_t> on_gpu, on_host;
static int live, launches, replays;  // streams, images and graphs that are not freed
static bool initialized;
static thread_local bool current;
static char said[300];

static int refuse(int code, const char* why) {
  snprintf(said, sizeof said, "stand-in: %s", why);
  return code;
}

// The bytes from an address to the end of its memory, or 0.
static size_t room(const std::map<uintptr_t, size_t>& kept, const void* address) {
  auto after = kept.upper_bound((uintptr_t)address);
  if (after == kept.begin()) return 0;
  auto at = std::prev(after);
  const size_t inside = (uintptr_t)address - at->first;
  return inside < at->second ? at->second - inside : 0;
}

static int give(void* stream, Work work) {
  if (!current) return refuse(NO_CONTEXT, "the thread has no context");
  Stream* s = (Stream*)stream;
  (s->recorded ? *s->recorded : s->waiting).push_back(work);
  return 0;
}

static int drain(Stream* s) {
  std::vector<Work> work;
  work.swap(s->waiting);
  for (auto& step : work) if (int code = step()) return code;
  return 0;
}

API stand_in_counts(int* counts) {
  counts[0] = (int)on_gpu.size(), counts[1] = (int)on_host.size(), counts[2] = live, counts[3] = launches, counts[4] = replays;
  return 0;
}
// From here on, the memory at an address counts as an array of its own; of size 0 it does not any more.
API stand_in_part(uintptr_t address, size_t size) {
  size ? (void)(on_gpu[address] = size) : (void)on_gpu.erase(address);
  return 0;
}
API cuInit(unsigned) { initialized = true; return 0; }
API cuDriverGetVersion(int* version) { *version = 13050; return 0; }
API cuDeviceGetCount(int* count) { *count = 1; return initialized ? 0 : NOT_INITIALIZED; }
API cuDeviceGet(int* device, int ordinal) { *device = 0; return !initialized ? NOT_INITIALIZED : ordinal ? 101 : 0; }
API cuDeviceGetName(char* name, int size, int) { snprintf(name, size, "stand-in for a GPU"); return 0; }
API cuCtxGetDevice(int* device) { *device = 0; return current ? 0 : NO_CONTEXT; }
API cuDeviceGetAttribute(int* value, int attribute, int) { *value = attribute == 75 ? 8 : 7; return attribute == 75 || attribute == 76 ? 0 : INVALID; }
API cuDevicePrimaryCtxRetain(void** context, int) { *context = (void*)1; live++; return 0; }
API cuDevicePrimaryCtxRelease_v2(int) { live--; return 0; }
API cuCtxSetCurrent(void* context) { current = context; return 0; }
API cuCtxGetCurrent(void** context) { *context = current ? (void*)1 : nullptr; return 0; }
API cuStreamCreate(void** stream, unsigned) { *stream = new Stream{}; live++; return 0; }
API cuStreamDestroy_v2(void* stream) { const int code = drain((Stream*)stream); delete (Stream*)stream; live--; return code; }
API cuStreamSynchronize(void* stream) {
  if (((Stream*)stream)->recorded) return refuse(CAPTURING, "a stream that records cannot be waited for");
  return drain((Stream*)stream);
}

API cuMemAlloc_v2(uintptr_t* address, size_t size) {
  if (!current) return refuse(NO_CONTEXT, "the thread has no context");
  if (!size) return refuse(INVALID, "no bytes are asked for");
  void* memory = aligned_alloc(256, (size + 255) / 256 * 256);
  memset(memory, 0xFF, size), *address = (uintptr_t)memory, on_gpu[*address] = size;
  return 0;
}
API cuMemFree_v2(uintptr_t address) { if (!on_gpu.erase(address)) return refuse(INVALID, "no memory of the GPU"); free((void*)address); return 0; }
API cuMemHostAlloc(void** address, size_t size, unsigned) { *address = malloc(size), on_host[(uintptr_t)*address] = size; memset(*address, 0xFF, size); return 0; }
API cuMemFreeHost(void* address) { if (!on_host.erase((uintptr_t)address)) return refuse(INVALID, "no page-locked memory"); free(address); return 0; }
API cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t size, void* stream) {
  if (room(on_gpu, (void*)to) < size || room(on_gpu, from)) return refuse(INVALID, "a copy to the GPU is not to its memory");
  return give(stream, [=] { memcpy((void*)to, from, size); return 0; });
}
API cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t size, void* stream) {
  if (room(on_gpu, (void*)from) < size || room(on_gpu, to)) return refuse(INVALID, "a copy from the GPU is not from its memory");
  return give(stream, [=] { memcpy(to, (void*)from, size); return 0; });
}
API cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t size, void* stream) {
  if (room(on_gpu, (void*)to) < size || room(on_gpu, (void*)from) < size) return refuse(INVALID, "a copy on the GPU is not in its memory");
  return give(stream, [=] { memcpy((void*)to, (void*)from, size); return 0; });
}
API cuMemsetD8Async(uintptr_t to, unsigned char value, size_t size, void* stream) {
  if (room(on_gpu, (void*)to) < size) return refuse(INVALID, "what is cleared is no memory of the GPU");
  return give(stream, [=] { memset((void*)to, value, size); return 0; });
}

API cuModuleLoadData(void** module, const void* data) {
  const unsigned char* bytes = (const unsigned char*)data;
  if (!current) return refuse(NO_CONTEXT, "the thread has no context");
  if (memcmp(bytes, "\177ELF", 4)) return refuse(BAD_IMAGE, "no image");
  if (bytes[18] == 190) return refuse(NO_BINARY, "an image for a GPU, which this is not");
  const uint64_t sections = *(const uint64_t*)(bytes + 40);  // the table of sections is the end of the file
  const size_t size = sections + (size_t)*(const uint16_t*)(bytes + 58) * *(const uint16_t*)(bytes + 60);
  char name[] = "/tmp/stand-in-XXXXXX";
  const int file = mkstemp(name);
  const bool written = write(file, data, size) == (ssize_t)size;
  close(file);
  void* library = written ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : nullptr;
  unlink(name);
  if (!library) return refuse(BAD_IMAGE, dlerror());
  Image* image = new Image{library};
  *(void**)&image->launch = dlsym(library, "drnn_launch"), *(void**)&image->needs = dlsym(library, "drnn_needs");
  image->shared = SHARED_UNASKED, *module = image, live++;
  return 0;
}
API cuModuleUnload(void* module) { dlclose(((Image*)module)->library); delete (Image*)module; live--; return 0; }
API cuModuleGetFunction(void** function, void* module, const char* name) {
  static std::map<std::pair<void*, void*>, Function> functions;
  Image* image = (Image*)module;
  void (*plain)(void**) = nullptr;
  if (strcmp(name, "drnn_stack")) *(void**)&plain = dlsym(image->library, name);
  if (plain ? false : strcmp(name, "drnn_stack") || !image->launch) return refuse(NOT_FOUND, "the image has no such kernel");
  Function& found = functions[{module, (void*)plain}];
  found = Function{image, plain}, *function = &found;
  return 0;
}
API cuFuncSetAttribute(void* function, int attribute, int value) {
  if (attribute != 8 || value > (int)SHARED_MOST) return refuse(INVALID, "a block has less shared memory");
  ((Function*)function)->image->shared = value;
  return 0;
}

// The exact sizes are asked for, not sizes that suffice: so arguments in another order are seen too.
static const char* misfit(const Image& image, void** p) {
  static const char* names[] = {"x is no array of its size", "weights are no array of their size", "state is no array of its size",
                                "next_state is no array of its size", "workspace is no array of its size", "y is no array of its size"};
  const int batch = *(int*)p[6], steps = *(int*)p[7], answers = *(int*)p[8];
  if (batch < 1 || steps < 1 || answers < 1 || answers > steps) return "batch, steps or answers are out of range";
  long long needs[6];
  image.needs(batch, steps, answers, needs);
  for (int i = 0; i < 6; i++) {
    void* address = *(void**)p[i];
    const bool optional = i == 2 || i == 3 || (i == 4 && !needs[i]);
    if (address ? (long long)room(on_gpu, address) != needs[i] || (uintptr_t)address % 16 : !optional) return names[i];
  }
  return nullptr;
}

API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void* stream, void** p, void**) {
  Image& image = *((Function*)function)->image;
  if (auto plain = ((Function*)function)->plain) {
    const int code = gx * bx == 1 && !shared ? 0 : refuse(INVALID, "a kernel of one thread");
    void* first = p ? *(void**)p[0] : nullptr;
    return code ? code : give(stream, [=] { void* argument = first; plain(&argument); return 0; });
  }
  if (gy * gz * by * bz != 1) return refuse(INVALID, "the kernel has one axis of blocks and one of threads");
  if (shared > image.shared) return refuse(INVALID, "more shared memory than was asked for");
  if (const char* why = misfit(image, p)) return refuse(ILLEGAL, why);
  void* a[6];
  for (int i = 0; i < 6; i++) a[i] = *(void**)p[i];
  const int batch = *(int*)p[6], steps = *(int*)p[7], answers = *(int*)p[8];
  return give(stream, [=, &image] {  // the host build looks at grid, block and shared memory
    const unsigned seed = ++launches;
    const char* why = image.launch(gx, bx, shared, seed, a[0], a[1], a[2], a[3], a[4], a[5], batch, steps, answers);
    return why ? refuse(ILLEGAL, why) : 0;
  });
}

API cuStreamBeginCapture_v2(void* stream, int) {
  Stream* s = (Stream*)stream;
  if (s->recorded) return refuse(CAPTURING, "the stream records already");
  s->recorded = new std::vector<Work>, live++;
  return 0;
}
API cuStreamEndCapture(void* stream, void** graph) {
  *graph = ((Stream*)stream)->recorded, ((Stream*)stream)->recorded = nullptr;
  return *graph ? 0 : refuse(INVALID, "the stream does not record");
}
API cuGraphInstantiateWithFlags(void** ready, void* graph, unsigned long long) { *ready = new std::vector<Work>(*(std::vector<Work>*)graph); live++; return 0; }
API cuGraphDestroy(void* graph) { delete (std::vector<Work>*)graph; live--; return 0; }
API cuGraphExecDestroy(void* graph) { delete (std::vector<Work>*)graph; live--; return 0; }
API cuGraphLaunch(void* graph, void* stream) {
  replays++;
  for (auto& work : *(std::vector<Work>*)graph) if (int code = give(stream, work)) return code;
  return 0;
}
static std::map<void*, Stream*> recorded_on;
API cuEventCreate(void** event, unsigned) { *event = new double{0}; live++; return 0; }
API cuEventDestroy_v2(void* event) { delete (double*)event; live--; return 0; }
API cuEventRecord(void* event, void* stream) {
  Stream* at = (Stream*)stream;
  recorded_on[event] = at;
  return give(stream, [=] { timespec now; clock_gettime(CLOCK_MONOTONIC, &now); *(double*)event = 1e3 * now.tv_sec + 1e-6 * now.tv_nsec; return 0; });
}
API cuEventSynchronize(void* event) { return drain(recorded_on[event]); }
API cuEventElapsedTime_v2(float* milliseconds, void* begin, void* end) { *milliseconds = *(double*)end - *(double*)begin; return 0; }
API cuGetErrorString(int, const char** text) { *text = *said ? said : "stand-in: an error"; return 0; }
API cuGetErrorName(int, const char** text) { *text = "STAND_IN"; return 0; }

// What the bindings look functions up with: by names that may lack the version.
API cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, int* status) {
  Dl_info me;
  dladdr((void*)&cuInit, &me);
  void* library = dlopen(me.dli_fname, RTLD_NOLOAD | RTLD_NOW);
  *function = dlsym(library, name);
  for (int version = 2; !*function && version < 4; version++) {
    char other[100];
    snprintf(other, sizeof other, "%s_v%d", name, version), *function = dlsym(library, other);
  }
  if (!*function && !strcmp(name, "cuGraphInstantiate")) *function = (void*)&cuGraphInstantiateWithFlags;
  if (status) *status = *function ? 0 : 1;
  return *function ? 0 : NOT_FOUND;
}
API cuGetProcAddress(const char* name, void** function, int version, uint64_t flags) { return cuGetProcAddress_v2(name, function, version, flags, nullptr); }
