// The addon: what JavaScript sees of the static library. Thin: convert, call, convert back.
#include <napi.h>

#include "binding.h"
#include "crc32c.h"
#include "probe.h"

namespace {

using namespace moontide;

// (bytes, crc = 0) -> uint32
Napi::Value Crc32c(const Napi::CallbackInfo& info) {
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const uint32_t start = info[1].IsNumber() ? info[1].As<Napi::Number>().Uint32Value() : 0;
  return Napi::Number::New(info.Env(), crc32c(start, bytes.Data(), bytes.ByteLength()));
}

// () -> { name: why not; empty where it is there }
Napi::Value Probe(const Napi::CallbackInfo& info) {
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("io_uring", probeIoUring());
  out.Set("cuda", probeCuda());
  return out;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("abi", 3);
  exports.Set("crcHardware", crc32cHardware());
  exports.Set("crc32c", Napi::Function::New(env, Crc32c, "crc32c"));
  exports.Set("probe", Napi::Function::New(env, Probe, "probe"));
  binding::AddEngine(env, exports);
  binding::AddSsd(env, exports);
  binding::AddFabric(env, exports);
  binding::AddGpu(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(moontide, Init)
