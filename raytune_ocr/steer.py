"""Give an order to a run: `python -m raytune_ocr.steer RUN ACTION ...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.cli import add_version, answer
from raytune_ocr.config.changes import PARAMETER
from raytune_ocr.config.environment import parse_assignments, parse_value
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.steering.orders import ACTIONS, TIMEOUT, Order, new_order

EXAMPLES = """
examples:
  python -m raytune_ocr.steer training_output stop fast
  python -m raytune_ocr.steer training_output stop --run
  python -m raytune_ocr.steer training_output pause fast
  python -m raytune_ocr.steer training_output resume fast
  python -m raytune_ocr.steer training_output extend fast --epochs 80
  python -m raytune_ocr.steer training_output add slower --preset slower.yaml
  python -m raytune_ocr.steer training_output clone fast --set learning_rate=1e-4
  python -m raytune_ocr.steer training_output priority fast 10
  python -m raytune_ocr.steer training_output budget --seconds 7200 --cost 25
  python -m raytune_ocr.steer training_output note "the loss jumps at epoch 3" --trial fast
  python -m raytune_ocr.steer training_output tag baseline --trial fast
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.steer",
        description="Give an order to a run while it trains. The process that runs it carries the "
        "order out within a second, writes it to the journal with your name and the time, and "
        "answers; a bad order is refused with the reason. Finished epochs are never lost.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    parser.add_argument("run", type=Path, metavar="RUN", help="the output folder of the run")
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"wait so long for the answer, then withdraw the order (default {TIMEOUT:g})",
    )
    parser.add_argument(
        "--queue",
        action="store_true",
        help="if no process runs the run, leave the order for its next --resume",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        _add_arguments(name, actions.add_parser(name, help=action.purpose))
    return parser


def _add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of an action."""
    purpose = ACTIONS[name].purpose
    parser.description = f"{purpose[0].upper()}{purpose[1:]}."
    if name == "stop":
        parser.add_argument("trial", nargs="?", metavar="TRIAL", help="the trial to stop")
        parser.add_argument("--run", dest="whole", action="store_true", help="stop the whole run")
    elif name in ("note", "tag"):
        what = {"note": ("text", "TEXT", "the note"), "tag": ("tag", "TAG", "the tag")}[name]
        parser.add_argument(what[0], metavar=what[1], help=what[2])
        parser.add_argument("--trial", metavar="TRIAL", help="of this trial (default: of the run)")
    elif name != "budget":
        new = "the name of the new trial" if name == "add" else "the trial"
        parser.add_argument("trial", metavar="TRIAL", help=new)
    if name in ("add", "clone"):
        parser.add_argument(
            *("--set",),
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="set a setting, such as learning_rate=1e-4 or parameters.width=32; repeatable",
        )
    _add_options(name, parser)


def _add_options(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options that only one action has."""
    if name == "tag":
        parser.add_argument("--remove", action="store_true", help="remove the tag")
    elif name == "extend":
        parser.add_argument(
            "--epochs", type=int, required=True, metavar="N", help="the new last epoch"
        )
    elif name == "priority":
        parser.add_argument(
            "priority", type=int, metavar="N", help="higher ones start first (default of all: 0)"
        )
    elif name == "add":
        parser.add_argument(
            "--preset",
            type=Path,
            metavar="FILE",
            help="a YAML file with the sections of a preset, as under experiments: in a space",
        )
    elif name == "clone":
        parser.add_argument("--name", metavar="NAME", help="of the clone (default: TRIAL_c1)")
    elif name == "budget":
        parser.add_argument("--epochs", type=int, metavar="N", help="of all trials together")
        parser.add_argument("--seconds", type=float, metavar="S", help="of this part of the run")
        parser.add_argument("--cost", type=float, metavar="X", help="by the prices of the run")


def order_of(given: argparse.Namespace) -> Order:
    """Return the order of a command line; raise ConfigurationError if it is incomplete."""
    if given.action == "stop" and bool(given.trial) == given.whole:
        raise ConfigurationError("stop: name a trial, or --run for the whole run")
    names = [*ACTIONS[given.action].required, *ACTIONS[given.action].optional]
    arguments = {name: getattr(given, name, None) for name in names}
    if "set" in arguments:
        arguments["set"] = assignments(given.set)
    if given.action == "add":
        arguments["preset"] = _preset(given.preset, given.trial)
    chosen = {n: v for n, v in arguments.items() if v is not None and v is not False and v != {}}
    if given.action == "clone":
        chosen.setdefault("set", {})
    return new_order(given.action, getattr(given, "trial", None), **chosen)


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return the settings of `--set`, among them `parameters.NAME` of a task of one's own."""
    own = [text for text in texts if text.startswith(PARAMETER) and "=" in text]
    parts = (text.partition("=") for text in own)
    parameters = {name: parse_value(name, value) for name, _, value in parts}
    return {**parse_assignments(text for text in texts if text not in own), **parameters}


def _preset(file: Path | None, name: str) -> dict[str, Any]:
    """Read a preset: the sections alone, or a space that has an experiment of that name."""
    if file is None:
        return {}
    content = load_yaml(file)
    found: Any = content.get("experiments", {name: content}).get(name)
    if not isinstance(found, dict):
        raise ConfigurationError(f"{file}: must have the sections of {name}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: the order was accepted, 2: it was refused."""
    arguments = build_parser().parse_args(argv)

    def command() -> int:
        from raytune_ocr.results.steering.inbox import send_order  # numpy

        order = order_of(arguments)
        got = send_order(arguments.run, order, arguments.timeout, queue=arguments.queue)
        if not got.accepted:
            raise ConfigurationError(f"refused: {got.reason}")
        print(f"{order.action}{f' {order.trial}' if order.trial else ''}: {got.reason}")
        return 0

    return answer(command, "stopped; the order may have been carried out")


if __name__ == "__main__":
    sys.exit(main())
