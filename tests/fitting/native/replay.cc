// gives goes to stdout.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "xla/ffi/api/c_api.h"

extern "C" XLA_FFI_Error* tsl_jax_solve(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* tsl_jax_measure(XLA_FFI_CallFrame*);

namespace {

void read(void* to, size_t bytes) {
  if (fread(to, 1, bytes, stdin) != bytes) exit(3);
}

int64_t read_number() {
  int64_t number;
  read(&number, sizeof number);
  return number;
}

std::string read_bytes() {
  std::string text(read_number(), '\0');
  read(text.data(), text.size());
  return text;
}

// An array: what XLA_FFI_DataType calls its numbers, its shape, and the bytes; those of a result are not sent.
struct Array {
  XLA_FFI_DataType type = static_cast<XLA_FFI_DataType>(read_number());
  std::vector<int64_t> shape = std::vector<int64_t>(read_number());
  std::string bytes;
  XLA_FFI_Buffer buffer{};

  void read_shape() {
    for (int64_t& size : shape) size = read_number();
    bytes = std::string(read_number(), '\0');
    const auto rank = static_cast<int64_t>(shape.size());
    buffer = {XLA_FFI_Buffer_STRUCT_SIZE, nullptr, type, bytes.data(), rank, shape.data()};
  }
};

struct Attribute {
  std::string name = read_bytes();
  XLA_FFI_DataType type = static_cast<XLA_FFI_DataType>(read_number());  // INVALID for a string
  std::string value = read_bytes();
  XLA_FFI_ByteSpan name_span{}, text{};
  XLA_FFI_Scalar scalar{};

  void* point() {
    name_span = {name.data(), name.size()}, text = {value.data(), value.size()}, scalar = {type, value.data()};
    return type == XLA_FFI_DataType_INVALID ? static_cast<void*>(&text) : &scalar;
  }
};

// A pool of one thread.
XLA_FFI_Error* num_threads(XLA_FFI_ThreadPool_NumThreads_Args* args) {
  *args->num_threads = 1;
  return nullptr;
}

XLA_FFI_Error* create_error(XLA_FFI_Error_Create_Args* args) {
  fprintf(stderr, "%s\n", args->message);
  exit(4);
}

std::deque<Array> arrays;  // whose places stay

std::vector<void*> read_arrays(bool with_content) {
  std::vector<void*> places;
  for (int64_t left = read_number(); left > 0; --left) {
    Array& array = arrays.emplace_back();
    array.read_shape();
    if (with_content) read(array.bytes.data(), array.bytes.size());
    places.push_back(&array.buffer);
  }
  return places;
}

}  // namespace

int main(int, char** argv) {
  std::vector<void*> args = read_arrays(true), rets = read_arrays(false);
  std::vector<XLA_FFI_ArgType> arg_types(args.size(), XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> ret_types(rets.size(), XLA_FFI_RetType_BUFFER);
  std::deque<Attribute> attributes;
  std::vector<XLA_FFI_AttrType> attribute_types;
  std::vector<XLA_FFI_ByteSpan*> names;
  std::vector<void*> values;
  for (int64_t left = read_number(); left > 0; --left) {
    Attribute& attribute = attributes.emplace_back();
    values.push_back(attribute.point());
    names.push_back(&attribute.name_span);
    attribute_types.push_back(attribute.type == XLA_FFI_DataType_INVALID ? XLA_FFI_AttrType_STRING
                                                                         : XLA_FFI_AttrType_SCALAR);
  }
  XLA_FFI_Api api{};
  api.struct_size = sizeof api;
  api.XLA_FFI_ThreadPool_NumThreads = num_threads;
  api.XLA_FFI_Error_Create = create_error;
  XLA_FFI_CallFrame frame{};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &api;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<int64_t>(args.size()), arg_types.data(), args.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, static_cast<int64_t>(rets.size()), ret_types.data(), rets.data()};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, static_cast<int64_t>(values.size()), attribute_types.data(),
                 names.data(), values.data()};
  if ((strcmp(argv[1], "solve") == 0 ? tsl_jax_solve : tsl_jax_measure)(&frame)) return 5;
  arrays.erase(arrays.begin(), arrays.begin() + args.size());
  for (const Array& result : arrays) fwrite(result.bytes.data(), 1, result.bytes.size(), stdout);
}
