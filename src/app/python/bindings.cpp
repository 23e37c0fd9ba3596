// packhorse._packhorse: the engine for Python. Names and defaults of vLLM's API live in the Python modules beside it.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "app/python/bind_engine.h"
#include "app/python/conversions.h"
#include "app/python/shared_engine.h"
#include "app/python/text_methods.h"
#include "app/python/without_gil.h"
#include "app/vllm_flags.h"
#include "packhorse/packhorse.h"

namespace packhorse::python {
namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Fields = nb::typed<nb::dict, nb::str, nb::any>;  // arguments of a Python class

const char* name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return "usage";
    case ErrorKind::model:
      return "model";
    case ErrorKind::resource:
      return "resource";
    case ErrorKind::io:
      return "io";
    case ErrorKind::request:
      return "request";
    case ErrorKind::internal:
      break;
  }
  return "internal";
}

/// packhorse.errors knows the exception class of each kind.
void translate_error(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& e) {
    const nb::object error =
        nb::module_::import_("packhorse.errors").attr("from_engine")(name_of(e.kind()), to_text(e.what()));
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  }
}

void open_text(ModelText* self, const std::string& model, const nb::dict& values) {
  const EngineOptions options = to_engine_options(model, values);
  const WithoutGil no_gil;
  new (self) ModelText(options);
}

nb::tuple normalized_sampling(nb::handle params) {
  SamplingParams sampling = to_sampling_params(params);
  sampling.validate_and_normalize();
  return nb::make_tuple(sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p);
}

using VllmArgument = std::tuple<std::string, std::vector<std::string>, bool>;
std::optional<VllmArgument> vllm_argument(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  const app::VllmFlag* flag = app::find_vllm_flag(name);
  if (!flag) return std::nullopt;
  std::vector<std::string> idle(flag->idle.begin(), flag->idle.end());
  std::erase(idle, "");
  return VllmArgument(flag->why, std::move(idle), flag->is_old);
}

}  // namespace

NB_MODULE(_packhorse, m) {
  nb::register_exception_translator(translate_error);
  m.doc() = "The engine. Programs use the classes of `packhorse`, which wrap it.";
  m.def(
      "version", [] { return std::string(version()); }, "Version of the library.");
  m.def(
      "version_text", [] { return version_text(); },
      "Build, CPU features and instruction-set rows, in several lines: what a bug report needs.");
  m.def("normalized_sampling", &normalized_sampling, "params"_a,
        "Checks a SamplingParams; what its temperature, top_p, top_k and min_p come to.");
  m.def(
      "default_sampling", []() -> Fields { return from_sampling_params(SamplingParams()); },
      "The engine's own defaults, as arguments of SamplingParams.");

  m.def("vllm_argument", &vllm_argument, "name"_a,
        "Of an argument of vLLM's that is none here: why it is refused (empty: it has no effect), the values that ask "
        "for nothing, and whether it is of older releases. None for other names.");

  nb::class_<ModelText> text(m, "ModelText", "A model's tokenizer and chat template, without its weights.");
  text.def("__init__", &open_text, "model"_a, "options"_a, "Opens it. `options` as for Engine.");
  add_text_methods(text);

  bind_engine(m);
  watch_exit(&SharedEngine::stop_all);
}

}  // namespace packhorse::python
