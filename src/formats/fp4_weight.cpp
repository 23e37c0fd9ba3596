#include "formats/fp4_weight.h"

#include "codec/tables.h"
#include "formats/fp8_weight.h"

namespace packhorse {
namespace {

Encoding e2m1(int64_t group, ScaleType scale) {
  return {.element = Element::table,
          .bits = 4,
          .table = &kE2M1,
          .grouping = {GroupKind::along_k, static_cast<uint32_t>(group)},
          .scale = scale};
}

}  // namespace

CodedRows mxfp4(std::string codes, std::string scale) {
  return {.encoding = e2m1(kMxGroup, ScaleType::e8m0), .codes = std::move(codes), .scale = std::move(scale)};
}

CodedRows nvfp4(Outer kind, std::string outer, std::string codes, std::string scale) {
  Encoding encoding = e2m1(kNvfp4Group, ScaleType::e4m3);
  encoding.outer = kind;
  return {.encoding = encoding, .codes = std::move(codes), .scale = std::move(scale), .outer = std::move(outer)};
}

}  // namespace packhorse
