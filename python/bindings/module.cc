#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>

#include "bound.h"
#include "details.h"
#include "run/model_impl.h"
#include "sigrun/c_api.h"
#include "sigrun/warning.h"

namespace sigrun::python {
namespace {

// A buffer that Python exports to the model. The last reference may go in any thread, also while Python shuts down: then it is left alone.
struct ExportedBuffer {
  Py_buffer view{};

  ~ExportedBuffer() {
    if (Py_IsInitialized() == 0) return;
    const WithGil held;
    PyBuffer_Release(&view);
  }
};

std::shared_ptr<Model> ModelFromFile(const py::object& path) {
  PyObject* encoded = nullptr;
  if (PyUnicode_FSConverter(path.ptr(), &encoded) == 0) throw py::error_already_set();
  const py::bytes name = py::reinterpret_steal<py::bytes>(encoded);
  Status status;
  std::shared_ptr<const Model> model;
  {
    const WithoutGil released;
    model = Model::BuildFromFile(PyBytes_AS_STRING(name.ptr()), &status);
  }
  CheckLoaded(status);
  return std::const_pointer_cast<Model>(model);
}

std::shared_ptr<Model> ModelFromBuffer(const py::object& content) {
  auto held = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(content.ptr(), held.get(), PyBUF_SIMPLE) != 0) throw py::error_already_set();
  auto owner = std::make_shared<ExportedBuffer>();
  owner->view = *held;
  const void* data = owner->view.buf;
  const auto size = static_cast<size_t>(owner->view.len);
  Status status;
  std::shared_ptr<const Model> model;
  {
    const WithoutGil released;
    model = Model::BuildFromBuffer(data, size, std::move(owner), &status);
  }
  CheckLoaded(status);
  return std::const_pointer_cast<Model>(model);
}

void DefineModel(py::module_& module) {
  py::class_<Model, std::shared_ptr<Model>>(module, "Model")
      .def(py::init([](const py::object& path, const py::object& content) {
             return path.is_none() ? ModelFromBuffer(content) : ModelFromFile(path);
           }),
           py::arg("path"), py::arg("content"))
      .def_property_readonly(
          "signatures", [](const Model& self) { return SignatureNames(self); },
          R"({key: {"inputs": [names], "outputs": [names]}}, names in alphabetical order; {} if the file has no signature.)")
      .def("_content",
           [](const Model& self) { return py::bytes(reinterpret_cast<const char*>(self.impl().bytes.data()), self.impl().bytes.size()); })
      .def_property_readonly("description", [](const Model& self) { return Text(self.description()); })
      .def_property_readonly(
          "metadata",
          [](const Model& self) {
            py::dict metadata;
            for (const auto& [name, bytes] : self.metadata()) metadata[Text(name)] = py::bytes(bytes.data(), bytes.size());
            return metadata;
          },
          "{name: bytes} of the file's metadata entries.");
}

py::dict BuildInfoDict() {
  const BuildInfo info = GetBuildInfo();
  py::dict d;
  d["version"] = info.version;
  d["compiler"] = info.compiler;
  d["compiled_tiers"] = info.compiled_tiers;
  d["supported_tiers"] = info.supported_tiers;
  d["tier_in_use"] = info.tier_in_use;
  d["cpu_features"] = info.cpu_features;
  py::dict precisions;
  for (const auto& [word, meaning] : info.precisions) precisions[py::str(word)] = meaning;
  d["precisions"] = precisions;
  return d;
}

// Warnings come while a model is planned, in any thread, maybe with a runner locked: so that none waits for the interpreter lock there,
// Python's main thread hands them to logging between two of its own steps.
int LogPending(void* argument) {
  const std::unique_ptr<std::string> message(static_cast<std::string*>(argument));
  try {
    py::module_::import("logging").attr("getLogger")("sigrun").attr("warning")("%s", Text(*message));
  } catch (py::error_already_set& error) {
    error.restore();
    return -1;
  }
  return 0;
}

void Log(const char* text) {
  auto message = std::make_unique<std::string>(text);
  if (Py_AddPendingCall(LogPending, message.get()) == 0) message.release();
}

}  // namespace
}  // namespace sigrun::python

PYBIND11_MODULE(_core, module) {
  namespace python = sigrun::python;
  module.doc() = "The C++ core of sigrun.";
  sigrun::SetWarningHandler(python::Log);
  python::DefineErrors(module);
  python::DefineModel(module);
  python::DefineInterpreter(module);
  python::DefineSignatureRunner(module);
  python::DefineCustomOps(module);
  // Not from build_info(), which would choose the kernels: importing leaves SIGRUN_MAX_ISA open.
  module.attr("__version__") = sigrun_version();
  module.def("build_info", python::BuildInfoDict, R"(Returns how this build was made and what it found on this machine.

A dictionary: "version", "compiler", "compiled_tiers" (ISA tiers in this build, lowest first), "supported_tiers" (those that this
machine can run), "tier_in_use" (the highest of them, or what SIGRUN_MAX_ISA allows), "cpu_features" (detected) and "precisions" (what the numbers of
float products are for each precision where that is faster than float32: "bfloat16x6", as exact as float32, "bfloat16x3" or "bfloat16"; else "float32").)");
}
