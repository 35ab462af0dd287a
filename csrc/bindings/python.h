// Python functions written against CPython's stable ABI, so that one module serves every Python
// from 3.10 on. Integers, floats, strings and tuples come in by name; C++ exceptions go out as
// Python's.
#pragma once

// Interpreters without a global lock have no stable ABI before 3.15: there a module serves one
// Python.
#if !defined(Py_LIMITED_API) && !defined(LADNET_FULL_PYTHON_API)
#define Py_LIMITED_API 0x030A0000
#endif
#include <Python.h>
#include <stdint.h>

#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace ladnet::python {

// Thrown where Python's own error is set already.
struct ErrorIsSet {};

[[noreturn]] inline void raise(PyObject* type, const std::string& message) {
  PyErr_SetString(type, message.c_str());
  throw ErrorIsSet();
}

// ---- One value ---------------------------------------------------------------------------------

inline void from_python(PyObject* given, int64_t* value) {
  *value = PyLong_AsLongLong(given);
  if (*value == -1 && PyErr_Occurred()) throw ErrorIsSet();
}

inline void from_python(PyObject* given, int* value) {
  int64_t wide = 0;
  from_python(given, &wide);
  if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max()) {
    raise(PyExc_OverflowError, std::to_string(wide) + " does not fit in a C int");
  }
  *value = static_cast<int>(wide);
}

// Addresses cross as integers from Tensor.data_ptr(), 0 for none.
template <class T>
void from_python(PyObject* given, T** value) {
  void* const address = PyLong_AsVoidPtr(given);
  if (address == nullptr && PyErr_Occurred()) throw ErrorIsSet();
  *value = static_cast<T*>(address);
}

inline void from_python(PyObject* given, PyObject** value) {
  *value = given;
}  // borrowed

inline void from_python(PyObject* given, double* value) {
  *value = PyFloat_AsDouble(given);
  if (*value == -1.0 && PyErr_Occurred()) throw ErrorIsSet();
}

inline void from_python(PyObject* given, bool* value) {
  if (given != Py_True && given != Py_False) raise(PyExc_TypeError, "True or False is needed");
  *value = given == Py_True;
}

// A view of Python's own string, which lives as long as the call.
inline void from_python(PyObject* given, std::string_view* value) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(given, &size);
  if (text == nullptr) throw ErrorIsSet();
  *value = std::string_view(text, static_cast<size_t>(size));
}

template <class T>
T converted(PyObject* value) {
  T result;
  from_python(value, &result);
  return result;
}

// ---- Tuples and lists --------------------------------------------------------------------------

inline Py_ssize_t size_of(PyObject* sequence) {
  if (!PyTuple_Check(sequence) && !PyList_Check(sequence)) {
    raise(PyExc_TypeError, "a tuple or a list is needed");
  }
  return PyTuple_Check(sequence) ? PyTuple_Size(sequence) : PyList_Size(sequence);
}

// Borrowed from the sequence.
inline PyObject* item_of(PyObject* sequence, Py_ssize_t i) {
  PyObject* const item =
      PyTuple_Check(sequence) ? PyTuple_GetItem(sequence, i) : PyList_GetItem(sequence, i);
  if (item == nullptr) throw ErrorIsSet();
  return item;
}

// Fills the values from a tuple of as many items.
template <class... Values>
void unpack(PyObject* sequence, Values*... values) {
  if (size_of(sequence) != static_cast<Py_ssize_t>(sizeof...(values))) {
    raise(PyExc_TypeError, "a tuple of " + std::to_string(sizeof...(values)) + " is needed; got " +
                               std::to_string(size_of(sequence)) + " items");
  }
  Py_ssize_t i = 0;
  (from_python(item_of(sequence, i++), values), ...);
}

// ---- C++ objects that Python holds -------------------------------------------------------------

// `kind` is the name by which `held` tells kinds apart; a literal, since it must outlive the
// object.
template <class T>
PyObject* hold(T value, const char* kind) {
  auto owned = std::make_unique<T>(std::move(value));
  PyObject* const capsule = PyCapsule_New(owned.get(), kind, [](PyObject* self) {
    delete static_cast<T*>(PyCapsule_GetPointer(self, PyCapsule_GetName(self)));
  });
  if (capsule == nullptr) throw ErrorIsSet();
  (void)owned.release();  // the capsule's, now
  return capsule;
}

template <class T>
const T& held(PyObject* capsule, const char* kind) {
  void* const value = PyCapsule_GetPointer(capsule, kind);
  if (value == nullptr) {
    PyErr_Clear();
    raise(PyExc_TypeError, std::string("an object of the kind ") + kind + " is needed");
  }
  return *static_cast<const T*>(value);
}

// ---- A call ------------------------------------------------------------------------------------

class Call {
 public:
  Call(PyObject* const* given, Py_ssize_t positional, PyObject* names)
      : given_(given), positional_(positional), names_(names) {
    named_ = names == nullptr ? 0 : PyTuple_Size(names);
  }

  // The next positional argument.
  PyObject* next() {
    if (next_ == positional_) raise(PyExc_TypeError, "a positional argument is missing");
    return given_[next_++];
  }

  template <class T>
  T get(const char* name) {
    PyObject* const value = find(name);
    if (value == nullptr) {
      raise(PyExc_TypeError, std::string("the argument ") + name + " is missing");
    }
    return converted<T>(value);
  }

  template <class T>
  T get(const char* name, T otherwise) {
    PyObject* const value = find(name);
    return value == nullptr ? otherwise : converted<T>(value);
  }

  // Call it when all arguments were read: one that is left over is an error.
  void finish() const {
    if (next_ != positional_ || found_ != named_) {
      raise(PyExc_TypeError, "an argument was given that this function does not have");
    }
  }

 private:
  // Starts behind the argument found last: callers usually name them in the order of reading.
  PyObject* find(const char* name) {
    for (Py_ssize_t step = 0; step < named_; ++step) {
      const Py_ssize_t i = (start_ + step) % named_;
      if (PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names_, i), name) == 0) {
        start_ = i + 1;
        ++found_;
        return given_[positional_ + i];
      }
    }
    return nullptr;
  }

  PyObject* const* given_;
  Py_ssize_t positional_;
  PyObject* names_;
  Py_ssize_t named_ = 0;
  Py_ssize_t next_ = 0;
  Py_ssize_t start_ = 0;
  Py_ssize_t found_ = 0;
};

// Releases the GIL for its lifetime.
class Released {
 public:
  Released() : state_(PyEval_SaveThread()) {}
  ~Released() { PyEval_RestoreThread(state_); }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  PyThreadState* state_;
};

// The function that Python calls: runs `body`, turns C++ exceptions into Python's.
template <PyObject* (*body)(Call&)>
PyObject* entry(PyObject*, PyObject* const* given, Py_ssize_t positional,
                PyObject* names) noexcept {
  try {
    Call call(given, positional, names);
    return body(call);
  } catch (const ErrorIsSet&) {
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::overflow_error& error) {
    PyErr_SetString(PyExc_OverflowError, error.what());
  } catch (const std::logic_error& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

template <PyObject* (*body)(Call&)>
PyMethodDef method(const char* name, const char* doc) {
  // Cast by way of void (*)(): the flags say which signature the function has.
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&entry<body>)),
          METH_FASTCALL | METH_KEYWORDS, doc};
}

inline PyObject* none() {
  Py_INCREF(Py_None);
  return Py_None;
}

inline PyObject* text(const std::string& value) {
  return PyUnicode_FromStringAndSize(value.data(), static_cast<Py_ssize_t>(value.size()));
}

}  // namespace ladnet::python
