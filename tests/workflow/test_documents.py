"""The documents say what is: links lead somewhere, the rule graph is Snakemake's, versions agree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.rulegraph import mermaid
from langtailor import __version__
from tests.workflow.conftest import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "config/*.md", "examples/**/*.md", "profiles/*.md", "workflow/**/*.md")
    for path in ROOT.glob(pattern)
)


def prose(page: Path) -> str:
    """A page without its code, in which `#` and `](` mean something else."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if not link.startswith("http"):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_recipe_can_be_chosen():
    chosen = (ROOT / "docs" / "choosing-a-recipe.md").read_text(encoding="utf-8")
    recipes = [path.name for path in (ROOT / "config").glob("*.yaml") if path.name != "schema.yaml"]
    pages = [f"{path.parent.name}/README.md" for path in (ROOT / "examples").glob("*/config.yaml")]
    assert [name for name in recipes + pages if f"/{name})" not in chosen] == []


def test_the_readme_draws_the_rules():
    command = [sys.executable, "-m", "snakemake", "--rulegraph"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert mermaid(done.stdout) in (ROOT / "README.md").read_text(encoding="utf-8"), "run `make rulegraph`"


def test_an_edge_that_a_longer_path_implies_is_left_out():
    dot = '\t0[label = "all"];\n\t1[label = "c"];\n\t2[label = "b"];\n\t3[label = "a"];\n'
    dot += "\t1 -> 0\n\t2 -> 1\n\t3 -> 1\n\t3 -> 2\n"
    assert mermaid(dot) == "```mermaid\nflowchart TB\n    a --> b\n    b --> c\n```\n"


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["references"][0]["url"] == "https://arxiv.org/abs/2605.29992"


def test_the_layout_is_that_of_the_workflow_catalog():
    shown = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    assert shown["usage"]["software-stack-deployment"] == {"conda": True}
    assert shown["usage"]["report"] is True
    assert (ROOT / "workflow" / "Snakefile").is_file()


def test_every_profile_is_listed():
    page = (ROOT / "profiles" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml"))


def test_the_pages_name_commands_that_make_has():
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)) <= targets, (
            page
        )
