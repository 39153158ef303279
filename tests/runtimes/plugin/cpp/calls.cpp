// What TensorRT's runtime calls of the library, for Python: make a plugin of fields, attach it, launch it.
#include "drnn_plugin.h"

#include <cstdlib>
#include <new>

#define API extern "C" __attribute__((visibility("default")))
extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t&);
using nvinfer1::PluginCapabilityType;

static int allowed = -1, left = -1;  // allocations until memory runs out, in the next call and in this one; -1: never

void* operator new(size_t size) {
  if (left == 0) throw std::bad_alloc();
  left -= left > 0;
  if (void* memory = malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }

template <class Call> static auto short_of_memory(Call call) {
  left = allowed;
  auto made = call();
  return left = -1, made;
}
API void run_out_after(int allocations) { allowed = allocations; }

static nvinfer1::IPluginV3OneRuntime* runtime(void* plugin) {
  auto* part = ((nvinfer1::IPluginV3*)plugin)->getCapabilityInterface(PluginCapabilityType::kRUNTIME);
  return static_cast<nvinfer1::IPluginV3OneRuntime*>(part);
}

API void* make(int count, const char** names, const void** data, const int* words, const int* lengths, int phase) {
  std::vector<nvinfer1::PluginField> fields;
  for (int i = 0; i < count; i++)
    fields.emplace_back(names[i], data[i], words[i] ? nvinfer1::PluginFieldType::kINT32 : nvinfer1::PluginFieldType::kINT8, lengths[i]);
  const nvinfer1::PluginFieldCollection collection{count, fields.data()};
  int32_t creators = 0;
  auto* creator = static_cast<nvinfer1::IPluginCreatorV3One*>(getCreators(creators)[0]);
  if (creators != 1) return nullptr;
  return short_of_memory([&] { return creator->createPlugin("stack", &collection, (nvinfer1::TensorRTPhase)phase); });
}
API void* attach(void* plugin) { return short_of_memory([&] { return runtime(plugin)->attachToContext(nullptr); }); }
API void* copy(void* plugin) { return short_of_memory([&] { return ((nvinfer1::IPluginV3*)plugin)->clone(); }); }
API void destroy(void* plugin) { delete (nvinfer1::IPluginV3*)plugin; }
API long long serialised_bytes(void* plugin) {
  const auto* fields = short_of_memory([&] { return runtime(plugin)->getFieldsToSerialize(); });
  if (!fields) return 0;
  long long bytes = 0;
  for (int i = 0; i < fields->nbFields; i++) bytes += fields->fields[i].length * (fields->fields[i].type == nvinfer1::PluginFieldType::kINT32 ? 4 : 1);
  return bytes;
}
API int enqueue(void* plugin, int inputs, const long long* shapes, int answers, const void** in, void** out, void* workspace, void* stream) {
  std::vector<nvinfer1::PluginTensorDesc> given(inputs), made(inputs - 1);
  for (int i = 0; i < inputs; i++) given[i].dims = {3, {shapes[3 * i], shapes[3 * i + 1], shapes[3 * i + 2]}};
  made[0].dims = {3, {shapes[0], answers, 1}};
  auto* part = runtime(plugin);
  if (part->onShapeChange(given.data(), inputs, made.data(), inputs - 1)) return 1;
  return part->enqueue(given.data(), made.data(), in, out, workspace, (cudaStream_t)stream);
}
