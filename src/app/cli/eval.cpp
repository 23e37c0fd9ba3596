// packhorse eval: perplexity of a text, divergence of two models, exactness against a reference file.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/cli/cli.h"
#include "app/cli/flags.h"
#include "app/cli/load.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

using json = nlohmann::ordered_json;

struct Eval {
  EngineOptions engine;
  std::string text_path, against, against_dtype, against_kv;
  TextScoreOptions text;
  bool add_bos = false;
  ReferenceOptions reference;
  bool as_json = false;

  void add_to(CLI::App& command);
  void check(const CLI::App& command) const;
  void execute();
  EngineOptions reference_options() const;
  json score_text();
  json score_reference() const;
};

void Eval::add_to(CLI::App& command) {
  const auto text_value = [&](const char* name, const char* metavar, const char* help, std::string& member) {
    return add_value(command, name, metavar, help,
                     [&member, name](const std::string& value) { app::set_from_text({}, name, value, member); });
  };
  const auto count = [&](const char* name, const char* help, double min, int64_t& member) {
    return add_value(command, name, "N", fmt::format("{} [default: {}]", help, member),
                     [&member, name, min](const std::string& value) {
                       app::set_from_text({.min = min, .max = 1 << 27}, name, value, member);
                     });
  };
  text_value("--text", "FILE", "perplexity of this text", text_path);
  text_value("--against", "MODEL",
             "compare with this model, which is the reference and loads as it is: without --quantization and "
             "--kv-cache-dtype",
             against);
  text_value("--against-dtype", "TYPE", "--dtype of the reference, which is the same model without --against",
             against_dtype);
  text_value("--against-kv-cache-dtype", "TYPE", "--kv-cache-dtype of the reference; its scales are not measured",
             against_kv);
  count("--ctx", "tokens of a window", 2, text.ctx);
  count("--stride", "tokens from one window to the next; equal to --ctx scores the second half of each", 1,
        text.stride);
  count("--max-tokens", "tokens of the text to use, 0 is all", 0, text.max_tokens);
  command.add_flag("--add-bos,!--no-add-bos", add_bos,
                   wrap_help("begin each window with the BOS token [default: as the tokenizer does]"));
  text_value("--reference", "FILE", "worst differences to a safetensors file with tokens and logits", reference.path);
  count("--chunk", "tokens fed at a time: 1 is decode, 0 is all", 0, reference.chunk);
  text_value("--logits", "NAME", "tensor of the reference file to compare with [default: logits]", reference.logits);
  add_value(command, "--tolerance", "X",
            fmt::format("difference of a log-probability that counts as equal [default: {}]", reference.tolerance),
            [this](const std::string& value) {
              app::set_from_text({.min = 0, .max = 100}, "--tolerance", value, reference.tolerance);
            });
  command.add_flag("--json", as_json, "machine-readable");
}

void Eval::check(const CLI::App& command) const {
  const auto conflict = [&](const char* flag, const char* other) {
    if (command.count(flag) > 0 && command.count(other) > 0) {
      throw Error(ErrorKind::usage, fmt::format("{}: does not go with {}", flag, other));
    }
  };
  if (text_path.empty() && reference.path.empty()) {
    throw Error(ErrorKind::usage, "nothing to evaluate: give --text FILE or --reference FILE");
  }
  for (const char* flag : {"--text", "--against", "--against-dtype", "--against-kv-cache-dtype", "--ctx", "--stride",
                           "--max-tokens", "--add-bos"}) {
    conflict(flag, "--reference");
  }
  for (const char* flag : {"--chunk", "--logits", "--tolerance"}) conflict(flag, "--text");
  if (text.stride > text.ctx) {
    throw Error(ErrorKind::usage, fmt::format("--stride: larger than --ctx (got {}, limit {})", text.stride, text.ctx));
  }
}

EngineOptions Eval::reference_options() const {
  EngineOptions options = engine;
  if (!against.empty()) {
    const EngineOptions defaults;
    options.model = against;
    options.quantization = defaults.quantization;
    options.quantization_config = defaults.quantization_config;
    options.load_format = defaults.load_format;
    options.kv_cache_dtype = defaults.kv_cache_dtype;
  }
  if (!against_dtype.empty()) options.dtype = against_dtype;
  if (!against_kv.empty()) options.kv_cache_dtype = against_kv;
  options.calculate_kv_scales = false;
  return options;
}

json Eval::score_text() {
  text.text = read_text_file(text_path);
  Engine model = load_engine(engine);
  std::optional<Engine> other;
  if (!against.empty() || !against_dtype.empty() || !against_kv.empty())
    other.emplace(load_engine(reference_options()));
  const TextScore score = model.score_text(text, other ? &*other : nullptr);
  json result = {{"n_tokens", score.n_tokens},
                 {"n_scored", score.n_scored},
                 {"perplexity", score.perplexity},
                 {"perplexity_stderr", score.perplexity_stderr}};
  if (score.mean_kl) result["mean_kl"] = *score.mean_kl;
  if (score.max_kl) result["max_kl"] = *score.max_kl;
  if (score.top1_agreement) result["top1_agreement"] = *score.top1_agreement;
  return result;
}

json Eval::score_reference() const {
  EngineOptions options = engine;
  options.skip_tokenizer_init = true;  // the file holds token ids
  const ReferenceScore score = load_engine(options).score_reference(reference);
  json result = {{"n_positions", score.n_positions}, {"worst_top20", score.worst_top20},
                 {"tolerance", reference.tolerance}, {"share_within", score.share_within},
                 {"mean_kl", score.mean_kl},         {"max_kl", score.max_kl}};
  if (score.worst_row_ulp) {
    result["worst_row_ulp"] = *score.worst_row_ulp;
    result["worst_row"] = score.worst_row;
  }
  return result;
}

void Eval::execute() {
  const json result = text_path.empty() ? score_reference() : score_text();
  if (as_json) return write_stdout(result.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  std::string lines;
  for (const auto& [key, value] : result.items()) {
    lines += fmt::format("{:<18} {}\n", key,
                         value.is_string()         ? printable(value.get<std::string>())
                         : value.is_number_float() ? fmt::format("{:.6g}", value.get<double>())
                                                   : value.dump());
  }
  write_stdout(lines);
}

}  // namespace

Command add_eval_command(CLI::App& program) {
  const auto eval = std::make_shared<Eval>();
  CLI::App* command = program.add_subcommand("eval", "Measure perplexity, divergence or exactness of a model");
  command->allow_extras();
  command->add_option("MODEL", eval->engine.model, "model folder, .gguf file, repo id in the hub cache, or demo")
      ->type_name("")
      ->required();
  eval->add_to(*command);
  add_engine_flags(*command, eval->engine);
  return {command, [eval, command] {
            finish_engine_flags(*command, eval->engine);
            if (command->count("--add-bos") > 0) eval->text.add_bos = eval->add_bos;
            eval->check(*command);
            eval->execute();
          }};
}

}  // namespace packhorse::cli
