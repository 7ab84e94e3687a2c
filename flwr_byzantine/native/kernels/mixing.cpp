// Tiles of mixtures whose sums stay in registers.

#include "mixing.h"

#include "elements.h"
#include "simd.h"

namespace fb {
namespace {

constexpr size_t TILE = 4;  // mixtures summed at once
constexpr size_t GROUP = 8; // rows summed by themselves, so that float sums of many rows lose little
constexpr size_t AHEAD = 4 * COLUMNS;

// mixed += the tile's weights times the rows, over PARTS registers of columns.
template <typename T, int LENGTH, size_t PARTS>
FB_INLINE void add_rows(const char *const *rows, size_t n, const T *weights, size_t at, T *mixed) {
  using Vector = typename Register<T, LENGTH>::Type;
  Vector sums[TILE][PARTS] = {};
  for (size_t r = 0; r < n; ++r) {
    Vector values[PARTS];
    for (size_t part = 0; part < PARTS; ++part)
      __builtin_memcpy(&values[part], rows[r] + at + part * sizeof(Vector), sizeof(Vector));
    for (size_t i = 0; i < TILE; ++i)
      for (size_t part = 0; part < PARTS; ++part)
        sums[i][part] += weights[r * TILE + i] * values[part];
  }
  for (size_t i = 0; i < TILE; ++i)
    for (size_t part = 0; part < PARTS; ++part) {
      Vector total;
      T *const to = mixed + i * COLUMNS + part * LENGTH;
      __builtin_memcpy(&total, to, sizeof total);
      total += sums[i][part];
      __builtin_memcpy(to, &total, sizeof total);
    }
}

template <typename T, int LENGTH, size_t PARTS>
FB_INLINE void mix(const char *const *rows, size_t n, const T *weights, size_t tiles, size_t from, T *mixed) {
  for (size_t r = 0; r < n; ++r)
    prefetch(rows[r], (from + AHEAD) * sizeof(T), COLUMNS * sizeof(T));
  __builtin_memset(mixed, 0, tiles * TILE * COLUMNS * sizeof(T));
  for (size_t first = 0; first < n; first += GROUP) {
    const size_t some = GROUP < n - first ? GROUP : n - first;
    for (size_t column = 0; column < COLUMNS; column += PARTS * LENGTH)
      for (size_t tile = 0; tile < tiles; ++tile)
        add_rows<T, LENGTH, PARTS>(rows + first, some, weights + (tile * n + first) * TILE,
                                   (from + column) * sizeof(T), mixed + tile * TILE * COLUMNS + column);
  }
}

// Two registers of columns; with 32 registers there is room for four.
template <int LENGTH>
FB_INLINE void mix_floats_body(const char *const *rows, size_t n, const float *weights, size_t tiles, size_t from,
                               float *mixed) {
  mix<float, 2 * LENGTH, LENGTH == 8 ? 4 : 2>(rows, n, weights, tiles, from, mixed);
}
FB_MULTIVERSION(mix_floats,
                (const char *const *rows, size_t n, const float *weights, size_t tiles, size_t from, float *mixed),
                (rows, n, weights, tiles, from, mixed))

template <int LENGTH>
FB_INLINE void mix_doubles_body(const char *const *rows, size_t n, const double *weights, size_t tiles, size_t from,
                                double *mixed) {
  mix<double, LENGTH, LENGTH == 8 ? 4 : 2>(rows, n, weights, tiles, from, mixed);
}
FB_MULTIVERSION(mix_doubles,
                (const char *const *rows, size_t n, const double *weights, size_t tiles, size_t from, double *mixed),
                (rows, n, weights, tiles, from, mixed))

void mix_block(const char *const *rows, size_t n, const float *weights, size_t tiles, size_t from, float *mixed) {
  mix_floats(rows, n, weights, tiles, from, mixed);
}

void mix_block(const char *const *rows, size_t n, const double *weights, size_t tiles, size_t from, double *mixed) {
  mix_doubles(rows, n, weights, tiles, from, mixed);
}

} // namespace

template <typename T>
Mixing<T>::Mixing(const double *weights, size_t k, size_t n)
    : k_(k), n_(n), padded_((k + TILE - 1) / TILE * TILE), weights_(padded_ * n) {
  for (size_t i = 0; i < k; ++i)
    for (size_t r = 0; r < n; ++r)
      weights_.data()[(i / TILE * n + r) * TILE + i % TILE] = static_cast<T>(weights[i * n + r]);
}

template <typename T> void Mixing<T>::operator()(const char *const *rows, size_t from, T *mixed) const {
  mix_block(rows, n_, weights_.data(), padded_ / TILE, from, mixed);
}

template class Mixing<float>;
template class Mixing<double>;

} // namespace fb
