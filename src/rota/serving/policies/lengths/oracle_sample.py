"""The oracle that knows the length each request will have: what the best point prediction could ever be."""

from __future__ import annotations

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.lengths import LengthDistribution, LengthPredictor
from rota.serving.model import RequestView, Workload


@policy("serving.lengths", "oracle-sample", paper="castillo")
class OracleSample(LengthPredictor):
    """ORACLE: knows the very length that will be sampled. No live system can; an upper bound for comparisons."""

    oracle = True
    _workload: Workload | None = None

    def reveal(self, workload: Workload) -> None:
        """Let it read the output lengths of `workload`."""
        self._workload = workload

    def prepare(self, workload: Workload, seed: int) -> None:
        """Reveal the workload of the run."""
        self.reveal(workload)

    def predict(self, request: RequestView) -> LengthDistribution:
        """All weight on the length that comes."""
        if self._workload is None:
            raise InputError("length predictor oracle-sample", "nothing revealed", "reveal(workload) before predict()")
        return LengthDistribution.point(int(self._workload.output[request.id]))
