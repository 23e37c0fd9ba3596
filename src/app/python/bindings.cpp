// packhorse._packhorse: the engine for Python. Names and defaults of vLLM's API live in the Python modules beside it.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <exception>
#include <new>

#include "app/python/conversions.h"
#include "packhorse/packhorse.h"

namespace packhorse::python {
namespace nb = nanobind;
using namespace nb::literals;

namespace {

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

/// Without the GIL while the engine loads; `progress(what, done, total)` may be None and is where Ctrl-C takes effect.
void open_engine(Engine* self, const std::string& model, const nb::dict& values, nb::handle progress) {
  EngineOptions options = to_engine_options(model, values);
  options.on_progress = [progress](std::string_view what, uint64_t done, uint64_t total) {
    const nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) nb::raise_python_error();
    if (!progress.is_none()) progress(to_text(what), done, total);
  };
  const nb::gil_scoped_release no_gil;
  new (self) Engine(options);
}

/// One step without the GIL; the requests that it finished.
nb::list step(Engine& engine) {
  std::vector<RequestOutput> outputs;
  {
    const nb::gil_scoped_release no_gil;
    outputs = engine.step();
  }
  nb::list finished;
  for (const RequestOutput& output : outputs) {
    if (output.finished) finished.append(from_request_output(output));
  }
  return finished;
}

uint64_t add(Engine& engine, std::optional<std::string> text, std::optional<std::vector<int64_t>> token_ids,
             nb::handle params, bool add_special_tokens, std::string cache_salt) {
  const SamplingParams sampling = to_sampling_params(params);
  const nb::gil_scoped_release no_gil;
  return engine.add({.text = std::move(text),
                     .token_ids = std::move(token_ids),
                     .cache_salt = std::move(cache_salt),
                     .add_special_tokens = add_special_tokens},
                    sampling);
}

nb::str render_chat(const Engine& engine, std::string messages, std::string tools, std::string template_kwargs,
                    std::string chat_template, bool add_generation_prompt, bool continue_final_message) {
  return to_text(engine.render_chat({.messages_json = std::move(messages),
                                     .tools_json = std::move(tools),
                                     .template_kwargs_json = std::move(template_kwargs),
                                     .chat_template = std::move(chat_template),
                                     .add_generation_prompt = add_generation_prompt,
                                     .continue_final_message = continue_final_message}));
}

nb::tuple normalized_sampling(nb::handle params) {
  SamplingParams sampling = to_sampling_params(params);
  sampling.validate_and_normalize();
  return nb::make_tuple(sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p);
}

}  // namespace

NB_MODULE(_packhorse, m) {
  nb::register_exception_translator(translate_error);
  m.def("version", [] { return std::string(version()); });
  m.def("version_text", [] { return version_text(); });
  m.def("normalized_sampling", &normalized_sampling, "params"_a);
  m.def("default_sampling", [] { return from_sampling_params(SamplingParams()); });

  nb::class_<Engine>(m, "Engine")
      .def("__init__", &open_engine, "model"_a, "options"_a, "progress"_a.none())
      .def("add", &add, "text"_a.none(), "token_ids"_a.none(), "params"_a, "add_special_tokens"_a = true,
           "cache_salt"_a = "")
      .def("step", &step)
      .def("abort", &Engine::abort, "request_id"_a)
      .def("has_unfinished", &Engine::has_unfinished)
      .def("tokenize", &Engine::tokenize, "text"_a, "add_special_tokens"_a = true)
      .def(
          "detokenize",
          [](const Engine& e, const std::vector<int32_t>& ids, bool skip) { return to_text(e.detokenize(ids, skip)); },
          "token_ids"_a, "skip_special_tokens"_a = true)
      .def("render_chat", &render_chat, "messages"_a, "tools"_a, "template_kwargs"_a, "chat_template"_a,
           "add_generation_prompt"_a, "continue_final_message"_a)
      .def("default_sampling", [](const Engine& e) { return from_sampling_params(e.default_sampling_params()); })
      .def("inspect_json", &Engine::inspect_json, "explain"_a = false)
      .def("reset_prefix_cache", &Engine::reset_prefix_cache)
      .def_prop_ro("max_model_len", &Engine::max_model_len)
      .def_prop_ro("vocab_size", &Engine::vocab_size)
      .def_prop_ro("eos_token_id", &Engine::eos_token_id)
      .def_prop_ro("bos_token_id", &Engine::bos_token_id)
      .def_prop_ro("chat_template", [](const Engine& e) { return to_text(e.chat_template()); });
}

}  // namespace packhorse::python
