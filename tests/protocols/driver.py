"""One machine of the peer's round, told events and asked what it did."""

from flwr_byzantine import protocols as p

OWN, PEERS = "a", ["b", "c", "d", "e", "f", "g"]
PATIENT = p.MembershipPolicy(beat_s=1.0, suspect_after_s=1e6, evict_after_s=1e7)
POLICY = p.RoundPolicy(deadline_s=10.0, grace_s=1.0, work_s=20.0, answer_s=3.0, lag=2, retain_rounds=5)


class Driver:
    """A machine of seven members, f = 2, whose quorum and whose rule's minimum are 5; and what it asked for."""

    def __init__(self, *, membership_policy=PATIENT, policy=POLICY, **options):
        quorum = p.Quorum.of(7, f=2, least=options.pop("least", 5))
        self.membership = p.Membership(OWN, peers=PEERS, quorum=quorum, policy=membership_policy)
        self.machine = p.PeerRound(self.membership, policy=policy, **options)
        self.now, self.sequence = 0.0, 0
        self.done = list(self.machine.start(0.0))

    def tell(self, event, at=None):
        self.now = self.now if at is None else at
        self.last = self.machine.handle(event, self.now)
        self.done += self.last
        return self.last

    def receive(self, *peers, at=None, round=None, digest=None):
        for peer in peers:
            self.tell(row_of(peer, round or self.machine.round, digest), at)

    def beat(self, *peers, round):
        self.sequence += 1
        for peer in peers:
            self.tell(p.Beat(peer, self.sequence, round))

    def asked(self, kind):
        return [action for action in self.done if isinstance(action, kind)]

    def reasons(self):
        return [(report.reason, report.peer) for report in self.asked(p.Report)]

    def compute(self, at=0.0):
        self.tell(p.Computed(self.machine.round, b"own", "own"), at)

    def finish_round(self, at=0.0):
        self.compute(at)
        self.receive(*PEERS)
        self.tell(p.Aggregated(self.machine.round))
        self.tell(p.Updated(self.machine.round))


def row_of(peer, round, digest=None):
    return p.Received(peer, round, digest or f"{peer}{round}".encode(), f"{peer}:{round}")
