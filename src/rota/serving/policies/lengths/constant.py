"""One distribution for every request: the lengths of the past, whatever the request."""

from __future__ import annotations

from rota.core.registry import policy
from rota.serving.lengths import Features, FittedPredictor, LengthDistribution
from rota.serving.model import Ints


@policy("serving.lengths", "constant", paper="castillo")
class Constant(FittedPredictor):
    """The marginal distribution of past lengths, the same for every request: the floor that any predictor must beat."""

    def _learn(self, features: Features, lengths: Ints) -> None:
        self._marginal = LengthDistribution.summary(lengths)

    def predict_many(self, features: Features) -> list[LengthDistribution]:
        """(n,) times the same distribution."""
        return [self._marginal] * len(features)
