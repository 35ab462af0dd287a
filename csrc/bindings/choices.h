// Enumerations cross as strings: the names that Python's own functions take.
#pragma once

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/python.h"
#include "core/dtype.h"

namespace ladnet::python {

// The value of the argument `name`; std::invalid_argument, in Python ValueError, if it is none of
// `choices`.
template <class Value>
Value choice(Call& call, const char* name,
             std::initializer_list<std::pair<const char*, Value>> choices) {
  const auto given = call.get<std::string_view>(name);
  for (const auto& [word, value] : choices) {
    if (given == word) return value;
  }
  std::string words;
  for (const auto& [word, value] : choices)
    words += (words.empty() ? "" : ", ") + std::string(word);
  throw std::invalid_argument(name + (" must be one of " + words) + "; got '" + std::string(given) +
                              "'");
}

inline Dtype dtype(Call& call, const char* name) {
  return choice<Dtype>(call, name,
                       {{"float32", Dtype::kFloat32},
                        {"float64", Dtype::kFloat64},
                        {"bfloat16", Dtype::kBFloat16},
                        {"float16", Dtype::kFloat16}});
}

}  // namespace ladnet::python
