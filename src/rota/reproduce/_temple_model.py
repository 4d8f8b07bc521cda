"""A toy of TEMPLE: 'videos' of eight clips, captions that name them in order, and a decoder small enough to train in seconds.

Parameters carry the seeds in their first dimension, and all seeds are trained side by side; no seed sees another's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rota.core.errors import optional
from rota.core.seeds import stream
from rota.training import linear, warmup
from rota.training.samples import Item, Stage, StageSchedule, preference_pairs

CLIPS, NAMES, MAGNITUDES = 8, 16, (8, 4, 2)
BEGIN, END, PAD = 2 * NAMES, 2 * NAMES + 1, -1
VOCABULARY, LENGTH, WIDTH, HEADS = 2 * NAMES + 2, CLIPS + 1, 32, 2
SHAPE = warmup(0.05) >> linear()

Tokens = NDArray[np.int64]
Weights = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How much data there is, and how it is learnt.

    Attributes:
        base, paired, tuned, held: videos for the base model, the preference pairs (a multiple of 3), fine-tuning, judging.
        base_noise, tuned_noise: standard deviation, in places, of where a name stands in the captions of base and fine-tuning.
        base_passes: passes over the base model's captions; every other stage is one pass.
        batch: videos or pairs a step.
        base_rate, sft_rate, dpo_rate: learning rate of an objective at its peak (Adam).
        beta, keep: strength of the reference in DPO, and weight of the chosen caption's mean loss beside it.
    """

    base: int = 2048
    paired: int = 255
    tuned: int = 2048
    held: int = 256
    base_noise: float = 2.0
    tuned_noise: float = 1.25
    base_passes: float = 4.0
    batch: int = 32
    base_rate: float = 3e-3
    sft_rate: float = 1e-3
    dpo_rate: float = 5e-4
    beta: float = 0.1
    keep: float = 0.3

    def rate(self, objective: str) -> float:
        """The peak of an objective's learning rate: alignment's, unless it is that of the base model or of fine-tuning."""
        return {"base": self.base_rate, "sft": self.sft_rate}.get(objective, self.dpo_rate)


class World:
    """The data of all seeds, and training on them.

    Args:
        settings: sizes and rates.
        seeds: root seeds.

    Attributes:
        items: what stages draw, alike for every seed.
        clips, chosen, rejected: (seeds, items, 8), (seeds, items, 9) twice; tokens, captions end with END and are padded.
        judged: (seeds, held, 8) clips of the held-out videos.
    """

    def __init__(self, settings: Settings, seeds: Sequence[int]) -> None:
        self.torch = optional("torch")
        self.settings, self.seeds = settings, tuple(seeds)
        tables = [_table(settings, seed) for seed in seeds]
        self.items = tables[0][0]
        self.rows = {item.id: row for row, item in enumerate(self.items)}
        self.clips, self.chosen, self.rejected = map(np.stack, zip(*(table[1] for table in tables), strict=True))
        self.judged = np.stack([_videos(settings.held, seed, "held") for seed in seeds])

    def start(self) -> Weights:
        """Random weights, (seeds, ...) each."""
        sizes = {"token": (VOCABULARY, WIDTH), "place": (CLIPS + LENGTH, WIDTH), "query": (WIDTH, WIDTH)}
        sizes |= {"key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH), "out": (WIDTH, WIDTH)}
        sizes |= {"up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH), "head": (WIDTH, VOCABULARY)}
        return {name: self._drawn(name, size) for name, size in sizes.items()}

    def train(self, weights: Weights, stages: Sequence[Stage]) -> Weights:
        """The weights after the stages, each with its own warm-up and decay of the rate; `weights` stay as they are."""
        torch = self.torch
        schedules = [StageSchedule(self.items, stages, self.settings.batch, seed) for seed in self.seeds]
        one, total = schedules[0], schedules[0].total or 0
        ends = dict(zip(one.begins, [*one.begins[1:], total], strict=True))
        weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
        for step in range(total):
            stage = one.entered(step)
            if stage is not None:
                begin, rate = step, self.settings.rate(stage.objective)
                plan, objective = SHAPE.over(ends[step] - step), stage.objective
                if step == 0 or stage.reference == "rebase":
                    reference = {name: w.detach().clone() for name, w in weights.items()}
                if step == 0 or stage.optimizer == "reset":
                    adam = torch.optim.Adam(weights.values(), betas=(0.9, 0.98))
            adam.param_groups[0]["lr"] = rate * plan(step - begin + 0.5)
            adam.zero_grad()
            self._loss(objective, weights, reference, self._batch(schedules)).backward()
            adam.step()
        return {name: w.detach() for name, w in weights.items()}

    def order(self, weights: Weights) -> NDArray[np.float64]:
        """(seeds,) share of adjacent swaps in held-out captions that are less likely than the right caption (a tie is half)."""
        right = _captions(self.judged)
        likely = partial(self._likelihoods, weights, self._tensor(self.judged))
        with self.torch.no_grad():
            best = likely(self._tensor(right)).numpy()
            others = [likely(self._tensor(_swapped(right, at))).numpy() for at in range(CLIPS - 1)]
        return np.mean([(best > other) + 0.5 * (best == other) for other in others], axis=(0, 2))

    def exact(self, weights: Weights) -> NDArray[np.float64]:
        """(seeds,) share of held-out videos whose greedy caption is right to the last name."""
        clips = self._tensor(self.judged)
        written = self.torch.full((*clips.shape[:2], LENGTH), END)
        with self.torch.no_grad():
            for at in range(LENGTH):
                written[..., at] = _logits(self.torch, weights, clips, written)[:, :, at].argmax(-1)
        return (written.numpy() == _captions(self.judged)).all(-1).mean(-1)

    def _loss(self, objective: str, weights: Weights, reference: Weights, batch: tuple[Any, Any, Any]) -> Any:
        """Sum over seeds of the mean loss of a batch."""
        clips, chosen, rejected = batch
        good = self._likelihoods(weights, clips, chosen)
        plain = -(good / (chosen != PAD).sum(-1)).mean(-1).sum()
        if objective != "dpo":
            return plain
        bad = self._likelihoods(weights, clips, rejected)
        with self.torch.no_grad():
            margin = self._likelihoods(reference, clips, chosen) - self._likelihoods(reference, clips, rejected)
        lead = self.settings.beta * (good - bad - margin)
        return -self.torch.nn.functional.logsigmoid(lead).mean(-1).sum() + self.settings.keep * plain

    def _likelihoods(self, weights: Weights, clips: Any, captions: Any) -> Any:
        """(seeds, batch) log-likelihood of captions, summed over their tokens."""
        found = _logits(self.torch, weights, clips, captions).log_softmax(-1)
        each = found.gather(-1, captions.clamp(min=0)[..., None])[..., 0]
        return (each * (captions != PAD)).sum(-1)

    def _batch(self, schedules: Sequence[StageSchedule]) -> tuple[Any, Any, Any]:
        rows = np.array([[self.rows[name] for name in schedule.next(schedule.batch)] for schedule in schedules])
        which = np.arange(len(rows))[:, None], rows
        return self._tensor(self.clips[which]), self._tensor(self.chosen[which]), self._tensor(self.rejected[which])

    def _drawn(self, name: str, size: tuple[int, int]) -> Any:
        scale = 0.5 if name in ("token", "place") else size[0] ** -0.5
        drawn = [stream(seed, "temple", "weights", name).normal(size=size) * scale for seed in self.seeds]
        return self._tensor(np.stack(drawn).astype(np.float32))

    def _tensor(self, array: NDArray[Any]) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(array))


def _logits(torch: Any, weights: Weights, clips: Any, captions: Any) -> Any:
    """(seeds, batch, 9, vocabulary): what comes at each place of the captions, given the clips and the tokens before it."""
    seeds, batch = clips.shape[:2]
    begin = torch.full((seeds, batch, 1), BEGIN)
    tokens = torch.cat([clips, begin, captions[..., :-1].clamp(min=0)], -1)
    marks = torch.nn.functional.one_hot(tokens, VOCABULARY).float().flatten(1, 2)
    x = (marks @ weights["token"]).unflatten(1, (batch, -1)) + weights["place"][:, None, : tokens.shape[-1]]
    normed = _norm(x)
    query = _heads(normed[:, :, CLIPS:], weights["query"])
    key, value = _heads(normed, weights["key"]), _heads(normed, weights["value"])
    seen = torch.ones(LENGTH, CLIPS + LENGTH, dtype=torch.bool).tril(CLIPS)
    scores = (query @ key.transpose(-1, -2)) * (WIDTH // HEADS) ** -0.5
    mixed = scores.masked_fill(~seen, -1e9).softmax(-1) @ value
    x = x[:, :, CLIPS:] + mixed.transpose(2, 3).flatten(3) @ weights["out"][:, None]
    x = x + (_norm(x) @ weights["up"][:, None]).relu() @ weights["down"][:, None]
    return _norm(x) @ weights["head"][:, None]


def _heads(x: Any, matrix: Any) -> Any:
    """(seeds, batch, heads, places, width of a head)."""
    return (x @ matrix[:, None]).unflatten(-1, (HEADS, -1)).transpose(2, 3)


def _norm(x: Any) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    return centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


def _table(settings: Settings, seed: int) -> tuple[list[Item], tuple[Tokens, Tokens, Tokens]]:
    """Every item of a seed: captions of base and fine-tuning, then the pairs of each magnitude."""
    items: list[Item] = []
    clips: list[Tokens] = []
    chosen: list[Tokens] = []
    rejected: list[Tokens] = []
    for use, count, noise in (
        ("base", settings.base, settings.base_noise),
        ("tuned", settings.tuned, settings.tuned_noise),
    ):
        videos = _videos(count, seed, use)
        captions = _captions(_disordered(videos, noise, seed, use))
        items += [Item(f"{use} {k}", use, {use: 1}) for k in range(count)]
        clips, chosen, rejected = [*clips, *videos], [*chosen, *captions], [*rejected, *captions]
    videos = _videos(settings.paired, seed, "paired")
    for magnitude in MAGNITUDES:
        for pair in preference_pairs(videos.tolist(), _text, magnitude, seed=seed)[0]:
            place = {"magnitude": magnitude, "part": 1 + pair.source % len(MAGNITUDES)}
            items.append(Item(f"{magnitude} {pair.kind} {pair.source}", str(pair.source), place))
            clips.append(videos[pair.source])
            chosen.append(_read(pair.chosen))
            rejected.append(_read(pair.rejected))
    return items, (np.stack(clips), np.stack(chosen), np.stack(rejected))


def _videos(count: int, seed: int, use: str) -> Tokens:
    """(count, 8) different clips each."""
    random = stream(seed, "temple", "videos", use)
    return np.argsort(random.random((count, NAMES)), axis=1)[:, :CLIPS]


def _disordered(videos: Tokens, noise: float, seed: int, use: str) -> Tokens:
    """The clips in the order of their places and a normal error."""
    places = np.arange(CLIPS) + noise * stream(seed, "temple", "order", use).normal(size=videos.shape)
    return np.take_along_axis(videos, places.argsort(axis=1), axis=1)


def _captions(clips: Tokens) -> Tokens:
    """(..., 9) the names of the clips, and END."""
    return np.concatenate([clips + NAMES, np.full((*clips.shape[:-1], 1), END)], axis=-1)


def _swapped(captions: Tokens, at: int) -> Tokens:
    """The captions with the names at a place and the next one exchanged."""
    order = np.arange(captions.shape[-1])
    order[[at, at + 1]] = at + 1, at
    return captions[..., order]


def _text(clips: Sequence[Any]) -> str:
    return " ".join(f"n{clip:02d}" for clip in clips)


def _read(text: str) -> Tokens:
    """(9,) tokens of a text that names clips."""
    named = [NAMES + int(word[1:]) for word in text.split()]
    return np.array([*named, END, *[PAD] * (CLIPS - len(named))])
