"""The preemptive engine again, one iteration and one token at a time: slow and obvious.

It shares the memories' addresses (`KVSpace`, which has its own reference) with the clockwork, and nothing else.
"""

from dataclasses import dataclass, field

from rota.serving.kvspace import KVSpace


@dataclass
class Request:
    id: int
    owner: int
    prompt: int
    output: int
    arrival: float = float("inf")
    state: str = "future"
    generated: int = 0
    on_gpu: int = 0
    last: float = 0.0
    first_token: float | None = None
    finish: float | None = None

    def want(self):
        return -(-(self.prompt + self.generated) // 16)

    def missing(self):
        lacking = self.prompt + self.generated - self.on_gpu
        return 0 if lacking == 1 and self.generated > 0 else lacking


@dataclass
class NaiveEngine:
    instance: object
    workload: object
    mechanism: object
    rows: object
    period: int
    now: float = 0.0
    iteration: int = 0
    updates: int = 0
    stall: float = 0.0
    bytes_out: float = 0.0
    bytes_in: float = 0.0
    valid: dict = field(default_factory=dict)
    copies: list = field(default_factory=list)
    gaps: list = field(default_factory=list)
    link: dict = field(default_factory=dict)

    def __post_init__(self):
        m, w = self.mechanism, self.workload
        self.gpu = KVSpace(self.instance.blocks, m.allocator, m.group)
        self.cpu = KVSpace(self.instance.cpu_blocks if m.swaps else 0, m.allocator, m.group)
        owner = {}
        for i, parent in enumerate(w.parent):
            owner[i] = owner[int(parent)] if parent >= 0 else len(set(owner.values()))
        self.requests = [Request(i, owner[i], int(w.prompt[i]), int(w.output[i])) for i in range(len(w))]
        for r in self.requests:
            if w.parent[r.id] < 0:
                r.arrival = float(w.arrival[r.id])
        self.batch = []
        self.queue = []

    # helpers of the reference

    def among(self, *states):
        return [r for r in self.requests if r.state in states]

    def rank(self, r):
        return (-self.priority[r.owner], r.arrival, r.id)

    def flying(self, owner):
        return any(c["owner"] == owner for c in self.copies)

    def stand_still(self, until):
        self.stall += max(0.0, until - self.now)
        self.now = max(self.now, until)
        self.land()

    # one round

    def run(self):
        while any(r.state != "done" for r in self.requests):
            self.land()
            for r in sorted(self.among("future"), key=lambda r: r.arrival):
                if r.arrival <= self.now:
                    r.state = "waiting"
            if self.iteration >= self.updates * self.period:
                self.update()
            self.admit()
            if self.queue:
                self.prefill()
            elif self.batch:
                self.decode()
            else:
                self.idle()
        return self

    def land(self):
        for copy in sorted((c for c in self.copies if c["end"] <= self.now), key=lambda c: (c["end"], c["owner"])):
            self.copies.remove(copy)
            owner = copy["owner"]
            if copy["way"] == "out":
                self.gpu.release(owner)
                continue
            if not self.mechanism.reuse:
                self.cpu.release(owner)
                del self.valid[owner]
            (r,) = [r for r in self.among("incoming") if r.owner == owner]
            if r.missing():
                r.state = "ready"
                self.queue.append(r)
            else:
                r.state = "running"
                self.batch.append(r)

    def idle(self):
        ends = [c["end"] for c in self.copies]
        until = min(ends + [r.arrival for r in self.among("future")])
        if ends and self.among("waiting", "incoming"):
            self.stall += until - self.now
        self.now = until

    def update(self):
        self.priority = next(self.rows)
        self.updates += 1
        if not self.among("waiting"):
            return
        room = self.instance.blocks - self.instance.watermark_blocks
        room -= sum(self.gpu.held(r.owner) for r in self.among("ready", "incoming"))
        seats = self.instance.max_sequences - len(self.among("ready", "incoming"))
        losers, full = [], False
        for r in sorted(self.among("running", "waiting"), key=self.rank):
            room -= self.gpu.held(r.owner) if r.state == "running" else r.want()
            full = full or room < 0 or seats == 0
            seats -= 1
            if full and r.state == "running":
                losers.append(r)
        for r in reversed(losers):
            self.preempt(r)

    def preempt(self, r):
        self.batch.remove(r)
        r.state = "waiting"
        self.put_away(r)

    def put_away(self, r):
        tokens, valid = r.on_gpu, self.valid.get(r.owner, 0)
        wanted = -(-tokens // 16) - self.cpu.held(r.owner)
        if valid >= tokens or not self.clear_cpu(r.owner, wanted):
            self.gpu.release(r.owner)
            return
        if wanted > 0:
            self.cpu.grow(r.owner, wanted)
        self.valid[r.owner] = tokens
        self.copy(r.owner, "out", range(valid // 16, -(-tokens // 16)))

    def clear_cpu(self, owner, wanted):
        busy = {r.owner for r in self.among("waiting")}
        gpu = {r.owner for r in self.among("running", "ready", "incoming")}
        live = busy | gpu
        for other in sorted(self.cpu.tables, key=lambda o: (o not in gpu, self.priority[o], o)):
            if wanted <= self.cpu.free:
                return True
            if other == owner or self.flying(other) or (other in live and other not in gpu):
                continue
            held = self.cpu.held(other)
            cut = min(held, max(wanted - self.cpu.free, self.mechanism.group))
            self.cpu.shrink(other, cut)
            self.valid[other] = min(self.valid[other], 16 * (held - cut))
        return wanted <= self.cpu.free

    def copy(self, owner, way, places):
        gpu = [self.gpu.tables[owner][i] for i in places]
        cpu = [self.cpu.tables[owner][i] for i in places]
        pieces = 0
        for i in range(len(gpu)):
            joined = i > 0 and gpu[i] == gpu[i - 1] + 1 and cpu[i] == cpu[i - 1] + 1
            pieces += not (self.mechanism.coalesce and joined)
        size = 16 * self.instance.kv_bytes * len(gpu)
        threads = self.mechanism.threads if self.mechanism.asynchronous else 1
        seconds = max(
            2 * self.instance.layers * pieces * self.instance.swap_call / threads, self.instance.swap.seconds(size)
        )
        stream = way if self.mechanism.streams == 2 else "both"
        end = self.link[stream] = max(self.now, self.link.get(stream, 0.0)) + seconds
        self.copies.append({"owner": owner, "way": way, "end": end})
        if way == "out":
            self.bytes_out += size
        else:
            self.bytes_in += size
        if not self.mechanism.asynchronous:
            self.stand_still(end)

    def admit(self):
        self.enter()
        while coming := self.among("incoming"):
            here = len(self.batch) + len(self.queue)
            if here / (here + len(coming)) >= self.mechanism.ready_share:
                break
            self.stand_still(min(c["end"] for c in self.copies if c["way"] == "in"))
            self.enter()

    def enter(self):
        for r in sorted(self.among("waiting"), key=self.rank):
            present = len(self.among("running", "ready", "incoming"))
            reserve = self.instance.watermark_blocks if present else 0
            if r.want() > self.gpu.free - reserve or present >= self.instance.max_sequences or self.flying(r.owner):
                break
            self.gpu.grow(r.owner, r.want())
            r.on_gpu = self.valid.get(r.owner, 0)
            if r.on_gpu:
                r.state = "incoming"
                self.copy(r.owner, "in", range(-(-r.on_gpu // 16)))
            else:
                r.state = "ready"
                self.queue.append(r)

    def prefill(self):
        chosen, tokens = [], 0
        for r in list(self.queue):
            if chosen and tokens + r.missing() > self.instance.max_batched_tokens:
                break
            tokens += r.missing()
            chosen.append(r)
            self.queue.remove(r)
        self.now += self.instance.cost.step(0, 0, [(r.missing(), r.on_gpu) for r in chosen])
        self.iteration += 1
        for r in chosen:
            r.on_gpu += r.missing()
            self.token(r)
            r.state = "running"
            self.batch.append(r)
        self.finish(chosen)

    def decode(self):
        while self.batch and sum(r.on_gpu + 1 > 16 * self.gpu.held(r.owner) for r in self.batch) > self.gpu.free:
            outs = [c["end"] for c in self.copies if c["way"] == "out"]
            if outs:
                self.stand_still(min(outs))
            else:
                self.preempt(max(self.batch, key=self.rank))
        if not self.batch:
            return
        self.now += self.instance.cost.step(len(self.batch), sum(r.on_gpu for r in self.batch))
        self.iteration += 1
        for r in self.batch:
            r.on_gpu += 1
            if r.on_gpu > 16 * self.gpu.held(r.owner):
                self.gpu.grow(r.owner, 1)
            self.token(r)
        self.finish(list(self.batch))

    def token(self, r):
        if r.generated == 0:
            r.first_token = self.now
        else:
            self.gaps.append(self.now - r.last)
        r.generated += 1
        r.last = self.now

    def finish(self, candidates):
        done = [r for r in candidates if r.generated == r.output]
        end = self.now
        later = {}
        for r in done:
            self.batch.remove(r)
            r.state, r.finish = "done", end
            later[r.id] = [c for c in self.requests if self.workload.parent[c.id] == r.id]
            for child in later[r.id]:
                child.arrival = end + float(self.workload.think[child.id])
        for r in done:
            if later[r.id]:
                self.put_away(r)
            else:
                self.gpu.release(r.owner)
                self.cpu.release(r.owner)
                self.valid.pop(r.owner, None)
