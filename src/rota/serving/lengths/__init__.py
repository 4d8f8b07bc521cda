"""Output lengths: distributions, predictors, their scores, and the CASTILLO data they learn from."""

from rota.serving.lengths.distribution import LengthDistribution
from rota.serving.lengths.predictor import Features, FittedPredictor, LengthPredictor, predicted, prepare

__all__ = ["Features", "FittedPredictor", "LengthDistribution", "LengthPredictor", "predicted", "prepare"]
