// Rails within one host: a READ copies from the owner's pool, which is mapped read-only; a WRITE asks
// the owner to copy from the writer's pool. Nobody ever writes to another process's memory.
//
// Trust: pools are shared as read-only descriptors over an abstract socket, with processes of the
// same user (or root), as the kernel says, that know the cookie in the descriptor. Where that
// socket can't be reached (another network namespace) process_vm_readv serves READs if the kernel
// lets it (ptrace rules). Options: map (default 1; 0: process_vm_readv alone).
#pragma once

#include "rail.h"

namespace moontide {

std::unique_ptr<Rail> makeLocalRail(const RailOptions& options, std::string* why);

}  // namespace moontide
