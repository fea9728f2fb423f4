#include <napi.h>

#include <array>
#include <cstring>
#include <map>

#include "bell.h"
#include "binding.h"
#include "engine.h"
#include "rows.h"

namespace moontide::binding {
namespace {

// Doubles per transfer and per slice that `submit` reads; src/runtime/native-batch.ts writes them.
constexpr size_t kTransferDoubles = 8;
constexpr size_t kSliceDoubles = 10;
// Doubles per event and per slice's result that `drain` writes.
constexpr size_t kEventDoubles = 8;
constexpr size_t kResultDoubles = 2;
// Transfers that the engine takes in one go: the rails' threads share its lock.
constexpr size_t kSpecs = 32;
// Kinds of events that are the binding's own: some of a `Rows` have ended; a row has failed; it is
// held no more.
constexpr double kRowsEnded = 3;
constexpr double kRowFailed = 4;
constexpr double kRowReleased = 5;

double asDouble(Status status) { return static_cast<double>(static_cast<int32_t>(status)); }

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  Napi::Value AddRail(const Napi::CallbackInfo& info);
  Napi::Value RailInfo(const Napi::CallbackInfo& info);
  Napi::Value CreatePool(const Napi::CallbackInfo& info);
  Napi::Value PoolInfo(const Napi::CallbackInfo& info);
  Napi::Value PoolBytes(const Napi::CallbackInfo& info);
  Napi::Value ClosePool(const Napi::CallbackInfo& info);
  Napi::Value DescribePool(const Napi::CallbackInfo& info);
  Napi::Value SetSlot(const Napi::CallbackInfo& info);
  Napi::Value SlotUse(const Napi::CallbackInfo& info);
  Napi::Value ImportSegment(const Napi::CallbackInfo& info);
  Napi::Value DropSegment(const Napi::CallbackInfo& info);
  Napi::Value Submit(const Napi::CallbackInfo& info);
  Napi::Value OpenRows(const Napi::CallbackInfo& info);
  Napi::Value StartRows(const Napi::CallbackInfo& info);
  Napi::Value Kick(const Napi::CallbackInfo& info);
  Napi::Value Drain(const Napi::CallbackInfo& info);
  Napi::Value OpenTransfers(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  void Stop();
  static void AtExit(void* self);
  void Hold(bool hold);
  double* RowEvent(const Event& event, double* at);
  Rows* RowsOf(uint32_t id);
  Pool* PoolOf(const Napi::Value& id);

  std::shared_ptr<Bell> bell_;
  std::unique_ptr<Engine> engine_;
  std::array<TransferSpec, kSpecs> specs_;
  std::vector<Event> events_;
  size_t next_ = 0;
  int64_t drainedNs_ = 0;
  uint32_t open_ = 0;
  // By id; each is gone with the memory that JavaScript has of it.
  using RowsTable = std::unordered_map<uint32_t, std::unique_ptr<Rows>>;
  const std::shared_ptr<RowsTable> rows_ = std::make_shared<RowsTable>();
  uint32_t nextRows_ = 0;
  bool held_ = false;
  bool atExit_ = false;
  bool clean_ = true;
  std::multimap<uint32_t, Napi::Reference<Napi::ArrayBuffer>> views_;
};

// Of a typed array or Buffer.
const uint8_t* bytesOf(const Napi::Value& value, size_t* size) {
  const auto array = value.As<Napi::TypedArray>();
  *size = array.ByteLength();
  return static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
}

Napi::Value Failed(Napi::Env env, const std::string& why) {
  Napi::Error::New(env, why).ThrowAsJavaScriptException();
  return env.Undefined();
}

// (settings: Float64Array, onEvents: () => void)
EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  EngineSettings settings;
  const auto numbers = info[0].As<Napi::Float64Array>();
  settings.maxTransfers = static_cast<uint32_t>(numbers[0]);
  settings.reopenNsMin = static_cast<int64_t>(numbers[1]);
  settings.reopenNsMax = static_cast<int64_t>(numbers[2]);
  settings.cancelNs = static_cast<int64_t>(numbers[3]);
  settings.graceNs = static_cast<int64_t>(numbers[4]);
  // The engine's threads may ring when this object is gone, where one hangs.
  bell_ = Bell::make(info.Env(), info[1].As<Napi::Function>());
  if (bell_ == nullptr) {
    Failed(info.Env(), "engine: no handle in the event loop");
    return;
  }
  engine_ = std::make_unique<Engine>(settings, [bell = bell_] { bell->ring(); });
  // Before the environment goes, so that no thread calls into it.
  napi_add_env_cleanup_hook(info.Env(), AtExit, this);
}

EngineObject::~EngineObject() {
  if (!atExit_) napi_remove_env_cleanup_hook(Env(), AtExit, this);
  Stop();
}

void EngineObject::AtExit(void* self) {
  static_cast<EngineObject*>(self)->atExit_ = true;
  static_cast<EngineObject*>(self)->Stop();
}

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

// While transfers are open, the process must not end for want of other work.
void EngineObject::Hold(bool hold) {
  if (hold) open_ = std::max(open_, 1u);
  if (hold == held_) return;
  held_ = hold;
  bell_->hold(hold);
}

// (batch: Float64Array, doubles) -> transfers taken; fewer than given: too many are open
Napi::Value EngineObject::Submit(const Napi::CallbackInfo& info) {
  auto array = info[0].As<Napi::Float64Array>();
  double* at = array.Data();
  const double* const end = at + std::min<size_t>(array.ElementLength(),
                                            info[1].As<Napi::Number>().Uint32Value());
  uint32_t taken = 0;
  size_t count = 0;
  while (static_cast<size_t>(end - at) >= kTransferDoubles) {
    TransferSpec& spec = specs_[count++];
    spec.tag = static_cast<uint64_t>(at[0]);
    spec.kind = at[1] == 0 ? OpKind::read : OpKind::write;
    spec.urgent = at[2] != 0;
    spec.flags = static_cast<uint32_t>(at[3]);
    spec.expectedCrc = static_cast<uint32_t>(at[4]);
    spec.deadlineNs = static_cast<int64_t>(at[5]);
    const auto slices = static_cast<size_t>(at[6]);
    at += kTransferDoubles;
    if (slices > static_cast<size_t>(end - at) / kSliceDoubles) {
      return Failed(info.Env(), "submit: the batch ends within a transfer");
    }
    spec.slices.resize(slices);
    for (SliceSpec& slice : spec.slices) {
      slice.pool = static_cast<uint32_t>(at[0]);
      slice.localSlot = static_cast<uint32_t>(at[1]);
      slice.localOffset = static_cast<uint64_t>(at[2]);
      slice.segment = static_cast<uint32_t>(at[3]);
      slice.remoteSlot = static_cast<uint32_t>(at[4]);
      slice.generation = static_cast<uint64_t>(at[5]);
      slice.remoteOffset = static_cast<uint64_t>(at[6]);
      slice.lengthBytes = static_cast<uint64_t>(at[7]);
      slice.rail = static_cast<uint32_t>(at[8]);
      slice.remoteRail = static_cast<uint32_t>(at[9]);
      at += kSliceDoubles;
    }
    if (count < specs_.size() && static_cast<size_t>(end - at) >= kTransferDoubles) continue;
    const size_t accepted = engine_->submit(specs_.data(), count);
    taken += static_cast<uint32_t>(accepted);
    if (accepted < count) break;
    count = 0;
  }
  if (taken > 0) Hold(true);
  engine_->kick();
  return Napi::Number::New(info.Env(), taken);
}

// (rows, pool, segment, write, urgent, flags, deadlineNs, sliceBytes) -> [id, memory]
Napi::Value EngineObject::OpenRows(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t i) { return info[i].As<Napi::Number>().DoubleValue(); };
  const RowsShape shape{static_cast<uint32_t>(number(1)),
                        static_cast<uint32_t>(number(2)),
                        info[3].As<Napi::Boolean>() ? OpKind::write : OpKind::read,
                        info[4].As<Napi::Boolean>(),
                        static_cast<uint32_t>(number(5)),
                        static_cast<int64_t>(number(6)),
                        std::max<uint64_t>(1, static_cast<uint64_t>(number(7)))};
  const uint32_t id = nextRows_++ & 0x7fffffff;
  auto rows = std::make_unique<Rows>(id, static_cast<uint32_t>(number(0)), shape);
  using Table = std::shared_ptr<RowsTable>;
  auto memory = Napi::ArrayBuffer::New(
      info.Env(), rows->data(), rows->sizeBytes(),
      [id](Napi::Env, void*, Table* table) {
        (*table)->erase(id);
        delete table;
      },
      new Table(rows_));
  (*rows_)[id] = std::move(rows);
  Napi::Array out = Napi::Array::New(info.Env(), 2);
  out.Set(0u, id);
  out.Set(1u, memory);
  return out;
}

Rows* EngineObject::RowsOf(uint32_t id) {
  const auto found = rows_->find(id);
  return found == rows_->end() ? nullptr : found->second.get();
}

// (rows, from, count, rail, remoteRail, again) -> rows taken; fewer than given: too many are open, the
// rest are to be given `again`; negative: one of them is open. Takes effect at the next kick.
Napi::Value EngineObject::StartRows(const Napi::CallbackInfo& info) {
  const auto number = [&](size_t i) { return info[i].As<Napi::Number>().Uint32Value(); };
  Rows* const rows = RowsOf(number(0));
  const uint32_t from = number(1);
  const uint32_t count = number(2);
  if (rows == nullptr || from > rows->count() || count > rows->count() - from) {
    return Failed(info.Env(), "no such rows");
  }
  if (!info[5].As<Napi::Boolean>()) {
    if (rows->anyOpen(from, count)) return Napi::Number::New(info.Env(), -1);
    rows->start(from, count, nowNs());
  }
  uint32_t taken = 0;
  while (taken < count) {
    const uint32_t some = std::min<uint32_t>(count - taken, kSpecs);
    for (uint32_t i = 0; i < some; i++) {
      rows->spec(from + taken + i, number(3), number(4), &specs_[i]);
    }
    const size_t accepted = engine_->submit(specs_.data(), some);
    taken += static_cast<uint32_t>(accepted);
    if (accepted < some) break;
  }
  if (taken > 0) Hold(true);
  return Napi::Number::New(info.Env(), taken);
}

Napi::Value EngineObject::Kick(const Napi::CallbackInfo& info) {
  engine_->kick();
  return info.Env().Undefined();
}

// What became of a row: of one that arrived, only the first is told. Answers where to go on.
double* EngineObject::RowEvent(const Event& event, double* at) {
  const uint32_t id = Rows::idOf(event.tag);
  Rows* const rows = RowsOf(id);
  if (rows == nullptr) return at;
  const bool arrived = event.kind == EventKind::transfer && event.status == Status::ok;
  if (arrived && !rows->end(event, drainedNs_)) return at;
  std::fill_n(at, kEventDoubles, 0.0);
  at[0] = arrived ? kRowsEnded : event.kind == EventKind::transfer ? kRowFailed : kRowReleased;
  at[1] = id;
  at[2] = asDouble(event.status);
  at[3] = event.flags;
  at[4] = event.crc;
  at[5] = Rows::rowOf(event.tag);
  at[6] = rows->railOf(Rows::rowOf(event.tag));
  return at + kEventDoubles;
}

// (out: Float64Array) -> doubles written, negative when there is more (call again)
Napi::Value EngineObject::Drain(const Napi::CallbackInfo& info) {
  auto array = info[0].As<Napi::Float64Array>();
  double* const start = array.Data();
  double* at = start;
  double* const end = at + array.ElementLength();
  if (next_ == events_.size()) {
    open_ = engine_->drain(&events_);
    drainedNs_ = nowNs();
    next_ = 0;
  }
  for (; next_ < events_.size(); next_++) {
    const Event& event = events_[next_];
    const auto room = static_cast<size_t>(end - at);
    if (room < kEventDoubles) break;
    if (event.kind != EventKind::rail && (event.tag & Rows::kTag) != 0) {
      at = RowEvent(event, at);
      continue;
    }
    // One whose results do not fit whole tells the first of them.
    size_t results = event.slices.size();
    if (room < kEventDoubles + results * kResultDoubles) {
      if (at != start) break;
      results = (room - kEventDoubles) / kResultDoubles;
    }
    at[0] = static_cast<double>(event.kind);
    at[1] = static_cast<double>(event.tag);
    at[2] = asDouble(event.status);
    at[3] = event.flags;
    at[4] = event.crc;
    at[5] = static_cast<double>(event.doneBytes);
    at[6] = static_cast<double>(event.durationNs);
    at[7] = static_cast<double>(results);
    at += kEventDoubles;
    for (size_t i = 0; i < results; i++, at += kResultDoubles) {
      at[0] = asDouble(event.slices[i].status);
      at[1] = static_cast<double>(event.slices[i].durationNs);
    }
  }
  const bool more = next_ < events_.size();
  if (!more && open_ == 0) Hold(false);
  const auto written = static_cast<double>(at - start);
  return Napi::Number::New(info.Env(), more ? -written : written);
}

Napi::Value EngineObject::OpenTransfers(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), engine_->openTransfers());
}

void EngineObject::Stop() {
  if (engine_ == nullptr) return;
  clean_ = engine_->stop() && clean_;
  bell_->close();
  // A thread that hangs still knows the engine.
  if (!clean_) (void)engine_.release();
}

// () -> clean: false when a rail's thread hangs. What was open is reported by the next drain.
Napi::Value EngineObject::Close(const Napi::CallbackInfo& info) {
  // The memory goes: what JavaScript saw of it goes first.
  for (auto& [pool, view] : views_) {
    if (!view.Value().IsEmpty()) view.Value().Detach();
  }
  views_.clear();
  clean_ = engine_->stop() && clean_;
  bell_->close();
  return Napi::Boolean::New(info.Env(), clean_);
}

Napi::Function EngineObject::Define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {InstanceMethod<&EngineObject::AddRail>("addRail"),
                      InstanceMethod<&EngineObject::RailInfo>("railInfo"),
                      InstanceMethod<&EngineObject::CreatePool>("createPool"),
                      InstanceMethod<&EngineObject::PoolInfo>("poolInfo"),
                      InstanceMethod<&EngineObject::PoolBytes>("poolBytes"),
                      InstanceMethod<&EngineObject::ClosePool>("closePool"),
                      InstanceMethod<&EngineObject::DescribePool>("describePool"),
                      InstanceMethod<&EngineObject::SetSlot>("setSlot"),
                      InstanceMethod<&EngineObject::SlotUse>("slotUse"),
                      InstanceMethod<&EngineObject::ImportSegment>("importSegment"),
                      InstanceMethod<&EngineObject::DropSegment>("dropSegment"),
                      InstanceMethod<&EngineObject::Submit>("submit"),
                      InstanceMethod<&EngineObject::OpenRows>("openRows"),
                      InstanceMethod<&EngineObject::StartRows>("startRows"),
                      InstanceMethod<&EngineObject::Kick>("kick"),
                      InstanceMethod<&EngineObject::Drain>("drain"),
                      InstanceMethod<&EngineObject::OpenTransfers>("openTransfers"),
                      InstanceMethod<&EngineObject::Close>("close")});
}

}  // namespace

void AddEngine(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", EngineObject::Define(env));
}

}  // namespace moontide::binding
