"""A GuanYu server or worker: a store of one's own, a machine that decides, and the threads that do what it asks for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from flwr_byzantine.clients.guanyu._bench import Bench, GradientOf
from flwr_byzantine.clients.guanyu._hands import Hands
from flwr_byzantine.clients.guanyu._journal import Journal
from flwr_byzantine.clients.guanyu._meter import Meter
from flwr_byzantine.clients.guanyu._post import Post
from flwr_byzantine.clients.guanyu._watch import Pace, Watch, read_no_more
from flwr_byzantine.clients.guanyu.config import GuanYuConfig
from flwr_byzantine.clients.guanyu.history import GuanYuHistory
from flwr_byzantine.clients.peer._threads import OwnStore
from flwr_byzantine.clients.peer.attack import PeerAttack
from flwr_byzantine.protocols.guanyu import Action, Arrived, Event, GuanYuServer, GuanYuWorker, Kind, Message
from flwr_byzantine.signing import Keyring, PrivateKey
from flwr_byzantine.stores import TensorStore

__all__ = ["GuanYuNode"]

WAIT_S = 0.5
"""The longest wait without a look at whether to stop."""
ASK_S = 1.0
"""How often one's own store is asked whether it is there, while there is nothing else to do."""
END_S = 2.0
"""How long to wait for threads at the end."""


class GuanYuNode:
    """One server or worker of GuanYu: trusts nobody's bytes, and waits for no more than a quorum.

    What it says lies signed in its own store, the same for all; it reads the others' stores and writes there nothing.

    Args:
        key: Its own; its id is in ``servers`` or in ``workers``, and so it knows its role.
        servers: Ids of all servers.
        workers: Ids of all workers.
        ring: The nodes whose signatures count.
        store: Its own, in which it computes and publishes; nobody else writes there.
        readers: By id, the node's store as others may read it; of each only ``read`` is used. A server reads all
            workers and servers, a worker the servers.
        config: Bounds, rules, step sizes, patience.
        gradient: A worker's ``(model [d], step) -> gradient [d]``.
        attack: Makes it lie, for experiments: what it publishes is an attack on what it should. One that needs nobody
            else's rows.

    Raises:
        ToleranceError: If a bound of GuanYu does not hold; the message names it.
        ValueError: If the names, the readers and the role do not fit.

    Example:
        >>> import threading, torch
        >>> from flwr_byzantine.stores import MemoryStore
        >>> keys = [PrivateKey.generate(), PrivateKey.generate()]
        >>> ids, stores = [key.peer for key in keys], [MemoryStore(), MemoryStore()]
        >>> config = GuanYuConfig(steps=2, learning_rate=0.5, gradient_rule="mean", strict=False, stay_s=1.0)
        >>> nodes = [GuanYuNode(key, servers=ids[:1], workers=ids[1:], ring=Keyring(key.public() for key in keys),
        ...                     store=stores[i], readers=dict(zip(ids, stores)), config=config,
        ...                     gradient=lambda model, step: model) for i, key in enumerate(keys)]
        >>> start = torch.tensor([8.0])
        >>> worker = threading.Thread(target=nodes[1].run, args=(start,))
        >>> worker.start()
        >>> history = nodes[0].run(start)
        >>> worker.join()
        >>> history.status, history.model
        ('all steps done', tensor([2.]))
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        servers: Sequence[str],
        workers: Sequence[str],
        ring: Keyring,
        store: TensorStore,
        readers: Mapping[str, TensorStore],
        config: GuanYuConfig,
        gradient: GradientOf | None = None,
        attack: PeerAttack | None = None,
    ) -> None:
        self.id, self.config = key.peer, config
        self.role = "server" if key.peer in servers else "worker"
        self.on_step: Callable[[int], None] | None = None
        """Told each step that was entered, on the thread that decides: it must be quick."""
        _check(key.peer, servers, workers, readers, gradient)
        if attack is not None and attack.spies:
            raise ValueError(f"GuanYuNode: {attack.attack} wants to see what others say; choose one that does not")
        settings = config.settings(len(servers), len(workers))
        self._machine: GuanYuServer | GuanYuWorker = (
            GuanYuServer(key.peer, servers, workers, settings)
            if key.peer in servers
            else GuanYuWorker(key.peer, servers, settings)
        )
        self.name = ring[key.peer].label if key.peer in ring else key.peer[:8]
        self._journal = Journal(self.name)
        self._own = OwnStore(config.store_patience_s, self._journal.warn)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._key, self._ring, self._readers = key, {**ring, key.peer: ring.get(key.peer, key.public())}, readers
        self._bench = Bench(store, config, settings)
        self._gradient, self._attack = gradient, attack
        self._models, self._gradients = self._paces()
        of_servers = Kind.MODEL if self.role == "worker" else Kind.EXCHANGE
        self._sources = [(peer, of_servers) for peer in servers if peer != self.id]
        self._sources += [(peer, Kind.GRADIENT) for peer in workers if self.role == "server"]
        self._meter = Meter(self.id, self._sources, exchange_every=settings.exchange_every)
        self._begun = self._heard = time.monotonic()
        self._started = threading.Lock()

    def run(self, model: Tensor) -> GuanYuHistory:
        """Take part until the last step, until :meth:`stop`, or until something ends it.

        Args:
            model: ``[d]``, the start common to all servers; of a worker only its shape and dtype count.

        Returns:
            How it ended, and the last model.

        Raises:
            RuntimeError: If it ran before.
            ValueError: If the model is not a floating-point ``[d]``.
        """
        if model.dim() != 1 or not model.is_floating_point():
            raise ValueError(f"run() needs a floating-point model [d], got {model.dtype}{list(model.shape)}")
        if not self._started.acquire(blocking=False):
            raise RuntimeError(f"node {self.name} was run before: make another")
        form = (model.dtype, tuple(model.shape))
        post = Post(self._key, self._ring, self.config.run, form, self.config.retain_steps, self._meter.count)
        hands = Hands(self._bench, post, self._own, self._journal, self._events.put, self._gradient, self._attack)
        hands.apart = self._meter.note_distance
        threads = self._watch(post)
        self._begun = self._heard = time.monotonic()
        try:
            status = self._drive(hands, model)
        finally:
            self._models.close()
            self._gradients.close()
            hands.lane.close(END_S)
            self._own.stopping.set()
        for thread in threads:
            thread.join(END_S / len(threads))
        self._journal.say("%s at step %d", status, self._machine.step)
        steps = list(self._meter.records)
        return GuanYuHistory(self.id, self.role, status, self.status(), self._last_model(), steps)

    def stop(self) -> None:
        """Make :meth:`run` return, within a second or so. Others see a crash."""
        self._own.stopping.set()
        self._events.put(None)

    def status(self) -> dict[str, Any]:
        """What it is doing, of JSON's types."""
        machine, seconds = self._machine, time.monotonic() - self._begun
        return {
            "node": self.id,
            "name": self.name,
            "role": self.role,
            "step": machine.step,
            "phase": machine.phase.value if isinstance(machine, GuanYuServer) else "",
            "running-s": round(seconds, 3),
            "store-away": self._own.is_away,
            **self._journal.status(),
            **self._meter.status(),
        }

    def _paces(self) -> tuple[Pace, Pace]:
        """What is wanted of servers, and of workers."""
        s = self._bench.settings
        if self.role == "worker":
            return Pace(s.q, s.lag, skip=True), Pace()
        return Pace(s.catch_up, s.lag, every=s.exchange_every), Pace()

    def _watch(self, post: Post) -> list[threading.Thread]:
        threads = []
        for peer, kind in self._sources:
            watch = Watch(post, self._readers[peer], self._pace(kind), self._arrived, self._journal.reject)
            threads.append(watch.start(peer, kind, self.config.poll_s, self.config.max_poll_s))
        return threads

    def _pace(self, kind: Kind) -> Pace:
        return self._gradients if kind is Kind.GRADIENT else self._models

    def _arrived(self, sender: str, kind: Kind, step: int, value: Tensor) -> bool:
        """Keep what was verified, on the thread that read it."""
        kept: list[str] = []
        try:
            self._own.insist(lambda: kept.append(self._bench.put(kind.value, step, value)))
        except Exception as error:  # one's own store refuses, for lack of memory say; this is read again
            self._journal.reject(self.id, f"own-store: {type(error).__name__}: {error}"[:200])
        for key in kept:
            self._meter.came(sender, kind, step)
            self._events.put(Arrived(Message(kind, sender, step, key)))
        return bool(kept)

    def _drive(self, hands: Hands, model: Tensor) -> str:
        """The loop; how it ended."""
        actions: Sequence[Action] = ()
        if isinstance(self._machine, GuanYuServer):
            hands.begin(model)
            actions = self._machine.start(self._bench.model)
        step, ends_at, asked_at = 0, float("inf"), time.monotonic()
        while True:
            over = self.config.steps is not None and self._machine.step > self.config.steps
            for action in actions:
                read_no_more(action, self._models, self._gradients)
                hands.do(action, over=over)
            if self._machine.step != step:
                step = self._machine.step
                self._entered(step, hands)
            if over and ends_at == float("inf"):
                ends_at = time.monotonic() + self.config.stay_s
            status = self._ended(hands, ends_at)
            if status is not None:
                return status
            actions = self._next(over=over)
            if time.monotonic() >= asked_at + ASK_S and not hands.busy:
                asked_at = time.monotonic()
                hands.ask()

    def _entered(self, step: int, hands: Hands) -> None:
        for peer, kind in self._sources:
            self._meter.reached(peer, kind, self._pace(kind).unread(peer))
        self._meter.enter(step, now=time.monotonic())
        self._models.enter(step)
        self._gradients.enter(step)
        hands.tidy(step)
        if self.on_step is not None:
            self.on_step(step)

    def _next(self, *, over: bool) -> Sequence[Action]:
        """What the machine wants done upon the next event, if one comes soon."""
        try:
            event: Any = self._events.get(timeout=min(WAIT_S, self.config.max_poll_s))
        except queue.Empty:
            return ()
        if isinstance(event, Arrived):
            self._heard = time.monotonic()
        return () if event is None or over else self._machine.handle(event)

    def _ended(self, hands: Hands, ends_at: float) -> str | None:
        now = time.monotonic()
        if hands.failed or self._own.lost:
            return hands.failed or self._own.lost
        if self._own.stopping.is_set():
            return "stopped"
        if now >= ends_at:
            return "all steps done"
        if hands.busy:
            self._heard = now
        if ends_at == float("inf") and now - self._heard > self.config.idle_s:
            return f"nothing came from anybody for {self.config.idle_s:g} s"
        return None

    def _last_model(self) -> Tensor | None:
        try:
            return self._bench.store.get(self._bench.model) if self._bench.model else None
        except Exception as error:  # the store may be what was lost
            self._journal.warn("its last model cannot be read: %s", error)
            return None


def _check(
    own: str,
    servers: Sequence[str],
    workers: Sequence[str],
    readers: Mapping[str, TensorStore],
    gradient: GradientOf | None,
) -> None:
    if (own in servers) == (own in workers) or set(servers) & set(workers):
        raise ValueError(f"node {own[:8]} must be among the servers or the workers, and nobody among both")
    if own in workers and (len(set(workers)) != len(workers) or gradient is None):
        raise ValueError(f"worker {own[:8]} needs a gradient function, and workers with different names")
    needed = {*servers, *(workers if own in servers else ())} - {own}
    missing = sorted(needed - readers.keys())
    if missing:
        raise ValueError(f"node {own[:8]} needs readers of all it listens to, and has none of {missing[0][:8]}")
