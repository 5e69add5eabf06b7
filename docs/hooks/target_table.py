"""Write the tables of docs/targets.md from what the targets' files say: run this file to do so.

A test holds that they are the same.
"""

from __future__ import annotations

from pathlib import Path

from runtimes.targets import Refusal, Target, find_target, target_names

PAGE = Path(__file__).resolve().parents[1] / "targets.md"
BEGIN, END = "<!-- targets: begin -->", "<!-- targets: end -->"


def tables() -> str:
    """What each target reads, and what it refuses, as Markdown."""
    targets = [find_target(name) for name in target_names()]
    head = (
        "| target | judged in | measured in | opset up to | INT8 | fewer bits |",
        "|---|---|---|---|---|---|",
    )
    rows = [_row(target) for target in targets]
    refused = ["| target | does not run | because |", "|---|---|---|"]
    refused += [row for target in targets if target.name != "portable" for row in _refusals(target)]
    return "\n".join((*head, *rows, "", *refused))


def page(text: str) -> str:
    """The page with its tables as they should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _row(target: Target) -> str:
    judges = ", ".join(f"`{one}`" for one in (target.engine, *target.also))
    bits = "yes" if target.few_bits else target.no_few_bits
    cells = f"`{target.name}`", judges, f"`{target.clock}`", target.opset, _int8(target), bits
    return f"| {' | '.join(map(str, cells))} |"


def _int8(target: Target) -> str:
    if target.int8 is None:
        return target.no_int8
    if target.int8.engine == "tensorrt":
        return f"signed Q/DQ of opset {target.int8.opset} or later, LSTM in float"
    lstm = "`DynamicQuantizeLSTM`" if "dynamic" in target.int8.storage else "byte weights"
    floats = "".join(
        f", {operator}{_where(one)} in float"
        for operator, reasons in target.int8.keep_float.items()
        for one in reasons
    )
    return f"Q/DQ of opset {target.int8.opset} or later, LSTM with {lstm}{floats}"


def _where(one: Refusal) -> str:
    parts = [f"{name} {' or '.join(map(str, values))}" for name, values in one.where.items()]
    parts += [f"{name} above {least}" for name, least in one.above.items()]
    parts += [f"a computed input {place}" for place in one.computed]
    return f" of {' and '.join(parts)}" if parts else ""


def _refusals(target: Target) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for operator, refusals in target.refused.items():
        for one in refusals:
            reasons.setdefault(one.reason, []).append(f"{operator}{_where(one)}")
    return [
        f"| `{target.name}` | {', '.join(operators)} | {reason} |"
        for reason, operators in reasons.items()
    ]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
