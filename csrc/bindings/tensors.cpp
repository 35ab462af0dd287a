#include "bindings/tensors.h"

#include <vector>

namespace ladnet::python {

namespace {

// DLPack's table of functions, and what each version of it begins with.
struct Exchange {
  struct {
    uint32_t major;
    uint32_t minor;
  } version;
  Exchange* older;
  void* others[3];
  int (*describe)(void* object, DlTensor* result);
  void* stream;
};

constexpr int32_t kCpu = 1;
enum Code : uint8_t { kInt = 0, kFloat = 2, kBFloat = 4 };

struct {
  std::vector<PyObject*> classes;
  int (*describe)(void*, DlTensor*) = nullptr;
  PyObject* is_neg = nullptr;
  PyObject* untyped_storage = nullptr;
  PyObject* nbytes = nullptr;
  PyObject* storage_offset = nullptr;
} torch;

PyObject* name(const char* text) {
  PyObject* const result = PyUnicode_InternFromString(text);
  if (result == nullptr) throw ErrorIsSet();
  return result;
}

// What a method without arguments returns.
PyObject* ask(PyObject* object, PyObject* method) {
  PyObject* const result = PyObject_CallMethodObjArgs(object, method, nullptr);
  if (result == nullptr) throw ErrorIsSet();
  return result;
}

int64_t ask_number(PyObject* object, PyObject* method) {
  PyObject* const result = ask(object, method);
  const int64_t value = PyLong_AsLongLong(result);
  Py_DECREF(result);
  if (value == -1 && PyErr_Occurred()) throw ErrorIsSet();
  return value;
}

bool holds_its_memory(PyObject* object, int64_t last, int64_t item) {
  PyObject* const answer = ask(object, torch.is_neg);
  const bool negates = answer != Py_False;
  Py_DECREF(answer);
  if (negates) return false;
  last += ask_number(object, torch.storage_offset);
  PyObject* const storage = ask(object, torch.untyped_storage);
  const int64_t bytes = ask_number(storage, torch.nbytes);
  Py_DECREF(storage);
  return last < bytes / item;
}

}  // namespace

bool PlainTensor::read(PyObject* object, Depth depth) {
  if (torch.describe == nullptr) return false;
  auto* const kind = reinterpret_cast<PyObject*>(Py_TYPE(object));
  bool known = false;
  for (PyObject* const one : torch.classes) known |= kind == one;
  if (!known) return false;
  if (torch.describe(object, this) != 0) {
    PyErr_Clear();  // sparse, quantised, another tensor's stand-in: Python's checks name it
    return false;
  }
  if (device.type != kCpu || dtype.lanes != 1 || byte_offset != 0) return false;
  int64_t last = 0;
  for (int32_t axis = 0; axis < rank; ++axis) {
    if (shape[axis] <= 0) return false;
    last += (shape[axis] - 1) * strides[axis];
  }
  return depth == kShape || holds_its_memory(object, last, dtype.bits / 8);
}

bool PlainTensor::is(Dtype wanted) const {
  return dtype.code == (wanted == Dtype::kBFloat16 ? kBFloat : kFloat) &&
         dtype.bits == 8 * size_of(wanted);
}

PyObject* know_tensors(Call& call) {
  const auto classes = call.get<PyObject*>("classes");
  const auto table = call.get<PyObject*>("table");
  call.finish();
  const auto* exchange =
      static_cast<const Exchange*>(PyCapsule_GetPointer(table, "dlpack_exchange_api"));
  if (exchange == nullptr) throw ErrorIsSet();
  while (exchange != nullptr && exchange->version.major != 1) exchange = exchange->older;
  if (exchange == nullptr || exchange->describe == nullptr) return PyBool_FromLong(false);
  torch.is_neg = name("is_neg");
  torch.untyped_storage = name("untyped_storage");
  torch.nbytes = name("nbytes");
  torch.storage_offset = name("storage_offset");
  for (Py_ssize_t i = 0; i < size_of(classes); ++i) {
    PyObject* const one = item_of(classes, i);
    Py_INCREF(one);  // for ever
    torch.classes.push_back(one);
  }
  torch.describe = exchange->describe;
  return PyBool_FromLong(true);
}

}  // namespace ladnet::python
