// Names of element types.

#include "dtype.h"

#include "text.h"

#include <array>

namespace fb {
namespace {

// In the order of fb_dtype.
constexpr std::array<const char *, DTYPE_COUNT> NAMES = {"FLOAT", "DOUBLE", "INT8",  "INT16",  "INT32",   "INT64",
                                                         "UINT8", "UINT16", "BOOL", "STRING", "FLOAT16", "BFLOAT16"};

} // namespace

std::optional<fb_dtype> dtype_of(std::string_view name) {
  for (int i = 0; i < DTYPE_COUNT; ++i)
    if (same_text(name, NAMES[static_cast<size_t>(i)]))
      return static_cast<fb_dtype>(i);
  return std::nullopt;
}

const char *name_of(fb_dtype dtype) { return NAMES[static_cast<size_t>(dtype)]; }

} // namespace fb
