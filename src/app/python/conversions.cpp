#include "app/python/conversions.h"

#include <fmt/format.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <set>
#include <type_traits>

#include "app/engine_flags.h"

namespace packhorse::python {
namespace nb = nanobind;
namespace {

/// Python's own notation of a value in ASCII, cut to the length of an error message.
std::string shown(nb::handle value) {
  const nb::object text = nb::steal(PyObject_ASCII(value.ptr()));
  if (!text.is_valid()) nb::raise_python_error();
  constexpr size_t kMaxBytes = 80;
  std::string ascii = nb::cast<std::string>(text);
  return ascii.size() > kMaxBytes ? ascii.substr(0, kMaxBytes) + "..." : ascii;
}

/// A whole number, also NumPy's; booleans are none. Nothing when it is something else or does not fit.
std::optional<int64_t> whole_number(nb::handle value) {
  if (PyBool_Check(value.ptr()) || !PyIndex_Check(value.ptr())) return std::nullopt;
  const nb::object index = nb::steal(PyNumber_Index(value.ptr()));
  int overflow = 0;
  const long long number = index.is_valid() ? PyLong_AsLongLongAndOverflow(index.ptr(), &overflow) : -1;
  if (PyErr_Occurred()) nb::raise_python_error();
  if (overflow != 0) return std::nullopt;
  return number;
}

std::optional<double> number(nb::handle value) {
  if (PyBool_Check(value.ptr()) || !(PyNumber_Check(value.ptr()) != 0)) return std::nullopt;
  const double result = PyFloat_AsDouble(value.ptr());
  if (result == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    return std::nullopt;
  }
  return result;
}

/// Sets `member` from `value` when that has the right type; else says what was expected.
template <class T>
const char* assign(nb::handle value, T& member) {
  if constexpr (std::is_same_v<T, bool>) {
    if (!PyBool_Check(value.ptr())) return "True or False";
    member = value.is(nb::handle(Py_True));
  } else if constexpr (std::is_same_v<T, double>) {
    const auto found = number(value);
    if (!found) return "a number";
    member = *found;
  } else if constexpr (std::is_integral_v<T>) {
    const auto found = whole_number(value);
    if (!found || !std::in_range<T>(*found)) return "a whole number in range";
    member = static_cast<T>(*found);
  } else if constexpr (std::is_same_v<T, OutputKind>) {
    const auto found = whole_number(value);
    if (!found || *found < 0 || *found > 2) return "a RequestOutputKind";
    member = static_cast<OutputKind>(*found);
  } else {
    if (!nb::try_cast(value, member)) return std::is_same_v<T, std::string> ? "a text" : "a list of one type";
  }
  return nullptr;
}
template <class T>
const char* assign(nb::handle value, std::optional<T>& member) {
  if (value.is_none()) return member.reset(), nullptr;
  return assign(value, member.emplace());
}

/// None is an empty dictionary.
const char* assign(nb::handle value, std::map<int64_t, double>& member) {
  constexpr const char* kExpected = "a dictionary of token ids and numbers";
  member.clear();
  if (value.is_none()) return nullptr;
  if (!PyDict_Check(value.ptr())) return kExpected;
  for (const auto& [key, item] : nb::borrow<nb::dict>(value)) {
    const auto id = whole_number(key);
    const auto found = number(item);
    if (!id || !found) return kExpected;
    member[*id] = *found;
  }
  return nullptr;
}

template <class Visitor>
void visit_sampling(auto& p, Visitor&& visit) {
  visit("n", p.n);
  visit("presence_penalty", p.presence_penalty);
  visit("frequency_penalty", p.frequency_penalty);
  visit("repetition_penalty", p.repetition_penalty);
  visit("temperature", p.temperature);
  visit("top_p", p.top_p);
  visit("top_k", p.top_k);
  visit("min_p", p.min_p);
  visit("seed", p.seed);
  visit("stop", p.stop);
  visit("stop_token_ids", p.stop_token_ids);
  visit("ignore_eos", p.ignore_eos);
  visit("max_tokens", p.max_tokens);
  visit("min_tokens", p.min_tokens);
  visit("logprobs", p.logprobs);
  visit("prompt_logprobs", p.prompt_logprobs);
  visit("detokenize", p.detokenize);
  visit("skip_special_tokens", p.skip_special_tokens);
  visit("spaces_between_special_tokens", p.spaces_between_special_tokens);
  visit("include_stop_str_in_output", p.include_stop_str_in_output);
  visit("output_kind", p.output_kind);
  visit("logit_bias", p.logit_bias);
  visit("allowed_token_ids", p.allowed_token_ids);
  visit("bad_words", p.bad_words);
}

/// StructuredOutputsParams gives its fields as the engine has them.
StructuredOutputs to_structured_outputs(nb::handle params) {
  StructuredOutputs result;
  const auto fields = nb::cast<nb::dict>(params.attr("_engine_fields")());
  const auto read = [&](const char* name, auto& member) {
    const nb::object value = fields[name];
    if (const char* expected = assign(value, member)) {
      throw Error(ErrorKind::request,
                  fmt::format("structured_outputs: {} is not {} (got {})", name, expected, shown(value)));
    }
  };
  read("json", result.json);
  read("regex", result.regex);
  read("choice", result.choice);
  read("grammar", result.grammar);
  read("json_object", result.json_object);
  read("structural_tag", result.structural_tag);
  read("disable_any_whitespace", result.disable_any_whitespace);
  read("disable_additional_properties", result.disable_additional_properties);
  return result;
}

nb::list from_logprobs(const TokenLogprobs& entries) {
  nb::list list;
  for (const auto& [token_id, entry] : entries) {
    list.append(nb::make_tuple(token_id, entry.logprob, entry.rank, to_text(entry.decoded_token)));
  }
  return list;
}

nb::dict from_completion(const CompletionOutput& completion) {
  nb::dict fields;
  fields["index"] = completion.index;
  fields["text"] = to_text(completion.text);
  fields["token_ids"] = completion.token_ids;
  fields["finish_reason"] = completion.finish_reason.empty() ? nb::none() : nb::cast(completion.finish_reason);
  fields["stop_reason"] = nb::none();
  if (completion.stop_string) fields["stop_reason"] = to_text(*completion.stop_string);
  if (completion.stop_token_id) fields["stop_reason"] = *completion.stop_token_id;
  fields["cumulative_logprob"] = nb::none();
  fields["logprobs"] = nb::none();
  if (completion.logprobs) {
    nb::list positions;
    for (const TokenLogprobs& entries : *completion.logprobs) positions.append(from_logprobs(entries));
    fields["logprobs"] = positions;
    fields["cumulative_logprob"] = completion.cumulative_logprob;
  }
  return fields;
}

}  // namespace

nb::str to_text(std::string_view text) {
  PyObject* object = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  if (!object) nb::raise_python_error();
  return nb::steal<nb::str>(object);
}

namespace {

/// "auto" or -1 for an option that takes it: what the default of EngineOptions means.
bool is_auto(const app::Flag& flag, nb::handle value) {
  if (!flag.takes_auto) return false;
  std::string text;
  return (nb::try_cast(value, text) && text == "auto") || whole_number(value) == -1;
}

}  // namespace

EngineOptions to_engine_options(const std::string& model, const nb::dict& values) {
  EngineOptions options;
  options.model = model;
  std::set<std::string> known;
  app::visit_flags(options, [&](const app::Flag& flag, auto& member) {
    const std::string name = flag.python_name();
    known.insert(name);
    if (!values.contains(name.c_str())) return;
    const nb::object value = values[name.c_str()];
    if (value.is_none() || is_auto(flag, value)) return;
    if (const char* expected = assign(value, member)) app::fail_flag(name, "not {} (got {})", expected, shown(value));
    if constexpr (std::is_arithmetic_v<std::remove_reference_t<decltype(member)>> &&
                  !std::is_same_v<decltype(member), bool&>) {
      app::check_range(flag, name, member);
    }
  });
  for (const auto& [name, value] : values) {
    if (!known.contains(nb::cast<std::string>(name))) {
      throw nb::type_error(fmt::format("unexpected keyword argument '{}'", nb::cast<std::string>(name)).c_str());
    }
  }
  app::apply_environment(options, [&](const app::Flag& flag) {
    const std::string name = flag.python_name();
    return values.contains(name.c_str()) && !nb::object(values[name.c_str()]).is_none();
  });
  app::check_supported(options);
  return options;
}

SamplingParams to_sampling_params(nb::handle params) {
  SamplingParams result;
  visit_sampling(result, [&](const char* name, auto& member) {
    const nb::object value = params.attr(name);
    if (const char* expected = assign(value, member)) {
      throw Error(ErrorKind::request, fmt::format("{}: not {} (got {})", name, expected, shown(value)));
    }
  });
  const nb::object structured = params.attr("structured_outputs");
  if (!structured.is_none()) result.structured_outputs = to_structured_outputs(structured);
  return result;
}

nb::dict from_sampling_params(const SamplingParams& params) {
  nb::dict fields;
  visit_sampling(params, [&](const char* name, const auto& member) {
    if constexpr (std::is_same_v<decltype(member), const OutputKind&>)
      fields[name] = static_cast<int>(member);
    else if constexpr (std::is_same_v<decltype(member), const std::map<int64_t, double>&>)
      fields[name] = member.empty() ? nb::none() : nb::cast(member);
    else
      fields[name] = member;
  });
  return fields;
}

nb::dict from_request_output(const RequestOutput& output) {
  nb::dict fields;
  fields["request_id"] = nb::str(std::to_string(output.request_id).c_str());
  fields["prompt"] = output.prompt ? nb::object(to_text(*output.prompt)) : nb::none();
  fields["prompt_token_ids"] = output.prompt_token_ids;
  fields["prompt_logprobs"] = nb::none();
  if (output.prompt_logprobs) {
    nb::list positions;
    for (const auto& entries : *output.prompt_logprobs) {
      positions.append(entries ? nb::object(from_logprobs(*entries)) : nb::none());
    }
    fields["prompt_logprobs"] = positions;
  }
  nb::list completions;
  for (const CompletionOutput& completion : output.outputs) completions.append(from_completion(completion));
  fields["outputs"] = completions;
  if (output.embedding) fields["embedding"] = *output.embedding;
  fields["finished"] = output.finished;
  fields["num_cached_tokens"] = output.num_cached_tokens;
  const RequestMetrics& m = output.metrics;
  fields["metrics"] = nb::make_tuple(m.arrival, m.first_scheduled, m.first_token, m.last_token);
  return fields;
}

nb::dict from_stats(const EngineStats& stats) {
  nb::dict fields;
  fields["n_running"] = stats.n_running;
  fields["n_waiting"] = stats.n_waiting;
  fields["n_blocks"] = stats.n_blocks;
  fields["n_free_blocks"] = stats.n_free_blocks;
  fields["n_preemptions"] = stats.n_preemptions;
  fields["n_prompt_tokens"] = stats.n_prompt_tokens;
  fields["n_cached_tokens"] = stats.n_cached_tokens;
  fields["n_generated_tokens"] = stats.n_generated_tokens;
  return fields;
}

}  // namespace packhorse::python
