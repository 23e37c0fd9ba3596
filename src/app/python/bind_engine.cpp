#include "app/python/bind_engine.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <utility>

#include "app/python/conversions.h"
#include "app/python/requests.h"
#include "app/python/shared_engine.h"
#include "app/python/text_methods.h"
#include "app/python/without_gil.h"

namespace packhorse::python {
namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Fields = nb::typed<nb::dict, nb::str, nb::any>;  // arguments of a Python class
using OutputList = nb::typed<nb::list, Fields>;

/// `progress(what, done, total)` may be None; between its calls Ctrl-C takes effect.
void open_engine(SharedEngine* self, const std::string& model, const nb::dict& values, nb::handle progress) {
  EngineOptions options = to_engine_options(model, values);
  options.on_progress = [progress](std::string_view what, uint64_t done, uint64_t total) {
    const nb::gil_scoped_acquire gil;
    if (is_exiting()) throw Error(ErrorKind::internal, "the interpreter exits");
    if (PyErr_CheckSignals() != 0) nb::raise_python_error();
    if (!progress.is_none()) progress(to_text(what), done, total);
  };
  new (self) SharedEngine(options);
}

Prompt make_prompt(std::optional<std::string> text, std::optional<std::vector<int64_t>> token_ids,
                   bool add_special_tokens, std::string cache_salt, int64_t priority) {
  return {.text = std::move(text),
          .token_ids = std::move(token_ids),
          .cache_salt = std::move(cache_salt),
          .priority = priority,
          .add_special_tokens = add_special_tokens};
}

uint64_t add(Requests& requests, std::optional<std::string> text, std::optional<std::vector<int64_t>> token_ids,
             nb::handle params, bool add_special_tokens, std::string cache_salt, int64_t priority) {
  return requests.add(
      make_prompt(std::move(text), std::move(token_ids), add_special_tokens, std::move(cache_salt), priority),
      to_sampling_params(params));
}

uint64_t embed(Requests& requests, std::optional<std::string> text, std::optional<std::vector<int64_t>> token_ids,
               bool mean, bool normalize, std::optional<int64_t> dimensions, bool add_special_tokens,
               std::string cache_salt, int64_t priority) {
  return requests.add(
      make_prompt(std::move(text), std::move(token_ids), add_special_tokens, std::move(cache_salt), priority),
      PoolingParams{.pooling = mean ? PoolingParams::Pooling::mean : PoolingParams::Pooling::last,
                    .normalize = normalize,
                    .dimensions = dimensions});
}

std::optional<OutputList> next(Requests& requests, std::optional<double> timeout) {
  const auto outputs = requests.next(timeout);
  if (!outputs) return std::nullopt;
  nb::list list;
  for (const RequestOutput& output : *outputs) list.append(from_request_output(output));
  return list;
}

void bind_requests(nb::module_& m) {
  nb::class_<Requests>(
      m, "Requests", "What one consumer has in an engine. Any thread may call; dropping it aborts what is unfinished.")
      .def(nb::init<SharedEngine&>(), "engine"_a, nb::keep_alive<1, 2>(), "Has no requests yet.")
      .def("add", &add, "text"_a.none(), "token_ids"_a.none(), "params"_a, "add_special_tokens"_a = true,
           "cache_salt"_a = "", "priority"_a = 0,
           "Queues a prompt, given as text or as token ids, and returns the request's id.")
      .def("embed", &embed, "text"_a.none(), "token_ids"_a.none(), "mean"_a, "normalize"_a, "dimensions"_a.none(),
           "add_special_tokens"_a = true, "cache_salt"_a = "", "priority"_a = 0,
           "Queues a prompt for its embedding and returns the request's id.")
      .def("abort", &Requests::abort, "request_id"_a, "Ends a request; its last output says what there is of it.")
      .def("next", &next, "timeout"_a = nb::none(),
           "Waits for outputs, at most `timeout` seconds: the fields of RequestOutput of each that came since the last "
           "call. None when there will be no more, since the requests were closed or the interpreter exits.")
      .def("close", &Requests::close, "Ends all waiting for outputs, for good.");
}

}  // namespace

void bind_engine(nb::module_& m) {
  nb::class_<SharedEngine> engine(
      m, "Engine",
      "One model, its tokenizer, its KV cache and the scheduler, on a thread of its own. Any "
      "thread may call.");
  add_text_methods(engine);
  engine
      .def("__init__", &open_engine, "model"_a, "options"_a, "progress"_a.none(),
           "Loads a model. `options` has the engine's flags with underscores; `progress(what, done, total)` is called "
           "meanwhile.")
      .def(
          "default_sampling",
          [](const SharedEngine& e) -> Fields { return from_sampling_params(e.model().default_sampling_params()); },
          "What the model's generation_config.json says, as arguments of SamplingParams.")
      .def(
          "inspect_json", [](const SharedEngine& e, bool explain) { return e.model().inspect_json(explain); },
          "explain"_a = false, "Modules, formats, kernels and memory as a JSON object.")
      .def(
          "reset_prefix_cache", [](const SharedEngine& e) { e.get().reset_prefix_cache(); },
          "Forgets all cached prefixes.")
      .def(
          "stats",
          [](const SharedEngine& e) -> nb::typed<nb::dict, nb::str, int> { return from_stats(e.get().stats()); },
          "Counts since the start, and what is in flight, as of the last step.")
      .def(
          "failure", [](const SharedEngine& e) { return e.get().failure(); },
          "Why the engine stopped for good, if it did.")
      .def_prop_ro(
          "max_model_len", [](const SharedEngine& e) { return e.model().max_model_len(); },
          "Most tokens of a prompt and its answer together.")
      .def_prop_ro(
          "warnings",
          [](const SharedEngine& e) -> nb::typed<nb::list, nb::str> {
            nb::list lines;
            for (const std::string& line : e.model().warnings()) lines.append(to_text(line));
            return lines;
          },
          "What is odd about the checkpoint but legal, one line each.");
  bind_requests(m);
}

}  // namespace packhorse::python
