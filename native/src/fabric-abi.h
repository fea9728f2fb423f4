// The part of libfabric's binary interface that the fabric rail uses, declared here so that neither
// building nor starting needs libfabric. Layouts are those of ABI 1.3 (libfabric 1.9 and later); the
// loader asks for the symbols of that ABI by version, so a newer library serves the same layouts.
// native/test/fabric-abi-check.cc compares every offset and constant with the real headers.
//
// Source: libfabric's manual, fi_getinfo(3), fi_endpoint(3), fi_rma(3), fi_cq(3), fi_av(3), fi_mr(3).
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace moontide::fi {

constexpr uint32_t version(uint32_t major, uint32_t minor) { return major << 16 | minor; }
// The API that is asked for: mr_mode bits as flags, FI_MR_ENDPOINT, providers of 1.14 and later.
inline constexpr uint32_t kApiVersion = version(1, 14);

// Capabilities and flags.
inline constexpr uint64_t kMsg = 1ull << 1;
inline constexpr uint64_t kRma = 1ull << 2;
inline constexpr uint64_t kRead = 1ull << 8;
inline constexpr uint64_t kWrite = 1ull << 9;
inline constexpr uint64_t kRecv = 1ull << 10;
inline constexpr uint64_t kTransmit = 1ull << 11;
inline constexpr uint64_t kRemoteRead = 1ull << 12;
inline constexpr uint64_t kRemoteWrite = 1ull << 13;
inline constexpr uint64_t kCompletion = 1ull << 24;
inline constexpr uint64_t kDeliveryComplete = 1ull << 28;
inline constexpr uint64_t kSource = 1ull << 57;
// Modes.
inline constexpr uint64_t kContext = 1ull << 59;
inline constexpr uint64_t kContext2 = 1ull << 52;
// Memory registration modes.
inline constexpr int kMrLocal = 1 << 2;
inline constexpr int kMrVirtAddr = 1 << 4;
inline constexpr int kMrAllocated = 1 << 5;
inline constexpr int kMrProvKey = 1 << 6;
inline constexpr int kMrEndpoint = 1 << 9;
// Enumerators, as the ints that they are in the ABI.
inline constexpr int kEpRdm = 3;
inline constexpr int kAvMap = 1;
inline constexpr int kThreadDomain = 3;
inline constexpr int kThreadSafe = 1;
inline constexpr int kResourceEnabled = 2;
inline constexpr int kCqFormatContext = 1;
inline constexpr int kWaitFd = 3;
inline constexpr int kBusPci = 1;
inline constexpr int kLinkUp = 2;
inline constexpr int kLinkDown = 1;
// fi_control commands.
inline constexpr int kGetWait = 5;
inline constexpr int kEnable = 6;
// Error numbers beyond errno's.
inline constexpr int kErrAvailable = 259;

using Address = uint64_t;

struct Fid;
struct Fabric;
struct Domain;
struct AddressVector;
struct CompletionQueue;
struct Endpoint;
struct MemoryRegion;
struct Unused;

struct Ops {
  size_t size;
  int (*close)(Fid*);
  int (*bind)(Fid*, Fid*, uint64_t flags);
  int (*control)(Fid*, int command, void* arg);
};

struct Fid {
  size_t fclass;
  void* context;
  Ops* ops;
};

struct TxAttr {
  uint64_t caps, mode, op_flags, msg_order, comp_order;
  size_t inject_size, size, iov_limit, rma_iov_limit;
  uint32_t tclass;
};

struct RxAttr {
  uint64_t caps, mode, op_flags, msg_order, comp_order;
  size_t total_buffered_recv, size, iov_limit;
};

struct EpAttr {
  int type;
  uint32_t protocol, protocol_version;
  size_t max_msg_size, msg_prefix_size;
  size_t max_order_raw_size, max_order_war_size, max_order_waw_size;
  uint64_t mem_tag_format;
  size_t tx_ctx_cnt, rx_ctx_cnt, auth_key_size;
  uint8_t* auth_key;
};

struct DomainAttr {
  Domain* domain;
  char* name;
  int threading, control_progress, data_progress, resource_mgmt, av_type, mr_mode;
  size_t mr_key_size, cq_data_size, cq_cnt, ep_cnt, tx_ctx_cnt, rx_ctx_cnt;
  size_t max_ep_tx_ctx, max_ep_rx_ctx, max_ep_stx_ctx, max_ep_srx_ctx, cntr_cnt, mr_iov_limit;
  uint64_t caps, mode;
  uint8_t* auth_key;
  size_t auth_key_size, max_err_data, mr_cnt;
  uint32_t tclass;
};

struct FabricAttr {
  Fabric* fabric;
  char* name;
  char* prov_name;
  uint32_t prov_version, api_version;
};

struct DeviceAttr {
  char *name, *device_id, *device_version, *vendor_id, *driver, *firmware;
};

struct BusAttr {
  int bus_type;
  struct {
    uint16_t domain_id;
    uint8_t bus_id, device_id, function_id;
  } pci;
};

struct LinkAttr {
  char* address;
  // bytes; bits per second
  size_t mtu, speed;
  int state;
  char* network_type;
};

struct Nic {
  Fid fid;
  DeviceAttr* device_attr;
  BusAttr* bus_attr;
  LinkAttr* link_attr;
  void* prov_attr;
};

struct Info {
  Info* next;
  uint64_t caps, mode;
  uint32_t addr_format;
  size_t src_addrlen, dest_addrlen;
  void *src_addr, *dest_addr;
  Fid* handle;
  TxAttr* tx_attr;
  RxAttr* rx_attr;
  EpAttr* ep_attr;
  DomainAttr* domain_attr;
  FabricAttr* fabric_attr;
  Nic* nic;
};

struct FabricOps {
  size_t size;
  int (*domain)(Fabric*, Info*, Domain**, void* context);
  Unused *passive_ep, *eq_open, *wait_open;
  int (*trywait)(Fabric*, Fid** fids, int count);
};

struct Fabric {
  Fid fid;
  FabricOps* ops;
  uint32_t api_version;
};

struct AvAttr {
  int type, rx_ctx_bits;
  size_t count, ep_per_node;
  const char* name;
  void* map_addr;
  uint64_t flags;
};

struct CqAttr {
  size_t size;
  uint64_t flags;
  int format, wait_obj, signaling_vector, wait_cond;
  void* wait_set;
};

struct DomainOps {
  size_t size;
  int (*av_open)(Domain*, AvAttr*, AddressVector**, void* context);
  int (*cq_open)(Domain*, CqAttr*, CompletionQueue**, void* context);
  int (*endpoint)(Domain*, Info*, Endpoint**, void* context);
};

struct MrOps {
  size_t size;
  int (*reg)(Fid*, const void* base, size_t size, uint64_t access, uint64_t offset,
             uint64_t requested_key, uint64_t flags, MemoryRegion**, void* context);
};

struct Domain {
  Fid fid;
  DomainOps* ops;
  MrOps* mr;
};

struct MemoryRegion {
  Fid fid;
  void* mem_desc;
  uint64_t key;
};

struct AvOps {
  size_t size;
  int (*insert)(AddressVector*, const void* addresses, size_t count, Address*, uint64_t flags,
                void* context);
  Unused *insertsvc, *insertsym;
  int (*remove)(AddressVector*, Address*, size_t count, uint64_t flags);
};

struct AddressVector {
  Fid fid;
  AvOps* ops;
};

struct CqEntry {
  void* op_context;
};

struct CqErrorEntry {
  void* op_context;
  uint64_t flags;
  size_t len;
  void* buf;
  uint64_t data, tag;
  size_t olen;
  int err, prov_errno;
  void* err_data;
  size_t err_data_size;
};

struct CqOps {
  size_t size;
  ssize_t (*read)(CompletionQueue*, void* entries, size_t count);
  Unused* readfrom;
  ssize_t (*readerr)(CompletionQueue*, CqErrorEntry*, uint64_t flags);
  Unused *sread, *sreadfrom, *signal;
  const char* (*strerror)(CompletionQueue*, int prov_errno, const void* err_data, char* text,
                          size_t size);
};

struct CompletionQueue {
  Fid fid;
  CqOps* ops;
};

struct RmaIov {
  uint64_t addr;
  size_t len;
  uint64_t key;
};

struct RmaMessage {
  const iovec* msg_iov;
  void** desc;
  size_t iov_count;
  Address addr;
  const RmaIov* rma_iov;
  size_t rma_iov_count;
  void* context;
  uint64_t data;
};

struct RmaOps {
  size_t size;
  ssize_t (*read)(Endpoint*, void* to, size_t size, void* desc, Address, uint64_t addr,
                  uint64_t key, void* context);
  Unused *readv, *readmsg, *write, *writev;
  ssize_t (*writemsg)(Endpoint*, const RmaMessage*, uint64_t flags);
};

struct CmOps {
  size_t size;
  Unused* setname;
  int (*getname)(Fid*, void* address, size_t* size);
};

struct Endpoint {
  Fid fid;
  void* ops;
  CmOps* cm;
  void* msg;
  RmaOps* rma;
};

// The first member of whatever is given as an operation's context.
struct Context2 {
  void* internal[8];
};

}  // namespace moontide::fi
