"""The house as `docs/architecture.md` draws it: rooms in their order, imports that point down, one name a stage."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflow"
PACKAGE = WORKFLOW / "langtailor"
STAGES = (
    *("teacher", "corpus", "counts", "vocabulary", "tokenizer", "clone"),
    *("vectors", "reduction", "distillation", "retrieval", "evaluation", "student", "export", "report", "publish"),
)
#: A room imports from itself and from those before it.
ROOMS = (
    "errors",
    "progress",
    "objectives",
    "config",
    "storage",
    "sources",
    "models",
    "surgery",
    *STAGES,
    "planning",
    "command",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(WORKFLOW).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """What a file imports, in functions and for type checking, too: modules, and ``module.name`` for names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def needs(module: str) -> set[str]:
    """Modules of the package that a module imports."""
    names = (name if name in MODULES else name.rpartition(".")[0] for name in imported(MODULES[module]))
    return {name for name in names if name in MODULES}


def room(module: str) -> str | None:
    """The room of a module; none of the package itself, which everyone may ask for its version."""
    return module.split(".")[1] if "." in module else None


def test_every_module_is_in_a_room():
    assert {room(module) for module in MODULES} - {None} <= set(ROOMS)


@pytest.mark.parametrize("module", [name for name in MODULES if room(name)])
def test_imports_point_down(module):
    above = ROOMS[ROOMS.index(room(module)) + 1 :]
    assert {need for need in needs(module) if room(need) in above} == set()


def test_there_is_no_cycle():
    try:
        TopologicalSorter({module: needs(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_three_modules_are_at_the_packages_root():
    assert len(list(PACKAGE.glob("*.py"))) <= 3


def test_the_package_does_not_know_snakemake():
    assert [name for name, path in MODULES.items() if any(i.split(".")[0] == "snakemake" for i in imported(path))] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_one_name_in_package_rules_scripts_and_results(stage):
    assert (PACKAGE / stage / "__init__.py").is_file()
    assert (WORKFLOW / "scripts" / f"{stage}.py").is_file()
    rules = (WORKFLOW / "rules" / f"{stage}.smk").read_text(encoding="utf-8")
    outputs = re.findall(r"^    output:\n((?: {8}.*\n)+)", rules, re.MULTILINE)
    assert outputs
    assert all(f'"<results>/{stage}' in output for output in outputs)


def test_every_rule_file_is_that_of_a_stage_and_included_in_their_order():
    included = re.findall(
        r'^include: "rules/([\w/]+)\.smk"$', (WORKFLOW / "Snakefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    common = [f"common/{name}" for name in ("settings", "jobs", "inputs", "hooks")]
    assert included == [*common, *STAGES]
    there = {path.relative_to(WORKFLOW / "rules").with_suffix("").as_posix() for path in WORKFLOW.rglob("*.smk")}
    assert there == {*common, *STAGES}


def test_the_document_names_the_rooms_in_this_order():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| | rooms |") : text.index("`surgery/` holds")]
    assert tuple(re.findall(r"`(\w+)`", table)) == ROOMS
