"""Runs inside the peer environment `dynamo`: the mocker's offline replay of a Mooncake trace, timed; JSON in, JSON out.

Input (argument 1): {"trace", "workers", "router", "profile", "repeat"}. Output: {"seconds": [...], "processor": [...], "summary": {...}}.
Each of `seconds` is the replay's own `wall_time_ms` (construction and execution in Rust, without reading the trace), each of
`processor` the processor time of the whole call.
"""

from __future__ import annotations

import json
import sys
from time import process_time

from dynamo.replay import run_trace_replay

KEPT = (
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "mean_e2e_latency_ms",
    "prefix_cache_reused_ratio",
    "completed_requests",
)


def main() -> None:
    told = json.loads(sys.argv[1])
    timing = {"type": "external", "provider": "dynamo_profile", "config": {"path": told["profile"]}}
    seconds, processor = [], []
    for _ in range(told["repeat"]):
        start = process_time()
        summary = run_trace_replay(
            told["trace"], num_workers=told["workers"], router_mode=told["router"], trace_block_size=512,
            extra_engine_args={"engine": {"timing_model": timing}},
        ).summary  # fmt: skip
        seconds.append(summary["wall_time_ms"] / 1e3)
        processor.append(process_time() - start)
    print(json.dumps({"seconds": seconds, "processor": processor, "summary": {key: summary[key] for key in KEPT}}))


if __name__ == "__main__":
    main()
