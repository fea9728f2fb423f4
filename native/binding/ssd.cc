// The SSD store for JavaScript: typed arrays in, typed arrays out, one callback for whatever ended.
#include <napi.h>
#include <sys/mman.h>

#include <memory>
#include <string>
#include <vector>

#include "bell.h"
#include "binding.h"
#include "ssd-store.h"

namespace moontide::binding {
namespace {

constexpr uint32_t kNoMemory = 0xffffffff;

std::string text(const Napi::Object& from, const char* name) {
  return from.Get(name).As<Napi::String>().Utf8Value();
}

double number(const Napi::Object& from, const char* name) {
  return from.Get(name).As<Napi::Number>().DoubleValue();
}

Napi::Value orNull(Napi::Env env, const std::string& reason) {
  if (reason.empty()) return env.Null();
  return Napi::String::New(env, reason);
}

template <typename Array, typename Item, typename Get>
Array column(Napi::Env env, const std::vector<Item>& items, Get get) {
  Array array = Array::New(env, items.size());
  for (size_t i = 0; i < items.size(); i++) array[i] = get(items[i]);
  return array;
}

Napi::Uint8Array keyBytes(Napi::Env env, size_t count) {
  return Napi::Uint8Array::New(env, count * kKeyBytes);
}

class Ssd : public Napi::ObjectWrap<Ssd> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "SsdStore",
                       {InstanceMethod<&Ssd::Attach>("attach"), InstanceMethod<&Ssd::Submit>("submit"),
                        InstanceMethod<&Ssd::List>("list"), InstanceMethod<&Ssd::Drain>("drain"),
                        InstanceMethod<&Ssd::Stats>("stats"),
                        InstanceMethod<&Ssd::Capabilities>("capabilities"),
                        InstanceMethod<&Ssd::Close>("close")});
  }

  // (options, notify)
  explicit Ssd(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    const auto from = info[0].As<Napi::Object>();
    SsdOptions options;
    options.folder = text(from, "folder");
    options.slotBytes = static_cast<uint32_t>(number(from, "slotBytes"));
    options.capacityBytes = static_cast<uint64_t>(number(from, "capacityBytes"));
    options.segmentBytes = static_cast<uint64_t>(number(from, "segmentBytes"));
    options.queueDepth = static_cast<uint32_t>(number(from, "queueDepth"));
    options.scrubBytesPerSec = static_cast<uint64_t>(number(from, "scrubBytesPerSec"));
    options.direct = from.Get("direct").ToBoolean();
    const std::string backend = text(from, "backend");
    if (backend == "io_uring") options.backend = SsdOptions::Backend::ring;
    if (backend == "threads") options.backend = SsdOptions::Backend::threads;
    bell_ = Bell::make(info.Env(), info[1].As<Napi::Function>());
    if (bell_ == nullptr) {
      Napi::Error::New(info.Env(), "SSD store: no handle in the event loop")
          .ThrowAsJavaScriptException();
      return;
    }
    bell_->hold(true);
    store_ = std::make_unique<SsdStore>(std::move(options), [bell = bell_] { bell->ring(); });
    hook_ = info.Env().AddCleanupHook(+[](Ssd* ssd) { ssd->End(); }, this);
  }

  void Finalize(Napi::Env env) override {
    if (store_ == nullptr) return;
    hook_.Remove(env);
    End();
  }

 private:
  // (id, memory: ArrayBuffer) -> its number
  Napi::Value Attach(const Napi::CallbackInfo& info) {
    auto buffer = info[1].As<Napi::ArrayBuffer>();
    auto batch = std::make_unique<SsdBatch>();
    batch->id = info[0].As<Napi::Number>().Uint32Value();
    batch->verb = SsdVerb::attach;
    batch->base = static_cast<uint8_t*>(buffer.Data());
    batch->baseBytes = buffer.ByteLength();
    memories_.push_back({batch->base, batch->baseBytes, Napi::Persistent(buffer)});
    Send(info.Env(), std::move(batch));
    return Napi::Number::New(info.Env(), static_cast<double>(memories_.size() - 1));
  }

  // (id, verb, keys, memory, offsets, sizes, crcs); the last four null where the verb needs none
  void Submit(const Napi::CallbackInfo& info) {
    auto batch = std::make_unique<SsdBatch>();
    batch->id = info[0].As<Napi::Number>().Uint32Value();
    batch->verb = static_cast<SsdVerb>(info[1].As<Napi::Number>().Uint32Value());
    const auto keys = info[2].As<Napi::Uint8Array>();
    const size_t count = keys.ByteLength() / kKeyBytes;
    batch->items.resize(count);
    for (size_t i = 0; i < count; i++) {
      memcpy(batch->items[i].key.bytes.data(), keys.Data() + i * kKeyBytes, kKeyBytes);
    }
    if (batch->verb == SsdVerb::put || batch->verb == SsdVerb::get) {
      const uint32_t memory = info[3].As<Napi::Number>().Uint32Value();
      const auto offsets = info[4].As<Napi::Float64Array>();
      const auto sizes = info[5].As<Napi::Uint32Array>();
      if (offsets.ElementLength() == count && sizes.ElementLength() == count) {
        for (size_t i = 0; i < count; i++) {
          batch->items[i].sizeBytes = sizes[i];
          batch->items[i].data = Place(memory, offsets[i], sizes[i]);
        }
      }
      if (info[6].IsTypedArray()) {
        const auto crcs = info[6].As<Napi::Uint32Array>();
        batch->hasCrcs = crcs.ElementLength() == count;
        for (size_t i = 0; batch->hasCrcs && i < count; i++) batch->items[i].crc = crcs[i];
      }
    }
    Send(info.Env(), std::move(batch));
  }

  // (id, cursor, limit)
  void List(const Napi::CallbackInfo& info) {
    auto batch = std::make_unique<SsdBatch>();
    batch->id = info[0].As<Napi::Number>().Uint32Value();
    batch->verb = SsdVerb::list;
    batch->cursor = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
    batch->limit = info[2].As<Napi::Number>().Uint32Value();
    Send(info.Env(), std::move(batch));
  }

  Napi::Value Drain(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    SsdStore::Drained drained = store_ == nullptr ? SsdStore::Drained{} : store_->drain();
    Napi::Object out = Napi::Object::New(env);
    out.Set("opened", drained.opened);
    out.Set("openError", orNull(env, drained.openError));
    out.Set("closed", drained.closed);
    Napi::Array batches = Napi::Array::New(env, drained.batches.size());
    for (uint32_t i = 0; i < drained.batches.size(); i++) {
      batches.Set(i, Answer(env, *drained.batches[i]));
    }
    out.Set("batches", batches);
    Napi::Uint8Array lost = keyBytes(env, drained.lost.size());
    for (size_t i = 0; i < drained.lost.size(); i++) {
      memcpy(lost.Data() + i * kKeyBytes, drained.lost[i].bytes.data(), kKeyBytes);
    }
    out.Set("lost", lost);
    open_ -= static_cast<uint32_t>(drained.batches.size());
    if (drained.opened) open_--;
    if (drained.closed) {
      hook_.Remove(env);
      End();
    } else if (open_ == 0) {
      bell_->hold(false);
    }
    return out;
  }

  Napi::Object Answer(Napi::Env env, const SsdBatch& batch) {
    Napi::Object out = Napi::Object::New(env);
    const auto& items = batch.items;
    out.Set("id", static_cast<double>(batch.id));
    out.Set("statuses", column<Napi::Uint8Array>(env, items, [](const SsdItem& item) {
              return static_cast<uint8_t>(item.status);
            }));
    out.Set("sizes", column<Napi::Uint32Array>(
                         env, items, [](const SsdItem& item) { return item.sizeBytes; }));
    out.Set("crcs", column<Napi::Uint32Array>(env, items,
                                              [](const SsdItem& item) { return item.crc; }));
    const bool list = batch.verb == SsdVerb::list;
    Napi::Uint8Array keys = keyBytes(env, list ? items.size() : 0);
    for (size_t i = 0; list && i < items.size(); i++) {
      memcpy(keys.Data() + i * kKeyBytes, items[i].key.bytes.data(), kKeyBytes);
    }
    out.Set("keys", keys);
    out.Set("cursor", static_cast<double>(batch.cursor));
    out.Set("detail", orNull(env, batch.detail));
    return out;
  }

  Napi::Value Stats(const Napi::CallbackInfo& info) {
    const SsdStats stats = store_ == nullptr ? SsdStats{} : store_->stats();
    Napi::Object out = Napi::Object::New(info.Env());
    const auto set = [&](const char* name, uint64_t value) {
      out.Set(name, static_cast<double>(value));
    };
    set("blocks", stats.blocks);
    set("capacitySlots", stats.capacitySlots);
    set("quarantinedSlots", stats.quarantinedSlots);
    set("bytesRead", stats.bytesRead);
    set("bytesWritten", stats.bytesWritten);
    set("commits", stats.commits);
    set("committedBlocks", stats.committedBlocks);
    set("syncs", stats.syncs);
    set("compactions", stats.compactions);
    set("lostBlocks", stats.lostBlocks);
    set("lostJournalPages", stats.lostJournalPages);
    set("scrubbedBytes", stats.scrubbedBytes);
    set("scrubPasses", stats.scrubPasses);
    return out;
  }

  Napi::Value Capabilities(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const SsdCapabilities capabilities =
        store_ == nullptr ? SsdCapabilities{} : store_->capabilities();
    Napi::Object out = Napi::Object::New(env);
    out.Set("backend", capabilities.backend);
    out.Set("backendReason", orNull(env, capabilities.backendReason));
    out.Set("direct", capabilities.direct);
    out.Set("directReason", orNull(env, capabilities.directReason));
    return out;
  }

  void Close(const Napi::CallbackInfo& info) {
    if (store_ == nullptr) return;
    bell_->hold(true);
    store_->close();
  }

  struct Memory {
    uint8_t* base;
    size_t sizeBytes;
    Napi::Reference<Napi::ArrayBuffer> keep;
  };

  // Null when the rounded-up range is not within the memory.
  uint8_t* Place(uint32_t memory, double offset, uint32_t sizeBytes) const {
    if (memory >= memories_.size()) return nullptr;
    const Memory& range = memories_[memory];
    const uint64_t rounded = (static_cast<uint64_t>(sizeBytes) + kPageBytes - 1) & ~(kPageBytes - 1ull);
    const bool inside = offset >= 0 && offset <= static_cast<double>(range.sizeBytes) &&
                        static_cast<uint64_t>(offset) + rounded <= range.sizeBytes;
    if (!inside) return nullptr;
    return range.base + static_cast<uint64_t>(offset);
  }

  void Send(Napi::Env env, std::unique_ptr<SsdBatch> batch) {
    if (store_ == nullptr) {
      Napi::Error::New(env, "the SSD store is closed").ThrowAsJavaScriptException();
      return;
    }
    if (open_++ == 0) bell_->hold(true);
    store_->submit(std::move(batch));
  }

  // Waits for what is on the device, then for the thread.
  void End() {
    store_.reset();
    bell_->close();
    memories_.clear();
  }

  std::shared_ptr<Bell> bell_;
  std::unique_ptr<SsdStore> store_;
  std::vector<Memory> memories_;
  uint32_t open_ = 1;  // Batches that JavaScript waits for, and the opening.
  Napi::Env::CleanupHook<void (*)(Ssd*), Ssd> hook_;
};

// (sizeBytes) -> ArrayBuffer of zeros, aligned as O_DIRECT and huge pages need it
Napi::Value AlignedMemory(const Napi::CallbackInfo& info) {
  const auto size = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
  constexpr size_t kHugeBytes = 2 << 20;
  const size_t mapped = size + kHugeBytes;
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    Napi::Error::New(info.Env(), "no memory").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  const auto start = (reinterpret_cast<uintptr_t>(base) + kHugeBytes - 1) & ~(kHugeBytes - 1);
  madvise(reinterpret_cast<void*>(start), size, MADV_HUGEPAGE);
  return Napi::ArrayBuffer::New(
      info.Env(), reinterpret_cast<void*>(start), size,
      [base, mapped](Napi::Env, void*) { munmap(base, mapped); });
}

}  // namespace

void AddSsd(Napi::Env env, Napi::Object exports) {
  exports.Set("SsdStore", Ssd::Define(env));
  exports.Set("alignedMemory", Napi::Function::New(env, AlignedMemory, "alignedMemory"));
}

}  // namespace moontide::binding
