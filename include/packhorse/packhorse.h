#pragma once
/// Packhorse: runs any quantized language-model checkpoint on the machine at hand.
///
/// The one public header. Names, defaults and meanings follow vLLM's offline API.
///
/// Ownership: arguments and results are values. No function keeps a reference to an argument, and what a function
/// returns by reference belongs to its `Engine` and lives as long.
///
/// Threads: calls on one `Engine` must not overlap, but for `const` ones, which may run at any time; to stop an answer,
/// call `abort` between two steps. `AsyncEngine` takes calls from all threads at once. Different engines are
/// independent of each other. Free functions and plain structs may be used from any thread.
///
/// Errors: functions throw `packhorse::Error` of the kinds that they name; std::bad_alloc and Error{internal} are
/// possible everywhere, unless the declaration says noexcept. A call that throws leaves the engine usable. The library
/// never ends the process and writes to no stream.

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

#pragma GCC visibility push(default)  // the library hides all other names

namespace packhorse {

class AsyncEngine;

/// What went wrong, as coarse as an exit status, an HTTP status or a Python exception can tell apart.
enum class ErrorKind : uint8_t {
  usage,     // bad command line or bad option value
  model,     // bad checkpoint, config or tokenizer
  resource,  // not enough memory, device or instruction set missing
  io,        // read, write or network failure
  request,   // one request is invalid; the engine goes on
  internal,  // a bug of ours
};

/// The one exception type. `what()` is one line without a leading "error: "; it names file, tensor or field, and value.
/// What it repeats of a file or a user is `printable`.
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

/// Progress of long work: `done` of `total` of `what`, which is valid during the call alone; bytes while a model is
/// fetched, loaded or quantized, tokens while a text is scored. Called a few times a second, from the thread that asked
/// for the work; what it throws ends the work and reaches the caller.
using ProgressFn = std::function<void(std::string_view what, uint64_t done, uint64_t total)>;

/// How a model is opened. Strings take what vLLM's flags of the same name take; empty means "not given". `model` is all
/// that has to be set.
struct EngineOptions {
  std::string model;         // directory, .gguf file, repo id, or "demo"
  std::string tokenizer;     // directory or file, when not the model's own
  std::string revision;      // branch, tag or commit of a repo id
  std::string download_dir;  // hub cache to use instead of HF_HUB_CACHE
  std::string hf_token;
  std::string dtype = "auto";              // auto, float32, bfloat16, float16 (also half, float)
  std::string quantization;                // method name; empty = what the checkpoint says
  std::string quantization_config;         // JSON object with the method's settings, or a file of it
  std::string load_format = "auto";        // auto, safetensors, gguf, bitsandbytes
  std::string kv_cache_dtype = "auto";     // auto, float32, bfloat16, float16, fp8 (= fp8_e4m3), fp8_e5m2, or
                                           // fp8, int8 or int4 with _per_token_head
  std::string chat_template;               // Jinja text or file, instead of the model's own
  std::string generation_config = "auto";  // auto, vllm (ignore the file), or a directory
  std::string override_generation_config;  // JSON object: sampling defaults over those of generation_config
  std::string device = "auto";             // auto, cpu
  std::string isa;                         // upper limit of the instruction set; empty = the best there is
  std::string force_kernel;                // only kernel rows whose name starts so (tests)
  int64_t max_model_len = 0;               // tokens; 0 = the model's own limit, as far as memory allows
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_logprobs = 20;  // -1 = whole vocabulary
  int64_t tensor_parallel_size = 1;
  int64_t kv_cache_memory_bytes = 0;   // size of the KV cache; 0 = what memory allows
  int64_t num_kv_blocks_override = 0;  // KV blocks instead of what memory allows (tests)
  double gpu_memory_utilization = 0.92;
  std::string scheduling_policy = "fcfs";  // or priority: Prompt::priority decides, then age
  uint64_t seed = 0;
  int threads = 0;                   // 0 = one per available core
  bool calculate_kv_scales = false;  // scales of an FP8 cache are measured at load where the checkpoint has none
  bool enable_prefix_caching = true;
  bool trust_remote_code = false;  // accepted; no code of a checkpoint ever runs
  bool verbose = false;            // warnings name every tensor that the model has no use for
  bool skip_tokenizer_init = false;
  int64_t template_steps = 1'000'000;  // what a chat template may evaluate for one chat
  int64_t template_output_mb = 16;     // size of the text that it makes
  ProgressFn on_progress;              // of loading; may be empty; kept, with its captures, as long as the engine
};

/// What the outputs of `Engine::step` hold: all so far, what came since the last output, or one output at the end. Text
/// that may still turn into a stop string, or is half a character, is held back until that is decided.
enum class OutputKind : uint8_t { cumulative, delta, final_only };

/// What an output has to match: vLLM's StructuredOutputsParams. One of the first six is set.
struct StructuredOutputs {
  std::optional<std::string> json;  // JSON schema, as JSON text
  std::optional<std::string> regex;
  std::vector<std::string> choice;             // one of these texts
  std::optional<std::string> grammar;          // EBNF, from rule "root" on
  bool json_object = false;                    // any JSON object
  std::optional<std::string> structural_tag;   // xgrammar's, as JSON text
  bool disable_any_whitespace = false;         // of json and json_object
  bool disable_additional_properties = false;  // no change: a schema has to allow them by itself
  /// With these the output may think first: up to the end of the first one of these texts it is free, but may not end,
  /// and all that follows has to match.
  std::vector<std::string> reasoning_ends;
  std::vector<std::string> reasoning_starts;  // if any, only an output that begins with one of them thinks
};

/// How one request is sampled: vLLM's SamplingParams. `Engine::add` applies `validate_and_normalize` to its own copy.
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
  std::map<int64_t, double> logit_bias;                   // token id -> what is added to its logit
  std::optional<std::vector<int64_t>> allowed_token_ids;  // the only ids that may be chosen
  std::vector<std::string> bad_words;  // the token that would complete one, alone or after a space, is not chosen
  std::optional<StructuredOutputs> structured_outputs;

  /// Checks ranges and applies vLLM's rules (temperature below 1e-5 is greedy and resets top_p, top_k and min_p, 0 < t
  /// < 0.01 is raised to 0.01, a bias is clamped to [-100, 100]). Throws Error{request} naming parameter and value.
  void validate_and_normalize();
};

/// How the hidden states of a prompt become one vector: an embedding.
struct PoolingParams {
  enum class Pooling : uint8_t { last, mean };
  Pooling pooling = Pooling::last;
  bool normalize = true;              // to Euclidean length 1
  std::optional<int64_t> dimensions;  // only the first ones, normalized after the cut
};

/// One entry of the log-probabilities of a position.
struct Logprob {
  float logprob = 0;  // natural logarithm, before penalties and temperature
  int64_t rank = 0;   // 1 = most likely
  std::string decoded_token;
};
/// Token id and its entry, the most likely first; the sampled (or prompt) token is always among them.
using TokenLogprobs = std::vector<std::pair<int32_t, Logprob>>;

/// One of the `n` answers to a request.
struct CompletionOutput {
  int64_t index = 0;               // 0 .. n-1
  std::string text;                // valid UTF-8; OutputKind says how much of it, token_ids and logprobs
  std::vector<int32_t> token_ids;  // with the token that ended it
  double cumulative_logprob = 0;   // of all tokens so far; meaningful when logprobs were asked for
  std::optional<std::vector<TokenLogprobs>> logprobs;  // one for each of token_ids, if asked for
  std::string finish_reason;                           // "" while running, then stop, length, abort or error
  std::optional<std::string> stop_string;              // what stopped it, for finish_reason "stop"
  std::optional<int64_t> stop_token_id;
  bool finished() const { return !finish_reason.empty(); }
};

/// When things happened to a request, in seconds on a monotonic clock that starts with the engine; 0 = not yet.
struct RequestMetrics {
  double arrival = 0, first_scheduled = 0, first_token = 0, last_token = 0;
  int64_t n_preemptions = 0;
};

/// What a step returns of one request: a snapshot that shares nothing with the engine.
struct RequestOutput {
  uint64_t request_id = 0;            // as Engine::add returned it
  std::optional<std::string> prompt;  // for OutputKind::delta prompt and ids are in the first output alone
  std::vector<int32_t> prompt_token_ids;
  std::optional<std::vector<std::optional<TokenLogprobs>>> prompt_logprobs;  // [0] is empty
  std::optional<std::vector<float>> embedding;  // [hidden_size] or fewer, of a request with PoolingParams
  std::vector<CompletionOutput> outputs;        // in order of index; for OutputKind::delta those with news
  bool finished = false;                        // all of them are; the engine has forgotten the request
  std::string refusal;            // with finish_reason "error": why, where the request itself is the cause
  int64_t num_cached_tokens = 0;  // prompt tokens whose KV came from the prefix cache
  RequestMetrics metrics;
};

/// A prompt: text, or token ids (which win), or both.
struct Prompt {
  std::optional<std::string> text{};
  std::optional<std::vector<int64_t>> token_ids{};
  std::string cache_salt{};  // prefix-cache entries are shared only among equal salts
  int64_t priority = 0;      // lower goes first, under scheduling_policy "priority"; else 0
  bool add_special_tokens = true;
};

/// One chat to be rendered by the chat template. JSON texts are UTF-8.
struct ChatPrompt {
  std::string messages_json{};         // array of {"role", "content", ...}
  std::string tools_json{};            // array, or empty
  std::string template_kwargs_json{};  // object of extra template variables, or empty
  std::string chat_template{};         // Jinja text, instead of the engine's template
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the answer goes on where the last message ends
};

/// Counts since the engine's start, and what is in flight now.
struct EngineStats {
  int64_t n_running = 0, n_waiting = 0;     // outputs (a request has n of them)
  int64_t n_blocks = 0, n_free_blocks = 0;  // of the KV cache; free ones may hold cached prefixes
  int64_t n_preemptions = 0;
  int64_t n_prompt_tokens = 0;  // of requests that have begun
  int64_t n_cached_tokens = 0;  // of these, from the prefix cache
  int64_t n_generated_tokens = 0;
  int64_t n_computed_tokens = 0;  // by the model, recomputation included
  int64_t n_steps = 0;
};

/// Result of Engine::score_text: perplexity and, against a second model or dtype, KL(reference || this) per scored
/// position.
struct TextScore {
  int64_t n_tokens = 0, n_scored = 0;
  double perplexity = 0, perplexity_stderr = 0;
  std::optional<double> mean_kl, max_kl, top1_agreement;  // nats, nats, share
};
/// What Engine::score_text reads: windows of `ctx` tokens, each `stride` after the last.
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
/// What Engine::score_reference compares with.
struct ReferenceOptions {
  std::string path;               // safetensors file
  std::string logits = "logits";  // tensor to compare with
  int64_t chunk = 0;              // tokens fed at a time; 0 = all, 1 = decode
  double tolerance = 2e-3;
};

/// The engine: one model, its tokenizer, its KV cache and the scheduler. It computes inside `step` and the two `score_`
/// functions only, on `EngineOptions::threads` threads. Moving keeps requests; a moved-from engine can be assigned to
/// or destroyed, nothing else. Destroying drops what is unfinished.
class Engine {
 public:
  /// Opens the model, fetching it where `model` asks for that, and loads it. Throws Error{usage, model, resource, io}.
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Queues a request and returns its id (1, 2, ...). Throws Error{request} for parameters out of range and for a
  /// prompt that is empty, too long or holds no valid token ids; then nothing is queued.
  uint64_t add(const Prompt& prompt, const SamplingParams& params);
  /// Queues a prompt for its embedding; its one output has no `outputs`. Throws as the other one does.
  uint64_t add(const Prompt& prompt, const PoolingParams& params);
  /// Runs one scheduling step, at most max_num_batched_tokens tokens of all requests together, and returns the requests
  /// that advanced, in order of id; nothing when there is nothing to do. A request that fails alone ends with
  /// finish_reason "error" while the others go on. If the step as a whole throws (Error{resource}, mostly), its
  /// requests end so in the next step's outputs.
  std::vector<RequestOutput> step();
  /// Ends a request; the next step returns its last output, with finish_reason "abort". Unknown ids are ignored.
  void abort(uint64_t request_id);
  /// Whether `step` has anything left to do or to return.
  bool has_unfinished() const;
  size_t num_unfinished() const;
  EngineStats stats() const;  // not while `step` runs

  /// Token ids of a text; `add_special_tokens` adds what the tokenizer puts around one (often BOS). Invalid UTF-8 is
  /// replaced by U+FFFD. Throws Error{request} when the engine has no tokenizer (skip_tokenizer_init).
  std::vector<int32_t> tokenize(std::string_view text, bool add_special_tokens = true) const;
  /// Text of tokens, as valid UTF-8. Ids that are no tokens give nothing. Throws
  /// Error{request} when the engine has no tokenizer.
  std::string detokenize(const std::vector<int32_t>& token_ids, bool skip_special_tokens = true) const;
  /// Prompt text of a chat, to be added with add_special_tokens = false. Throws Error{request} for what the template
  /// refuses, Error{model} when there is no template or it is broken.
  std::string render_chat(const ChatPrompt& chat) const;

  /// Defaults of the model's generation_config.json and of override_generation_config over SamplingParams().
  SamplingParams default_sampling_params() const;
  /// What these say of the longest answer (max_new_tokens), if they do.
  std::optional<int64_t> max_new_tokens() const;
  /// Most tokens that a prompt and its answer may have together.
  int64_t max_model_len() const;
  /// Number of logits; the tokenizer may know fewer tokens.
  int64_t vocab_size() const;
  /// Token that ends an answer, of several the main one, and the token that begins a text; nothing when there is none.
  std::optional<int32_t> eos_token_id() const;
  std::optional<int32_t> bos_token_id() const;
  /// What is odd about the checkpoint but legal, one line each: tensors without use, ignored settings.
  const std::vector<std::string>& warnings() const;
  /// The chat template in use; empty when there is none.
  const std::string& chat_template() const;
  /// As they were given.
  const EngineOptions& options() const;

  /// JSON object: "model", "architecture", "quantization", "dtype", "kv_cache_dtype", "max_model_len", "vocab_size",
  /// "isa", "threads", "n_weights", "bits_per_weight" (their average), "weight_bytes", "weight_bytes_per_step" (those
  /// that a decode step reads), "kv_bytes_per_token", "kv_cache_bytes", and "modules": array of {"name", "format" (what
  /// the codes are from: a checkpoint format, or the method that quantized them while loading), "encoding" (in memory),
  /// "shape" [N, K], "bytes", "bits_per_weight", "shared" (a tied head, counted elsewhere), "decode", "prefill" (kernel
  /// rows)}; with `explain` each module also has "candidates": array of {"phase", "kernel", "why_not"}, where "why_not"
  /// is null for the row that was chosen.
  std::string inspect_json(bool explain) const;

  /// Perplexity of a text; `against` is the reference for KL, only used during the call, and has to have the same
  /// vocabulary. Throws Error{usage, model, request}.
  TextScore score_text(const TextScoreOptions& options, Engine* against = nullptr);
  /// Compares logits with a file's. Throws Error{usage, model, io}.
  ReferenceScore score_reference(const ReferenceOptions& options);

  /// Forgets all cached prefixes; requests that run are not touched.
  void reset_prefix_cache();

  struct Impl;

 private:
  friend class AsyncEngine;
  std::unique_ptr<Impl> impl_;
};

/// An engine that steps on a thread of its own, for many callers at once: a server, or the threads of a program. All
/// functions may be called from any thread, also from `OnOutput`, and return without waiting for a step.
class AsyncEngine {
 public:
  /// Gets what `Engine::step` returns of its request, in order, the last time with `finished`. Called on the engine's
  /// thread, which does nothing else meanwhile: be quick. What it throws aborts the request, and it is not called
  /// again.
  using OnOutput = std::function<void(RequestOutput&&)>;

  /// Opens the model as Engine does, and starts the thread.
  explicit AsyncEngine(const EngineOptions& options);
  /// Ends what is unfinished; each request gets its last output, with finish_reason "abort".
  ~AsyncEngine();
  AsyncEngine(const AsyncEngine&) = delete;
  AsyncEngine& operator=(const AsyncEngine&) = delete;

  /// Checks and tokenizes the prompt on the calling thread, queues it and returns its id. Throws as Engine::add does;
  /// then `on_output` is never called.
  uint64_t add(const Prompt& prompt, const SamplingParams& params, OnOutput on_output);
  uint64_t add(const Prompt& prompt, const PoolingParams& params, OnOutput on_output);
  /// As Engine::abort: takes effect before the next step.
  void abort(uint64_t request_id);
  /// Aborts all that has been added so far.
  void abort_all();
  /// As of the end of the last step.
  EngineStats stats() const;
  /// Why the engine stopped for good, if it did: every request ends with "error" from then on.
  std::optional<std::string> failure() const;
  void reset_prefix_cache();
  /// Called on the engine's thread after each step; replaces the one before.
  void on_step(std::function<void(const EngineStats&)> callback);
  /// For its const functions about texts, chats and the model; `has_unfinished` and the like are not for use here.
  const Engine& engine() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// The text half of a model alone: its tokenizer and chat template, without weights. The functions are those of Engine.
class ModelText {
 public:
  /// Of the options, those about model, tokenizer and chat template count; a folder needs no weights. Throws
  /// Error{usage, model, io}, and Error{request} for skip_tokenizer_init.
  explicit ModelText(const EngineOptions& options);
  ~ModelText();
  ModelText(ModelText&&) noexcept;
  ModelText& operator=(ModelText&&) noexcept;

  std::vector<int32_t> tokenize(std::string_view text, bool add_special_tokens = true) const;
  std::string detokenize(const std::vector<int32_t>& token_ids, bool skip_special_tokens = true) const;
  std::string render_chat(const ChatPrompt& chat) const;
  /// Highest token id of the tokenizer plus 1; a model may have more logits.
  int64_t vocab_size() const;
  std::optional<int32_t> eos_token_id() const;
  std::optional<int32_t> bos_token_id() const;
  const std::string& chat_template() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// Build, CPU features and instruction-set rows: what a bug report needs; several lines.
std::string version_text();
/// JSON object of what this build reads and makes: "devices": array of {"name", "built", "usable"} (instruction sets of
/// the build, and those of this machine, the best first); "methods": array of {"name", "aliases" (names of which all of
/// this is true too), "prequantized" (checkpoints load), "in_flight" (made from float weights while they load),
/// "by_default" (what the name alone makes; null: it needs settings), "settings" (keys of quantization_config in
/// flight), "devices" {name: "runs" or "not yet"}}; "refused": array of {"name", "why"}, names that are known and do
/// nothing.
std::string formats_json();
/// Version of the library, as "0.1.0"; lives as long as the program.
std::string_view version();

}  // namespace packhorse

#pragma GCC visibility pop
