#include "kernels/select.h"

#include <algorithm>

#include "base/error.h"
#include "codec/row_block.h"
#include "kernels/cpu/cpu_features.h"

namespace packhorse {
namespace {

bool is_ref(const KernelSet* set) { return std::string_view(set->name) == "ref"; }
bool usable(const KernelSet* set) { return (set->needs & ~cpu::features()) == 0; }

std::string usable_names() {
  std::string names;
  for (const KernelSet* set : kernel_sets()) {
    if (usable(set)) names += (names.empty() ? "" : ", ") + std::string(set->name);
  }
  return names;
}

std::string full_name(const KernelSet* set, const Kernel& row) { return fmt::format("{}.{}", set->name, row.name); }

}  // namespace

std::string Choice::name() const { return kernel ? full_name(set, *kernel) : "none"; }

KernelSelector::KernelSelector(std::string_view isa, std::string_view force_prefix) : force_prefix_(force_prefix) {
  const auto all = kernel_sets();
  const auto first =
      std::ranges::find_if(all, [&](const KernelSet* set) { return isa.empty() ? usable(set) : set->name == isa; });
  if (first == all.end() || !usable(*first)) {
    fail(ErrorKind::resource, "--isa: '{}' is {} (available here: {})", printable(isa),
         first == all.end() ? "unknown" : "not supported by this CPU", usable_names());
  }
  if (is_ref(*first) && isa.empty())
    fail(ErrorKind::resource, "this CPU has no AVX2, FMA and F16C, which every kernel needs");
  sets_ = std::span(first, all.end());
  if (force_prefix_.empty()) return;
  for (const KernelSet* set : sets_) {
    for (const Kernel& row : std::span(set->rows, static_cast<size_t>(set->n_rows))) {
      if (usable(set) && full_name(set, row).starts_with(force_prefix_)) return;
    }
  }
  fail(ErrorKind::usage, "--force-kernel: no kernel of this machine has a name that begins with '{}'",
       printable(force_prefix));
}

Choice KernelSelector::find(const Problem& problem, std::string* why_not) const {
  for (const KernelSet* set : sets_) {
    if (!usable(set) || (is_ref(set) && !is_ref(sets_.front()))) continue;
    Choice best;
    for (const Kernel& row : std::span(set->rows, static_cast<size_t>(set->n_rows))) {
      if (row.op != problem.op) continue;
      const bool forced_out = row.op == Op::matmul && !full_name(set, row).starts_with(force_prefix_);
      const char* reason = forced_out ? "not the forced kernel" : row.why_not(problem);
      if (reason) {
        if (why_not) *why_not += fmt::format("{}: {}\n", full_name(set, row), reason);
      } else if (!best.kernel || row.cost < best.kernel->cost) {
        best = {&row, set};
      }
    }
    if (best.kernel) return best;
  }
  return {};
}

Choice KernelSelector::choose(const Problem& problem, std::string_view what, std::string* why_not) const {
  const Choice choice = find(problem, why_not);
  if (!choice.kernel) {
    fail_model("{}: no kernel of --isa {} for {} [{}, {}]", what, isa(),
               problem.op == Op::matmul ? describe(problem.weight) : fmt::format("head size {}", problem.head_dim),
               problem.n, problem.k);
  }
  return choice;
}

}  // namespace packhorse
