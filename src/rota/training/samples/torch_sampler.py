"""A torch `Sampler` over a sample policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rota.core.errors import InputError, optional
from rota.training.samples.policy import SamplePolicy

optional("torch")
from torch.utils.data import Sampler  # noqa: E402


class ScheduledSampler(Sampler):
    """Dataset rows, batch by batch, as a policy decides; the next batch is not drawn before its first row is asked for.

    Batches that were open when the sampler was made (those of a resumed run) come first, again and as a whole. Every rank
    makes the same sampler over the same policy state, and takes its share of the rows as of any other sampler. A loader that
    reads ahead (workers, or accelerate's one batch) needs a policy of that staleness.

    Args:
        policy: decides.
        rows: the dataset row of each of the policy's items.
        count: items a batch, of all ranks.
        batches: batches an epoch.
        copies: times that each item comes in direct succession (TRL: `num_generations`).
        repeats: times that the batch as a whole comes (TRL: `num_iterations * steps_per_generation`).

    Raises:
        InputError: an item without a row, or a count that is not positive.
    """

    def __init__(
        self,
        policy: SamplePolicy,
        rows: Mapping[str, int],
        count: int,
        batches: int,
        *,
        copies: int = 1,
        repeats: int = 1,
    ) -> None:
        missing = [name for name in policy.items if name not in rows]
        if missing:
            found = f"no row for {missing[0]!r}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            raise InputError("dataset", found, "a row for every item of the policy")
        if min(count, batches, copies, repeats) < 1:
            found = f"count {count}, batches {batches}, copies {copies}, repeats {repeats}"
            raise InputError("sampler", found, "all at least 1")
        self.policy, self.rows, self.count, self.batches = policy, rows, count, batches
        self.copies, self.repeats = copies, repeats
        self._again = list(getattr(policy, "open_batches", []))

    def __len__(self) -> int:
        return self.batches * self.count * self.copies * self.repeats

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.batches):
            batch = self._again.pop(0) if self._again else self.policy.next(self.count)
            rows = [self.rows[name] for name in batch for _ in range(self.copies)]
            for _ in range(self.repeats):
                yield from rows
