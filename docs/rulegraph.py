"""Draw the rule graph of README.md: ``snakemake --rulegraph | python docs/rulegraph.py README.md`` (``make rulegraph``)."""

from __future__ import annotations

import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

_BLOCK = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def mermaid(dot: str) -> str:
    """A Mermaid block of a rule graph in the DOT language, without the target ``all``.

    An edge that a longer path implies is left out; rules stand in the order of the data.
    """
    names = dict(re.findall(r'^\t(\d+)\[label = "(\w+)"', dot, re.MULTILINE))
    needs: dict[str, set[str]] = {name: set() for name in names.values() if name != "all"}
    for source, target in re.findall(r"^\t(\d+) -> (\d+)$", dot, re.MULTILINE):
        if names[target] in needs:
            needs[names[target]].add(names[source])
    direct = {rule: {need for need in found if not _implied(need, found, needs)} for rule, found in needs.items()}
    order = list(TopologicalSorter({rule: sorted(found) for rule, found in sorted(direct.items())}).static_order())
    edges = [f"    {need} --> {rule}" for rule in order for need in sorted(direct[rule], key=order.index)]
    return "\n".join(["```mermaid", "flowchart TB", *edges, "```", ""])


def _implied(rule: str, among: set[str], needs: dict[str, set[str]]) -> bool:
    """Whether one of some other rules needs ``rule``, be it by way of others."""
    pending = [need for other in among - {rule} for need in needs[other]]
    while pending:
        need = pending.pop()
        if need == rule:
            return True
        pending += needs[need]
    return False


def main() -> None:
    """Put the graph that is read from standard input into the place of the one in the file that is named."""
    page = Path(sys.argv[1])
    page.write_text(_BLOCK.sub(lambda _: mermaid(sys.stdin.read()), page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
