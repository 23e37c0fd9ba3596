#include "engine/structured/grammar_compiler.h"

#include <xgrammar/compiler.h>

#include <algorithm>
#include <list>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "engine/structured/grammar_source.h"
#include "engine/structured/large_stack.h"
#include "engine/structured/output_grammar.h"
#include "engine/structured/output_matcher.h"
#include "engine/structured/xgrammar_time.h"

namespace packhorse {
namespace {

constexpr double kCompileSeconds = 1;
constexpr size_t kMaxGrammarBytes = size_t{64} << 20;
constexpr size_t kMaxCacheBytes = size_t{128} << 20;
constexpr size_t kMaxMarkers = 64;  // kept; a model has one notation of reasoning

/// What its users hold stays alive when it is dropped.
class GrammarCache {
 public:
  using Grammar = std::shared_ptr<const OutputGrammar>;

  Grammar find(const std::string& key) {
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, it->second);
    return it->second->grammar;
  }
  void add(const std::string& key, const Grammar& grammar) {
    if (by_key_.contains(key)) return;  // two threads compiled it
    entries_.push_front({key, grammar});
    by_key_.emplace(entries_.front().key, entries_.begin());
    n_bytes_ += cost(entries_.front());
    while (n_bytes_ > kMaxCacheBytes) {
      n_bytes_ -= cost(entries_.back());
      by_key_.erase(entries_.back().key);
      entries_.pop_back();
    }
  }

 private:
  struct Entry {
    std::string key;
    Grammar grammar;
  };
  static size_t cost(const Entry& entry) { return entry.grammar->n_bytes + entry.key.size() + 1024; }

  std::list<Entry> entries_;                                                 // the last used one first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;  // keys are those of entries_
  size_t n_bytes_ = 0;
};

/// Each token as the bytes that it adds to a text; special tokens as none, which makes them no part of any text.
xgrammar::TokenizerInfo make_vocabulary(const Tokenizer& tokenizer, int64_t vocab_size,
                                        const std::vector<int32_t>& eos_token_ids) {
  std::vector<std::string> tokens;
  tokens.reserve(static_cast<size_t>(vocab_size));
  for (int64_t id = 0; id < vocab_size; ++id) tokens.push_back(tokenizer.token_bytes(static_cast<int32_t>(id)));
  return xgrammar::TokenizerInfo(tokens, xgrammar::VocabType::RAW, static_cast<int>(vocab_size), eos_token_ids);
}

std::shared_ptr<const OutputGrammar> compile_for(const StructuredOutputs& wanted,
                                                 const xgrammar::TokenizerInfo& vocabulary) {
  const XgrammarTime limit(kCompileSeconds);
  xgrammar::GrammarCompiler compiler(vocabulary, /*max_threads=*/1, /*cache_enabled=*/false);
  const xgrammar::CompiledGrammar compiled = compiler.CompileGrammar(make_grammar(wanted, vocabulary));
  const size_t n_bytes = compiled.MemorySizeBytes();
  if (n_bytes > kMaxGrammarBytes) {
    fail(ErrorKind::request, "structured_outputs: compiled, it takes {} bytes (limit {})", n_bytes, kMaxGrammarBytes);
  }
  return std::make_shared<const OutputGrammar>(compiled, n_bytes);
}

/// The reason alone, without the condition that xgrammar puts before it.
std::string reason_of(std::string_view message) {
  constexpr std::string_view kEndOfCondition = "is false: ";
  const size_t end = message.starts_with("Check failed") ? message.find(kEndOfCondition) : message.npos;
  if (end != message.npos) message.remove_prefix(end + kEndOfCondition.size());
  while (message.ends_with('\n')) message.remove_suffix(1);
  return printable(message, 200);
}

}  // namespace

struct GrammarCompiler::Impl {
  const Tokenizer& tokenizer;
  int64_t vocab_size;
  std::vector<int32_t> eos_token_ids;

  std::once_flag once{};
  std::optional<xgrammar::TokenizerInfo> vocabulary{};  // made when first needed

  std::mutex mutex{};
  GrammarCache cache{};
  using MarkersKey = std::tuple<std::vector<std::string>, std::vector<std::string>, bool>;
  std::map<MarkersKey, std::shared_ptr<const ReasoningMarkers>> markers{};
  int64_t n_compiled = 0;
};

GrammarCompiler::GrammarCompiler(const Tokenizer& tokenizer, int64_t vocab_size, std::vector<int32_t> eos_token_ids)
    : impl_(new Impl{tokenizer, vocab_size, std::move(eos_token_ids)}) {}
GrammarCompiler::~GrammarCompiler() = default;

std::shared_ptr<const OutputGrammar> GrammarCompiler::compile(const StructuredOutputs& wanted) const {
  Impl& impl = *impl_;
  const std::string key = grammar_key(wanted);
  {
    const std::lock_guard lock(impl.mutex);
    if (auto grammar = impl.cache.find(key)) {
      if (grammar->is_too_slow) fail(ErrorKind::request, "structured_outputs: the grammar takes too long to match");
      return grammar;
    }
  }
  std::call_once(impl.once, [&] {
    impl.vocabulary.emplace(make_vocabulary(impl.tokenizer, impl.vocab_size, impl.eos_token_ids));
  });
  std::shared_ptr<const OutputGrammar> grammar;
  try {
    run_on_large_stack([&] { grammar = compile_for(wanted, *impl.vocabulary); });
    OutputMatcher start(grammar, impl.eos_token_ids);
    if (!start.has_next()) fail(ErrorKind::request, "{}", start.error());
  } catch (const Error&) {
    throw;
  } catch (const XgrammarOutOfTime&) {
    fail(ErrorKind::request, "structured_outputs: compiling it takes more than {} s", kCompileSeconds);
  } catch (const std::bad_alloc&) {
    fail(ErrorKind::request, "structured_outputs: compiling it takes too much memory");
  } catch (const std::exception& e) {
    fail(ErrorKind::request, "structured_outputs: {}", reason_of(e.what()));
  }
  const std::lock_guard lock(impl.mutex);
  ++impl.n_compiled;
  impl.cache.add(key, grammar);
  return grammar;
}

std::shared_ptr<const ReasoningMarkers> GrammarCompiler::markers(const StructuredOutputs& wanted,
                                                                 bool skip_special_tokens) const {
  if (wanted.reasoning_ends.empty()) return nullptr;
  Impl& impl = *impl_;
  Impl::MarkersKey key{wanted.reasoning_starts, wanted.reasoning_ends, skip_special_tokens};
  {
    const std::lock_guard lock(impl.mutex);
    if (const auto it = impl.markers.find(key); it != impl.markers.end()) return it->second;
  }
  auto made = std::make_shared<const ReasoningMarkers>(wanted, impl.tokenizer, impl.vocab_size, skip_special_tokens);
  const std::lock_guard lock(impl.mutex);
  if (impl.markers.size() >= kMaxMarkers) impl.markers.clear();
  return impl.markers.emplace(std::move(key), std::move(made)).first->second;
}

int64_t GrammarCompiler::n_compiled() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->n_compiled;
}

}  // namespace packhorse
