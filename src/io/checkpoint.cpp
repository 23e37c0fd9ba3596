#include "io/checkpoint.h"

#include <sys/stat.h>

#include "base/error.h"
#include "io/gguf.h"
#include "io/hf_directory.h"

namespace packhorse {

uint64_t TensorInfo::n_elements() const {
  uint64_t n = 1;  // cannot wrap: readers check the product
  for (const uint64_t dim : shape) n *= dim;
  return n;
}

const TensorInfo* CheckpointView::find(std::string_view name) const {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

const TensorInfo& CheckpointView::at(std::string_view name) const {
  if (const TensorInfo* tensor = find(name)) return *tensor;
  fail_model("{}: missing tensor '{}'", printable(path), printable(name));
}

void CheckpointView::read(const TensorInfo& tensor, uint64_t offset, std::span<std::byte> out) const {
  if (offset > tensor.n_bytes || out.size() > tensor.n_bytes - offset) {
    fail(ErrorKind::internal, "read of {} bytes at {} in a tensor of {}", out.size(), offset, tensor.n_bytes);
  }
  files[tensor.file].read(tensor.offset + offset, out);
}

std::vector<std::byte> CheckpointView::read_all(const TensorInfo& tensor) const {
  std::vector<std::byte> bytes(tensor.n_bytes);
  read(tensor, 0, bytes);
  return bytes;
}

std::string CheckpointView::describe(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  return fmt::format("{}: tensor '{}'", printable(tensor ? files[tensor->file].name() : path), printable(name));
}

void CheckpointView::check_unchanged() const {
  for (const File& file : files) file.check_unchanged();
}

CheckpointView open_checkpoint(const std::string& path) {
  CheckpointView view;
  view.path = path;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    open_hf_directory(path, view);
  } else {
    open_gguf(path, view);  // also tells what is wrong with a path that is neither
  }
  view.check_unchanged();
  return view;
}

}  // namespace packhorse
