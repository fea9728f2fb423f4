// The parts of the addon; each adds its functions or classes to the exports. Thin: convert, call the
// static library, convert back.
#pragma once

#include <napi.h>

namespace moontide::binding {

void AddEngine(Napi::Env env, Napi::Object exports);
void AddSsd(Napi::Env env, Napi::Object exports);
void AddFabric(Napi::Env env, Napi::Object exports);
void AddGpu(Napi::Env env, Napi::Object exports);

}  // namespace moontide::binding
