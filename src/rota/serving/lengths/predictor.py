"""What a length predictor sees, and how one is fitted without ever having seen the request it is asked about."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from msgspec import structs

from rota.core.errors import InputError
from rota.core.seeds import stream
from rota.serving.lengths.distribution import LengthDistribution
from rota.serving.model import Floats, Ints, RequestView, Workload


@dataclass(frozen=True)
class Features:
    """What is known of requests before they run, as columns.

    Attributes:
        prompt: (n,) prompt tokens.
        tenant, model: (n,) categories, 0, 1, ...
        turn: (n,) turn number in the conversation, from 0.
    """

    prompt: Ints
    tenant: Ints
    model: Ints
    turn: Ints

    @classmethod
    def of(cls, workload: Workload) -> Features:
        """Of every request of a workload, in order."""
        return cls(workload.prompt, workload.tenant, workload.model, workload.turn)

    @classmethod
    def of_requests(cls, requests: Sequence[RequestView]) -> Features:
        """Of requests as a policy sees them."""
        rows = np.array([(r.prompt, r.tenant, r.model, r.turn) for r in requests], dtype=np.int64).reshape(-1, 4)
        return cls(*rows.T)

    def __len__(self) -> int:
        return len(self.prompt)

    def take(self, rows: Ints) -> Features:
        """The chosen rows."""
        return Features(self.prompt[rows], self.tenant[rows], self.model[rows], self.turn[rows])

    def matrix(self) -> Floats:
        """(n, 4) numbers: log2 of the prompt tokens, tenant, model, turn."""
        return np.column_stack([np.log2(self.prompt), self.tenant, self.model, self.turn]).astype(np.float64)


class LengthPredictor(ABC):
    """Predicts how many tokens a request will generate. `oracle` marks those that know what no live system can know."""

    oracle = False

    @abstractmethod
    def prepare(self, workload: Workload, seed: int) -> None:
        """Get ready to be asked about the requests of `workload`; called once, before a simulated run."""

    @abstractmethod
    def predict(self, request: RequestView) -> LengthDistribution:
        """Distribution of the whole output of a request, in tokens (also if it has `generated` some of it)."""

    def annotate(self, requests: Sequence[RequestView]) -> list[RequestView]:
        """The same requests, each with its prediction in `predicted`."""
        return [structs.replace(request, predicted=self.predict(request)) for request in requests]


class FittedPredictor(LengthPredictor):
    """A predictor that learns from the requests of the past. A subclass gives `_learn` and `predict_many`.

    Fit it on a history of its own with `fit(Features.of(history), history.output)`. Where that was not done, `prepare`
    cross-fits: the requests are split in two halves at random, whole conversations together, and each half is predicted
    by a copy fitted on the other. So no prediction ever rests on the request it is about, nor on its conversation.
    """

    _fitted = False
    _prepared: list[LengthDistribution] | None = None

    def fit(self, features: Features, lengths: Ints) -> Self:
        """Learn from n past requests and the (n,) tokens each of them generated."""
        if not len(features) or len(features) != len(lengths):
            found = f"{len(lengths)} lengths for {len(features)} requests"
            raise InputError(f"length predictor {type(self).__name__}: fit", found, "one for each, and at least one")
        self._learn(features, np.asarray(lengths, dtype=np.int64))
        self._fitted = True
        return self

    @abstractmethod
    def _learn(self, features: Features, lengths: Ints) -> None: ...

    @abstractmethod
    def predict_many(self, features: Features) -> list[LengthDistribution]:
        """One distribution for each row."""

    def prepare(self, workload: Workload, seed: int) -> None:
        """Predict every request of `workload` beforehand; cross-fit first if there was no history."""
        features = Features.of(workload)
        if self._fitted:
            self._prepared = self.predict_many(features)
            return
        half = _halves(workload, seed)
        self._prepared = [LengthDistribution.point(1)] * len(workload)
        for side in (0, 1):
            past, asked = np.flatnonzero(half != side), np.flatnonzero(half == side)
            student = copy.copy(self).fit(features.take(past), workload.output[past])
            for row, answer in zip(asked, student.predict_many(features.take(asked)), strict=True):
                self._prepared[row] = answer

    def predict(self, request: RequestView) -> LengthDistribution:
        """Distribution of the whole output of a request, in tokens."""
        return self._answers([request])[0]

    def annotate(self, requests: Sequence[RequestView]) -> list[RequestView]:
        """The same requests, each with its prediction in `predicted`, made for all of them at once."""
        answers = self._answers(requests)
        return [structs.replace(request, predicted=answer) for request, answer in zip(requests, answers, strict=True)]

    def _answers(self, requests: Sequence[RequestView]) -> list[LengthDistribution]:
        if self._prepared is not None:
            return [self._prepared[request.id] for request in requests]
        if not self._fitted:
            where = f"length predictor {type(self).__name__}"
            raise InputError(where, "no history", "fit() or prepare() before predict()")
        return self.predict_many(Features.of_requests(requests))


def prepare(predictor: LengthPredictor, workload: Workload, seed: int) -> None:
    """Make a predictor ready for a simulated run over `workload`; an `InputError` if it is none."""
    if not isinstance(predictor, LengthPredictor):
        raise InputError("policy lengths", f"a {type(predictor).__name__}", "a subclass of LengthPredictor")
    predictor.prepare(workload, seed)


def predicted(request: RequestView, order: str) -> LengthDistribution:
    """The prediction a request carries, for the local order named `order`; an `InputError` where none is in force."""
    if not isinstance(request.predicted, LengthDistribution):
        raise InputError(
            f"order {order}", f"no length predicted for request {request.id}", "a length predictor (policy `lengths`)"
        )
    return request.predicted


def _halves(workload: Workload, seed: int) -> Ints:
    """(n,) 0 or 1, the same for all turns of a conversation; both occur."""
    alone = workload.session < 0
    _, conversation = np.unique(np.where(alone, -1 - np.arange(len(workload)), workload.session), return_inverse=True)
    groups = int(conversation.max(initial=-1)) + 1
    if groups < 2:
        raise InputError(
            f"{workload.name}: length prediction", f"{groups} conversation(s)", "at least 2 to learn from one another"
        )
    order = stream(seed, "lengths", "halves").permutation(groups)
    return (order % 2)[conversation]
