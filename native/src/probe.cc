#include "probe.h"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif

namespace moontide {

std::string probeIoUring() {
  // struct io_uring_params, all zero.
  alignas(8) char params[120] = {};
  const long fd = syscall(SYS_io_uring_setup, 1, params);
  if (fd >= 0) {
    close(static_cast<int>(fd));
    return "";
  }
  if (errno == EPERM) return "the kernel forbids it (kernel.io_uring_disabled, or seccomp)";
  return std::string("io_uring_setup: ") + std::strerror(errno);
}

std::string probeCuda() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return "no NVIDIA driver: libcuda.so.1 is not there";
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(library, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(dlsym(library, "cuDeviceGetCount"));
  int devices = 0;
  int error = init == nullptr || count == nullptr ? -1 : init(0);
  if (error == 0) error = count(&devices);
  // Not closed: a driver that was initialized does not like to be unloaded.
  if (error != 0) return "no GPU: the driver answers error " + std::to_string(error);
  return devices > 0 ? "" : "no GPU: the driver sees none";
}

}  // namespace moontide
