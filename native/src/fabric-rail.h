// Rail over libfabric: reliable datagram endpoints with one-sided reads and writes (FI_RMA), over
// real RDMA (verbs, efa) or TCP. One endpoint; the engine's thread for this rail is its progress
// thread, so the provider needs no locks.
//
// What fails is the endpoint. When the engine closes one that failed, domain and registrations stay
// (registering a terabyte takes minutes), and the next open and addMemory take them up again.
#pragma once

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "fabric-library.h"
#include "rail.h"

namespace moontide {

// Options "provider", "domain", "address": the first that fits where they are empty, in the order of
// kFabricProviders.
struct FabricChoice {
  std::string provider;
  std::string domain;
  std::string address;
};

class FabricRail final : public Rail {
 public:
  explicit FabricRail(FabricChoice choice) : choice_(std::move(choice)) {}
  ~FabricRail() override;

  const char* kind() const override { return "fabric"; }
  Status open(std::string* why) override;
  const RailCapabilities& capabilities() const override { return capabilities_; }
  Blob address() const override { return address_; }
  Status addMemory(const MemoryRegion& region, MemoryHandle* handle, Blob* key) override;
  void removeMemory(MemoryHandle handle) override;
  Status connect(const Blob& address, PeerHandle* peer) override;
  void disconnect(PeerHandle peer) override;
  Status addRemote(PeerHandle peer, const Blob& key, const MemoryRegion& shape,
                   RemoteHandle* remote) override;
  void removeRemote(RemoteHandle remote) override;
  Status post(Operation* operation) override;
  int poll(Completion* out, int max) override;
  void wait(int wakeFd, int64_t timeoutNs) override;
  Status cancel(Operation* operation) override;
  void close(std::vector<Completion>* out) override;

 private:
  // Operations in the order in which they came, linked through their scratch.
  struct List {
    Operation* first = nullptr;
    Operation* last = nullptr;
    uint32_t count = 0;
    void append(Operation* operation);
    void remove(Operation* operation);
  };

  struct Peer {
    // What the fabric calls it; its own address is the key in byAddress_.
    fi::Address address = 0;
    std::string name;
    bool used = false;
    // Forgotten while operations were open: removed with the last of them.
    bool leaving = false;
    uint32_t open = 0;
    // Taken while there is no connection yet.
    List waiting;
    // When the provider began to refuse everything with nothing open; 0: it does not.
    int64_t stalledSinceNs = 0;
    // It could not be reached: refuse until then.
    int64_t refusedUntilNs = 0;
    // submitted_ when an operation last failed; later failures say that the endpoint is broken.
    uint64_t failedAt = 0;
  };

  struct Remote {
    PeerHandle peer = kNoHandle;
    uint64_t base = 0;
    uint64_t key = 0;
  };

  // A registration: under way with the open endpoint, or kept for the next.
  struct Memory {
    fi::MemoryRegion* registration = nullptr;
    std::byte* base = nullptr;
    uint64_t sizeBytes = 0;
    uint64_t incarnation = 0;
  };

  Status openDomain(std::string* why);
  Status openEndpoint(std::string* why);
  Status registerMemory(const MemoryRegion& region, uint64_t sizeBytes, Memory* memory);
  bool takeKept(Memory* memory);
  void dropKept();
  Status fail(std::string* why, const char* step, int error);
  void closeEndpoint();
  void closeDomain();
  ssize_t submit(Operation* operation, const Remote& remote, fi::Address peer);
  void submitWaiting(int64_t nowNs);
  void refuseWaiting(PeerHandle handle, Status status);
  int readErrors(Completion* out, int max);
  void finish(Operation* operation, Status status, Completion* out);
  Status outcomeOf(const Operation* operation, const fi::CqErrorEntry& error);
  void release(Peer& peer);
  bool linkDown();

  const FabricChoice choice_;
  const FabricLibrary* library_ = nullptr;
  RailCapabilities capabilities_;
  Blob address_;
  fi::Info* info_ = nullptr;
  fi::Fabric* fabric_ = nullptr;
  fi::Domain* domain_ = nullptr;
  fi::AddressVector* av_ = nullptr;
  fi::CompletionQueue* cq_ = nullptr;
  fi::Endpoint* endpoint_ = nullptr;
  int cqFd_ = -1;

  std::vector<Memory> memories_;
  std::vector<Memory> kept_;
  std::vector<Peer> peers_;
  std::vector<Remote> remotes_;
  std::unordered_map<std::string, PeerHandle> byAddress_;
  List inFlight_;
  uint32_t waiting_ = 0;
  uint64_t submitted_ = 0;
  // Ended without the provider; reported by the next poll.
  std::deque<Completion> ended_;
  // The endpoint reports errors of its own: only close and open help.
  bool broken_ = false;
  int64_t lookAtLinkNs_ = 0;
  // The engine was told to close and open it.
  bool reopening_ = false;
};

}  // namespace moontide
