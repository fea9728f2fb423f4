#include "engine-object.h"

#include <algorithm>

namespace moontide::binding {
namespace {

// Doubles per transfer and per slice that `submit` reads; src/runtime/native-batch.ts writes them.
constexpr size_t kTransferDoubles = 8;
constexpr size_t kSliceDoubles = 10;
// Doubles per event and per slice's result that `drain` writes.
constexpr size_t kEventDoubles = 8;
constexpr size_t kResultDoubles = 2;
// Kinds of events that are the binding's own: some of a `Rows` have ended; a row has failed; it is
// held no more.
constexpr double kRowsEnded = 3;
constexpr double kRowFailed = 4;
constexpr double kRowReleased = 5;

}  // namespace

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

void AddEngine(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", EngineObject::Define(env));
}

}  // namespace moontide::binding
