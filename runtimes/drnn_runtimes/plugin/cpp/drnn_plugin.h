// The plugin drnn::DilatedStack for TensorRT, for programs without Python: it runs engines that `drnn-export --plugin` built.
//
// Such an engine holds the kernel's images and what their launch needs (drnn_runtimes/plugin/carried.py). This header reads
// them, loads the image for the GPU with the CUDA driver, and launches it. It builds no engines, and judges no trust: an
// image is code, so load engines of known origin. Needs TensorRT's NvInfer.h, from 10.3 on, and no header of CUDA.
#pragma once
#include <NvInfer.h>
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace drnn {

constexpr char NAMESPACE[] = "drnn", NAME[] = "DilatedStack", VERSION[] = "1", FORMAT[] = "drnn-plugin/1";

// The functions of the CUDA driver that are needed.
struct Driver {
  int (*load)(void**, const void*);
  int (*unload)(void*);
  int (*function)(void**, void*, const char*);
  int (*attribute)(void*, int, int);
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
  int (*copy)(uintptr_t, uintptr_t, size_t, void*);
  int (*device)(int*);
  int (*device_attribute)(int*, int, int);

  static const Driver* get() {
    static const Driver driver = [] {
      Driver d{};
      void* library = dlopen("libcuda.so.1", RTLD_NOW);
      auto find = [&](auto& to, const char* name) { *(void**)&to = library ? dlsym(library, name) : nullptr; };
      find(d.load, "cuModuleLoadData"), find(d.unload, "cuModuleUnload"), find(d.function, "cuModuleGetFunction");
      find(d.attribute, "cuFuncSetAttribute"), find(d.launch, "cuLaunchKernel"), find(d.copy, "cuMemcpyDtoDAsync_v2");
      find(d.device, "cuCtxGetDevice"), find(d.device_attribute, "cuDeviceGetAttribute");
      return d;
    }();
    const Driver& d = driver;
    return d.load && d.unload && d.function && d.attribute && d.launch && d.copy && d.device && d.device_attribute ? &d : nullptr;
  }
};

inline int refuse(const char* what) { return fprintf(stderr, "drnn::DilatedStack: %s\n", what), 1; }
inline std::nullptr_t no_memory() { return refuse("memory ran out"), nullptr; }  // uncaught it ends the process

// A loaded image, for one context of an engine and its copies.
struct Kernel {
  void *module = nullptr, *function = nullptr;
  ~Kernel() { if (module) Driver::get()->unload(module); }
};

class Stack final : public nvinfer1::IPluginV3, public nvinfer1::IPluginV3OneCore, public nvinfer1::IPluginV3OneRuntime {
  struct Field {
    nvinfer1::PluginFieldType type;
    std::string bytes;
  };
  std::map<std::string, Field> fields_;
  std::vector<nvinfer1::PluginField> serialised_;
  nvinfer1::PluginFieldCollection collection_{};
  std::shared_ptr<Kernel> kernel_;
  int32_t launch_[4]{};  // threads, bytes of shared memory, sequences of a block, floats of its workspace
  int32_t inputs_ = 0;

  static size_t bytes_of(const nvinfer1::PluginTensorDesc& line) {
    size_t values = 4;
    for (int axis = 0; axis < line.dims.nbDims; axis++) values *= (size_t)line.dims.d[axis];
    return values;
  }

  int load() {
    const Driver* cuda = Driver::get();
    if (!cuda) return refuse("there is no CUDA driver");
    int device = 0, major = 0, minor = 0;
    if (cuda->device(&device) || cuda->device_attribute(&major, 75, device) || cuda->device_attribute(&minor, 76, device))
      return refuse("the CUDA driver does not say which GPU this is");
    const std::string architecture = std::to_string(major) + std::to_string(minor);
    auto image = fields_.find("image_" + architecture), launch = fields_.find("launch_" + architecture);
    if (image == fields_.end() || launch == fields_.end() || launch->second.bytes.size() != sizeof launch_)
      return refuse(("the engine has no kernel for architecture " + architecture).c_str());
    const bool typed = image->second.type == nvinfer1::PluginFieldType::kINT8 && launch->second.type == nvinfer1::PluginFieldType::kINT32;
    memcpy(launch_, launch->second.bytes.data(), sizeof launch_);
    if (!typed || launch_[0] < 1 || launch_[1] < 0 || launch_[2] < 1 || launch_[3] < 0)
      return refuse("the engine's kernel cannot be launched as the engine says");
    kernel_ = std::make_shared<Kernel>();
    if (cuda->load(&kernel_->module, image->second.bytes.data())) return refuse("the GPU does not take the kernel's image");
    if (cuda->function(&kernel_->function, kernel_->module, "drnn_stack")) return refuse("the image has no kernel drnn_stack");
    constexpr int most_dynamic_shared = 8;
    if (launch_[1] > 48 << 10 && cuda->attribute(kernel_->function, most_dynamic_shared, launch_[1]))
      return refuse("a block of the GPU has less shared memory than the kernel needs");
    return 0;
  }

 public:
  bool read(const nvinfer1::PluginFieldCollection& given) {
    for (int32_t i = 0; i < given.nbFields; i++) {
      const nvinfer1::PluginField& field = given.fields[i];
      const bool words = field.type == nvinfer1::PluginFieldType::kINT32;
      if (!words && field.type != nvinfer1::PluginFieldType::kINT8) return false;
      if (!field.name || !field.data || field.length <= 0) return false;
      fields_[field.name] = {field.type, std::string((const char*)field.data, (size_t)field.length * (words ? 4 : 1))};
    }
    auto format = fields_.find("format");
    return format != fields_.end() && format->second.bytes == FORMAT;
  }

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    if (type == nvinfer1::PluginCapabilityType::kRUNTIME) return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    if (type == nvinfer1::PluginCapabilityType::kCORE) return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    return nullptr;  // it builds no engines
  }
  nvinfer1::IPluginV3* clone() noexcept override try { return new Stack(*this); } catch (...) { return no_memory(); }
  const char* getPluginName() const noexcept override { return NAME; }
  const char* getPluginVersion() const noexcept override { return VERSION; }
  const char* getPluginNamespace() const noexcept override { return NAMESPACE; }
  int32_t setTactic(int32_t) noexcept override { return 0; }

  int32_t onShapeChange(const nvinfer1::PluginTensorDesc*, int32_t inputs, const nvinfer1::PluginTensorDesc*,
                        int32_t outputs) noexcept override {
    inputs_ = inputs;
    return inputs >= 2 && outputs == inputs - 1 ? 0 : refuse("the engine gives the plugin other inputs and outputs");
  }

  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override try {
    auto attached = std::make_unique<Stack>(*this);
    return attached->load() ? nullptr : attached.release();
  } catch (...) { return no_memory(); }

  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override try {
    serialised_.clear();
    for (auto& [name, field] : fields_) {
      const int32_t size = field.type == nvinfer1::PluginFieldType::kINT32 ? 4 : 1;
      serialised_.emplace_back(name.c_str(), field.bytes.data(), field.type, (int32_t)field.bytes.size() / size);
    }
    collection_.nbFields = (int32_t)serialised_.size(), collection_.fields = serialised_.data();
    return &collection_;
  } catch (...) { return no_memory(); }

  // The states into one array in the workspace, the kernel, and the states out again (drnn_runtimes/plugin/launch.py).
  int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc* out, const void* const* inputs,
                  void* const* outputs, void* workspace, cudaStream_t stream) noexcept override {
    const Driver* cuda = Driver::get();
    if (!cuda || !kernel_) return refuse("the kernel is not loaded");
    const uintptr_t begin = (uintptr_t)workspace;
    size_t end = 0;
    for (int32_t i = 2; i < inputs_; end += bytes_of(in[i]), i++)
      if (cuda->copy(begin + end, (uintptr_t)inputs[i], bytes_of(in[i]), (void*)stream)) return refuse("a state is not copied");
    int32_t batch = (int32_t)in[0].dims.d[0], steps = (int32_t)in[0].dims.d[1], answers = (int32_t)out[0].dims.d[1];
    const void *rows = inputs[0], *weights = inputs[1];
    void* state = inputs_ > 2 ? workspace : nullptr;
    void* scratch = launch_[3] ? (void*)(begin + (end + 255) / 256 * 256) : nullptr;
    void* top = outputs[0];
    void* arguments[] = {&rows, &weights, &state, &state, &scratch, &top, &batch, &steps, &answers};
    const unsigned grid = ((unsigned)batch + (unsigned)launch_[2] - 1) / (unsigned)launch_[2];
    const unsigned threads = (unsigned)launch_[0], shared = (unsigned)launch_[1];
    if (cuda->launch(kernel_->function, grid, 1, 1, threads, 1, 1, shared, (void*)stream, arguments, nullptr))
      return refuse("the GPU does not launch the kernel");
    size_t at = 0;
    for (int32_t i = 2; i < inputs_; at += bytes_of(in[i]), i++)
      if (cuda->copy((uintptr_t)outputs[i - 1], begin + at, bytes_of(in[i]), (void*)stream)) return refuse("a state is not copied");
    return 0;
  }
};

class Creator final : public nvinfer1::IPluginCreatorV3One {
  nvinfer1::PluginFieldCollection none_{};

 public:
  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override try {
    if (phase != nvinfer1::TensorRTPhase::kRUNTIME)
      return refuse("this library builds no engines: drnn-export model.pt --plugin does"), nullptr;
    auto stack = std::make_unique<Stack>();
    if (!fields || !stack->read(*fields)) return refuse("the engine's kernel is damaged, or of another version"), nullptr;
    return stack.release();
  } catch (...) { return no_memory(); }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &none_; }
  const char* getPluginName() const noexcept override { return NAME; }
  const char* getPluginVersion() const noexcept override { return VERSION; }
  const char* getPluginNamespace() const noexcept override { return NAMESPACE; }
};

}  // namespace drnn
