"""Sweeps of rules against attacks, and their report: what ``flwr-byzantine bench`` and ``report`` do.

    >>> sweep = Sweep(rules=("mean", "nnm >> trimmed_mean"), attacks=("none", "optimal(ipm)"), f=(2,), seeds=(0, 1))
    >>> [job.label for job in sweep.jobs()][-1]
    'strategy: nnm >> trimmed_mean, optimal(ipm), f = 2, iid, seed 1'

:func:`run_sweep` runs the jobs and keeps each result in a file of JSON lines, :func:`load_results` reads it, and
:func:`report_html` makes one page of it.
"""

from flwr_byzantine.bench.cells import SYSTEMS, Cell, Job, KappaSearch, Servers, TaskChoice, Training, identity
from flwr_byzantine.bench.machine import machine, versions
from flwr_byzantine.bench.names import attack_named, known_attacks, rule_named
from flwr_byzantine.bench.partition import deal, dirichlet, gamma, heterogeneity
from flwr_byzantine.bench.progress import ProgressLine
from flwr_byzantine.bench.report import report_html
from flwr_byzantine.bench.results import Results, load_results, worst_attacks
from flwr_byzantine.bench.runner import Progress, run_sweep
from flwr_byzantine.bench.sweep import Sweep
from flwr_byzantine.bench.tasks import Examples, Task, load_task

__all__ = [
    "SYSTEMS",
    "Cell",
    "Examples",
    "Job",
    "KappaSearch",
    "Progress",
    "ProgressLine",
    "Results",
    "Servers",
    "Sweep",
    "Task",
    "TaskChoice",
    "Training",
    "attack_named",
    "deal",
    "dirichlet",
    "gamma",
    "heterogeneity",
    "identity",
    "known_attacks",
    "load_results",
    "load_task",
    "machine",
    "report_html",
    "rule_named",
    "run_sweep",
    "versions",
    "worst_attacks",
]
