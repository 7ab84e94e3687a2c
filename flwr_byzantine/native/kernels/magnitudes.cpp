// Scales of rows, and lengths of differences.

#include "magnitudes.h"

#include "blocks.h"
#include "distances.h"
#include "parallel.h"
#include "simd.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace fb {
namespace {

constexpr size_t RANGE = size_t(1) << 16;
constexpr size_t BLOCK = 1 << 8; // columns of a row, before the next row's
constexpr size_t LANES = 32;     // partial sums

constexpr double REACH = 1e100; // rows longer than this many typical ones are pulled in, as in the rules
constexpr double LEAST_TYPICAL = 1e-30;
constexpr double MOST_TYPICAL = 1e30;
constexpr double LEAST_SQUARABLE = 1e-280; // sums of squares in between lost nothing, as in the rules
constexpr double MOST_SQUARABLE = 1e280;

// sums += the squares of row - point, of LANES columns at a time; the row's next block is asked for.
template <typename T, int LENGTH>
FB_INLINE void add_squares(const char *row, const double *point, size_t width, double *sums) {
  using Wide = typename Register<double, LENGTH>::Type;
  constexpr size_t registers = LANES / LENGTH;
  Wide totals[registers];
  for (size_t r = 0; r < registers; ++r)
    __builtin_memcpy(&totals[r], sums + r * LENGTH, sizeof(Wide));
  for (size_t j = 0; j < width; j += LANES) {
    prefetch(row, (BLOCK + j) * sizeof(T), LANES * sizeof(T));
    for (size_t r = 0; r < registers; ++r) {
      typename Register<T, LENGTH>::Type values;
      Wide wide, origin;
      __builtin_memcpy(&values, row + (j + r * LENGTH) * sizeof(T), sizeof values);
      __builtin_memcpy(&origin, point + j + r * LENGTH, sizeof origin);
      widen<LENGTH>(values, wide);
      const Wide difference = wide - origin;
      totals[r] += difference * difference;
    }
  }
  for (size_t r = 0; r < registers; ++r)
    __builtin_memcpy(sums + r * LENGTH, &totals[r], sizeof(Wide));
}

template <int LENGTH>
FB_INLINE void float_squares_body(const char *row, const double *point, size_t width, double *sums) {
  add_squares<float, LENGTH>(row, point, width, sums);
}
FB_MULTIVERSION(float_squares, (const char *row, const double *point, size_t width, double *sums),
                (row, point, width, sums))

template <int LENGTH>
FB_INLINE void double_squares_body(const char *row, const double *point, size_t width, double *sums) {
  add_squares<double, LENGTH>(row, point, width, sums);
}
FB_MULTIVERSION(double_squares, (const char *row, const double *point, size_t width, double *sums),
                (row, point, width, sums))

struct Point {
  fb_dtype dtype;
  const char *at;
};

// One row's part of a block, whose origin is zero beyond the last column.
void add_block_squares(const Rows &rows, size_t row, size_t from, size_t width, const double *origin, double *sums) {
  alignas(64) std::array<float, BLOCK> floats;
  alignas(64) std::array<double, BLOCK> doubles;
  const char *const here = rows.at[row] + from * size_of(rows.dtype);
  if (rows.dtype == FB_DOUBLE && width == BLOCK)
    return double_squares(here, origin, BLOCK, sums);
  if (rows.dtype == FB_FLOAT && width == BLOCK)
    return float_squares(here, origin, BLOCK, sums);
  prefetch_elements(rows.dtype, rows.at[row], from + BLOCK, BLOCK);
  if (rows.dtype == FB_DOUBLE) {
    load_doubles(rows.dtype, rows.at[row], from, width, doubles.data());
    std::fill(doubles.begin() + static_cast<ptrdiff_t>(width), doubles.end(), 0.0);
    return double_squares(reinterpret_cast<const char *>(doubles.data()), origin, BLOCK, sums);
  }
  if (rows.dtype == FB_FLOAT)
    std::memcpy(floats.data(), rows.at[row] + from * sizeof(float), width * sizeof(float));
  else
    load_floats(rows.dtype, rows.at[row], from, width, floats.data());
  std::fill(floats.begin() + static_cast<ptrdiff_t>(width), floats.end(), 0.0f);
  float_squares(reinterpret_cast<const char *>(floats.data()), origin, BLOCK, sums);
}

std::vector<double> sums_of_squares(const Rows &rows, const Point &point) {
  std::vector<std::vector<double>> parts((rows.d + RANGE - 1) / RANGE);
  for_ranges(rows.d, RANGE, rows.threads, [&](size_t from, size_t width) {
    std::vector<double> sums(rows.size() * LANES);
    alignas(64) std::array<double, BLOCK> origin;
    for (size_t at = 0; at < width; at += BLOCK) {
      const size_t some = std::min(BLOCK, width - at);
      load_doubles(point.dtype, point.at, from + at, some, origin.data());
      std::fill(origin.begin() + static_cast<ptrdiff_t>(some), origin.end(), 0.0);
      for (size_t i = 0; i < rows.size(); ++i)
        add_block_squares(rows, i, from + at, some, origin.data(), sums.data() + i * LANES);
    }
    parts[from / RANGE] = std::move(sums);
  });
  std::vector<double> totals(rows.size());
  for (const std::vector<double> &sums : parts)
    for (size_t i = 0; i < sums.size(); ++i)
      totals[i / LANES] += sums[i];
  return totals;
}

// The length of one DOUBLE row's difference, computed in units of its largest number.
double scaled_length(const char *row, size_t d, const Point &point) {
  const unaligned_double *const values = reinterpret_cast<const unaligned_double *>(row);
  std::vector<double> origin(BLOCK);
  const auto visit = [&](const auto &use) {
    for (size_t at = 0; at < d; at += BLOCK) {
      const size_t some = std::min(BLOCK, d - at);
      load_doubles(point.dtype, point.at, at, some, origin.data());
      for (size_t j = 0; j < some; ++j)
        use(values[at + j], origin[j]);
    }
  };
  double most = 0;
  visit([&](double x, double p) { most = std::max(most, std::fabs(x * 0.5 - p * 0.5)); }); // halves do not overflow
  if (most == 0)
    return 0;
  const int exponent = std::ilogb(most), half = exponent / 2; // in two steps: the unit itself may not be a number
  const double first = std::ldexp(1.0, -half), second = std::ldexp(1.0, half - exponent);
  double total = 0;
  visit([&](double x, double p) {
    const double difference = (x * first - p * first) * second;
    total += difference * difference;
  });
  return std::ldexp(std::sqrt(total), exponent);
}

double magnitude(const Rows &rows, const char *row) {
  std::vector<double> largest((rows.d + RANGE - 1) / RANGE);
  for_ranges(rows.d, RANGE, rows.threads, [&](size_t from, size_t width) {
    const unaligned_double *const values = reinterpret_cast<const unaligned_double *>(row) + from;
    double most = 0;
    for (size_t j = 0; j < width; ++j)
      most = std::max(most, std::fabs(values[j]));
    largest[from / RANGE] = most;
  });
  return largest.empty() ? 0 : *std::max_element(largest.begin(), largest.end());
}

} // namespace

std::vector<double> scale_of(const Rows &rows) {
  if (rows.dtype != FB_DOUBLE)
    return {};
  std::vector<double> largest;
  for (const char *const row : rows.at)
    largest.push_back(magnitude(rows, row));
  std::vector<double> ordered = largest;
  std::sort(ordered.begin(), ordered.end());
  const double middle = ordered[(ordered.size() - 1) / 2];
  const double typical = middle > 0 ? middle : 1;
  const double limit = REACH * typical;
  const bool extreme = typical <= LEAST_TYPICAL || typical >= MOST_TYPICAL;
  if (!extreme && ordered.back() <= limit)
    return {};
  const double unit = extreme ? std::ldexp(1.0, std::ilogb(typical)) : 1;
  std::vector<double> scale;
  for (const double most : largest)
    scale.push_back((most > limit ? limit / most : 1) / unit);
  return scale;
}

std::vector<double> distances_to(const Rows &rows, fb_dtype point_type, const char *point) {
  const Point origin{point_type, point};
  std::vector<double> lengths = sums_of_squares(rows, origin);
  for (size_t i = 0; i < rows.size(); ++i) {
    const double total = lengths[i];
    const bool squarable = total > LEAST_SQUARABLE && total < MOST_SQUARABLE;
    lengths[i] = squarable || rows.dtype != FB_DOUBLE || !all_finite(rows.dtype, rows.at[i], 0, rows.d)
                     ? std::sqrt(total)
                     : scaled_length(rows.at[i], rows.d, origin);
  }
  return lengths;
}

} // namespace fb
