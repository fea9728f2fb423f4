#include <napi.h>

#include "binding.h"
#include "fabric-library.h"

namespace moontide::binding {
namespace {

Napi::Value textOrNull(Napi::Env env, const std::string& text) {
  if (text.empty()) return env.Null();
  return Napi::String::New(env, text);
}

// (provider; empty: all) -> what libfabric offers here, or why there is no libfabric
Napi::Value Fabric(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object out = Napi::Object::New(env);
  Napi::Array list = Napi::Array::New(env);
  std::string why;
  const FabricLibrary* library = FabricLibrary::load(&why);
  out.Set("reason", textOrNull(env, why));
  out.Set("version", env.Null());
  out.Set("offers", list);
  if (library == nullptr) return out;
  out.Set("version", std::to_string(library->version >> 16) + "." +
                         std::to_string(library->version & 0xffff));
  for (const FabricOffer& offer : fabricOffers(*library, info[0].As<Napi::String>().Utf8Value())) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("provider", offer.provider);
    entry.Set("domain", offer.domain);
    entry.Set("address", textOrNull(env, offer.address));
    entry.Set("bitsPerSec", offer.bitsPerSec == 0
                                ? env.Null()
                                : Napi::Number::New(env, static_cast<double>(offer.bitsPerSec)));
    entry.Set("pci", textOrNull(env, offer.pci));
    entry.Set("up", !offer.linkDown);
    list.Set(list.Length(), entry);
  }
  return out;
}

}  // namespace

void AddFabric(Napi::Env env, Napi::Object exports) {
  exports.Set("fabric", Napi::Function::New(env, Fabric, "fabric"));
}

}  // namespace moontide::binding
