#pragma once
// Between Python objects and the facade's structs.

#include <nanobind/nanobind.h>

#include "packhorse/packhorse.h"

namespace packhorse::python {

/// Python text; bytes that are no UTF-8 become U+FFFD.
nanobind::str to_text(std::string_view text);

/// Sets the options that `values` names (as in EngineOptions' flags, with underscores), then those of the environment
/// for the rest. None means "not given". Throws TypeError for an unknown name, Error{usage} for a bad value.
EngineOptions to_engine_options(const std::string& model, const nanobind::dict& values);

/// Reads the attributes of a Python SamplingParams. Throws Error{request} for a value of the wrong type.
SamplingParams to_sampling_params(nanobind::handle params);
/// Dictionary of the fields, for Python's SamplingParams(**fields).
nanobind::dict from_sampling_params(const SamplingParams& params);

/// {"request_id", "prompt", "outputs": [...], ...} with the fields of RequestOutput; log-probabilities of a position
/// are a list of (token id, logprob, rank, decoded token).
nanobind::dict from_request_output(const RequestOutput& output);

/// {"n_running", ...} with the fields of EngineStats that LLM.get_metrics reports.
nanobind::dict from_stats(const EngineStats& stats);

}  // namespace packhorse::python
