"""The slow, obvious reference of one engine: every step one by one, every block counted afresh. Shares no code with the kernels."""

from collections import OrderedDict
from dataclasses import dataclass, field


def ceil16(tokens):
    return -(-tokens // 16)


@dataclass
class Job:
    id: int
    arrival: float
    prompt: int
    output: int
    priority: int = 0
    prefix: tuple = ()
    generated: int = 0
    computed: int = 0
    kv: int = 0
    held: int = 0
    state: str = "waiting"
    first_token: float = -1.0
    finish: float = -1.0
    last_token: float = -1.0
    preempted_at: float = -1.0
    loss: float = 0.0
    preemptions: int = 0
    begun: bool = False

    @property
    def target(self):
        return self.prompt + self.generated


@dataclass
class Engine:
    kind: object
    chunk: int = 512
    swaps: bool = False
    by_priority: bool = False
    t: float = 0.0
    queue: list = field(default_factory=list)
    batch: list = field(default_factory=list)
    refs: dict = field(default_factory=dict)
    loose: OrderedDict = field(default_factory=OrderedDict)
    gaps: list = field(default_factory=list)
    cpu_used: int = 0

    def blocks(self, job):
        tokens = job.kv if job.state == "decode" else job.target
        return ceil16(tokens) - job.held * self.chunk // 16

    @property
    def free(self):
        shared = len(self.refs) * self.chunk // 16
        return self.kind.blocks - shared - sum(self.blocks(j) for j in self.batch)

    def key(self, job):
        rank = job.arrival - (job.priority * 1e9 if self.by_priority else 0.0)
        return (job.state != "swapped", rank, job.id)

    # -- prefix cache

    def hits(self, job):
        if not self.kind.prefix_cache:
            return 0
        n = 0
        while n < min(len(job.prefix), (job.target - 1) // self.chunk):
            if job.prefix[n] not in self.refs and job.prefix[n] not in self.loose:
                break
            n += 1
        return n

    def hold(self, job, n):
        for h in job.prefix[:n]:
            self.loose.pop(h, None)
            self.refs[h] = self.refs.get(h, 0) + 1
        job.held = n

    def publish(self, job, tokens):
        if not self.kind.prefix_cache:
            return
        while job.held < min(len(job.prefix), tokens // self.chunk):
            h = job.prefix[job.held]
            self.loose.pop(h, None)
            self.refs[h] = self.refs.get(h, 0) + 1
            job.held += 1

    def drop(self, job):
        for h in reversed(job.prefix[: job.held]):
            self.refs[h] -= 1
            if not self.refs[h]:
                del self.refs[h]
                self.loose[h] = None
        job.held = 0

    def evict(self):
        while len(self.loose) * self.chunk // 16 > self.free:
            self.loose.popitem(last=False)

    # -- one boundary after the other

    def preempt(self):
        lowest = min(j.priority for j in self.batch)
        job = [j for j in self.batch if j.priority == lowest][-1]
        blocks, decoding = self.blocks(job), job.state == "decode"
        self.batch.remove(job)
        if decoding:
            job.generated = job.kv - job.prompt + 1
        job.preemptions += 1
        if job.preempted_at < 0:
            job.preempted_at = self.t
        if self.swaps and decoding and job.held == 0 and self.kind.cpu_blocks - self.cpu_used >= blocks:
            self.cpu_used += blocks
            job.state = "swapped"
            self.t += self.kind.swap_seconds(blocks)
        else:
            self.drop(job)
            job.state, job.computed = "waiting", 0
        self.queue.append(job)
        self.queue.sort(key=self.key)

    def short(self):
        return sum(j.state == "decode" and j.kv % 16 == 0 for j in self.batch) - self.free

    def squeeze(self):
        squeezed = False
        while self.batch and self.short() > 0:
            self.preempt()
            squeezed = True
        return squeezed

    def swap_in(self):
        while self.queue and self.queue[0].state == "swapped":
            job = self.queue[0]
            need = ceil16(job.target - 1)
            room = self.free - need >= (self.kind.watermark_blocks if self.batch else 0)
            if len(self.batch) >= self.kind.max_sequences or not room:
                return False
            self.queue.pop(0)
            self.cpu_used -= need
            self.t += self.kind.swap_seconds(need)
            job.state, job.kv = "decode", job.target - 1
            job.loss += self.t - job.preempted_at
            job.preempted_at = -1.0
            self.batch.append(job)
        return True

    def form(self, admitting):
        chunked = self.kind.prefill == "chunked"
        budget = self.kind.max_batched_tokens - (sum(j.state == "decode" for j in self.batch) if chunked else 0)
        parts = []
        for job in self.batch:
            if job.state == "prefill" and budget > 0:
                part = min(job.target - job.computed, budget)
                parts.append((job, part))
                budget -= part
        spare = sum(j.state == "decode" and j.kv % 16 == 0 for j in self.batch) if chunked else 0
        while admitting and self.queue and len(self.batch) < self.kind.max_sequences:
            job = self.queue[0]
            n = self.hits(job)
            loose = sum(h in self.loose for h in job.prefix[:n])
            need = ceil16(job.target) - (n - loose) * self.chunk // 16
            left = job.target - n * self.chunk
            if budget <= 0 or self.free - need - spare < self.kind.watermark_blocks:
                break
            if not chunked and left > budget and parts:
                break
            self.queue.pop(0)
            self.hold(job, n)
            job.state, job.computed, job.begun = "prefill", n * self.chunk, True
            self.batch.append(job)
            self.evict()
            part = min(left, budget) if chunked else left
            parts.append((job, part))
            budget -= part
        return parts

    def step(self):
        """One step; False if there is nothing to do."""
        admitting = self.swap_in()
        chunked = self.kind.prefill == "chunked"
        if chunked and self.squeeze():
            admitting = False
        parts = self.form(admitting)
        if not parts:
            self.squeeze()
        decoding = [j for j in self.batch if j.state == "decode"] if (chunked or not parts) else []
        if not parts and not decoding:
            return False
        begun = sum(job.begun for job, _ in parts)
        for job, _ in parts:
            job.begun = False
        chunks = [(part, job.computed) for job, part in parts]
        self.t += self.kind.cost.step(len(decoding), sum(j.kv for j in decoding), chunks, begun)
        for job in decoding:
            job.kv += 1
            self.gaps.append(self.t - job.last_token)
            job.last_token = self.t
        self.evict()
        for job, part in parts:
            job.computed += part
            if job.computed == job.target:
                self.first(job)
        for job in list(self.batch):
            if job.state == "decode" and job.kv == job.prompt + job.output - 1:
                self.publish(job, job.kv)
                self.batch.remove(job)
                self.drop(job)
                job.finish = self.t
        return True

    def first(self, job):
        self.publish(job, min(job.target, job.prompt))
        if job.preempted_at >= 0:
            job.loss += self.t - job.preempted_at
            job.preempted_at = -1.0
        if job.generated:
            self.gaps.append(self.t - job.last_token)
        else:
            job.first_token = self.t
        job.kv, job.state, job.last_token = job.target, "decode", self.t

    def run(self, jobs):
        """Serve `jobs` (in order of arrival) to the end."""
        coming = list(jobs)
        while coming or self.queue or self.batch:
            while coming and coming[0].arrival <= self.t:
                self.queue.append(coming.pop(0))
                self.queue.sort(key=self.key)
            if not self.step():
                self.t = max(self.t, coming[0].arrival)
