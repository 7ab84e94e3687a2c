// The element types of tensors by their names in the protocol.

#ifndef FLWR_BYZANTINE_DTYPE_H
#define FLWR_BYZANTINE_DTYPE_H

#include "../kernels/elements.h"

#include <optional>
#include <string_view>

namespace fb {

constexpr int DTYPE_COUNT = FB_BFLOAT16 + 1;

std::optional<fb_dtype> dtype_of(std::string_view name);
const char *name_of(fb_dtype dtype);

} // namespace fb

#endif
