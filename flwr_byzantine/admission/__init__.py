"""The one place that every untrusted reply passes: what may be computed on, and what is left out and why.

Size and header come first, before any array is loaded; then names, shapes and kinds against the model that was
sent; then the numbers. Nothing here raises on what a node sent: a bad reply becomes :class:`Rejected`.
"""

from flwr_byzantine.admission._admit import TrainAdmission, admit_evaluate, admit_train
from flwr_byzantine.admission._verdict import AdmissionPolicy, Admitted, Rejected, printable

__all__ = ["AdmissionPolicy", "Admitted", "Rejected", "TrainAdmission", "admit_evaluate", "admit_train", "printable"]
