// One body of code, compiled for several instruction sets; the best that the processor has is chosen when it is called.

#ifndef FLWR_BYZANTINE_SIMD_H
#define FLWR_BYZANTINE_SIMD_H

#include <cstddef>
#include <cstdint>

#define FB_INLINE inline __attribute__((always_inline))

// Before a loop: what one iteration writes, no other reads or writes.
#ifdef __clang__
#define FB_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define FB_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace fb {

// Ask for memory that is needed soon; beyond the end of an array it does no harm.
FB_INLINE void prefetch(const void *array, size_t offset, size_t bytes) {
  constexpr size_t line = 64;
  const uintptr_t first = reinterpret_cast<uintptr_t>(array) + offset;
  for (size_t byte = 0; byte < bytes; byte += line)
    __builtin_prefetch(reinterpret_cast<const void *>(first + byte));
}

// LENGTH numbers side by side.
template <typename T, int LENGTH> struct Register {
  typedef T Type __attribute__((vector_size(LENGTH * sizeof(T))));
};

template <int LENGTH>
FB_INLINE void widen(const typename Register<float, LENGTH>::Type &from, typename Register<double, LENGTH>::Type &to) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if constexpr (LENGTH == 8) { // GCC would take eight apart
    __asm__("vcvtps2pd %1, %0" : "=v"(to) : "vm"(from));
    return;
  }
#endif
  to = __builtin_convertvector(from, typename Register<double, LENGTH>::Type);
}

template <int LENGTH>
FB_INLINE void widen(const typename Register<double, LENGTH>::Type &from, typename Register<double, LENGTH>::Type &to) {
  to = from;
}

template <int LENGTH>
FB_INLINE void narrow(const typename Register<double, LENGTH>::Type &from, typename Register<float, LENGTH>::Type &to) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if constexpr (LENGTH == 8) {
    __asm__("vcvtpd2ps %1, %0" : "=v"(to) : "v"(from));
    return;
  }
#endif
  to = __builtin_convertvector(from, typename Register<float, LENGTH>::Type);
}

} // namespace fb

// FB_MULTIVERSION(name, (parameters), (arguments)) defines `static void name(parameters)`, which runs
// `name_body(arguments)`, an FB_INLINE function template whose argument says how many doubles a register holds.
#if defined(__x86_64__) && defined(__GNUC__)

#ifdef __clang__
#define FB_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#else
#define FB_TARGET_AVX512                                                                                               \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,prefer-vector-width=512")))
#endif
#define FB_TARGET_AVX2 __attribute__((target("avx2,fma")))

namespace fb {

enum class InstructionSet { baseline, avx2, avx512 };

inline InstructionSet instruction_set() {
  static const InstructionSet best = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
      return InstructionSet::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      return InstructionSet::avx2;
    return InstructionSet::baseline;
  }();
  return best;
}

} // namespace fb

#define FB_MULTIVERSION(name, parameters, arguments)                                                                   \
  FB_TARGET_AVX512 static void name##_avx512 parameters { name##_body<8> arguments; }                                  \
  FB_TARGET_AVX2 static void name##_avx2 parameters { name##_body<4> arguments; }                                      \
  static void name##_baseline parameters { name##_body<2> arguments; }                                                 \
  static void name parameters {                                                                                        \
    switch (instruction_set()) {                                                                                       \
    case InstructionSet::avx512: return name##_avx512 arguments;                                                       \
    case InstructionSet::avx2: return name##_avx2 arguments;                                                           \
    case InstructionSet::baseline: return name##_baseline arguments;                                                   \
    }                                                                                                                  \
  }

#else

#define FB_MULTIVERSION(name, parameters, arguments)                                                                   \
  static void name parameters { name##_body<2> arguments; }

#endif

#endif
