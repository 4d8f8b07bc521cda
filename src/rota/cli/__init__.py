"""The command `rota`: parse, call the library, print.

Convention: the command `rota NAME` is the module `rota.cli.NAME` (`listing` for `list`). It exposes `app`, a cyclopts
`App(name="NAME")`, with one `@app.default` function, or one `@app.command` for each word that follows. The module is
imported only when its command is called, so its one line of help stands here. Functions print and return None; user
mistakes are raised as `RotaError` and become one sentence here. `--json` prints one JSON document on stdout and nothing
else; progress goes to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import rota
from rota.core.errors import Interrupted, RotaError

COMMANDS = {
    "compare": ("rota.cli.compare", "Compare policies over workloads, fleets and seeds; write an HTML report."),
    "plan": ("rota.cli.plan", "Find the fewest instances that keep a service-level objective, policy by policy."),
    "simulate": ("rota.cli.simulate", "Simulate one fleet under one workload and print every metric."),
    "workload": ("rota.cli.workload", "Describe, fit, generate and fetch traces of requests."),
    "calibrate": ("rota.cli.calibrate", "Fit an instance's cost model to measurements, with its held-out error."),
    "schedule": ("rota.cli.schedule", "Show, compare, refine and export learning-rate schedules."),
    "list": ("rota.cli.listing", "List every policy: domain, name, parameters, paper."),
    "reproduce": ("rota.cli.reproduce", "Measure a published claim on this machine, beside what its authors report."),
}

app = App(
    name="rota",
    help=(
        "Schedule the work of AI systems: compare policies in simulation, plan fleets, check published claims.\n\n"
        "Start with `rota compare`: without a study file it runs the built-in one and writes report.html."
    ),
    version=rota.__version__,
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
for _name, (_module, _help) in COMMANDS.items():
    app.command(f"{_module}:app", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` if None) and return its exit status.

    Returns:
        0 done; 2 a mistake of the user's, said in one sentence on stderr; 130 interrupted; 1 a pipe's reader left.
    """
    try:
        app(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except Interrupted as stop:
        return _say(str(stop), 130)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RotaError, CycloptsError) as mistake:
        return _say(str(mistake), 2)
    except OSError as error:
        if error.filename is None:
            raise
        return _say(f"{error.filename}: {error.strerror}", 2)
    return 0


def _say(sentence: str, status: int) -> int:
    print(f"rota: {' '.join(sentence.split())}", file=sys.stderr)
    return status
