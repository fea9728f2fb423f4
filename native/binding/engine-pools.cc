#include "engine-object.h"

namespace moontide::binding {
namespace {

// Of a typed array or Buffer.
const uint8_t* bytesOf(const Napi::Value& value, size_t* size) {
  const auto array = value.As<Napi::TypedArray>();
  *size = array.ByteLength();
  return static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
}

}  // namespace

// (options: string[] of key, value, …) -> index
Napi::Value EngineObject::AddRail(const Napi::CallbackInfo& info) {
  RailOptions options;
  const auto pairs = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i + 1 < pairs.Length(); i += 2) {
    options[pairs.Get(i).As<Napi::String>()] = pairs.Get(i + 1).As<Napi::String>();
  }
  std::string why;
  const int rail = engine_->addRail(options, &why);
  if (rail < 0) return Failed(info.Env(), "rail " + options["kind"] + ": " + why);
  return Napi::Number::New(info.Env(), rail);
}

Napi::Value EngineObject::RailInfo(const Napi::CallbackInfo& info) {
  const uint32_t rail = info[0].As<Napi::Number>().Uint32Value();
  if (rail >= engine_->rails()) return info.Env().Null();
  const moontide::RailInfo about = engine_->railInfo(rail);
  const RailCapabilities& can = about.capabilities;
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("kind", about.kind);
  out.Set("state", static_cast<uint32_t>(about.state));
  out.Set("cause", about.cause);
  out.Set("detail", can.detail);
  out.Set("read", can.read);
  out.Set("write", can.write);
  out.Set("deliveryComplete", can.deliveryComplete);
  out.Set("enforcesGrants", can.enforcesGrants);
  out.Set("crcWhileMoving", can.crcWhileMoving);
  out.Set("sameHostOnly", can.sameHostOnly);
  out.Set("maxOpBytes", static_cast<double>(can.maxOpBytes));
  out.Set("movedBytes", static_cast<double>(about.movedBytes));
  out.Set("operations", static_cast<double>(about.operations));
  out.Set("failures", static_cast<double>(about.failures));
  out.Set("reopened", static_cast<double>(about.reopened));
  out.Set("queued", static_cast<double>(about.queued));
  return out;
}

// (slotBytes, slots, hugetlb, prefault) -> id
Napi::Value EngineObject::CreatePool(const Napi::CallbackInfo& info) {
  PoolOptions options;
  options.slotBytes = static_cast<uint64_t>(info[0].As<Napi::Number>().DoubleValue());
  options.slots = info[1].As<Napi::Number>().Uint32Value();
  options.hugetlb = info[2].As<Napi::Boolean>();
  options.prefault = info[3].As<Napi::Boolean>();
  std::string why;
  const int id = engine_->createPool(options, &why);
  if (id < 0) return Failed(info.Env(), "pool: " + why);
  return Napi::Number::New(info.Env(), id);
}

Pool* EngineObject::PoolOf(const Napi::Value& id) {
  return engine_->pool(id.As<Napi::Number>().Uint32Value());
}

Napi::Value EngineObject::PoolInfo(const Napi::CallbackInfo& info) {
  Pool* pool = PoolOf(info[0]);
  if (pool == nullptr) return info.Env().Null();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("slots", pool->region().slots);
  out.Set("slotBytes", static_cast<double>(pool->region().slotBytes));
  out.Set("mappedBytes", static_cast<double>(pool->region().sizeBytes));
  out.Set("incarnation", static_cast<double>(pool->region().incarnation));
  out.Set("pages", pool->pages());
  out.Set("address", Napi::BigInt::New(info.Env(), reinterpret_cast<uint64_t>(
                                                       pool->region().base)));
  return out;
}

// (pool, from, size) -> ArrayBuffer over that part of the slots; detached when the pool is closed.
Napi::Value EngineObject::PoolBytes(const Napi::CallbackInfo& info) {
  Pool* pool = PoolOf(info[0]);
  const double from = info[1].As<Napi::Number>().DoubleValue();
  const double size = info[2].As<Napi::Number>().DoubleValue();
  if (pool == nullptr || from < 0 || size < 0 ||
      from + size > static_cast<double>(pool->region().tableOffset)) {
    return info.Env().Null();
  }
  // The finalizer is there so that the engine stays while the view does.
  auto* keep = new Napi::ObjectReference(Napi::Persistent(info.This().As<Napi::Object>()));
  auto buffer = Napi::ArrayBuffer::New(
      info.Env(), pool->region().base + static_cast<uint64_t>(from), static_cast<size_t>(size),
      [](Napi::Env, void*, Napi::ObjectReference* reference) { delete reference; }, keep);
  views_.emplace(info[0].As<Napi::Number>().Uint32Value(), Napi::Weak(buffer));
  return buffer;
}

Napi::Value EngineObject::ClosePool(const Napi::CallbackInfo& info) {
  const uint32_t id = info[0].As<Napi::Number>().Uint32Value();
  const Status status = engine_->closePool(id);
  if (status == Status::ok) {
    const auto [from, to] = views_.equal_range(id);
    for (auto at = from; at != to; ++at) {
      if (!at->second.Value().IsEmpty()) at->second.Value().Detach();
    }
    views_.erase(from, to);
  }
  return Napi::Number::New(info.Env(), asDouble(status));
}

Napi::Value EngineObject::DescribePool(const Napi::CallbackInfo& info) {
  Blob blob;
  if (!engine_->describePool(info[0].As<Napi::Number>().Uint32Value(), &blob)) {
    return info.Env().Null();
  }
  return Napi::Buffer<uint8_t>::Copy(info.Env(), blob.data(), blob.size());
}

// (pool, slot, generation, grants) -> quiet: no peer is served under what stood there
Napi::Value EngineObject::SetSlot(const Napi::CallbackInfo& info) {
  Pool* pool = PoolOf(info[0]);
  const uint32_t slot = info[1].As<Napi::Number>().Uint32Value();
  if (pool == nullptr || slot >= pool->region().slots) return Failed(info.Env(), "no such slot");
  return Napi::Boolean::New(
      info.Env(), pool->setSlot(slot, static_cast<uint64_t>(info[2].As<Napi::Number>().DoubleValue()),
                                info[3].As<Napi::Number>().Uint32Value()));
}

// (pool, slot) -> 1: operations of this process are open on it, 2: of peers, 3: both
Napi::Value EngineObject::SlotUse(const Napi::CallbackInfo& info) {
  Pool* pool = PoolOf(info[0]);
  const uint32_t slot = info[1].As<Napi::Number>().Uint32Value();
  if (pool == nullptr || slot >= pool->region().slots) return Failed(info.Env(), "no such slot");
  const int use = (pool->open[slot].load() != 0 ? 1 : 0) + (pool->busy(slot) ? 2 : 0);
  return Napi::Number::New(info.Env(), use);
}

Napi::Value EngineObject::ImportSegment(const Napi::CallbackInfo& info) {
  size_t size;
  const uint8_t* data = bytesOf(info[0], &size);
  const int id = engine_->importSegment(data, size);
  if (id < 0) return info.Env().Null();
  const Descriptor* about = engine_->segment(static_cast<uint32_t>(id));
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("id", id);
  out.Set("incarnation", static_cast<double>(about->incarnation));
  out.Set("slots", about->slots);
  out.Set("slotBytes", static_cast<double>(about->slotBytes));
  Napi::Array rails = Napi::Array::New(info.Env());
  for (const RailDescriptor& rail : about->rails) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("kind", rail.kind);
    entry.Set("index", rail.index);
    rails.Set(rails.Length(), entry);
  }
  out.Set("rails", rails);
  return out;
}

Napi::Value EngineObject::DropSegment(const Napi::CallbackInfo& info) {
  engine_->dropSegment(info[0].As<Napi::Number>().Uint32Value());
  return info.Env().Undefined();
}

}  // namespace moontide::binding
