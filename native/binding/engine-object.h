// The engine for JavaScript: doubles in, doubles out, one callback for whatever ended. Its moves are in
// engine.cc; rails, pools and segments in engine-pools.cc.
#pragma once

#include <napi.h>

#include <array>
#include <map>

#include "bell.h"
#include "binding.h"
#include "engine.h"
#include "rows.h"

namespace moontide::binding {

// Transfers that the engine takes in one go: the rails' threads share its lock.
constexpr size_t kSpecs = 32;

inline double asDouble(Status status) {
  return static_cast<double>(static_cast<int32_t>(status));
}

Napi::Value Failed(Napi::Env env, const std::string& why);

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

}  // namespace moontide::binding
