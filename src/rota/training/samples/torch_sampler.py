"""A torch `Sampler` over a sample policy."""

from __future__ import annotations

from rota.core.errors import optional
from rota.training.samples.rows import BatchRows

optional("torch")
from torch.utils.data import Sampler  # noqa: E402


class ScheduledSampler(BatchRows, Sampler):
    """Dataset rows, batch by batch, as a policy decides; its arguments, errors and state are those of `BatchRows`.

    Every rank makes the same sampler over the same policy state, and takes its share of the rows as of any other sampler. A
    loader that reads ahead (workers, or accelerate's one batch) needs a policy of that staleness.

    To resume, load the sampler's own state (a stateful loader does): the rest of the epoch follows, to the row. A new sampler
    over a policy that was loaded by itself repeats the batches that the policy holds open and begins an epoch; a policy of
    staleness None holds none, and goes on after the last batch that it drew, unless its `go_to` says otherwise.
    """
