// Tensors of torch, read where Python hands them over, without libtorch: by DLPack's exchange
// interface, which a torch class offers as a table of C functions (torch 2.10 and newer).
//
// It only ever says yes: a tensor that is not known to be plain is left to Python, whose checks say
// what is wrong with it, or make the copy that it needs.
#pragma once

#include "bindings/python.h"
#include "core/dtype.h"

namespace ladnet::python {

// The layout that DLPack gives a tensor (dmlc/dlpack, include/dlpack/dlpack.h, version 1).
struct DlTensor {
  void* data;
  struct {
    int32_t type;
    int32_t id;
  } device;
  int32_t rank;
  struct {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
  } dtype;
  const int64_t* shape;
  const int64_t* strides;  // in elements
  uint64_t byte_offset;
};

// An ordinary tensor in this machine's memory; borrowed from the Python object.
class PlainTensor : private DlTensor {
 public:
  // Whether `object` is one, of torch's own classes. With kMemory also: it is no view that negates
  // its memory, and its storage, which may have been resized, is as large as its shape needs.
  enum Depth { kShape, kMemory };
  bool read(PyObject* object, Depth depth);

  bool is(Dtype wanted) const;
  bool is_int64() const { return dtype.code == 0 && dtype.bits == 64; }
  bool is_contiguous_vector(int64_t size) const {
    return rank == 1 && shape[0] == size && (strides[0] == 1 || size == 1);
  }

  using DlTensor::data;
  using DlTensor::rank;
  using DlTensor::shape;
  using DlTensor::strides;
};

// know_tensors(classes, table): tells the module which classes are torch's own, and the capsule of
// their functions. False where that has another version; no tensor is plain then, or before.
PyObject* know_tensors(Call& call);

}  // namespace ladnet::python
