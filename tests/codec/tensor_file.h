#pragma once
// Tensors of a .safetensors file, for tests below the io layer: trusts the file.

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "testing.h"

namespace packhorse::testing {

class TensorFile {
 public:
  explicit TensorFile(const std::filesystem::path& path) : bytes_(read_text(path)) {
    uint64_t n = 0;
    std::memcpy(&n, bytes_.data(), sizeof n);
    data_ = sizeof n + n;
    header_ = nlohmann::json::parse(bytes_.substr(sizeof n, n));
  }

  const nlohmann::json& header() const { return header_; }
  bool has(const std::string& name) const { return header_.contains(name); }
  std::string dtype(const std::string& name) const { return header_.at(name).at("dtype"); }
  /// Length of a row of a matrix.
  int64_t columns(const std::string& name) const { return header_.at(name).at("shape").at(1); }
  template <class T>
  std::vector<T> get(const std::string& name) const {
    const auto& range = header_.at(name).at("data_offsets");
    const size_t begin = range[0], end = range[1];
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), bytes_.data() + data_ + begin, end - begin);
    return values;
  }

 private:
  std::string bytes_;
  size_t data_ = 0;
  nlohmann::json header_;
};

}  // namespace packhorse::testing
