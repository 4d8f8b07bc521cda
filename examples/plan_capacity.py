"""How many GPUs does a growing service need? The fewest that keep the objective, at one, two and four times the load.

python examples/plan_capacity.py [requests]
"""

import sys

import rota

SLO = "ttft_p99<1s, tpot_p95<80ms"
POLICIES = {
    "round-robin": {"dispatch": "round-robin"},
    "Llumnix": {"dispatch": "freeness", "reschedule": "llumnix"},
}


def fewest(rate: float, requests: int) -> dict[str, int]:
    """GPUs by set of policies, for the fitted model of Azure's 2023 conversations at `rate` requests a second."""
    plan = rota.plan(
        f"azure-2023-conv(rate={rate}, n={requests})", "llama-3-8b/a10", SLO, POLICIES, seeds=2, progress=False
    )
    return {option.policies: option.gpus for option in plan.options}


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"A10 GPUs that keep {SLO}")
    for rate in (2.0, 4.0, 8.0):
        found = fewest(rate, count)
        print(f"{rate:4g} requests/s   " + "   ".join(f"{name} {gpus}" for name, gpus in found.items()))
