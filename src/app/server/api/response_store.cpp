#include "app/server/api/response_store.h"

#include <iterator>
#include <utility>

namespace packhorse::server {

void ResponseStore::put(const std::string& id, StoredResponse response) {
  const std::lock_guard lock(mutex_);
  if (const auto old = by_id_.find(id); old != by_id_.end()) erase(old->second);
  entries_.push_front({id, std::move(response)});
  by_id_[id] = entries_.begin();
  n_bytes_ += entries_.front().n_bytes();
  while (!entries_.empty() && (entries_.size() > max_responses_ || n_bytes_ > max_bytes_)) {
    erase(std::prev(entries_.end()));
  }
}

std::optional<StoredResponse> ResponseStore::find(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  return entries_.front().response;
}

bool ResponseStore::erase(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return false;
  erase(found->second);
  return true;
}

void ResponseStore::erase(std::list<Entry>::iterator entry) {
  n_bytes_ -= entry->n_bytes();
  by_id_.erase(entry->id);
  entries_.erase(entry);
}

}  // namespace packhorse::server
