// A new architecture is one line here.

#include "models/table.h"

#include <algorithm>

#include "base/error.h"

#define PACKHORSE_ARCHITECTURES(X) X(kLlama) X(kQwen2)

namespace packhorse {

#define X(arch) extern const Arch arch;
PACKHORSE_ARCHITECTURES(X)
#undef X

std::span<const Arch* const> architectures() {
#define X(arch) &arch,
  static constexpr const Arch* kArchitectures[] = {PACKHORSE_ARCHITECTURES(X)};
#undef X
  return kArchitectures;
}

namespace {

std::string known(bool gguf) {
  std::string names;
  for (const Arch* arch : architectures()) {
    if (gguf) names += (names.empty() ? "" : ", ") + std::string(arch->gguf.architecture);
    else for (const std::string_view name : arch->hf_architectures) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

}  // namespace

const Arch& find_arch(const CheckpointView& view) {
  const bool gguf = view.is_gguf();
  const std::string where = gguf ? "general.architecture" : "config.json: architectures";
  const Json& holder = gguf ? view.gguf : view.config;
  const auto found = holder.find(gguf ? "general.architecture" : "architectures");
  if (found == holder.end()) fail_model("{}: {}: missing (supported: {})", printable(view.path), where, known(gguf));
  const Json name = gguf ? *found : found->is_array() && !found->empty() ? (*found)[0] : Json();
  if (!name.is_string()) fail_model("{}: {}: expected a name (got {}; supported: {})", printable(view.path), where, printable(found->dump()), known(gguf));
  const auto text = name.get<std::string>();
  for (const Arch* arch : architectures()) {
    if (gguf ? arch->gguf.architecture == text : std::ranges::find(arch->hf_architectures, text) != arch->hf_architectures.end()) return *arch;
  }
  fail_model("{}: {}: '{}' is not supported (supported: {})", printable(view.path), where, printable(text), known(gguf));
}

}  // namespace packhorse
