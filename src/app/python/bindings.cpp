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

void open_text(ModelText* self, const std::string& model, const nb::dict& values) {
  const EngineOptions options = to_engine_options(model, values);
  const nb::gil_scoped_release no_gil;
  new (self) ModelText(options);
}

/// One step without the GIL; the requests that it finished.
nb::typed<nb::list, Fields> step(Engine& engine) {
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

template <class Model>
nb::str render_chat(const Model& model, std::string messages, std::string tools, std::string template_kwargs,
                    std::string chat_template, bool add_generation_prompt, bool continue_final_message) {
  return to_text(model.render_chat({.messages_json = std::move(messages),
                                    .tools_json = std::move(tools),
                                    .template_kwargs_json = std::move(template_kwargs),
                                    .chat_template = std::move(chat_template),
                                    .add_generation_prompt = add_generation_prompt,
                                    .continue_final_message = continue_final_message}));
}

/// What Engine and ModelText have in common.
template <class Model>
void add_text_methods(nb::class_<Model>& model) {
  model.def("tokenize", &Model::tokenize, "text"_a, "add_special_tokens"_a = true, "Token ids of a text.")
      .def(
          "detokenize",
          [](const Model& m, const std::vector<int32_t>& ids, bool skip) { return to_text(m.detokenize(ids, skip)); },
          "token_ids"_a, "skip_special_tokens"_a = true, "Text of tokens.")
      .def("render_chat", &render_chat<Model>, "messages"_a, "tools"_a, "template_kwargs"_a, "chat_template"_a,
           "add_generation_prompt"_a, "continue_final_message"_a,
           "Prompt text of a chat. `messages`, `tools` and `template_kwargs` are JSON; a text that is empty is not "
           "given.")
      .def_prop_ro("vocab_size", &Model::vocab_size, "Number of logits, or of tokens where there is no model.")
      .def_prop_ro("eos_token_id", &Model::eos_token_id, "The token that ends an answer, of several the main one.")
      .def_prop_ro("bos_token_id", &Model::bos_token_id, "The token that begins a text.")
      .def_prop_ro(
          "chat_template", [](const Model& m) { return to_text(m.chat_template()); },
          "The chat template in use; empty when there is none.");
}

nb::tuple normalized_sampling(nb::handle params) {
  SamplingParams sampling = to_sampling_params(params);
  sampling.validate_and_normalize();
  return nb::make_tuple(sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p);
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

  nb::class_<ModelText> text(m, "ModelText", "A model's tokenizer and chat template, without its weights.");
  text.def("__init__", &open_text, "model"_a, "options"_a, "Opens it. `options` as for Engine.");
  add_text_methods(text);

  nb::class_<Engine> engine(m, "Engine",
                            "One model, its tokenizer, its KV cache and the scheduler. Calls must not overlap.");
  add_text_methods(engine);
  engine
      .def("__init__", &open_engine, "model"_a, "options"_a, "progress"_a.none(),
           "Loads a model. `options` has the engine's flags with underscores; `progress(what, done, total)` is called "
           "meanwhile.")
      .def("add", &add, "text"_a.none(), "token_ids"_a.none(), "params"_a, "add_special_tokens"_a = true,
           "cache_salt"_a = "", "Queues a prompt, given as text or as token ids, and returns the request's id.")
      .def("step", &step, "Runs one scheduling step; the fields of RequestOutput of each request that it finished.")
      .def("abort", &Engine::abort, "request_id"_a, "Ends a request; the next step returns what there is of it.")
      .def("has_unfinished", &Engine::has_unfinished, "Whether `step` has anything left to do or to return.")
      .def(
          "default_sampling",
          [](const Engine& e) -> Fields { return from_sampling_params(e.default_sampling_params()); },
          "What the model's generation_config.json says, as arguments of SamplingParams.")
      .def("inspect_json", &Engine::inspect_json, "explain"_a = false,
           "Modules, formats, kernels and memory as a JSON object.")
      .def("reset_prefix_cache", &Engine::reset_prefix_cache, "Forgets all cached prefixes.")
      .def_prop_ro("max_model_len", &Engine::max_model_len, "Most tokens of a prompt and its answer together.")
      .def_prop_ro(
          "warnings",
          [](const Engine& e) -> nb::typed<nb::list, nb::str> {
            nb::list lines;
            for (const std::string& line : e.warnings()) lines.append(to_text(line));
            return lines;
          },
          "What is odd about the checkpoint but legal, one line each.");
}

}  // namespace packhorse::python
