// What the bindings of the losses on CPUs and on GPUs share: how Python describes bags and options.
#pragma once

#include "bindings/choices.h"
#include "bindings/python.h"
#include "core/ddl_batch.h"

namespace ladnet::ddl {

inline Pairing pairing_of(python::Call& call) {
  return python::choice<Pairing>(call, "pairing",
                                 {{"batch_mean", Pairing::kBatchMean},
                                  {"all_pairs", Pairing::kAllPairs},
                                  {"one_to_one", Pairing::kOneToOne}});
}

inline Select select_of(python::Call& call) {
  return python::choice<Select>(call, "select", {{"topk", Select::kTopK}, {"all", Select::kAll}});
}

inline Detach detach_of(python::Call& call) {
  return python::choice<Detach>(
      call, "detach",
      {{"none", Detach::kNone}, {"score", Detach::kScore}, {"feature", Detach::kFeature}});
}

inline Batch batch_of(python::Call& call) {
  const Batch batch{call.get<int64_t>("bags"),           call.get<int64_t>("T"),
                    call.get<int64_t>("width"),          call.get<const void*>("scores"),
                    call.get<const void*>("features"),   python::dtype(call, "dtype"),
                    call.get<int64_t>("batch_stride"),   call.get<int64_t>("row_stride"),
                    call.get<const int64_t*>("lengths"), call.get<const int64_t*>("cu_seqlens")};
  call.finish();
  return batch;
}

inline Options options_of(python::Call& call) {
  return {call.get<double>("margin"), call.get<double>("eps"), call.get<int64_t>("topk_divisor"),
          pairing_of(call),           select_of(call),         detach_of(call)};
}

constexpr const char* kBatchDoc = "Bags of scores and features: sizes and addresses.";

}  // namespace ladnet::ddl
