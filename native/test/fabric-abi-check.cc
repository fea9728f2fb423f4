// Compiles only where fabric-abi.h agrees with libfabric's own headers. Nothing to run.
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "../src/fabric-abi.h"

namespace ours = moontide::fi;

#define VALUE(mine, theirs) \
  static_assert(static_cast<uint64_t>(ours::mine) == static_cast<uint64_t>(theirs), #theirs)
// A library may append fields that these layouts do not know, so sizes may grow.
#define FIELD_AS(mine, field, theirs, name)                                      \
  static_assert(offsetof(ours::mine, field) == offsetof(theirs, name) &&         \
                    sizeof(ours::mine::field) == sizeof(theirs::name),           \
                #theirs "." #name)
#define FIELD(mine, theirs, field) FIELD_AS(mine, field, theirs, field)

VALUE(kMsg, FI_MSG);
VALUE(kRma, FI_RMA);
VALUE(kRead, FI_READ);
VALUE(kWrite, FI_WRITE);
VALUE(kRecv, FI_RECV);
VALUE(kTransmit, FI_TRANSMIT);
VALUE(kRemoteRead, FI_REMOTE_READ);
VALUE(kRemoteWrite, FI_REMOTE_WRITE);
VALUE(kCompletion, FI_COMPLETION);
VALUE(kDeliveryComplete, FI_DELIVERY_COMPLETE);
VALUE(kSource, FI_SOURCE);
VALUE(kContext, FI_CONTEXT);
VALUE(kContext2, FI_CONTEXT2);
VALUE(kMrLocal, FI_MR_LOCAL);
VALUE(kMrVirtAddr, FI_MR_VIRT_ADDR);
VALUE(kMrAllocated, FI_MR_ALLOCATED);
VALUE(kMrProvKey, FI_MR_PROV_KEY);
VALUE(kMrEndpoint, FI_MR_ENDPOINT);
VALUE(kEpRdm, FI_EP_RDM);
VALUE(kAvMap, FI_AV_MAP);
VALUE(kThreadDomain, FI_THREAD_DOMAIN);
VALUE(kThreadSafe, FI_THREAD_SAFE);
VALUE(kResourceEnabled, FI_RM_ENABLED);
VALUE(kCqFormatContext, FI_CQ_FORMAT_CONTEXT);
VALUE(kWaitFd, FI_WAIT_FD);
VALUE(kBusPci, FI_BUS_PCI);
VALUE(kLinkUp, FI_LINK_UP);
VALUE(kLinkDown, FI_LINK_DOWN);
VALUE(kGetWait, FI_GETWAIT);
VALUE(kEnable, FI_ENABLE);
VALUE(kErrAvailable, FI_EAVAIL);
VALUE(version(1, 14), FI_VERSION(1, 14));

FIELD(Fid, fid, context);
FIELD(Fid, fid, ops);
FIELD(Ops, fi_ops, close);
FIELD(Ops, fi_ops, bind);
FIELD(Ops, fi_ops, control);
FIELD(TxAttr, fi_tx_attr, op_flags);
FIELD(TxAttr, fi_tx_attr, size);
FIELD(TxAttr, fi_tx_attr, tclass);
FIELD(RxAttr, fi_rx_attr, size);
FIELD(RxAttr, fi_rx_attr, iov_limit);
FIELD(EpAttr, fi_ep_attr, type);
FIELD(EpAttr, fi_ep_attr, max_msg_size);
FIELD(EpAttr, fi_ep_attr, auth_key);
FIELD(DomainAttr, fi_domain_attr, name);
FIELD(DomainAttr, fi_domain_attr, threading);
FIELD(DomainAttr, fi_domain_attr, resource_mgmt);
FIELD(DomainAttr, fi_domain_attr, av_type);
FIELD(DomainAttr, fi_domain_attr, mr_mode);
FIELD(DomainAttr, fi_domain_attr, mr_key_size);
FIELD(DomainAttr, fi_domain_attr, mr_iov_limit);
FIELD(DomainAttr, fi_domain_attr, tclass);
FIELD(FabricAttr, fi_fabric_attr, name);
FIELD(FabricAttr, fi_fabric_attr, prov_name);
FIELD(FabricAttr, fi_fabric_attr, api_version);
FIELD(DeviceAttr, fi_device_attr, name);
FIELD(DeviceAttr, fi_device_attr, driver);
FIELD(BusAttr, fi_bus_attr, bus_type);
FIELD_AS(BusAttr, pci, fi_bus_attr, attr);
FIELD(LinkAttr, fi_link_attr, speed);
FIELD(LinkAttr, fi_link_attr, state);
FIELD(LinkAttr, fi_link_attr, network_type);
FIELD(Nic, fid_nic, device_attr);
FIELD(Nic, fid_nic, bus_attr);
FIELD(Nic, fid_nic, link_attr);
FIELD(Info, fi_info, next);
FIELD(Info, fi_info, caps);
FIELD(Info, fi_info, mode);
FIELD(Info, fi_info, addr_format);
FIELD(Info, fi_info, src_addrlen);
FIELD(Info, fi_info, src_addr);
FIELD(Info, fi_info, tx_attr);
FIELD(Info, fi_info, ep_attr);
FIELD(Info, fi_info, domain_attr);
FIELD(Info, fi_info, fabric_attr);
FIELD(Info, fi_info, nic);
FIELD(FabricOps, fi_ops_fabric, domain);
FIELD(FabricOps, fi_ops_fabric, trywait);
FIELD(Fabric, fid_fabric, ops);
FIELD(AvAttr, fi_av_attr, type);
FIELD(AvAttr, fi_av_attr, count);
FIELD(AvAttr, fi_av_attr, flags);
FIELD(CqAttr, fi_cq_attr, size);
FIELD(CqAttr, fi_cq_attr, format);
FIELD(CqAttr, fi_cq_attr, wait_obj);
FIELD(CqAttr, fi_cq_attr, wait_set);
FIELD(DomainOps, fi_ops_domain, av_open);
FIELD(DomainOps, fi_ops_domain, cq_open);
FIELD(DomainOps, fi_ops_domain, endpoint);
FIELD(MrOps, fi_ops_mr, reg);
FIELD(Domain, fid_domain, ops);
FIELD(Domain, fid_domain, mr);
FIELD(MemoryRegion, fid_mr, mem_desc);
FIELD(MemoryRegion, fid_mr, key);
FIELD(AvOps, fi_ops_av, insert);
FIELD(AvOps, fi_ops_av, remove);
FIELD(AddressVector, fid_av, ops);
FIELD(CqEntry, fi_cq_entry, op_context);
FIELD(CqErrorEntry, fi_cq_err_entry, op_context);
FIELD(CqErrorEntry, fi_cq_err_entry, err);
FIELD(CqErrorEntry, fi_cq_err_entry, prov_errno);
FIELD(CqErrorEntry, fi_cq_err_entry, err_data_size);
FIELD(CqOps, fi_ops_cq, read);
FIELD(CqOps, fi_ops_cq, readerr);
FIELD(CqOps, fi_ops_cq, strerror);
FIELD(CompletionQueue, fid_cq, ops);
FIELD(RmaIov, fi_rma_iov, addr);
FIELD(RmaIov, fi_rma_iov, len);
FIELD(RmaIov, fi_rma_iov, key);
FIELD(RmaMessage, fi_msg_rma, msg_iov);
FIELD(RmaMessage, fi_msg_rma, desc);
FIELD(RmaMessage, fi_msg_rma, addr);
FIELD(RmaMessage, fi_msg_rma, rma_iov);
FIELD(RmaMessage, fi_msg_rma, context);
FIELD(RmaMessage, fi_msg_rma, data);
FIELD(RmaOps, fi_ops_rma, read);
FIELD(RmaOps, fi_ops_rma, writemsg);
FIELD(CmOps, fi_ops_cm, getname);
FIELD(Endpoint, fid_ep, cm);
FIELD(Endpoint, fid_ep, rma);
static_assert(sizeof(ours::Context2) == sizeof(fi_context2));
static_assert(sizeof(ours::Info) == sizeof(fi_info));
