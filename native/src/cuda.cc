#include "cuda.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>

#include "cuda-kernels.h"

namespace moontide {
namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidValue = 1;
constexpr int kNotReady = 600;

// CUdevice_attribute
constexpr int kComputeMajor = 75;
constexpr int kComputeMinor = 76;
constexpr int kDmaBufSupported = 124;

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventDisableTiming = 2;
constexpr unsigned kHostRegisterPortable = 1;
constexpr int kHandleDmaBufFd = 1;

constexpr unsigned kThreads = 256;
constexpr uint64_t kMaxBlocks = 65535;

}  // namespace

struct Cuda::Api {
  int (*init)(unsigned);
  int (*driverGetVersion)(int*);
  int (*getErrorString)(int, const char**);
  int (*deviceGetCount)(int*);
  int (*deviceGet)(int*, int);
  int (*deviceGetName)(char*, int, int);
  int (*deviceTotalMem)(size_t*, int);
  int (*deviceGetAttribute)(int*, int, int);
  int (*deviceGetPciBusId)(char*, int, int);
  int (*primaryCtxRetain)(void**, int);
  int (*primaryCtxRelease)(int);
  int (*ctxSetCurrent)(void*);
  int (*ctxSynchronize)();
  int (*memAlloc)(CuDevicePtr*, size_t);
  int (*memFree)(CuDevicePtr);
  int (*memHostRegister)(void*, size_t, unsigned);
  int (*memHostUnregister)(void*);
  int (*memcpyHtoDAsync)(CuDevicePtr, const void*, size_t, void*);
  int (*memcpyDtoHAsync)(void*, CuDevicePtr, size_t, void*);
  int (*streamCreate)(void**, unsigned);
  int (*streamDestroy)(void*);
  int (*eventCreate)(void**, unsigned);
  int (*eventRecord)(void*, void*);
  int (*eventQuery)(void*);
  int (*eventDestroy)(void*);
  int (*moduleLoadData)(void**, const void*);
  int (*moduleUnload)(void*);
  int (*moduleGetFunction)(void**, void*, const char*);
  int (*launchKernel)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                      void*, void**, void**);
  // Since CUDA 11.7; null before.
  int (*memGetHandleForAddressRange)(void*, CuDevicePtr, size_t, int, unsigned long long);
};

Cuda::Cuda() : api_(std::make_unique<Api>()) {}

Cuda::~Cuda() {
  if (library_ != nullptr) dlclose(library_);
}

std::unique_ptr<Cuda> Cuda::load(const char* library, std::string& whyNot) {
  std::unique_ptr<Cuda> cuda(new Cuda());
  whyNot = cuda->bind(library);
  if (whyNot.empty()) whyNot = cuda->enumerate();
  if (!whyNot.empty()) return nullptr;
  return cuda;
}

std::string Cuda::bind(const char* library) {
  library_ = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) return std::string("no NVIDIA driver: ") + dlerror();
  std::string missing;
  const auto find = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library_, symbol));
    if (function == nullptr) missing += std::string(missing.empty() ? "" : ", ") + symbol;
  };
  Api& api = *api_;
  find(api.init, "cuInit");
  find(api.driverGetVersion, "cuDriverGetVersion");
  find(api.getErrorString, "cuGetErrorString");
  find(api.deviceGetCount, "cuDeviceGetCount");
  find(api.deviceGet, "cuDeviceGet");
  find(api.deviceGetName, "cuDeviceGetName");
  find(api.deviceTotalMem, "cuDeviceTotalMem_v2");
  find(api.deviceGetAttribute, "cuDeviceGetAttribute");
  find(api.deviceGetPciBusId, "cuDeviceGetPCIBusId");
  find(api.primaryCtxRetain, "cuDevicePrimaryCtxRetain");
  find(api.primaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
  find(api.ctxSetCurrent, "cuCtxSetCurrent");
  find(api.ctxSynchronize, "cuCtxSynchronize");
  find(api.memAlloc, "cuMemAlloc_v2");
  find(api.memFree, "cuMemFree_v2");
  find(api.memHostRegister, "cuMemHostRegister_v2");
  find(api.memHostUnregister, "cuMemHostUnregister");
  find(api.memcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
  find(api.memcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
  find(api.streamCreate, "cuStreamCreate");
  find(api.streamDestroy, "cuStreamDestroy_v2");
  find(api.eventCreate, "cuEventCreate");
  find(api.eventRecord, "cuEventRecord");
  find(api.eventQuery, "cuEventQuery");
  find(api.eventDestroy, "cuEventDestroy_v2");
  find(api.moduleLoadData, "cuModuleLoadData");
  find(api.moduleUnload, "cuModuleUnload");
  find(api.moduleGetFunction, "cuModuleGetFunction");
  find(api.launchKernel, "cuLaunchKernel");
  if (!missing.empty()) return std::string(library) + " lacks " + missing;
  find(api.memGetHandleForAddressRange, "cuMemGetHandleForAddressRange");
  return "";
}

std::string Cuda::enumerate() {
  int error = api_->init(0);
  if (error != kSuccess) return "cuInit: " + errorText(error);
  api_->driverGetVersion(&driverVersion_);
  int count = 0;
  error = api_->deviceGetCount(&count);
  if (error != kSuccess) return "cuDeviceGetCount: " + errorText(error);
  if (count == 0) return "the driver sees no device";
  for (int i = 0; i < count; i++) {
    GpuInfo gpu;
    gpu.ordinal = i;
    int device = 0;
    char text[256] = "";
    size_t memory = 0;
    int dmabuf = 0;
    error = api_->deviceGet(&device, i);
    if (error == kSuccess) error = api_->deviceGetName(text, sizeof text, device);
    gpu.name = text;
    if (error == kSuccess) error = api_->deviceTotalMem(&memory, device);
    gpu.memoryBytes = memory;
    if (error == kSuccess) error = api_->deviceGetPciBusId(text, sizeof text, device);
    gpu.pciAddress = text;
    // The kernel writes addresses in lower case.
    for (char& c : gpu.pciAddress) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
    if (error != kSuccess) return "device " + std::to_string(i) + ": " + errorText(error);
    api_->deviceGetAttribute(&gpu.computeMajor, kComputeMajor, device);
    api_->deviceGetAttribute(&gpu.computeMinor, kComputeMinor, device);
    // An older driver does not know the question.
    const bool known = api_->deviceGetAttribute(&dmabuf, kDmaBufSupported, device) == kSuccess;
    gpu.dmabuf = known && dmabuf != 0 && api_->memGetHandleForAddressRange != nullptr;
    gpus_.push_back(gpu);
  }
  return "";
}

std::string Cuda::errorText(int code) const {
  const char* text = nullptr;
  if (api_->getErrorString == nullptr || api_->getErrorString(code, &text) != kSuccess ||
      text == nullptr) {
    text = "unknown error";
  }
  return std::string(text) + " (" + std::to_string(code) + ")";
}

std::unique_ptr<Gpu> Gpu::open(std::shared_ptr<Cuda> cuda, int ordinal, std::string& whyNot) {
  std::unique_ptr<Gpu> gpu(new Gpu(std::move(cuda)));
  whyNot = gpu->setup(ordinal);
  if (!whyNot.empty()) return nullptr;
  return gpu;
}

std::string Gpu::setup(int ordinal) {
  const auto& gpus = cuda_->gpus();
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= gpus.size()) {
    return "there is no device " + std::to_string(ordinal);
  }
  const Cuda::Api& api = cuda_->api();
  dmabuf_ = gpus[static_cast<size_t>(ordinal)].dmabuf;
  int error = api.deviceGet(&device_, ordinal);
  if (error == kSuccess) error = api.primaryCtxRetain(&context_, device_);
  retained_ = error == kSuccess;
  if (error == kSuccess) error = api.ctxSetCurrent(context_);
  for (void** stream : {&streamIn_, &streamOut_, &streamRun_}) {
    if (error == kSuccess) error = api.streamCreate(stream, kStreamNonBlocking);
  }
  if (error == kSuccess) error = loadKernels();
  return error == kSuccess ? "" : "opening device " + std::to_string(ordinal) + ": " +
                                      cuda_->errorText(error);
}

int Gpu::loadKernels() {
  const Cuda::Api& api = cuda_->api();
  int error = api.moduleLoadData(&module_, kKernelsPtx);
  if (error == kSuccess) error = api.moduleGetFunction(&fillKernel_, module_, "moontide_fill");
  if (error == kSuccess) error = api.moduleGetFunction(&crcKernel_, module_, "moontide_crc32c");
  return error;
}

Gpu::~Gpu() {
  if (!retained_) return;
  const Cuda::Api& api = cuda_->api();
  api.ctxSetCurrent(context_);
  api.ctxSynchronize();
  for (const Ticket& ticket : tickets_) api.eventDestroy(ticket.event);
  for (void* event : freeEvents_) api.eventDestroy(event);
  for (void* base : pinned_) api.memHostUnregister(base);
  for (const Pool& pool : pools_) api.memFree(pool.base);
  if (module_ != nullptr) api.moduleUnload(module_);
  for (void* stream : {streamIn_, streamOut_, streamRun_}) {
    if (stream != nullptr) api.streamDestroy(stream);
  }
  api.primaryCtxRelease(device_);
}

int Gpu::makePool(uint64_t sizeBytes, CuDevicePtr& base) {
  const Cuda::Api& api = cuda_->api();
  int error = api.ctxSetCurrent(context_);
  if (error == kSuccess) error = api.memAlloc(&base, sizeBytes);
  if (error == kSuccess) pools_.push_back({base, sizeBytes});
  return error;
}

int Gpu::freePool(CuDevicePtr base) {
  const auto pool = std::find_if(pools_.begin(), pools_.end(),
                                 [base](const Pool& one) { return one.base == base; });
  if (pool == pools_.end()) return kInvalidValue;
  const Cuda::Api& api = cuda_->api();
  int error = api.ctxSetCurrent(context_);
  // Copies and kernels may still use it.
  if (error == kSuccess) error = api.ctxSynchronize();
  if (error == kSuccess) error = api.memFree(base);
  if (error == kSuccess) pools_.erase(pool);
  return error;
}

int Gpu::pinHost(void* base, size_t sizeBytes) {
  const Cuda::Api& api = cuda_->api();
  int error = api.ctxSetCurrent(context_);
  if (error == kSuccess) error = api.memHostRegister(base, sizeBytes, kHostRegisterPortable);
  if (error == kSuccess) pinned_.push_back(base);
  return error;
}

int Gpu::unpinHost(void* base) {
  const auto entry = std::find(pinned_.begin(), pinned_.end(), base);
  if (entry == pinned_.end()) return kInvalidValue;
  const Cuda::Api& api = cuda_->api();
  int error = api.ctxSetCurrent(context_);
  if (error == kSuccess) error = api.ctxSynchronize();
  if (error == kSuccess) error = api.memHostUnregister(base);
  if (error == kSuccess) pinned_.erase(entry);
  return error;
}

bool Gpu::inPool(CuDevicePtr base, uint64_t sizeBytes) const {
  return std::any_of(pools_.begin(), pools_.end(), [=](const Pool& pool) {
    return base >= pool.base && sizeBytes <= pool.sizeBytes &&
           base - pool.base <= pool.sizeBytes - sizeBytes;
  });
}

int Gpu::copyIn(CuDevicePtr to, const void* from, size_t sizeBytes, uint64_t& ticket) {
  if (!inPool(to, sizeBytes)) return kInvalidValue;
  const Cuda::Api& api = cuda_->api();
  int error = api.ctxSetCurrent(context_);
  if (error == kSuccess) error = api.memcpyHtoDAsync(to, from, sizeBytes, streamIn_);
  return error == kSuccess ? record(streamIn_, ticket) : error;
}

int Gpu::copyOut(void* to, CuDevicePtr from, size_t sizeBytes, uint64_t& ticket) {
  if (!inPool(from, sizeBytes)) return kInvalidValue;
  const Cuda::Api& api = cuda_->api();
  int error = api.ctxSetCurrent(context_);
  if (error == kSuccess) error = api.memcpyDtoHAsync(to, from, sizeBytes, streamOut_);
  return error == kSuccess ? record(streamOut_, ticket) : error;
}

int Gpu::fill(CuDevicePtr to, uint64_t words, uint32_t seed, uint64_t& ticket) {
  if (to % 4 != 0 || !inPool(to, words * 4)) return kInvalidValue;
  void* arguments[] = {&to, &words, &seed};
  return launch(fillKernel_, words, arguments, ticket);
}

int Gpu::crc32c(CuDevicePtr data, uint32_t blocks, uint32_t blockBytes, CuDevicePtr crcs,
                uint64_t& ticket) {
  const uint64_t bytes = static_cast<uint64_t>(blocks) * blockBytes;
  const bool aligned = data % 4 == 0 && blockBytes % 4 == 0 && crcs % 4 == 0;
  if (!aligned || !inPool(data, bytes) || !inPool(crcs, blocks * 4ull)) return kInvalidValue;
  uint32_t words = blockBytes / 4;
  void* arguments[] = {&data, &blocks, &words, &crcs};
  return launch(crcKernel_, blocks, arguments, ticket);
}

// Kernels stride over what a grid of kMaxBlocks does not cover.
int Gpu::launch(void* kernel, uint64_t threads, void** arguments, uint64_t& ticket) {
  const Cuda::Api& api = cuda_->api();
  const uint64_t wanted = std::max<uint64_t>(1, (threads + kThreads - 1) / kThreads);
  const auto blocks = static_cast<unsigned>(std::min(wanted, kMaxBlocks));
  int error = api.ctxSetCurrent(context_);
  if (error == kSuccess) {
    error = api.launchKernel(kernel, blocks, 1, 1, kThreads, 1, 1, 0, streamRun_, arguments,
                             nullptr);
  }
  return error == kSuccess ? record(streamRun_, ticket) : error;
}

int Gpu::record(void* stream, uint64_t& ticket) {
  const Cuda::Api& api = cuda_->api();
  void* event = nullptr;
  int error = kSuccess;
  if (freeEvents_.empty()) {
    error = api.eventCreate(&event, kEventDisableTiming);
  } else {
    event = freeEvents_.back();
    freeEvents_.pop_back();
  }
  if (error == kSuccess) error = api.eventRecord(event, stream);
  if (error != kSuccess) return error;
  ticket = nextTicket_++;
  tickets_.push_back({ticket, event});
  return kSuccess;
}

bool Gpu::done(uint64_t number, int& error) {
  error = kSuccess;
  const auto ticket = std::find_if(tickets_.begin(), tickets_.end(),
                                   [number](const Ticket& one) { return one.number == number; });
  if (ticket == tickets_.end()) {
    error = kInvalidValue;
    return true;
  }
  const Cuda::Api& api = cuda_->api();
  error = api.ctxSetCurrent(context_);
  if (error == kSuccess) error = api.eventQuery(ticket->event);
  if (error == kNotReady) {
    error = kSuccess;
    return false;
  }
  freeEvents_.push_back(ticket->event);
  tickets_.erase(ticket);
  return true;
}

int Gpu::exportDmabuf(CuDevicePtr base, size_t sizeBytes, std::string& whyNot) {
  const Cuda::Api& api = cuda_->api();
  if (!dmabuf_) {
    whyNot = api.memGetHandleForAddressRange == nullptr ? "the driver is older than CUDA 11.7"
                                                        : "the device or kernel has no dmabuf";
    return -1;
  }
  int fd = -1;
  int error = api.ctxSetCurrent(context_);
  if (error == kSuccess) {
    error = api.memGetHandleForAddressRange(&fd, base, sizeBytes, kHandleDmaBufFd, 0);
  }
  if (error == kSuccess) return fd;
  whyNot = cuda_->errorText(error);
  return -1;
}

}  // namespace moontide
