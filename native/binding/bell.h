// Calls a function on the main thread after another thread has rung. In place of a
// ThreadSafeFunction: that wakes the main thread under the lock which the main thread takes next.
#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>
#include <mutex>

namespace moontide::binding {

class Bell {
 public:
  // On the main thread. It does not hold the process.
  static std::shared_ptr<Bell> make(Napi::Env env, Napi::Function onRing);

  // On any thread. Several at once may be one call; after `close` there is none.
  void ring();

  // The others on the main thread. `hold`: the process may not end for want of other work.
  void hold(bool hold);
  void close();

 private:
  explicit Bell(napi_env env) : env_(env) {}
  static void OnRing(uv_async_t* async);
  static void OnClosed(uv_handle_t* handle);
  static void OnCleanup(napi_async_cleanup_hook_handle handle, void* self);

  const napi_env env_;
  napi_ref onRing_ = nullptr;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  uv_async_t async_{};
  // Taken by the main thread to close alone.
  std::mutex mutex_;
  bool closed_ = false;
  // Until libuv has let it go.
  std::shared_ptr<Bell> self_;
};

}  // namespace moontide::binding
