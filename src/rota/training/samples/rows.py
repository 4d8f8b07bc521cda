"""The dataset rows of a policy's batches, one by one, and where a loader stands among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from rota.core.errors import InputError
from rota.training.samples.policy import SamplePolicy, State


class BatchRows:
    """Dataset rows, batch by batch, as a policy decides; the next batch is not drawn before its first row is asked for.

    A state taken at any point goes on where it was. Batches that the policy holds open come again, as a whole; any other batch
    goes on at its next row, and the epoch has what it still lacked. What counts are rows that were handed out: a loader that
    reads ahead has been given more than was worked on, and what a policy of staleness None has drawn ahead is lost with
    it. Then use the policy's `go_to(batches, count)`, with the batches that were worked on in full.

    Args:
        policy: decides; what it holds open (in a resumed run) comes first.
        rows: the dataset row of each of the policy's items.
        count: items a batch, of all ranks.
        batches: batches an epoch.
        copies: times that each item comes in direct succession (TRL: `num_generations`).
        repeats: times that the batch as a whole comes (TRL: `num_iterations * steps_per_generation`).

    Raises:
        InputError: an item without a row, a count that is not positive, or an open batch of another count.
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
        self._again = self._open()
        self._begun, self._batch, self._given, self._loaded = 0, list[str](), 0, False

    def __len__(self) -> int:
        return self.batches * self.count * self.copies * self.repeats

    def __iter__(self) -> Iterator[int]:
        if not self._loaded:
            self._begun, self._batch, self._given = 0, [], 0
        self._loaded = False
        yield from self._rest()
        while self._begun < self.batches:
            self._batch = self._again.pop(0) if self._again else self.policy.next(self.count)
            self._begun, self._given = self._begun + 1, 0
            yield from self._rest()

    def state_dict(self) -> State:
        """The policy's state, batches of this epoch that are begun or come again, and the rows handed out of the last one begun."""
        course = {"begun": self._begun + len(self._again), "batch": list(self._batch), "given": self._given}
        return {"policy": self.policy.state_dict(), **course}

    def load_state_dict(self, state: State) -> None:
        """Go on from where `state_dict` was taken: the next iteration yields the rest of that epoch, or the next one if none is left.

        Raises:
            InputError: a state of another policy, or a batch of another count.
        """
        if not isinstance(state, Mapping) or not {"policy", "begun", "batch", "given"} <= state.keys():
            raise InputError("state", "something else", "what a sampler's `state_dict` gave")
        self._check([state["batch"]] if state["batch"] else [])
        self.policy.load_state_dict(state["policy"])
        self._again = self._open()
        comes_again = state["batch"] in self._again
        self._batch, self._given = ([], 0) if comes_again else (list(state["batch"]), state["given"])
        self._begun = max(0, state["begun"] - len(self._again))
        whole = len(self._batch) * self.copies * self.repeats
        self._loaded = self._begun < self.batches or self._given < whole

    def _rest(self) -> Iterator[int]:
        rows = [self.rows[name] for name in self._batch for _ in range(self.copies)] * self.repeats
        for row in islice(rows, self._given, None):
            self._given += 1
            yield row

    def _open(self) -> list[list[str]]:
        return self._check(list(getattr(self.policy, "open_batches", [])))

    def _check(self, batches: list[list[str]]) -> list[list[str]]:
        other = next((len(batch) for batch in batches if len(batch) != self.count), None)
        if other is not None:
            raise InputError("sampler", f"a batch of {other} items to resume", f"{self.count}, as it was saved with")
        return batches
