#pragma once
// Which kernel serves which problem: chosen once, at load.

#include <span>
#include <string>
#include <string_view>

#include "kernels/op.h"

namespace packhorse {

/// All sets of this build, the best first; ref is the last.
std::span<const KernelSet* const> kernel_sets();

/// A row with its set.
struct Choice {
  const Kernel* kernel = nullptr;
  const KernelSet* set = nullptr;
  std::string name() const;  // "avx512_vnni.int8.u4.f16"
};

/// The sets that this run may use. Immutable, cheap to copy.
class KernelSelector {
 public:
  /// `isa` is the best set to use ("" = all that the CPU has), `force_prefix` keeps only rows whose name begins so.
  /// Error{resource} with the list of names for an unknown set or one that the CPU lacks; Error{usage} when no row has
  /// the prefix.
  explicit KernelSelector(std::string_view isa = {}, std::string_view force_prefix = {});

  /// The cheapest able row of the best set that has one; ref only when isa is "ref". With an empty result, `why_not`
  /// (if given) says which rows were passed over and why, one a line.
  Choice find(const Problem& problem, std::string* why_not = nullptr) const;
  /// As find(), but a missing row is Error{model} that names `what`.
  Choice choose(const Problem& problem, std::string_view what, std::string* why_not = nullptr) const;
  /// Name of the best set in use.
  std::string_view isa() const { return sets_.front()->name; }

 private:
  std::span<const KernelSet* const> sets_;
  std::string force_prefix_;
};

}  // namespace packhorse
