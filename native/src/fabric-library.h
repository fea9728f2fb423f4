// libfabric, loaded when it is first asked for: what it offers here, or why it is not there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fabric-abi.h"

namespace moontide {

struct FabricLibrary {
  int (*getinfo)(uint32_t version, const char* node, const char* service, uint64_t flags,
                 const fi::Info* hints, fi::Info** infos);
  void (*freeinfo)(fi::Info*);
  fi::Info* (*dupinfo)(const fi::Info*);
  int (*fabric)(fi::FabricAttr*, fi::Fabric**, void* context);
  const char* (*strerror)(int);
  uint32_t version;

  // Null, and the reason in `why`, where there is none. Safe from any thread; loads once.
  static const FabricLibrary* load(std::string* why);
};

// Providers in the order of preference: real RDMA, then TCP by the newest that the library has.
inline constexpr const char* kFabricProviders[] = {"verbs;ofi_rxm", "efa", "tcp", "net",
                                                   "tcp;ofi_rxm"};

// One endpoint that could be opened: a provider on a device with an address.
struct FabricOffer {
  std::string provider;
  // The device: "mlx5_0" for verbs, "eth0" for TCP.
  std::string domain;
  // Where it listens, as text; empty where it is no IP address.
  std::string address;
  // Bits per second; 0: unknown.
  uint64_t bitsPerSec = 0;
  // "0000:3b:00.0"; empty: unknown.
  std::string pci;
  bool linkDown = false;
};

// What this host could open, in the order of preference. `provider` empty: of all in the list above.
std::vector<FabricOffer> fabricOffers(const FabricLibrary& library, std::string_view provider);

// The first endpoint that fits and has an address that peers can use, to be freed by freeinfo; null,
// and the reason in `why`, if none does. Empty strings fit all.
fi::Info* findFabric(const FabricLibrary& library, const std::string& provider,
                     const std::string& domain, const std::string& address, std::string* why);

// True: the kernel says that the device's link is down. libfabric's own answer is of its start.
bool linkIsDown(const std::string& domain);

}  // namespace moontide
