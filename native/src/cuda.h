// A GPU through NVIDIA's driver API, loaded at run time: nothing of CUDA is needed to build, and a
// machine without it gets a reason.
//
// The types and numbers below are declared by hand after the public documentation of the CUDA
// driver API; their binary interface is stable across versions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace moontide {

using CuDevicePtr = uint64_t;

struct GpuInfo {
  int ordinal = 0;
  std::string name;
  std::string pciAddress;  // "0000:3b:00.0", as in /sys/bus/pci/devices.
  uint64_t memoryBytes = 0;
  int computeMajor = 0;
  int computeMinor = 0;
  bool dmabuf = false;  // Its memory can be exported for GPUDirect RDMA.
};

// The driver, once per process.
class Cuda {
 public:
  // `library`: libcuda.so.1 unless a test says otherwise. Null with the reason when it is not
  // there, lacks a symbol, or has no device.
  static std::unique_ptr<Cuda> load(const char* library, std::string& whyNot);
  ~Cuda();

  int driverVersion() const { return driverVersion_; }  // 12040 is 12.4.
  const std::vector<GpuInfo>& gpus() const { return gpus_; }

  struct Api;
  const Api& api() const { return *api_; }
  std::string errorText(int code) const;

 private:
  Cuda();
  std::string bind(const char* library);
  std::string enumerate();

  void* library_ = nullptr;
  std::unique_ptr<Api> api_;
  int driverVersion_ = 0;
  std::vector<GpuInfo> gpus_;
};

// One device: memory, a stream for each direction and one for kernels, copies and kernels with
// events that are polled. One thread at a time. Errors are the driver's numbers; 0 is success.
class Gpu {
 public:
  static std::unique_ptr<Gpu> open(std::shared_ptr<Cuda> cuda, int ordinal, std::string& whyNot);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  // A pool in device memory, freed with the Gpu or by freePool.
  int makePool(uint64_t sizeBytes, CuDevicePtr& base);
  int freePool(CuDevicePtr base);

  // Pins host memory, so that copies from and to it are asynchronous and direct.
  int pinHost(void* base, size_t sizeBytes);
  int unpinHost(void* base);

  // Start a copy or kernel; `ticket` is polled. Ranges on the device must lie within one pool.
  int copyIn(CuDevicePtr to, const void* from, size_t sizeBytes, uint64_t& ticket);
  int copyOut(void* to, CuDevicePtr from, size_t sizeBytes, uint64_t& ticket);

  // Fills words: word i becomes seed + i * 2654435761, modulo 2^32.
  int fill(CuDevicePtr to, uint64_t words, uint32_t seed, uint64_t& ticket);

  // CRC-32C of each block of `blockBytes` (a multiple of 4), a word each into `crcs` on the device.
  int crc32c(CuDevicePtr data, uint32_t blocks, uint32_t blockBytes, CuDevicePtr crcs,
             uint64_t& ticket);

  // True when what the ticket stands for is done; forgets it then. `error`: that of the driver.
  bool done(uint64_t ticket, int& error);

  // A dmabuf descriptor of device memory for fi_mr_regattr (FI_MR_DMABUF), or -1 with the reason.
  // The range is rounded out to 64 KiB pages by the caller.
  int exportDmabuf(CuDevicePtr base, size_t sizeBytes, std::string& whyNot);

 private:
  explicit Gpu(std::shared_ptr<Cuda> cuda) : cuda_(std::move(cuda)) {}
  std::string setup(int ordinal);
  int loadKernels();
  int record(void* stream, uint64_t& ticket);
  bool inPool(CuDevicePtr base, uint64_t sizeBytes) const;
  int launch(void* kernel, uint64_t threads, void** arguments, uint64_t& ticket);

  struct Ticket {
    uint64_t number;
    void* event;
  };

  std::shared_ptr<Cuda> cuda_;
  int device_ = 0;
  bool dmabuf_ = false;
  bool retained_ = false;
  void* context_ = nullptr;
  void* streamIn_ = nullptr;
  void* streamOut_ = nullptr;
  void* streamRun_ = nullptr;
  void* module_ = nullptr;
  void* fillKernel_ = nullptr;
  void* crcKernel_ = nullptr;
  struct Pool {
    CuDevicePtr base;
    uint64_t sizeBytes;
  };
  std::vector<Pool> pools_;
  std::vector<void*> pinned_;
  std::vector<void*> freeEvents_;
  std::vector<Ticket> tickets_;
  uint64_t nextTicket_ = 1;
};

}  // namespace moontide
