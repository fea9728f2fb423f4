#include "bell.h"

namespace moontide::binding {

std::shared_ptr<Bell> Bell::make(Napi::Env env, Napi::Function onRing) {
  std::shared_ptr<Bell> bell(new Bell(env));
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok ||
      uv_async_init(loop, &bell->async_, OnRing) != 0) {
    return nullptr;
  }
  bell->async_.data = bell.get();
  bell->self_ = bell;
  uv_unref(reinterpret_cast<uv_handle_t*>(&bell->async_));
  napi_create_reference(env, onRing, 1, &bell->onRing_);
  napi_add_async_cleanup_hook(env, OnCleanup, bell.get(), &bell->cleanup_);
  return bell;
}

void Bell::ring() {
  std::lock_guard lock(mutex_);
  if (!closed_) uv_async_send(&async_);
}

void Bell::hold(bool hold) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&async_);
  if (closed_) return;
  if (hold) {
    uv_ref(handle);
  } else {
    uv_unref(handle);
  }
}

void Bell::close() {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
  }
  napi_delete_reference(env_, onRing_);
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), OnClosed);
}

void Bell::OnClosed(uv_handle_t* handle) {
  auto* bell = static_cast<Bell*>(handle->data);
  napi_remove_async_cleanup_hook(bell->cleanup_);
  bell->self_.reset();
}

void Bell::OnCleanup(napi_async_cleanup_hook_handle, void* self) {
  static_cast<Bell*>(self)->close();
}

// An exception of the callback is reported as any that nobody catches.
void Bell::OnRing(uv_async_t* async) {
  const auto* bell = static_cast<Bell*>(async->data);
  if (bell->closed_) return;
  const napi_env env = bell->env_;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value onRing;
  napi_value global;
  napi_get_reference_value(env, bell->onRing_, &onRing);
  napi_get_global(env, &global);
  napi_make_callback(env, nullptr, global, onRing, 0, nullptr, nullptr);
  bool thrown = false;
  if (napi_is_exception_pending(env, &thrown) == napi_ok && thrown) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) {
      napi_fatal_exception(env, error);
    }
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace moontide::binding
