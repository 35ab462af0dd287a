// Python's view of csrc/cpu/attention.h. A tensor is itself, where it is plain and lies as the
// kernels need it, or (pointer, batch, head and row stride).
#include "cpu/attention.h"

#include "bindings/choices.h"
#include "bindings/methods.h"
#include "bindings/tensors.h"

namespace attention = ladnet::attention;
namespace python = ladnet::python;

namespace {

constexpr const char* kProblem = "ladnet_fast._cpu.AttentionProblem";

attention::Tensor tensor(python::Call& call, const char* name) {
  attention::Tensor result{};
  python::unpack(call.get<PyObject*>(name), &result.data, &result.batch_stride, &result.head_stride,
                 &result.row_stride);
  return result;
}

PyObject* make_problem(python::Call& call) {
  attention::Problem problem;
  problem.dtype = python::dtype(call, "dtype");
  problem.prior = python::choice<attention::Prior>(call, "prior",
                                                   {{"additive", attention::Prior::kAdditive},
                                                    {"logit", attention::Prior::kLogit},
                                                    {"none", attention::Prior::kNone}});
  problem.scale = call.get<double>("scale");
  python::unpack(call.get<PyObject*>("shape"), &problem.batches, &problem.heads, &problem.T,
                 &problem.d);
  problem.lengths = call.get<const int64_t*>("lengths");
  problem.cu_seqlens = call.get<const int64_t*>("cu_seqlens");
  problem.offsets = call.get<int64_t>("offsets");
  problem.w = call.get<void*>("w");
  problem.b = call.get<void*>("b");
  problem.threads = call.get<int>("threads");
  call.finish();
  return python::hold(problem, kProblem);
}

// Other Python threads go on meanwhile.
template <class Tensors>
void run(void (*pass)(const attention::Problem&, const Tensors&), const attention::Problem& problem,
         const Tensors& tensors) {
  const python::Released released;
  pass(problem, tensors);
}

PyObject* forward(python::Call& call) {
  const auto& problem = python::held<attention::Problem>(call.next(), kProblem);
  const attention::ForwardTensors tensors{tensor(call, "q"),           tensor(call, "k"),
                                          tensor(call, "v"),           tensor(call, "out"),
                                          tensor(call, "softmax_out"), call.get<void*>("lse")};
  call.finish();
  run(&attention::forward, problem, tensors);
  return python::none();
}

PyObject* backward(python::Call& call) {
  const auto& problem = python::held<attention::Problem>(call.next(), kProblem);
  const attention::BackwardTensors tensors{
      tensor(call, "grad_out"),  tensor(call, "q"),        tensor(call, "k"),
      tensor(call, "v"),         tensor(call, "attended"), call.get<void*>("lse"),
      tensor(call, "grad_q"),    tensor(call, "grad_k"),   tensor(call, "grad_v"),
      call.get<void*>("grad_w"), call.get<void*>("grad_b")};
  call.finish();
  run(&attention::backward, problem, tensors);
  return python::none();
}

// ---- Tensors as they are ------------------------------------------------------------------------

using python::PlainTensor;

// One call's positional arguments, in the order in which Python's Call has them.
class Plain {
 public:
  explicit Plain(python::Call& call) : call_(call) {}

  // q, k, v, w and b and the prior's name. False where one is not plain or does not fit the others.
  template <class Tensors>
  bool read_inputs(PlainTensor::Depth depth, Tensors* tensors) {
    depth_ = depth;
    PlainTensor q, k, v;
    if (!q.read(call_.next(), depth) || !k.read(call_.next(), depth) ||
        !v.read(call_.next(), depth) || q.rank != 4) {
      return false;
    }
    PyObject* const w = call_.next();
    PyObject* const b = call_.next();
    if (!find_dtype(q)) return false;
    problem.batches = q.shape[0];
    problem.heads = q.shape[1];
    problem.T = q.shape[2];
    problem.d = q.shape[3];
    if (!fits(k) || !fits(v)) return false;
    if (!find_prior(call_.next())) return false;
    if (problem.prior != attention::Prior::kNone) {
      PlainTensor width, shift;
      if (!width.read(w, depth) || !shift.read(b, depth) || !is_prior(width) || !is_prior(shift)) {
        return false;
      }
      problem.w = width.data;
      problem.b = shift.data;
    }
    return place(q, &tensors->q) && place(k, &tensors->k) && place(v, &tensors->v);
  }

  // What follows: lengths, cu_seqlens, the scale and the number of threads.
  bool read_rest() {
    PyObject* const lengths = call_.next();
    PyObject* const cu_seqlens = call_.next();
    PlainTensor indices;
    problem.lengths = nullptr;
    problem.cu_seqlens = nullptr;
    problem.offsets = 0;
    if (lengths != Py_None) {
      if (!indices.read(lengths, depth_) || !indices.is_int64() ||
          !indices.is_contiguous_vector(problem.batches)) {
        return false;
      }
      problem.lengths = static_cast<const int64_t*>(indices.data);
    }
    if (cu_seqlens != Py_None) {
      if (!indices.read(cu_seqlens, depth_) || !indices.is_int64() || indices.rank != 1 ||
          !indices.is_contiguous_vector(indices.shape[0])) {
        return false;
      }
      problem.cu_seqlens = static_cast<const int64_t*>(indices.data);
      problem.offsets = indices.shape[0];
    }
    python::from_python(call_.next(), &problem.scale);
    python::from_python(call_.next(), &problem.threads);
    return true;
  }

  // The results follow, which have just been made.
  void expect_results() { depth_ = PlainTensor::kShape; }

  // One more tensor of q's shape and dtype.
  bool read(attention::Tensor* result) {
    PlainTensor tensor;
    return tensor.read(call_.next(), depth_) && fits(tensor) && place(tensor, result);
  }

  bool read_optional(attention::Tensor* result) {
    PyObject* const object = call_.next();
    PlainTensor tensor;
    *result = {nullptr, 0, 0, 0};
    return object == Py_None ||
           (tensor.read(object, depth_) && fits(tensor) && place(tensor, result));
  }

  // (B, H, T), contiguous, of the sums' dtype, or None.
  template <class Pointer>  // void* or const void*
  bool read_lse(Pointer* result) {
    PyObject* const object = call_.next();
    *result = nullptr;
    if (object == Py_None) return true;
    PlainTensor tensor;
    if (!tensor.read(object, depth_) || tensor.rank != 3 || !tensor.is(real())) return false;
    const int64_t sizes[] = {problem.batches, problem.heads, problem.T};
    int64_t stride = 1;
    for (int axis = 2; axis >= 0; --axis) {
      if (tensor.shape[axis] != sizes[axis]) return false;
      if (tensor.strides[axis] != stride && sizes[axis] > 1) return false;
      stride *= sizes[axis];
    }
    *result = tensor.data;
    return true;
  }

  bool read_prior_grad(void** result) {
    PyObject* const object = call_.next();
    PlainTensor tensor;
    *result = nullptr;
    if (object == Py_None) return true;
    if (!tensor.read(object, depth_) || !is_prior(tensor)) return false;
    *result = tensor.data;
    return true;
  }

  attention::Problem problem{};

 private:
  bool find_dtype(const PlainTensor& tensor) {
    for (const auto dtype : {ladnet::Dtype::kFloat32, ladnet::Dtype::kBFloat16,
                             ladnet::Dtype::kFloat16, ladnet::Dtype::kFloat64}) {
      problem.dtype = dtype;
      if (tensor.is(dtype)) return true;
    }
    return false;
  }

  bool find_prior(PyObject* given) {
    if (!PyUnicode_Check(given)) return false;
    const auto is = [&](const char* name) {
      return PyUnicode_CompareWithASCIIString(given, name) == 0;
    };
    problem.prior = is("additive") ? attention::Prior::kAdditive
                    : is("logit")  ? attention::Prior::kLogit
                                   : attention::Prior::kNone;
    return problem.prior != attention::Prior::kNone || is("none");
  }

  ladnet::Dtype real() const {
    return problem.dtype == ladnet::Dtype::kFloat64 ? ladnet::Dtype::kFloat64
                                                    : ladnet::Dtype::kFloat32;
  }

  bool fits(const PlainTensor& tensor) const {
    return tensor.rank == 4 && tensor.is(problem.dtype) && tensor.shape[0] == problem.batches &&
           tensor.shape[1] == problem.heads && tensor.shape[2] == problem.T &&
           tensor.shape[3] == problem.d;
  }

  bool is_prior(const PlainTensor& tensor) const {
    return tensor.is(real()) && tensor.is_contiguous_vector(problem.heads);
  }

  bool place(const PlainTensor& tensor, attention::Tensor* result) const {
    *result = {tensor.data, tensor.strides[0], tensor.strides[1], tensor.strides[2]};
    return tensor.strides[3] == 1 || problem.d == 1;
  }

  python::Call& call_;
  PlainTensor::Depth depth_ = PlainTensor::kShape;
};

PyObject* longest_without_sums(python::Call& call) {
  const ladnet::Dtype dtype = python::dtype(call, "dtype");
  call.finish();
  return PyLong_FromLongLong(attention::longest_without_sums(dtype));
}

PyObject* fit(python::Call& call) {
  Plain plain(call);
  attention::ForwardTensors tensors{};
  return PyBool_FromLong(plain.read_inputs(PlainTensor::kShape, &tensors));
}

PyObject* forward_of_tensors(python::Call& call) {
  Plain plain(call);
  attention::ForwardTensors tensors{};
  bool is_plain = plain.read_inputs(PlainTensor::kMemory, &tensors) && plain.read_rest();
  plain.expect_results();
  is_plain = is_plain && plain.read(&tensors.out) && plain.read_optional(&tensors.softmax_out) &&
             plain.read_lse(&tensors.lse);
  if (is_plain) {
    call.finish();
    run(&attention::forward, plain.problem, tensors);
  }
  return PyBool_FromLong(is_plain);
}

PyObject* backward_of_tensors(python::Call& call) {
  Plain plain(call);
  attention::BackwardTensors tensors{};
  bool is_plain = plain.read_inputs(PlainTensor::kMemory, &tensors) && plain.read_rest() &&
                  plain.read(&tensors.grad_out) && plain.read_optional(&tensors.attended) &&
                  plain.read_lse(&tensors.lse);
  plain.expect_results();
  is_plain = is_plain && plain.read(&tensors.grad_q) && plain.read(&tensors.grad_k) &&
             plain.read(&tensors.grad_v) && plain.read_prior_grad(&tensors.grad_w) &&
             plain.read_prior_grad(&tensors.grad_b);
  if (is_plain) {
    call.finish();
    run(&attention::backward, plain.problem, tensors);
  }
  return PyBool_FromLong(is_plain);
}

}  // namespace

void ladnet::python::add_attention(Methods& methods) {
  methods.push_back(method<make_problem>("AttentionProblem",
                                         "What the forward and backward pass of a call share."));
  methods.push_back(
      method<forward>("attention_forward", "Fill out, softmax_out (if not null) and lse."));
  methods.push_back(method<backward>(
      "attention_backward",
      "Fill the gradients; those of w and b only if their pointers are not null."));
  methods.push_back(method<longest_without_sums>(
      "attention_longest_without_sums",
      "Up to how many snippets a bag's backward pass needs neither attended nor lse."));
  methods.push_back(method<know_tensors>(
      "know_tensors", "Say which classes are torch's, and which functions describe them."));
  methods.push_back(method<fit>(
      "attention_fit",
      "Whether q, k, v, w, b and the prior's name are plain and fit each other. False says nothing "
      "about tensors that are not plain."));
  methods.push_back(method<forward_of_tensors>(
      "attention_forward_of_tensors",
      "The same as attention_forward, for (q, k, v, w, b, prior, lengths, cu_seqlens, scale, "
      "threads, out, softmax_out or None, lse or None). False, and nothing is done, where a tensor "
      "is not plain."));
  methods.push_back(method<backward_of_tensors>(
      "attention_backward_of_tensors",
      "The same as attention_backward, for (q, k, v, w, b, prior, lengths, cu_seqlens, scale, "
      "threads, grad_out, attended or None, lse or None, grad_q, grad_k, grad_v, grad_w, "
      "grad_b)."));
}
