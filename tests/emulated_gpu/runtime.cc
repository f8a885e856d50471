// What the kernel asks of CUDA's runtime, for kernels that were translated to run on a CPU.
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstring>
#include <map>
#include <string>

namespace {

constexpr int kMultiprocessors = 2;

std::map<const void*, std::string>& names() {
  static std::map<const void*, std::string> names;
  return names;
}

struct Launch {
  dim3 grid, block;
} next;

cudaError_t last = cudaSuccess;

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void*) { return nullptr; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 0; }  // asked for by some versions of nvcc

void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  names()[host] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t, CUstream_st*) {
  next = {grid, block};
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = next.grid, *block = next.block, *shared = 0;
  std::memset(stream, 0, sizeof(cudaStream_t));
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(host));
  return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t host, dim3 grid, dim3 block, void** arguments, size_t, cudaStream_t) {
  using Kernel = void (*)(unsigned, unsigned, void**);
  const auto kernel = reinterpret_cast<Kernel>(dlsym(RTLD_DEFAULT, ("ptx_" + names().at(host)).c_str()));
  if (!kernel || grid.x == 0) return last = cudaErrorInvalidConfiguration;
  kernel(grid.x, block.x, arguments);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t size, cudaStream_t) {
  std::memset(to, value, size);
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { return *value = kMultiprocessors, cudaSuccess; }
cudaError_t cudaGetLastError() { return last; }
const char* cudaGetErrorString(cudaError_t) { return "a launch failed"; }

}  // extern "C"
