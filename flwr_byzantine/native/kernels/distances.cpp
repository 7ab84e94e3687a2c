// Pairs of rows, block by block; what float cannot hold is computed again in float64.

#include "distances.h"

#include "magnitudes.h"

#include "blocks.h"
#include "parallel.h"
#include "scratch.h"
#include "tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <mutex>

namespace fb {
namespace {

constexpr size_t LEAST_RANGE = size_t(1) << 14;
constexpr size_t MOST_SUMS = size_t(1) << 19; // of all ranges together: 4 MiB
constexpr double LEAST_SQUARE = 1e-30;        // the mean square below which float's squares vanish

// Where blocks of rows come from: `load` brings `width` numbers of a row, from element `from` on, to `to`; or with
// `in_place` whole blocks are read where they lie.
template <typename T> struct Load {
  std::function<void(size_t row, size_t from, size_t width, T *to)> load;
  bool in_place;
};

size_t range_of(const Rows &rows) {
  const size_t most = std::max<size_t>(8, MOST_SUMS / (rows.size() * rows.size()));
  return std::max(LEAST_RANGE, (rows.d + most - 1) / most);
}

// The blocks of rows of T, each where it lies or else copied and padded. Rows beyond the last are zero.
template <typename T> class PairBlocks {
public:
  PairBlocks(const Rows &rows, const Tiling &tiling, const Load<T> &load)
      : rows_(rows), load_(load), copies_(tiling.rows() * BLOCK_STRIDE<T>) {
    for (size_t i = 0; i < tiling.rows(); ++i)
      at_.push_back(reinterpret_cast<const char *>(copies_.data() + i * BLOCK_STRIDE<T>));
    in_place_ = at_;
  }

  const char *const *bring(size_t from, size_t width) {
    const bool in_place = load_.in_place && width == BLOCK_COLUMNS<T>;
    for (size_t i = 0; i < rows_.size(); ++i) {
      T *const to = copies_.data() + i * BLOCK_STRIDE<T>;
      if (in_place) {
        in_place_[i] = rows_.at[i] + from * sizeof(T);
        continue;
      }
      load_.load(i, from, width, to);
      std::fill(to + width, to + BLOCK_COLUMNS<T>, T(0));
    }
    return (in_place ? in_place_ : at_).data();
  }

private:
  const Rows &rows_;
  const Load<T> &load_;
  const Scratch<T> copies_;
  std::vector<const char *> at_, in_place_;
};

// The sums of all pairs i <= j in the order of rows, over one range of columns.
template <typename T, typename Add>
std::vector<double> range_sums(const Rows &rows, const Tiling &tiling, const Load<T> &load, const Add &add,
                               std::pair<size_t, size_t> columns) {
  const size_t n = rows.size(), size = size_of(rows.dtype);
  PairBlocks<T> blocks(rows, tiling, load);
  const Scratch<double> sums(tiling.sums());
  const auto [from, width] = columns;
  for (size_t at = from; at < from + width; at += BLOCK_COLUMNS<T>) {
    const size_t some = std::min(BLOCK_COLUMNS<T>, from + width - at);
    add(blocks.bring(at, some), tiling, Ahead{rows.at.data(), n, (at + some) * size, size}, sums.data());
  }
  std::vector<double> pairs;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i; j < n; ++j) {
      const double *const lanes = sums.data() + tiling.place(i, j);
      pairs.push_back(lanes[0] + lanes[1] + lanes[2] + lanes[3] + (lanes[4] + lanes[5] + lanes[6] + lanes[7]));
    }
  return pairs;
}

template <typename T, typename Add> SquareMatrix pair_sums(const Rows &rows, const Load<T> &load, const Add &add) {
  const Tiling tiling(rows.size());
  const size_t range = range_of(rows);
  std::vector<std::vector<double>> sums((rows.d + range - 1) / range);
  for_ranges(rows.d, range, rows.threads, [&](size_t from, size_t width) {
    sums[from / range] = range_sums<T>(rows, tiling, load, add, {from, width});
  });
  SquareMatrix result(rows.size());
  for (const std::vector<double> &part : sums) {
    auto pair = part.begin();
    for (size_t i = 0; i < rows.size(); ++i)
      for (size_t j = i; j < rows.size(); ++j)
        result.at(j, i) = result.at(i, j) += *pair++;
  }
  return result;
}

SquareMatrix float_distances(const Rows &rows) {
  const auto load = [&rows](size_t row, size_t from, size_t width, float *to) {
    if (rows.dtype == FB_FLOAT)
      std::memcpy(to, rows.at[row] + from * sizeof(float), width * sizeof(float));
    else
      load_floats(rows.dtype, rows.at[row], from, width, to);
  };
  return pair_sums<float>(rows, {load, rows.dtype == FB_FLOAT}, add_differences<float>);
}

SquareMatrix double_distances(const Rows &rows) {
  const std::vector<double> scale = scale_of(rows);
  const auto load = [&](size_t row, size_t from, size_t width, double *to) {
    load_doubles(rows.dtype, rows.at[row], from, width, to);
    for (size_t j = 0; !scale.empty() && j < width; ++j)
      to[j] *= scale[row];
  };
  return pair_sums<double>(rows, {load, rows.dtype == FB_DOUBLE && scale.empty()}, add_differences<double>);
}

bool is_doubtful(double distance, size_t d) {
  return !std::isfinite(distance) || distance < LEAST_SQUARE * static_cast<double>(d);
}

// The finite rows that have a doubtful distance to another.
std::vector<size_t> doubtful_rows(const Rows &rows, const SquareMatrix &distances) {
  std::vector<size_t> doubtful;
  for (size_t i = 0; i < rows.size(); ++i) {
    size_t doubts = 0, infinite = 0;
    for (size_t j = 0; j < rows.size(); ++j) {
      doubts += i != j && is_doubtful(distances.at(i, j), rows.d);
      infinite += !std::isfinite(distances.at(i, j));
    }
    const bool may_be_infinite = infinite + 1 >= rows.size() && infinite > 0;
    if (doubts > 0 && !(may_be_infinite && !all_finite(rows.dtype, rows.at[i], 0, rows.d)))
      doubtful.push_back(i);
  }
  return doubtful;
}

} // namespace

SquareMatrix squared_distances(const Rows &rows) {
  if (rows.dtype == FB_DOUBLE)
    return double_distances(rows);
  SquareMatrix distances = float_distances(rows);
  const std::vector<size_t> doubtful = doubtful_rows(rows, distances);
  if (doubtful.size() < 2)
    return distances;
  Rows some{rows.dtype, {}, rows.d, rows.threads};
  for (const size_t i : doubtful)
    some.at.push_back(rows.at[i]);
  const SquareMatrix exact = double_distances(some);
  for (size_t i = 0; i < doubtful.size(); ++i)
    for (size_t j = 0; j < doubtful.size(); ++j)
      if (i != j && is_doubtful(distances.at(doubtful[i], doubtful[j]), rows.d))
        distances.at(doubtful[i], doubtful[j]) = exact.at(i, j);
  return distances;
}

SquareMatrix gram_about(const Rows &rows, fb_dtype centre_type, const char *centre) {
  const auto load = [&](size_t row, size_t from, size_t width, double *to) {
    double about[BLOCK_COLUMNS<double>];
    load_doubles(rows.dtype, rows.at[row], from, width, to);
    load_doubles(centre_type, centre, from, width, about);
    for (size_t j = 0; j < width; ++j)
      to[j] -= about[j];
  };
  return pair_sums<double>(rows, {load, false}, add_products);
}

} // namespace fb
