"""What would another policy have decided? Record every decision of a run, then put the same views to a second policy.

python examples/replay_log.py [requests]
"""

import sys

import rota
from rota.serving.presets import preset
from rota.serving.replay import DecisionLog, replay
from rota.serving.workloads import by_name

if __name__ == "__main__":
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    log = DecisionLog()
    fleet = rota.Fleet.of(preset("llama-7b/a10"), 8)
    workload = by_name(f"llumnix(trace='M-M', rate=3.0, n={requests})", seed=1)
    rota.simulate(fleet, workload, {"dispatch": "freeness"}, observe=log)
    log.save("decisions.jsonl")
    log = DecisionLog.load("decisions.jsonl")
    for other in ("freeness", "least-load", "least-requests", "round-robin"):
        pairs = replay(log, "dispatch", other)
        same = sum(recorded == answered for recorded, answered in pairs)
        print(f"{other:16} agrees with freeness in {same} of {len(pairs)} decisions")
