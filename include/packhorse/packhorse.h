#pragma once
/// Packhorse: runs any quantized language-model checkpoint on the machine at hand.
///
/// The one public header. Names, defaults and meanings follow vLLM's offline API. All errors are `packhorse::Error`
/// (see `ErrorKind`). An `Engine` is single-threaded: calls on one object must not overlap, except `Engine::interrupt`.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace packhorse {

/// What went wrong, as coarse as an exit status, an HTTP status or a Python exception can tell apart.
enum class ErrorKind : uint8_t {
  usage,     // bad command line or bad option value
  model,     // bad checkpoint, config or tokenizer
  resource,  // not enough memory, device or instruction set missing
  io,        // read, write or network failure
  request,   // one request is invalid; the engine goes on
  internal,  // a bug of ours
};

/// `what()` is one line without a leading "error: "; it names file, tensor or field, and value.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

/// Exit status of a program that ends with an error of this kind: usage and request 2, model 3, resource 4, io 5,
/// internal 1.
int exit_status(ErrorKind kind) noexcept;

/// Text of a user or a file made safe to print: control bytes, quotes and invalid UTF-8 become \xNN, at most
/// `max_bytes` of the input are kept and a cut is marked by "...".
std::string printable(std::string_view text, size_t max_bytes = 80);

/// Progress of long work: `done` of `total` units (bytes or files); called from the thread that asked for the work.
using ProgressFn = std::function<void(std::string_view what, uint64_t done, uint64_t total)>;

/// How a model is opened. Strings take what vLLM's flags of the same name take; empty means "not given".
struct EngineOptions {
  std::string model;         // directory, .gguf file, repo id, or "demo"
  std::string tokenizer;     // directory or file, when not the model's own
  std::string revision;      // branch, tag or commit of a repo id
  std::string download_dir;  // hub cache to use instead of HF_HUB_CACHE
  std::string hf_token;
  std::string dtype = "auto";              // auto, float32, bfloat16, float16 (also half, float)
  std::string quantization;                // method name; empty = what the checkpoint says
  std::string quantization_config;         // JSON object with the method's settings
  std::string load_format = "auto";        // auto, safetensors, gguf, bitsandbytes
  std::string kv_cache_dtype = "auto";     // auto, float32, bfloat16, float16
  std::string chat_template;               // Jinja text or file, instead of the model's own
  std::string generation_config = "auto";  // auto, vllm (ignore the file), or a directory
  std::string device = "auto";             // auto, cpu
  std::string isa;                         // upper limit of the instruction set; empty = the best there is
  std::string force_kernel;                // only kernel rows whose name starts so (tests)
  int64_t max_model_len = 0;               // tokens; 0 = the model's own limit, as far as memory allows
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_logprobs = 20;  // -1 = whole vocabulary
  int64_t tensor_parallel_size = 1;
  int64_t num_kv_blocks_override = 0;  // KV blocks instead of what memory allows (tests)
  double gpu_memory_utilization = 0.92;
  uint64_t seed = 0;
  int threads = 0;  // 0 = one per available core
  bool enable_prefix_caching = true;
  bool trust_remote_code = false;  // accepted; no code of a checkpoint ever runs
  bool skip_tokenizer_init = false;
  ProgressFn on_progress;  // may be empty
};

enum class OutputKind : uint8_t { cumulative, delta, final_only };

/// vLLM's SamplingParams; `validate` states the ranges.
struct SamplingParams {
  int64_t n = 1;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  double repetition_penalty = 1.0;
  double temperature = 1.0;
  double top_p = 1.0;
  int64_t top_k = 0;  // 0 and -1 = all
  double min_p = 0.0;
  std::optional<int64_t> seed;
  std::vector<std::string> stop;
  std::vector<int64_t> stop_token_ids;
  bool ignore_eos = false;
  std::optional<int64_t> max_tokens = 16;  // nothing = up to the context
  int64_t min_tokens = 0;
  std::optional<int64_t> logprobs;  // -1 = whole vocabulary
  std::optional<int64_t> prompt_logprobs;
  bool detokenize = true;
  bool skip_special_tokens = true;
  bool spaces_between_special_tokens = true;
  bool include_stop_str_in_output = false;
  OutputKind output_kind = OutputKind::cumulative;

  /// Checks ranges and applies vLLM's rules (temperature below 1e-5 is greedy and resets top_p, top_k and min_p, 0 < t
  /// < 0.01 is raised to 0.01). Throws Error{request} naming parameter and value.
  void validate_and_normalize();
};

struct Logprob {
  float logprob = 0;  // natural logarithm, before penalties and temperature
  int64_t rank = 0;   // 1 = most likely
  std::string decoded_token;
};
/// Token id and its entry, the most likely first; the sampled (or prompt) token is always among them.
using TokenLogprobs = std::vector<std::pair<int32_t, Logprob>>;

struct CompletionOutput {
  int64_t index = 0;
  std::string text;
  std::vector<int32_t> token_ids;
  double cumulative_logprob = 0;  // of token_ids; meaningful when logprobs were asked for
  std::optional<std::vector<TokenLogprobs>> logprobs;
  std::string finish_reason;               // "" while running, then stop, length, abort or error
  std::optional<std::string> stop_string;  // what stopped it, for finish_reason "stop"
  std::optional<int64_t> stop_token_id;
  bool finished() const { return !finish_reason.empty(); }
};

/// Seconds on the monotonic clock since the engine was made.
struct RequestMetrics {
  double arrival = 0, first_scheduled = 0, first_token = 0, last_token = 0;
};

struct RequestOutput {
  uint64_t request_id = 0;
  std::optional<std::string> prompt;
  std::vector<int32_t> prompt_token_ids;
  std::optional<std::vector<std::optional<TokenLogprobs>>> prompt_logprobs;  // [0] is empty
  std::vector<CompletionOutput> outputs;
  bool finished = false;
  int64_t num_cached_tokens = 0;  // prompt tokens whose KV came from the prefix cache
  RequestMetrics metrics;
};

/// A prompt: text, or token ids (which win), or both.
struct Prompt {
  std::optional<std::string> text{};
  std::optional<std::vector<int64_t>> token_ids{};
  std::string cache_salt{};  // prefix-cache entries are shared only among equal salts
  bool add_special_tokens = true;
};

/// One chat to be rendered by the chat template.
struct ChatPrompt {
  std::string messages_json{};         // array of {"role", "content", ...}
  std::string tools_json{};            // array, or empty
  std::string template_kwargs_json{};  // object of extra template variables, or empty
  std::string chat_template{};         // instead of the engine's
  bool add_generation_prompt = true;
  bool continue_final_message = false;
};

/// Perplexity and, against a second model or dtype, KL(reference || this) per scored position.
struct TextScore {
  int64_t n_tokens = 0, n_scored = 0;
  double perplexity = 0, perplexity_stderr = 0;
  std::optional<double> mean_kl, max_kl, top1_agreement;  // nats, nats, share
};
struct TextScoreOptions {
  std::string text;
  int64_t ctx = 512, stride = 512;  // stride = ctx scores the second half of each window, as llama-perplexity does
  int64_t max_tokens = 0;           // 0 = all
  std::optional<bool> add_bos;      // nothing = as the tokenizer does
};

/// Result of comparing with a reference file of tokens [B, T] and logits [B, T, V].
struct ReferenceScore {
  int64_t n_positions = 0;
  double worst_top20 = 0;   // largest difference of a top-20 log-probability
  double share_within = 0;  // share of the positions whose top-20 differ by at most `tolerance`
  double mean_kl = 0, max_kl = 0;
  std::optional<double> worst_row_ulp;  // of `rows.*`, in float32 ulps
  std::string worst_row;                // module of worst_row_ulp
};
struct ReferenceOptions {
  std::string path;
  std::string logits = "logits";  // tensor to compare with
  int64_t chunk = 0;              // tokens fed at a time; 0 = all, 1 = decode
  double tolerance = 2e-3;
};

/// The engine: one model, its tokenizer, its KV cache and the scheduler.
class Engine {
 public:
  /// Opens and loads the model. Throws Error{usage, model, resource, io}.
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Queues a request and returns its id (1, 2, ...). Throws Error{request}.
  uint64_t add(const Prompt& prompt, const SamplingParams& params);
  /// Runs one scheduling step and returns the requests that advanced, in order of id.
  std::vector<RequestOutput> step();
  /// Ends a request; its last output has finish_reason "abort". Unknown ids are ignored.
  void abort(uint64_t request_id);
  bool has_unfinished() const;
  size_t num_unfinished() const;

  std::vector<int32_t> tokenize(std::string_view text, bool add_special_tokens = true) const;
  std::string detokenize(const std::vector<int32_t>& token_ids, bool skip_special_tokens = true) const;
  /// Prompt text of a chat. Throws Error{request} for what the template refuses, Error{model} when there is no
  /// template.
  std::string render_chat(const ChatPrompt& chat) const;

  /// Defaults of the model's generation_config.json over SamplingParams().
  SamplingParams default_sampling_params() const;
  int64_t max_model_len() const;
  int64_t vocab_size() const;
  std::optional<int32_t> eos_token_id() const;
  std::optional<int32_t> bos_token_id() const;
  /// The chat template in use; empty when there is none.
  const std::string& chat_template() const;
  const EngineOptions& options() const;

  /// JSON object: "model", "architecture", "quantization", "dtype", "kv_cache_dtype", "max_model_len", "vocab_size",
  /// "isa", "threads", "weight_bytes", "kv_cache_bytes", and "modules": array of {"name", "format" (of the weight in
  /// memory), "shape" [N, K], "bytes", "bits_per_weight", "shared" (a tied head, counted elsewhere), "decode",
  /// "prefill" (kernel rows)}; with `explain` each module also has "candidates": array of {"phase", "kernel",
  /// "why_not"}, where "why_not" is null for the row that was chosen.
  std::string inspect_json(bool explain) const;

  TextScore score_text(const TextScoreOptions& options, Engine* against = nullptr);
  ReferenceScore score_reference(const ReferenceOptions& options);

  /// Forgets all cached prefixes.
  void reset_prefix_cache();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// Build, CPU features and instruction-set rows: what a bug report needs; several lines.
std::string version_text();
/// "0.1.0"
std::string_view version();

}  // namespace packhorse
