// What this machine offers beyond sockets and shared memory, asked without using it.
#pragma once

#include <string>

namespace moontide {

// Empty: there; else why not.
std::string probeIoUring();
std::string probeCuda();

}  // namespace moontide
