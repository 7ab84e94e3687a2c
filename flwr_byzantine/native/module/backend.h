// What the module and a backend know of each other: plain C, so that each is built without the other.
//
// The module owns tensors, keys, threads and clients and links libc only. The TorchScript backend is compiled against
// one exact torch and loaded when it is first needed. Every call may come from any thread; calls on one fb_program
// may run at once. No C++ exception leaves a backend: it returns 0 and writes one line, no newline in it, to `error`.

#ifndef FLWR_BYZANTINE_BACKEND_H
#define FLWR_BYZANTINE_BACKEND_H

#include "../kernels/element_type.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FB_BACKEND_ABI 1
#define FB_MAX_DIMS 32
#define FB_BACKEND_ENTRY "fb_backend_open"

// A dense row-major tensor. As an input it is borrowed for the length of the call, its data aligned to its element, and
// must not be written to. As an output the receiver calls release(owner) once it no longer needs the data.
struct fb_tensor {
  int32_t dtype;
  int32_t ndim;
  int64_t shape[FB_MAX_DIMS];
  void *data;
  size_t nbytes;
  void *owner;
  void (*release)(void *owner);
};

struct fb_text {
  const char *data;
  size_t length;
};

// What the module offers a backend. Allocations are aligned to 64 bytes and seen by the server's maxmemory; allocate
// returns NULL when the server has none to give.
struct fb_host {
  uint32_t abi;
  void *(*allocate)(size_t bytes);
  void (*deallocate)(void *memory);
  void (*log)(const char *level, const char *message); // level: debug, verbose, notice, warning
};

struct fb_program; // a compiled script or a loaded model

struct fb_call {
  const char *function; // NULL: a model's forward
  int positional;       // 1: the inputs are the arguments, one by one (AI.SCRIPTRUN, models); 0: (tensors, keys, args)
  const struct fb_tensor *inputs;
  size_t n_inputs;
  const struct fb_text *keys;
  size_t n_keys;
  const struct fb_text *args;
  size_t n_args;
  int64_t limit_ms; // running time after which the call fails; 0: no limit
};

struct fb_backend {
  uint32_t abi;
  const char *version; // of torch, such as "2.13.0"

  // Compile a script within limits on its size, nesting and operators. Every entry point must exist and have the
  // signature (tensors: List[Tensor], keys: List[str], args: List[str]).
  int (*compile)(struct fb_text source, const struct fb_text *entry_points, size_t n_entry_points,
                 struct fb_program **program, char *error, size_t error_size);

  // Load a TorchScript model from the bytes of its file, within the same limits on operators.
  int (*load)(struct fb_text blob, struct fb_program **program, char *error, size_t error_size);

  void (*release)(struct fb_program *program);

  // 1 if the script has the function, else 0.
  int (*has_function)(const struct fb_program *program, const char *function);

  // Run a function. On success *outputs is an array of *n_outputs tensors that the caller gives to free_outputs, which
  // frees the array alone; each tensor has its own release. Inputs are left as they were, whatever the program does.
  int (*execute)(struct fb_program *program, const struct fb_call *call, struct fb_tensor **outputs, size_t *n_outputs,
                 char *error, size_t error_size);
  void (*free_outputs)(struct fb_tensor *outputs);

  void (*set_threads)(int intra_op); // of one call; 0: as many as torch likes
};

// The one symbol of a backend's library. NULL, with a reason in `error`, if it will not run here: another ABI, or a
// libtorch other than the one it was compiled against.
typedef const struct fb_backend *(*fb_backend_open_function)(const struct fb_host *host, char *error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
