// epoll_wait with a time-out in ns, where the kernel has it (5.11); else rounded up to 1 ms.
#pragma once

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

namespace moontide {

inline int epollWait(int epoll, epoll_event* events, int max, int64_t timeoutNs) {
  if (timeoutNs > 0) {
    const timespec timeout{timeoutNs / 1'000'000'000, timeoutNs % 1'000'000'000};
    const auto n = syscall(SYS_epoll_pwait2, epoll, events, max, &timeout, nullptr, 0);
    if (n >= 0 || errno != ENOSYS) return static_cast<int>(n);
  }
  return epoll_wait(epoll, events, max, static_cast<int>((timeoutNs + 999'999) / 1'000'000));
}

}  // namespace moontide
