#include "fabric-library.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>

namespace moontide {

namespace {

struct Loaded {
  FabricLibrary library{};
  bool ok = false;
  std::string why;
};

void* openLibrary(std::string* why) {
  // A build of one's own first; Amazon's installer keeps its own beside the system's.
  const char* own = std::getenv("MOONTIDE_LIBFABRIC");
  const char* names[] = {own, "libfabric.so.1", "/opt/amazon/efa/lib64/libfabric.so.1",
                         "/opt/amazon/efa/lib/libfabric.so.1"};
  for (const char* name : names) {
    if (name == nullptr || *name == 0) continue;
    void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) return handle;
    if (why->empty()) *why = dlerror();
    if (name == own) return nullptr;
  }
  return nullptr;
}

template <typename F>
bool bind(void* handle, F* target, const char* name, const char* abi) {
  void* symbol = dlvsym(handle, name, abi);
  *target = reinterpret_cast<F>(symbol);
  return symbol != nullptr;
}

void loadInto(Loaded* loaded) {
  // Soft-RoCE has 32,767 completion entries; with the default of 256 peers rxm asks for more and
  // enabling the endpoint fails with EINVAL. It is a hint for sizes, no limit on peers.
  setenv("FI_UNIVERSE_SIZE", "16", 0);
  void* handle = openLibrary(&loaded->why);
  if (handle == nullptr) return;
  FabricLibrary& lib = loaded->library;
  uint32_t (*version)() = nullptr;
  // The newest ABI whose layouts fabric-abi.h declares. A library keeps its older ones.
  const bool complete = bind(handle, &version, "fi_version", "FABRIC_1.0") &&
                        bind(handle, &lib.strerror, "fi_strerror", "FABRIC_1.0") &&
                        bind(handle, &lib.getinfo, "fi_getinfo", "FABRIC_1.3") &&
                        bind(handle, &lib.freeinfo, "fi_freeinfo", "FABRIC_1.3") &&
                        bind(handle, &lib.dupinfo, "fi_dupinfo", "FABRIC_1.3") &&
                        bind(handle, &lib.fabric, "fi_fabric", "FABRIC_1.1");
  if (!complete) {
    loaded->why = "libfabric.so.1 lacks ABI 1.3";
    return;
  }
  lib.version = version();
  if (lib.version < fi::kApiVersion) {
    loaded->why = "libfabric is older than 1.14";
    return;
  }
  loaded->ok = true;
}

std::string addressText(const fi::Info& info) {
  char text[INET6_ADDRSTRLEN] = "";
  const auto* any = static_cast<const sockaddr*>(info.src_addr);
  if (any == nullptr || info.src_addrlen < sizeof(sockaddr_in)) return "";
  if (any->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(any)->sin_addr, text, sizeof text);
  } else if (any->sa_family == AF_INET6 && info.src_addrlen >= sizeof(sockaddr_in6)) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(any)->sin6_addr, text, sizeof text);
  }
  return text;
}

std::string pciText(const fi::BusAttr& bus) {
  if (bus.bus_type != fi::kBusPci) return "";
  char text[32];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", bus.pci.domain_id, bus.pci.bus_id,
                bus.pci.device_id, bus.pci.function_id);
  return text;
}

// Not so where the address is none, or link-local: peers would need a scope.
bool reachable(const fi::Info& info) {
  if (info.src_addr == nullptr) return false;
  const std::string text = addressText(info);
  return text.rfind("fe80:", 0) != 0 && text.rfind("169.254.", 0) != 0;
}

FabricOffer offerOf(const fi::Info& info) {
  FabricOffer offer;
  offer.provider = info.fabric_attr->prov_name;
  offer.domain = info.domain_attr->name;
  offer.address = addressText(info);
  offer.linkDown = linkIsDown(offer.domain);
  if (info.nic == nullptr) return offer;
  if (info.nic->link_attr != nullptr) {
    offer.bitsPerSec = info.nic->link_attr->speed;
  }
  if (info.nic->bus_attr != nullptr) offer.pci = pciText(*info.nic->bus_attr);
  return offer;
}

bool readLine(const std::string& path, std::string* line) {
  std::ifstream file(path);
  return static_cast<bool>(std::getline(file, *line));
}

// All endpoints of one provider by its exact name; null if there are none.
fi::Info* query(const FabricLibrary& lib, const std::string& provider, const std::string& address,
                int* error) {
  fi::Info* hints = lib.dupinfo(nullptr);
  hints->caps = fi::kMsg | fi::kRma | fi::kRead | fi::kWrite | fi::kRemoteRead | fi::kRemoteWrite;
  hints->mode = fi::kContext | fi::kContext2;
  hints->ep_attr->type = fi::kEpRdm;
  hints->fabric_attr->prov_name = strdup(provider.c_str());
  hints->domain_attr->threading = fi::kThreadDomain;
  hints->domain_attr->resource_mgmt = fi::kResourceEnabled;
  hints->domain_attr->mr_mode = fi::kMrLocal | fi::kMrVirtAddr | fi::kMrAllocated |
                                fi::kMrProvKey | fi::kMrEndpoint;
  fi::Info* infos = nullptr;
  const bool bound = !address.empty();
  *error = lib.getinfo(fi::kApiVersion, bound ? address.c_str() : nullptr, nullptr,
                       bound ? fi::kSource : 0, hints, &infos);
  lib.freeinfo(hints);
  return infos;
}

// One by its name, which need not be in the list (cxi, opx), or all of the list.
std::vector<std::string> providersFor(std::string_view provider) {
  if (!provider.empty()) return {std::string(provider)};
  return {std::begin(kFabricProviders), std::end(kFabricProviders)};
}

}  // namespace

bool linkIsDown(const std::string& domain) {
  const std::string ports = "/sys/class/infiniband/" + domain + "/ports/";
  const std::string net = "/sys/class/net/" + domain + "/operstate";
  std::string state;
  bool known = false;
  for (int port = 1; readLine(ports + std::to_string(port) + "/state", &state); port++) {
    known = true;
    if (state.rfind("4:", 0) == 0) return false;  // "4: ACTIVE"
  }
  return known || (readLine(net, &state) && (state == "down" || state == "lowerlayerdown"));
}

const FabricLibrary* FabricLibrary::load(std::string* why) {
  static std::once_flag once;
  static Loaded loaded;
  std::call_once(once, [] { loadInto(&loaded); });
  if (loaded.ok) return &loaded.library;
  *why = loaded.why;
  return nullptr;
}

std::vector<FabricOffer> fabricOffers(const FabricLibrary& lib, std::string_view provider) {
  std::vector<FabricOffer> offers;
  for (const std::string& name : providersFor(provider)) {
    int error = 0;
    fi::Info* infos = query(lib, name, "", &error);
    for (const fi::Info* info = infos; info != nullptr; info = info->next) {
      // Asked for "tcp", 1.17 answers "tcp;ofi_rxm".
      if (name != info->fabric_attr->prov_name) continue;
      FabricOffer offer = offerOf(*info);
      bool known = false;
      for (const FabricOffer& other : offers) {
        known = known || (other.provider == offer.provider && other.domain == offer.domain &&
                          other.address == offer.address);
      }
      if (!known) offers.push_back(std::move(offer));
    }
    if (infos != nullptr) lib.freeinfo(infos);
  }
  return offers;
}

fi::Info* findFabric(const FabricLibrary& lib, const std::string& provider,
                     const std::string& domain, const std::string& address, std::string* why) {
  int lastError = 0;
  for (const std::string& name : providersFor(provider)) {
    int error = 0;
    fi::Info* infos = query(lib, name, address, &error);
    if (error != 0) lastError = error;
    const fi::Info* best = nullptr;
    for (const fi::Info* info = infos; info != nullptr; info = info->next) {
      if (name != info->fabric_attr->prov_name) continue;
      if (!domain.empty() && domain != info->domain_attr->name) continue;
      if (best == nullptr || (!reachable(*best) && reachable(*info))) best = info;
    }
    fi::Info* chosen = best == nullptr ? nullptr : lib.dupinfo(best);
    if (infos != nullptr) lib.freeinfo(infos);
    if (chosen != nullptr) return chosen;
  }
  *why = "libfabric has no " + (provider.empty() ? std::string("provider") : provider) +
         (domain.empty() ? "" : " on " + domain) + (address.empty() ? "" : " at " + address);
  if (lastError != 0) *why += std::string(": ") + lib.strerror(-lastError);
  return nullptr;
}

}  // namespace moontide
