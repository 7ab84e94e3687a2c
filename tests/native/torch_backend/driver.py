"""The backend's C interface from Python, in a process of its own: it makes itself the allocator of all of libtorch.

In one file however long: it is one interface, call by call.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

ABI = 1
MAX_DIMS = 32
DTYPES = {
    "float32": 0,
    "float64": 1,
    "int8": 2,
    "int16": 3,
    "int32": 4,
    "int64": 5,
    "uint8": 6,
    "uint16": 7,
    "bool": 8,
    "string": 9,
    "float16": 10,
    "bfloat16": 11,
}
NAMES = {number: name for name, number in DTYPES.items()}


class BackendError(Exception):
    """The one line that the backend wrote."""


class BackendDiedError(Exception):
    """The process that held the backend ended."""


@dataclass(frozen=True)
class Dense:
    """A tensor as bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
Allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)
Log = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)


class FbTensor(ctypes.Structure):
    _fields_ = (
        ("dtype", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("shape", ctypes.c_int64 * MAX_DIMS),
        ("data", ctypes.c_void_p),
        ("nbytes", ctypes.c_size_t),
        ("owner", ctypes.c_void_p),
        ("release", Release),
    )


class FbText(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("length", ctypes.c_size_t))


class FbHost(ctypes.Structure):
    _fields_ = (("abi", ctypes.c_uint32), ("allocate", Allocate), ("deallocate", Release), ("log", Log))


class FbCall(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_char_p),
        ("positional", ctypes.c_int),
        ("inputs", ctypes.POINTER(FbTensor)),
        ("n_inputs", ctypes.c_size_t),
        ("keys", ctypes.POINTER(FbText)),
        ("n_keys", ctypes.c_size_t),
        ("args", ctypes.POINTER(FbText)),
        ("n_args", ctypes.c_size_t),
        ("limit_ms", ctypes.c_int64),
    )


Outcome = (ctypes.c_char_p, ctypes.c_size_t)
Program = ctypes.c_void_p


class FbBackend(ctypes.Structure):
    _fields_ = (
        ("abi", ctypes.c_uint32),
        ("version", ctypes.c_char_p),
        (
            "compile",
            ctypes.CFUNCTYPE(
                ctypes.c_int, FbText, ctypes.POINTER(FbText), ctypes.c_size_t, ctypes.POINTER(Program), *Outcome
            ),
        ),
        ("load", ctypes.CFUNCTYPE(ctypes.c_int, FbText, ctypes.POINTER(Program), *Outcome)),
        ("release", ctypes.CFUNCTYPE(None, Program)),
        ("has_function", ctypes.CFUNCTYPE(ctypes.c_int, Program, ctypes.c_char_p)),
        (
            "execute",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                Program,
                ctypes.POINTER(FbCall),
                ctypes.POINTER(ctypes.POINTER(FbTensor)),
                ctypes.POINTER(ctypes.c_size_t),
                *Outcome,
            ),
        ),
        ("free_outputs", ctypes.CFUNCTYPE(None, ctypes.POINTER(FbTensor))),
        ("set_threads", ctypes.CFUNCTYPE(None, ctypes.c_int)),
    )


def texts(strings: Sequence[str]) -> ctypes.Array[FbText]:
    return (FbText * len(strings))(*(FbText(text.encode(), len(text.encode())) for text in strings))


class Backend:
    """The table of calls. Memory comes from libc, page by page, or not at all beyond ``budget`` bytes at once."""

    def __init__(self, library: Path, *, abi: int = ABI, budget: int | None = None) -> None:
        libc = ctypes.CDLL(None)
        libc.valloc.restype = ctypes.c_void_p
        libc.valloc.argtypes = [ctypes.c_size_t]

        def bounded(size: int) -> int | None:
            return None if budget is not None and size > budget else libc.valloc(size)

        allocate = Allocate(bounded) if budget is not None else ctypes.cast(libc.valloc, Allocate)
        self.host = FbHost(abi, allocate, ctypes.cast(libc.free, Release), Log(lambda level, message: None))
        self.error = ctypes.create_string_buffer(1024)
        open_backend = ctypes.CDLL(str(library)).fb_backend_open
        open_backend.restype = ctypes.POINTER(FbBackend)
        table = open_backend(ctypes.byref(self.host), self.error, ctypes.c_size_t(len(self.error)))
        if not table:
            raise BackendError(self.error.value.decode())
        self.table = table.contents
        self.last_inputs: list[bytes] = []

    def version(self) -> str:
        return self.table.version.decode()

    def compile(self, source: str, entry_points: Sequence[str] = ()) -> int:
        program = Program()
        encoded = source.encode()
        self._check(
            self.table.compile(
                FbText(encoded, len(encoded)),
                texts(entry_points),
                len(entry_points),
                ctypes.byref(program),
                self.error,
                len(self.error),
            )
        )
        return program.value or 0

    def load(self, blob: bytes) -> int:
        program = Program()
        self._check(self.table.load(FbText(blob, len(blob)), ctypes.byref(program), self.error, len(self.error)))
        return program.value or 0

    def release(self, program: int) -> None:
        self.table.release(program)

    def has_function(self, program: int, function: str) -> bool:
        return bool(self.table.has_function(program, function.encode()))

    def set_threads(self, count: int) -> None:
        self.table.set_threads(count)

    def execute(
        self,
        program: int,
        function: str | None,
        inputs: Sequence[Dense],
        *,
        keys: Sequence[str] = (),
        args: Sequence[str] = (),
        positional: bool = False,
        limit_ms: int = 0,
    ) -> list[Dense]:
        """The results; ``last_inputs`` then holds what the inputs' memory holds after the call."""
        buffers = [ctypes.create_string_buffer(tensor.data, max(1, len(tensor.data))) for tensor in inputs]
        given = (FbTensor * len(inputs))()
        for tensor, buffer, slot in zip(inputs, buffers, given, strict=True):
            slot.dtype, slot.ndim, slot.nbytes = DTYPES[tensor.dtype], len(tensor.shape), len(tensor.data)
            slot.shape[: len(tensor.shape)] = tensor.shape
            slot.data = ctypes.addressof(buffer)
        call = FbCall(
            function.encode() if function is not None else None,
            int(positional),
            given,
            len(inputs),
            texts(keys),
            len(keys),
            texts(args),
            len(args),
            limit_ms,
        )
        outputs, count = ctypes.POINTER(FbTensor)(), ctypes.c_size_t()
        succeeded = self.table.execute(
            program, ctypes.byref(call), ctypes.byref(outputs), ctypes.byref(count), self.error, len(self.error)
        )
        self.last_inputs = [buffer.raw[: len(tensor.data)] for tensor, buffer in zip(inputs, buffers, strict=True)]
        ctypes.memset(given, 0xFF, ctypes.sizeof(given))
        for buffer in buffers:  # an output that still lived in an input's memory would show it
            ctypes.memset(buffer, 0x55, len(buffer))
        self._check(succeeded)
        results = [_dense(outputs[index]) for index in range(count.value)]
        for index in range(count.value):
            outputs[index].release(outputs[index].owner)
        self.table.free_outputs(outputs)
        return results

    def inputs_after(self) -> list[bytes]:
        return self.last_inputs

    def _check(self, succeeded: int) -> None:
        if not succeeded:
            raise BackendError(self.error.value.decode())


def _dense(tensor: FbTensor) -> Dense:
    data = ctypes.string_at(tensor.data, tensor.nbytes) if tensor.nbytes else b""
    return Dense(NAMES[tensor.dtype], tuple(tensor.shape[: tensor.ndim]), data)


def _serve(connection: Connection, library: Path, options: dict[str, int]) -> None:
    """Answer calls until the other end closes."""
    try:
        backend = Backend(library, **options)
    except BaseException as error:  # raised in the other process
        connection.send((False, error))
        return
    connection.send((True, None))
    while True:
        try:
            name, args, kwargs = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, getattr(backend, name)(*args, **kwargs)))
        except BackendError as error:
            connection.send((False, error))
        except Exception:
            connection.send((False, RuntimeError(traceback.format_exc())))


SANITIZE = os.environ.get("FLWR_BYZANTINE_SANITIZE") == "1"


@contextmanager
def sanitizer() -> Iterator[None]:
    """Processes started meanwhile have AddressSanitizer's runtime and C++'s first, as a sanitized library wants it."""
    before = dict(os.environ)
    if SANITIZE:
        names = (f"-print-file-name={name}" for name in ("libasan.so", "libstdc++.so"))
        asked = [subprocess.run(["g++", name], capture_output=True, text=True, check=True) for name in names]
        options = "detect_leaks=0:allocator_may_return_null=1:verify_asan_link_order=0:detect_stack_use_after_return=0"
        os.environ.update(LD_PRELOAD=" ".join(answer.stdout.strip() for answer in asked), ASAN_OPTIONS=options)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class RemoteBackend:
    """A :class:`Backend` in a process of its own, with the same methods."""

    def __init__(self, library: Path, **options: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, library, options), daemon=True)
        with sanitizer():
            self.process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def call(self, name: str, *args: object, **kwargs: object) -> object:
        self._connection.send((name, args, kwargs))
        return self._receive()

    def close(self) -> int | None:
        """End the process; its exit code."""
        self._connection.close()
        self.process.join(30)
        return self.process.exitcode

    def _receive(self) -> object:
        try:
            succeeded, value = self._connection.recv()
        except (EOFError, ConnectionError):
            self.process.join(10)
            raise BackendDiedError(f"exit code {self.process.exitcode}") from None
        if not succeeded:
            raise value
        return value
