// Memory for the length of a computation: a few megabytes at most, whatever the inputs.

#ifndef FLWR_BYZANTINE_SCRATCH_H
#define FLWR_BYZANTINE_SCRATCH_H

#include <cstddef>
#include <cstring>
#include <new>

namespace fb {

constexpr size_t ALIGNMENT = 64;

// `count` numbers that start at a cache line; zeros. Throws bad_alloc.
template <typename T> class Scratch {
public:
  explicit Scratch(size_t count) : data_(static_cast<T *>(::operator new(count * sizeof(T), LINE))) {
    std::memset(static_cast<void *>(data_), 0, count * sizeof(T));
  }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  ~Scratch() { ::operator delete(data_, LINE); }

  T *data() const { return data_; }

private:
  static constexpr std::align_val_t LINE{ALIGNMENT};
  T *const data_;
};

} // namespace fb

#endif
