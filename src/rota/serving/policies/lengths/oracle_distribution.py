"""The oracle that knows the law of each length, but not the draw: the bound of all prediction."""

from __future__ import annotations

from collections.abc import Sequence

from rota.core.errors import InputError
from rota.core.registry import policy
from rota.serving.lengths import LengthDistribution, LengthPredictor
from rota.serving.model import RequestView, Workload


@policy("serving.lengths", "oracle-distribution", paper="castillo")
class OracleDistribution(LengthPredictor):
    """ORACLE: knows the true distribution of each request's length, not the draw; its error is the noise floor.

    The law is known for generated workloads only, e.g. those of `rota.serving.lengths.synthetic`.
    """

    oracle = True
    _law: Sequence[LengthDistribution] | None = None

    def reveal(self, workload: Workload, law: Sequence[LengthDistribution]) -> None:
        """Let it know the law of each request of `workload`: n distributions, in order."""
        if len(law) != len(workload):
            raise InputError(
                "oracle-distribution: law", f"{len(law)} distributions", f"one for each of {len(workload)} requests"
            )
        self._law = law

    def prepare(self, workload: Workload, seed: int) -> None:
        """Check that the law of this workload was revealed."""
        if self._law is None or len(self._law) != len(workload):
            raise InputError(
                "length predictor oracle-distribution", f"no law of the {len(workload)} requests of {workload.name}",
                "reveal(workload, law) before the run",
            )  # fmt: skip

    def predict(self, request: RequestView) -> LengthDistribution:
        """The law of this request's length."""
        if self._law is None:
            raise InputError("length predictor oracle-distribution", "no law", "reveal(workload, law) before predict()")
        return self._law[request.id]
