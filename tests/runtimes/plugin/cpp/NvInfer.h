// A stand-in for what drnn_plugin.h uses of TensorRT's header, written after NVIDIA's documentation. It shows that the text is
// C++ that does what it says with such classes, and nothing of NVIDIA's header.
#pragma once
#include <cstdint>
typedef struct CUstream_st* cudaStream_t;
namespace nvinfer1 {
enum class PluginFieldType : int32_t { kINT8 = 3, kINT16 = 4, kINT32 = 5, kCHAR = 6 };
enum class PluginCapabilityType : int32_t { kCORE = 0, kBUILD = 1, kRUNTIME = 2 };
enum class TensorRTPhase : int32_t { kBUILD = 0, kRUNTIME = 1 };
struct PluginField {
  PluginField(const char* n = nullptr, const void* d = nullptr, PluginFieldType t = PluginFieldType::kCHAR, int32_t l = 0) : name(n), data(d), type(t), length(l) {}
  const char* name;
  const void* data;
  PluginFieldType type;
  int32_t length;
};
struct PluginFieldCollection { int32_t nbFields; const PluginField* fields; };
struct Dims { int32_t nbDims; int64_t d[8]; };
struct PluginTensorDesc { Dims dims; int32_t type, format; float scale; };
struct IVersionedInterface { virtual ~IVersionedInterface() = default; };
struct IPluginCapability : IVersionedInterface {};
struct IPluginResourceContext;
struct ILoggerFinder;
struct IPluginV3 : IVersionedInterface {
  virtual IPluginCapability* getCapabilityInterface(PluginCapabilityType) noexcept = 0;
  virtual IPluginV3* clone() noexcept = 0;
};
struct IPluginV3OneCore : IPluginCapability {
  virtual const char* getPluginName() const noexcept = 0;
  virtual const char* getPluginVersion() const noexcept = 0;
  virtual const char* getPluginNamespace() const noexcept = 0;
};
struct IPluginV3OneRuntime : IPluginCapability {
  virtual int32_t setTactic(int32_t) noexcept { return 0; }
  virtual int32_t onShapeChange(const PluginTensorDesc*, int32_t, const PluginTensorDesc*, int32_t) noexcept = 0;
  virtual int32_t enqueue(const PluginTensorDesc*, const PluginTensorDesc*, const void* const*, void* const*, void*, cudaStream_t) noexcept = 0;
  virtual IPluginV3* attachToContext(IPluginResourceContext*) noexcept = 0;
  virtual const PluginFieldCollection* getFieldsToSerialize() noexcept = 0;
};
struct IPluginCreatorInterface : IVersionedInterface {};
struct IPluginCreatorV3One : IPluginCreatorInterface {
  virtual IPluginV3* createPlugin(const char*, const PluginFieldCollection*, TensorRTPhase) noexcept = 0;
  virtual const PluginFieldCollection* getFieldNames() noexcept = 0;
  virtual const char* getPluginName() const noexcept = 0;
  virtual const char* getPluginVersion() const noexcept = 0;
  virtual const char* getPluginNamespace() const noexcept = 0;
};
}  // namespace nvinfer1
