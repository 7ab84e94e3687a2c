"""Where functions run: the four kinds of executor, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Literal, ParamSpec, TypeVar, get_args

from flwr_byzantine.clients.functions._processes import ProcessExecutor

__all__ = ["KINDS", "InProcessExecutor", "Kind", "executor"]

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["in-process", "processes", "ray", "lithops"]
KINDS: tuple[str, ...] = get_args(Kind)
"""The kinds of executor."""


def executor(kind: Kind = "in-process", *, workers: int | None = None, options: Mapping[str, Any] = {}) -> Executor:
    """An executor with the interface of ``concurrent.futures``, for :func:`gradients` or anything else.

    ============== =========================================================== ==============================
    kind           where a call runs                                           options
    ============== =========================================================== ==============================
    ``in-process`` in the caller's thread, on the caller's device, unpickled   none
    ``processes``  in processes of this machine, replaced when they die        ``threads``: torch's, of each
    ``ray``        on the Ray that runs already, or one of its own             ``init``, ``remote``: Ray's own
    ``lithops``    on AWS Lambda, Kubernetes, ...: whatever lithops is set to  lithops' own
    ============== =========================================================== ==============================

    Within Flower's simulation every node is a Ray actor that holds its CPUs: ``in-process`` is right there.

    Args:
        kind: "in-process", "processes", "ray" or "lithops".
        workers: How many calls may run at a time; None for what there is. In process it is 1.
        options: Of the kind.

    Raises:
        ValueError: If the kind is unknown, or the workers are not what it can have.
        ImportError: If what the kind needs is not installed; the message names the extra.

    Example:
        >>> with executor("in-process") as where:
        ...     list(where.map(abs, [-1, 2]))
        [1, 2]
    """
    given = dict(options)
    match kind:
        case "in-process":
            if workers not in (None, 1) or given:
                raise ValueError(f"executor('in-process') has one worker and no options, got {workers} and {given}")
            return InProcessExecutor()
        case "processes":
            return ProcessExecutor(workers=workers, **given)
        case "ray":
            from flwr_byzantine.clients.functions._ray import RayExecutor

            return RayExecutor(workers=workers, **given)
        case "lithops":
            from flwr_byzantine.clients.functions._lithops import LithopsExecutor

            return LithopsExecutor(workers=workers, **given)
    raise ValueError(f"executor: kind must be one of {', '.join(KINDS)}, got {kind!r}")


class InProcessExecutor(Executor):
    """Runs each call in the caller's thread, when it is submitted.

    Nothing is pickled, autograd runs on the model's device, a debugger stops in the function, and Ctrl-C interrupts it.
    A call that hangs hangs the caller.

    Example:
        >>> with InProcessExecutor() as where:
        ...     where.submit(max, 1, 2).result()
        2
    """

    workers = in_flight = 1

    def __init__(self) -> None:
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The future of a call, done.

        Raises:
            RuntimeError: If the executor was shut down.
        """
        if self._closed:
            raise RuntimeError("InProcessExecutor was shut down: it takes no more calls")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls."""
        self._closed = True
