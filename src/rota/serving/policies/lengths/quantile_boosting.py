"""Gradient-boosted trees, one model for each quantile of the length."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np

from rota.core.errors import InputError, optional
from rota.core.registry import policy
from rota.serving.lengths import Features, FittedPredictor, LengthDistribution
from rota.serving.model import Floats, Ints

LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Quantiles that are fitted; straight lines between them make the distribution."""

CATEGORIES = 255
"""Most categories that the trees of scikit-learn tell apart."""


@policy("serving.lengths", "quantile-boosting", paper="castillo")
class QuantileBoosting(FittedPredictor):
    """Quantile regression by gradient-boosted trees (scikit-learn) on prompt size, tenant, model and turn.

    The models are fitted to log2 of the length: quantiles pass through a monotone map, and the scale is kept.

    Args:
        iterations: trees of each quantile's model.
        learning_rate: shrinkage of each tree, in (0, 1].
        seed: for the models' own sampling of bins.
    """

    def __init__(self, iterations: int = 60, learning_rate: float = 0.1, seed: int = 0) -> None:
        if iterations < 1 or not 0 < learning_rate <= 1:
            found = f"iterations={iterations}, learning_rate={learning_rate}"
            raise InputError("quantile-boosting", found, "iterations of at least 1, a learning rate in (0, 1]")
        self.iterations, self.learning_rate, self.seed = iterations, learning_rate, seed

    def _learn(self, features: Features, lengths: Ints) -> None:
        ensemble = optional("sklearn.ensemble")
        x, y = features.matrix(), np.log2(lengths)
        named = [column for column in (1, 2) if x[:, column].max() < CATEGORIES]
        options = {
            "loss": "quantile", "max_iter": self.iterations, "learning_rate": self.learning_rate,
            "categorical_features": named or None, "random_state": self.seed,
        }  # fmt: skip
        models = [ensemble.HistGradientBoostingRegressor(quantile=level, **options) for level in LEVELS]
        with _one_thread():
            self._models = [model.fit(x, y) for model in models]

    def predict_many(self, features: Features) -> list[LengthDistribution]:
        """One distribution for each row."""
        if not len(features):
            return []
        return [LengthDistribution.from_quantiles(LEVELS, row) for row in np.exp2(self._log_quantiles(features))]

    def _log_quantiles(self, features: Features) -> Floats:
        x = features.matrix()
        with _one_thread():
            return np.column_stack([model.predict(x) for model in self._models])


def _one_thread() -> AbstractContextManager[object]:
    """OpenMP on one thread: these fits are small, and threads that wait for a busy core make them 100 times slower."""
    limits: AbstractContextManager[object] = optional("threadpoolctl").threadpool_limits(1, user_api="openmp")
    return limits
