// Sizes of DOUBLE rows, and what keeps the squares of extreme ones from overflowing or vanishing.

#ifndef FLWR_BYZANTINE_MAGNITUDES_H
#define FLWR_BYZANTINE_MAGNITUDES_H

#include "rows.h"

#include <vector>

namespace fb {

// What each row is multiplied by, so that no square of a typical one overflows or vanishes; empty if nothing.
std::vector<double> scale_of(const Rows &rows);

} // namespace fb

#endif
