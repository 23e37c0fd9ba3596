#pragma once
// Run-time value to template argument: the only dispatcher of the code base.

#include <string_view>

#include "base/error.h"

namespace packhorse {

/// Calls f.template operator()<V>() for the V in Vs that equals v; an error that names `what` and v if none does.
template <auto... Vs, class F>
void dispatch(auto v, std::string_view what, F&& f) {
  if (!((v == Vs ? (f.template operator()<Vs>(), true) : false) || ...)) {
    fail(ErrorKind::internal, "{} {} has no instantiation", what, v);
  }
}

}  // namespace packhorse
