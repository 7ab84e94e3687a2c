// The kernels as a plain C library: one build serves every torch, every numpy and every Python.
//
// Rows lie at any address. A call returns 0, or 1 if it met a number that is not finite, or -1 if there was no memory;
// no exception leaves it. Calls may run at once. What is given is taken to be valid: the caller checks.

#ifndef FLWR_BYZANTINE_INTERFACE_H
#define FLWR_BYZANTINE_INTERFACE_H

#include <stddef.h>
#include <stdint.h>

#define FB_EXPORTED __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

// n rows of d numbers of one type, FB_FLOAT, FB_DOUBLE, FB_FLOAT16 or FB_BFLOAT16.
struct fb_rows {
  char *const *rows;
  size_t n;
  size_t d;
  int32_t dtype;
  int32_t threads; // that a call may use, its own among them; of the first fb_rows of a call
};

// In place of the rows k mixtures of them, values[k][n]; or the rows themselves if values is null.
struct fb_weights {
  const double *values;
  size_t k;
};

FB_EXPORTED int fb_finite_rows(const struct fb_rows *rows, uint8_t *finite);
FB_EXPORTED int fb_mean_of_places(const struct fb_rows *rows, const struct fb_weights *weights, size_t low, size_t high,
                                  const struct fb_rows *to);
FB_EXPORTED int fb_mean_nearest(const struct fb_rows *rows, const struct fb_weights *weights, size_t low, size_t high,
                                size_t k, const struct fb_rows *to);
FB_EXPORTED int fb_weighted_sum(const struct fb_rows *rows, const struct fb_weights *weights,
                                const struct fb_rows *centre, const struct fb_rows *to); // centre: one row, or null
FB_EXPORTED int fb_squared_distances(const struct fb_rows *rows, double *distances);     // [n][n]
FB_EXPORTED int fb_gram_about(const struct fb_rows *rows, const struct fb_rows *centre, double *products);
FB_EXPORTED int fb_distances_to(const struct fb_rows *rows, const struct fb_rows *point, double *distances);

// Before rows are written for the first time: ask the system for large pages beneath them, where it gives these out.
FB_EXPORTED int fb_large_pages(const struct fb_rows *rows);

#ifdef __cplusplus
}
#endif

#endif
