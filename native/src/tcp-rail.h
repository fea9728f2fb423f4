// Rails over plain sockets: a one-sided READ/WRITE protocol of its own for machines without
// libfabric. Options: host (numeric; default 127.0.0.1), port (0: any), advertise (what peers
// connect to, default host), token (needed beyond loopback), socketBytes (0: the kernel tunes).
#pragma once

#include "rail.h"

namespace moontide {

std::unique_ptr<Rail> makeTcpRail(const RailOptions& options, std::string* why);

}  // namespace moontide
