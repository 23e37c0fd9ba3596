#pragma once
// Classes Engine and Requests of the extension.

#include <nanobind/nanobind.h>

namespace packhorse::python {

void bind_engine(nanobind::module_& m);

}  // namespace packhorse::python
