// What the bindings of the losses on CPUs and on GPUs share: how Python describes bags and options.
#pragma once

#include "bindings/python.h"
#include "core/ddl_batch.h"

namespace ladnet::ddl {

template <class Choice>
Choice choice(python::Call& call, const char* name) {
  return static_cast<Choice>(call.get<int>(name));
}

inline Batch batch_of(python::Call& call) {
  const Batch batch{call.get<int64_t>("bags"),           call.get<int64_t>("T"),
                    call.get<int64_t>("width"),          call.get<const void*>("scores"),
                    call.get<const void*>("features"),   choice<Dtype>(call, "dtype"),
                    call.get<int64_t>("batch_stride"),   call.get<int64_t>("row_stride"),
                    call.get<const int64_t*>("lengths"), call.get<const int64_t*>("cu_seqlens")};
  call.finish();
  return batch;
}

inline Options options_of(python::Call& call) {
  return {call.get<double>("margin"),        call.get<double>("eps"),
          call.get<int64_t>("topk_divisor"), choice<Pairing>(call, "pairing"),
          choice<Select>(call, "select"),    choice<Detach>(call, "detach")};
}

constexpr const char* kBatchDoc = "Bags of scores and features: sizes and addresses.";

}  // namespace ladnet::ddl
