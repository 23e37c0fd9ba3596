#include "engine/hub/client.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/json.h"

namespace packhorse::hub {
namespace {

constexpr size_t kMaxListingBytes = 64 << 20;
constexpr int kMaxAttempts = 5;
constexpr int kMaxFirstAttempts = 2;  // of the first request: somebody waits to hear that the network is not there
constexpr std::chrono::seconds kMaxWait{60};

std::string text_member(const Json& object, const char* key) {
  const Json* value = find_member(object, key);
  return value && value->is_string() ? value->get<std::string>() : "";
}

RepoFile to_repo_file(const Json& entry) {
  RepoFile file{.path = text_member(entry, "rfilename"),
                .n_bytes = {},
                .blob_id = text_member(entry, "blobId"),
                .lfs_sha256 = {}};
  if (const Json* size = find_member(entry, "size")) file.n_bytes = as_unsigned(*size);
  if (const Json* lfs = find_member(entry, "lfs")) file.lfs_sha256 = text_member(*lfs, "sha256");
  return file;
}

/// `W/"abc"` and `"abc"` become abc.
std::string plain_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

std::optional<std::chrono::seconds> retry_after(const HttpResponse& response) {
  const std::optional<uint64_t> seconds = response.number("retry-after");
  if (!seconds) return std::nullopt;
  return std::chrono::seconds(std::min<uint64_t>(*seconds, 86'400));
}

/// "bytes 5-9/10" must begin where we asked and be part of a file of the size that we know.
void check_range(const HttpResponse& response, const FileInfo& file, uint64_t offset) {
  const std::string_view range = response.header("content-range");
  const bool begins = range.starts_with(fmt::format("bytes {}-", offset));
  if (!begins || !range.ends_with(fmt::format("/{}", file.n_bytes))) {
    throw NetworkError(fmt::format("{}: the server sends another part than asked for (got '{}')", printable(file.path),
                                   printable(range)),
                       NetworkError::Hope::none);
  }
}

}  // namespace

Client::Client(const Settings& settings, std::string repo, std::function<void()> tick)
    : settings_(settings),
      repo_(std::move(repo)),
      tick_(std::move(tick)),
      http_({.timeout = settings.timeout, .tick = tick_}) {}

HttpRequest Client::make_request(const std::string& target) const {
  HttpRequest request;
  request.url = settings_.endpoint;
  request.url.target += target;
  if (!settings_.token.empty()) request.authorization = "Bearer " + settings_.token;
  return request;
}

/// `path` is the file that was asked for, empty for the repo.
void Client::check_status(const HttpResponse& response, const std::string& path) const {
  if (response.status < 400) return;
  const std::string endpoint = settings_.endpoint.text();
  const std::string_view code = response.header("x-error-code");
  const std::string what = path.empty() ? "" : fmt::format(", file '{}'", printable(path, 160));
  if (response.status == 404 && code == "RevisionNotFound") {
    fail_model("'{}': {} answers 404: the repo has no revision '{}' (--revision names a branch, tag or commit)", repo_,
               endpoint, settings_.revision);
  }
  if (response.status == 404 && !path.empty())
    fail_model("'{}'{}: {} answers 404: no such file", repo_, what, endpoint);
  if (response.status == 404) {
    fail_model("'{}': no such path, and {} answers 404: no such repo (HF_ENDPOINT names another hub)", repo_, endpoint);
  }
  if (response.status == 403 || code == "GatedRepo") {
    fail_model("'{}'{}: {} answers {}: access is restricted; ask for it at {}/{} and set HF_TOKEN or --hf-token", repo_,
               what, endpoint, response.status, endpoint, repo_);
  }
  if (response.status == 401) {
    fail_model(
        "'{}': no such path, and {} answers 401: no such repo, or it is private; {}", repo_, endpoint,
        settings_.token.empty() ? "HF_TOKEN or --hf-token gives access" : "the token that is set gives no access");
  }
  const bool may_pass = response.status == 429 || response.status == 408 || response.status >= 500;
  throw NetworkError(fmt::format("it answers {}", response.status),
                     may_pass ? NetworkError::Hope::retry : NetworkError::Hope::none, retry_after(response));
}

void Client::wait_after(const NetworkError& error, int n_failed) {
  if (error.hope == NetworkError::Hope::none || n_failed >= (was_answered_ ? kMaxAttempts : kMaxFirstAttempts)) {
    throw error;
  }
  auto delay = settings_.retry_delay * (1 << (n_failed - 1));
  if (error.retry_after) {
    if (*error.retry_after > kMaxWait) {
      throw NetworkError(fmt::format("{} and asks to wait {} s", error.what(), error.retry_after->count()));
    }
    delay = *error.retry_after;
  }
  for (const auto end = std::chrono::steady_clock::now() + delay; std::chrono::steady_clock::now() < end;) {
    if (tick_) tick_();
    std::this_thread::sleep_for(std::min<std::chrono::milliseconds>(delay, std::chrono::milliseconds(100)));
  }
}

/// Sends until there is an answer that will stay, and checks its status.
HttpResponse Client::send_with_retries(const HttpRequest& request, const std::string& path, std::string* body) {
  for (int n_failed = 1;; ++n_failed) {
    try {
      if (body) body->clear();
      HttpResponse response = http_.send(request);
      was_answered_ = true;
      check_status(response, path);
      return response;
    } catch (const NetworkError& error) {
      wait_after(error, n_failed);
    }
  }
}

RepoListing Client::list() {
  std::string body;
  HttpRequest request =
      make_request(fmt::format("/api/models/{}/revision/{}?blobs=true", repo_, escape_path(settings_.revision, false)));
  request.on_body = [&](std::span<const std::byte> data) {
    if (body.size() + data.size() > kMaxListingBytes) {
      throw NetworkError("the list of files is too long", NetworkError::Hope::none);
    }
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
  };
  send_with_retries(request, "", &body);
  RepoListing listing;
  try {
    const Json info = parse_json(body, "list of files");
    listing.commit = text_member(info, "sha");
    if (const Json* siblings = find_member(info, "siblings"); siblings && siblings->is_array()) {
      for (const Json& entry : *siblings) listing.files.push_back(to_repo_file(entry));
    }
  } catch (const Error& e) {
    throw NetworkError(e.what(), NetworkError::Hope::none);
  }
  if (!is_plain_name(listing.commit) || listing.files.empty()) {
    throw NetworkError("it does not answer as a hub does: no commit or no files", NetworkError::Hope::none);
  }
  return listing;
}

FileInfo Client::describe(const std::string& commit, const std::string& path) {
  HttpRequest request = make_request(fmt::format("/{}/resolve/{}/{}", repo_, commit, escape_path(path)));
  request.method = "HEAD";
  request.redirects = Redirects::relative;  // the answer in front of a redirect to the storage describes the file
  const HttpResponse response = send_with_retries(request, path, nullptr);
  const std::string_view linked = response.header("x-linked-etag");
  FileInfo file{.path = path, .etag = plain_etag(linked.empty() ? response.header("etag") : linked), .n_bytes = 0};
  const std::optional<uint64_t> n_bytes = response.number(
      response.header("x-linked-size").empty() && !response.is_redirect() ? "content-length" : "x-linked-size");
  const std::string_view answered = response.header("x-repo-commit");
  if (!is_plain_name(file.etag) || !n_bytes || (!answered.empty() && answered != commit)) {
    throw NetworkError(
        fmt::format("it does not answer as a hub does: '{}' has no proper ETag, size or commit", printable(path, 160)),
        NetworkError::Hope::none);
  }
  file.n_bytes = *n_bytes;
  return file;
}

void Client::read(const std::string& commit, const FileInfo& file, uint64_t offset, ByteSink& sink) {
  HttpRequest request = make_request(fmt::format("/{}/resolve/{}/{}", repo_, commit, escape_path(file.path)));
  if (offset > 0) request.headers.emplace_back("Range", fmt::format("bytes={}-", offset));
  request.on_header = [&](const HttpResponse& response) {
    was_answered_ = true;
    if (response.status == 416) {
      sink.begin_at(0);  // what there is cannot be continued
      throw NetworkError("it answers 416");
    }
    check_status(response, file.path);
    if (!response.header("content-encoding").empty() && response.header("content-encoding") != "identity") {
      throw NetworkError("the server sends another encoding than asked for", NetworkError::Hope::none);
    }
    if (response.status == 206 && offset > 0) {
      check_range(response, file, offset);
      sink.begin_at(offset);
    } else if (response.status == 200) {
      sink.begin_at(0);
    } else {
      throw NetworkError(fmt::format("it answers {}", response.status), NetworkError::Hope::none);
    }
  };
  request.on_body = [&](std::span<const std::byte> data) { sink.append(data); };
  http_.send(request);
}

}  // namespace packhorse::hub
