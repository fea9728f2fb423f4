// Two functions that the static libstdc++ and libgcc of newer compilers take from a newer glibc than
// anything else here needs (2.36 and 2.35; now 2.34 is enough: Debian 12, Ubuntu 22.04, RHEL 9).
#include <sys/random.h>

#include <cstdint>

extern "C" {

// What std::random_device asks.
__attribute__((visibility("hidden"))) uint32_t arc4random() {
  uint32_t value = 0;
  while (getrandom(&value, sizeof value, 0) != sizeof value) {
  }
  return value;
}

// Where an exception would look for its handler. Nothing here is compiled with exceptions: one that
// the standard library throws ends the process, found or not.
__attribute__((visibility("hidden"))) int _dl_find_object(void*, void*) { return -1; }

}  // extern "C"
