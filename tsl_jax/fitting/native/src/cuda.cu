// What JAX calls on NVIDIA's GPUs.
#include "cuda.h"

namespace tsl_jax {

inline Scratch scratch_of(ffi::ScratchAllocator& allocator) {
  return Scratch([&](size_t bytes, size_t alignment) { return allocator.Allocate(bytes, alignment); });
}

constexpr auto call_solve = [](cudaStream_t stream, ffi::ScratchAllocator allocator, auto... given) {
  return answer([&] { run(read_solve(given...), stream, scratch_of(allocator)); });
};

constexpr auto call_measure = [](cudaStream_t stream, ffi::ScratchAllocator allocator, auto... given) {
  return answer([&] { run(read_measure(given...), stream, scratch_of(allocator)); });
};

auto contexts() { return ffi::Ffi::Bind().Ctx<ffi::PlatformStream<cudaStream_t>>().Ctx<ffi::ScratchAllocator>(); }

}  // namespace tsl_jax

// Why kernels cannot be launched on the current device; null where they can.
extern "C" const char* tsl_jax_probe() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, tsl_jax::make_templates);
  if (error == cudaSuccess) return nullptr;
  cudaGetLastError();
  return cudaGetErrorString(error);
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(tsl_jax_solve, tsl_jax::call_solve, tsl_jax::solve_binding(tsl_jax::contexts()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(tsl_jax_measure, tsl_jax::call_measure, tsl_jax::measure_binding(tsl_jax::contexts()));
