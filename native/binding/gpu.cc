// GPUs for JavaScript. Errors throw with the driver's own text.
#include <napi.h>

#include <memory>
#include <string>

#include "binding.h"
#include "cuda.h"

namespace moontide::binding {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";

struct Loaded {
  std::shared_ptr<Cuda> cuda;
  std::string whyNot;
};

// Once per process: the driver does not like to be loaded twice.
const Loaded& loaded() {
  static const Loaded once = [] {
    Loaded result;
    result.cuda = Cuda::load(kLibrary, result.whyNot);
    return result;
  }();
  return once;
}

Napi::Value thrown(Napi::Env env, const std::string& reason) {
  Napi::Error::New(env, reason).ThrowAsJavaScriptException();
  return env.Undefined();
}

// (library: string | null) -> {reason, driverVersion, gpus}
Napi::Value Probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Loaded other;
  const bool asked = info[0].IsString();
  if (asked) {
    const std::string library = info[0].As<Napi::String>().Utf8Value();
    other.cuda = Cuda::load(library.c_str(), other.whyNot);
  }
  const Loaded& found = asked ? other : loaded();
  Napi::Object out = Napi::Object::New(env);
  const bool there = found.cuda != nullptr;
  out.Set("reason", there ? env.Null() : Napi::String::New(env, found.whyNot).As<Napi::Value>());
  out.Set("driverVersion", there ? found.cuda->driverVersion() : 0);
  Napi::Array gpus = Napi::Array::New(env);
  for (size_t i = 0; there && i < found.cuda->gpus().size(); i++) {
    const GpuInfo& gpu = found.cuda->gpus()[i];
    Napi::Object one = Napi::Object::New(env);
    one.Set("ordinal", gpu.ordinal);
    one.Set("name", gpu.name);
    one.Set("pciAddress", gpu.pciAddress);
    one.Set("memoryBytes", static_cast<double>(gpu.memoryBytes));
    one.Set("compute", std::to_string(gpu.computeMajor) + "." + std::to_string(gpu.computeMinor));
    one.Set("dmabuf", gpu.dmabuf);
    gpus.Set(static_cast<uint32_t>(i), one);
  }
  out.Set("gpus", gpus);
  return out;
}

class GpuObject : public Napi::ObjectWrap<GpuObject> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "Gpu",
        {InstanceMethod<&GpuObject::MakePool>("makePool"),
         InstanceMethod<&GpuObject::FreePool>("freePool"),
         InstanceMethod<&GpuObject::PinHost>("pinHost"),
         InstanceMethod<&GpuObject::UnpinHost>("unpinHost"),
         InstanceMethod<&GpuObject::CopyIn>("copyIn"), InstanceMethod<&GpuObject::CopyOut>("copyOut"),
         InstanceMethod<&GpuObject::Fill>("fill"), InstanceMethod<&GpuObject::Crc32c>("crc32c"),
         InstanceMethod<&GpuObject::Done>("done"),
         InstanceMethod<&GpuObject::ExportDmabuf>("exportDmabuf"),
         InstanceMethod<&GpuObject::Close>("close")});
  }

  // (ordinal)
  explicit GpuObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (loaded().cuda == nullptr) {
      thrown(info.Env(), loaded().whyNot);
      return;
    }
    std::string whyNot;
    gpu_ = Gpu::open(loaded().cuda, info[0].As<Napi::Number>().Int32Value(), whyNot);
    if (gpu_ == nullptr) thrown(info.Env(), whyNot);
  }

 private:
  static uint64_t whole(const Napi::Value& value) {
    return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
  }

  bool Open(Napi::Env env) {
    if (gpu_ == nullptr) thrown(env, "the GPU is closed");
    return gpu_ != nullptr;
  }

  Napi::Value Outcome(Napi::Env env, const char* what, int error, double value) {
    if (error == 0) return Napi::Number::New(env, value);
    return thrown(env, std::string(what) + ": " + loaded().cuda->errorText(error));
  }

  // (sizeBytes) -> address
  Napi::Value MakePool(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    CuDevicePtr base = 0;
    const int error = gpu_->makePool(whole(info[0]), base);
    return Outcome(info.Env(), "device pool", error, static_cast<double>(base));
  }

  Napi::Value FreePool(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    return Outcome(info.Env(), "freeing a device pool", gpu_->freePool(whole(info[0])), 0);
  }

  // (memory: ArrayBuffer)
  Napi::Value PinHost(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    auto memory = info[0].As<Napi::ArrayBuffer>();
    return Outcome(info.Env(), "pinning", gpu_->pinHost(memory.Data(), memory.ByteLength()), 0);
  }

  Napi::Value UnpinHost(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    return Outcome(info.Env(), "unpinning", gpu_->unpinHost(info[0].As<Napi::ArrayBuffer>().Data()),
                   0);
  }

  // Null when the range is not within the memory.
  static uint8_t* HostPlace(Napi::ArrayBuffer memory, double offset, double sizeBytes) {
    const bool inside = offset >= 0 && sizeBytes >= 0 &&
                        offset + sizeBytes <= static_cast<double>(memory.ByteLength());
    return inside ? static_cast<uint8_t*>(memory.Data()) + static_cast<uint64_t>(offset) : nullptr;
  }

  // (to, memory, offset, sizeBytes) -> ticket
  Napi::Value CopyIn(const Napi::CallbackInfo& info) {
    return Copy(info, whole(info[0]), info[1].As<Napi::ArrayBuffer>(), info[2], true);
  }

  // (memory, offset, from, sizeBytes) -> ticket
  Napi::Value CopyOut(const Napi::CallbackInfo& info) {
    return Copy(info, whole(info[2]), info[0].As<Napi::ArrayBuffer>(), info[1], false);
  }

  Napi::Value Copy(const Napi::CallbackInfo& info, CuDevicePtr device, Napi::ArrayBuffer memory,
                   const Napi::Value& offset, bool in) {
    if (!Open(info.Env())) return info.Env().Undefined();
    const double size = info[3].As<Napi::Number>().DoubleValue();
    uint8_t* host = HostPlace(memory, offset.As<Napi::Number>().DoubleValue(), size);
    if (host == nullptr) return thrown(info.Env(), "copy: outside the host's memory");
    uint64_t ticket = 0;
    const auto bytes = static_cast<size_t>(size);
    const int error = in ? gpu_->copyIn(device, host, bytes, ticket)
                         : gpu_->copyOut(host, device, bytes, ticket);
    return Outcome(info.Env(), "copy", error, static_cast<double>(ticket));
  }

  // (to, words, seed) -> ticket
  Napi::Value Fill(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    uint64_t ticket = 0;
    const uint32_t seed = info[2].As<Napi::Number>().Uint32Value();
    const int error = gpu_->fill(whole(info[0]), whole(info[1]), seed, ticket);
    return Outcome(info.Env(), "fill", error, static_cast<double>(ticket));
  }

  // (data, blocks, blockBytes, crcs) -> ticket
  Napi::Value Crc32c(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    uint64_t ticket = 0;
    const int error = gpu_->crc32c(whole(info[0]), static_cast<uint32_t>(whole(info[1])),
                                   static_cast<uint32_t>(whole(info[2])), whole(info[3]), ticket);
    return Outcome(info.Env(), "crc32c", error, static_cast<double>(ticket));
  }

  // (ticket) -> whether it is done
  Napi::Value Done(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    int error = 0;
    const bool done = gpu_->done(whole(info[0]), error);
    if (error != 0) return Outcome(info.Env(), "device work", error, 0);
    return Napi::Boolean::New(info.Env(), done);
  }

  // (address, sizeBytes) -> descriptor
  Napi::Value ExportDmabuf(const Napi::CallbackInfo& info) {
    if (!Open(info.Env())) return info.Env().Undefined();
    std::string whyNot;
    const int fd = gpu_->exportDmabuf(whole(info[0]), whole(info[1]), whyNot);
    if (fd < 0) return thrown(info.Env(), "dmabuf: " + whyNot);
    return Napi::Number::New(info.Env(), fd);
  }

  void Close(const Napi::CallbackInfo&) { gpu_.reset(); }

  std::unique_ptr<Gpu> gpu_;
};

}  // namespace

void AddGpu(Napi::Env env, Napi::Object exports) {
  exports.Set("gpuProbe", Napi::Function::New(env, Probe, "gpuProbe"));
  exports.Set("Gpu", GpuObject::Define(env));
}

}  // namespace moontide::binding
