#include "app/server/api/generation.h"

#include <fmt/format.h>

#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

#include "app/server/api/errors.h"
#include "app/server/api/request_log.h"
#include "app/server/metrics.h"

namespace packhorse::server {
namespace {

/// Why answers end early though nobody asked for that.
std::exception_ptr ended_early(const ServerContext& context, std::string_view reason, const std::string& refusal) {
  if (reason == "abort") return std::make_exception_ptr(HttpError(503, "the server is shutting down"));
  if (context.engine.failure()) return std::make_exception_ptr(HttpError(503, "the engine has stopped"));
  if (!refusal.empty()) return std::make_exception_ptr(Error(ErrorKind::request, refusal));
  return std::make_exception_ptr(HttpError(500, "the model failed to answer this request"));
}

/// One prompt's share of ServerContext::n_prompts, given back once: at its end, or when the engine drops it.
class Seat {
 public:
  explicit Seat(ServerContext& context) : context_(context) { ++context_.n_prompts; }
  ~Seat() { leave(); }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  void leave() {
    if (std::exchange(is_taken_, false)) --context_.n_prompts;
  }

 private:
  ServerContext& context_;
  bool is_taken_ = true;
};

/// One HTTP request's prompts. Outputs queue up; whichever thread finds nobody at it hands them to the events, so these
/// see one call at a time, and none before all prompts are accepted.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(ServerContext& context, size_t n_prompts, GenerationEvents events)
      : context_(context), events_(std::move(events)), began_(n_prompts), n_unfinished_(n_prompts) {}

  void add(std::vector<GenerationJob> jobs) {
    ids_.reserve(jobs.size());
    std::vector<std::shared_ptr<Seat>> seats;  // all at once, so that nobody else takes them meanwhile
    for (size_t i = 0; i < jobs.size(); ++i) seats.push_back(std::make_shared<Seat>(context_));
    try {
      for (size_t i = 0; i < jobs.size(); ++i) add(i, jobs[i], std::move(seats[i]));
    } catch (...) {
      leave();
      throw;
    }
  }

  /// Lets events happen, beginning with those that were held back.
  void start() {
    try {
      if (events_.on_start) events_.on_start();
    } catch (...) {
      fail(std::current_exception());
    }
    std::unique_lock lock(mutex_);
    is_started_ = true;
    deliver(lock);
  }

  /// The client has gone, or a prompt was refused: no more events.
  void leave() {
    end();
    for (const uint64_t id : ids_) context_.engine.abort(id);
  }

 private:
  struct News {
    size_t index;
    RequestOutput output;
  };

  void add(size_t index, const GenerationJob& job, std::shared_ptr<Seat> seat) {
    const int64_t n = job.params.n, max_tokens = job.params.max_tokens.value_or(0);
    auto on_output = [self = shared_from_this(), index, n, max_tokens, seat = std::move(seat)](RequestOutput&& output) {
      self->context_.metrics.on_output(output);
      if (output.finished) {
        self->context_.metrics.on_finished(output, n, max_tokens);
        seat->leave();
      }
      self->take(index, std::move(output));
    };
    AsyncEngine& engine = context_.engine;
    ids_.push_back(job.pooling ? engine.add(job.prompt, *job.pooling, std::move(on_output))
                               : engine.add(job.prompt, job.params, std::move(on_output)));
  }

  /// On the engine's thread; also of requests that nobody waits for any more.
  void take(size_t index, RequestOutput&& output) {
    std::unique_lock lock(mutex_);
    if (is_over_) return;
    try {
      news_.push_back({index, std::move(output)});
    } catch (...) {
      failure_ = std::current_exception();
    }
    if (is_started_ && !is_delivering_) deliver(lock);
  }

  void deliver(std::unique_lock<std::mutex>& lock) {
    is_delivering_ = true;
    while (!is_over_ && (failure_ || !news_.empty())) {
      const std::exception_ptr failure = failure_;
      std::optional<News> news;
      if (!failure) {
        news = std::move(news_.front());
        news_.pop_front();
      }
      lock.unlock();
      if (failure) {
        fail(failure);
      } else {
        handle(std::move(*news));
      }
      lock.lock();
    }
    is_delivering_ = false;
  }

  void handle(News&& news) {
    try {
      pass_on(std::move(news));
    } catch (...) {
      fail(std::current_exception());
    }
  }

  void pass_on(News news) {
    count(news);
    for (const CompletionOutput& answer : news.output.outputs) {
      if (answer.finish_reason == "error" || answer.finish_reason == "abort") {
        return fail(ended_early(context_, answer.finish_reason, news.output.refusal));
      }
    }
    const bool is_last = news.output.finished && --n_unfinished_ == 0;
    events_.on_output(news.index, std::move(news.output));
    if (is_last && end()) events_.on_end(usage_);
  }

  void count(const News& news) {
    if (!began_[news.index]) {
      began_[news.index] = true;
      usage_.prompt_tokens += static_cast<int64_t>(news.output.prompt_token_ids.size());
      usage_.cached_tokens += news.output.num_cached_tokens;
    }
    for (const CompletionOutput& answer : news.output.outputs) {
      usage_.completion_tokens += static_cast<int64_t>(answer.token_ids.size());
    }
  }

  void fail(const std::exception_ptr& error) {
    if (!end()) return;
    for (const uint64_t id : ids_) context_.engine.abort(id);
    try {
      events_.on_error(error);
    } catch (...) {  // the reply is dropped unanswered then, which the connection turns into status 500
    }
  }

  /// True for the one caller who ends it.
  bool end() {
    const std::lock_guard lock(mutex_);
    news_.clear();
    return !std::exchange(is_over_, true);
  }

  ServerContext& context_;
  const GenerationEvents events_;
  std::vector<uint64_t> ids_;  // complete before the first event

  // Of whoever delivers.
  std::vector<bool> began_;
  size_t n_unfinished_;
  Usage usage_;

  std::mutex mutex_;
  std::deque<News> news_;
  std::exception_ptr failure_;  // to take news
  bool is_started_ = false, is_delivering_ = false, is_over_ = false;
};

}  // namespace

void require_room(ServerContext& context, int64_t n_prompts) {
  const int64_t room = context.options.max_queue + context.engine.engine().options().max_num_seqs;
  if (context.n_prompts + n_prompts <= room) return;
  context.metrics.on_rejection();
  throw HttpError(503, fmt::format("the queue is full ({} prompts wait or run); try again later", room), {},
                  {{"Retry-After", "1"}});
}

void start_generation(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply,
                      std::vector<GenerationJob> jobs, GenerationEvents events) {
  for (GenerationJob& job : jobs) {
    if (context.options.disable_any_whitespace && job.params.structured_outputs)
      job.params.structured_outputs->disable_any_whitespace = true;
  }
  if (context.log && context.options.enable_log_requests) log_request(context, request->id, jobs);
  const auto generation = std::make_shared<Generation>(context, jobs.size(), std::move(events));
  generation->add(std::move(jobs));
  generation->start();
  // Weak: the events own the reply.
  reply->on_gone([weak = std::weak_ptr(generation)] {
    if (const auto alive = weak.lock()) alive->leave();
  });
}

}  // namespace packhorse::server
