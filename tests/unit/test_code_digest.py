"""A stage's digest changes when its code does, and only then: code that is moved keeps it."""

import ast
import re
import shutil
from pathlib import Path

import pytest

from langtailor.storage import code_digest

WORKFLOW = Path(__file__).parents[2] / "workflow"
SCRIPT = """
from job import job
from langtailor.stage import run
from langtailor.deep import registered
with job(snakemake):
    run()
"""
PACKAGE = {
    "ground.py": "def f():\n    return 1\n\n\ndef unused():\n    return 0\n",
    "stage.py": (
        '"""Doc."""\nfrom langtailor.deep.part import g\nfrom langtailor import table\n\n'
        "def run():\n    from langtailor.ground import f\n    return f() + g() + table.SIZE\n"
    ),
    "deep/part.py": "import math\n\n\ndef g():\n    return math.floor(2)\n",
    "deep/registry.py": "def register(cls):\n    return cls\n",
    "deep/registered.py": (
        "from langtailor.deep.registry import register\n\n\n"
        "@register\nclass Term:\n    weight = 1\n\n\nclass Aside:\n    pass\n"
    ),
    "table.py": "SIZE = 3\nOTHER = 4\n",
    "config.py": "size = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    for folder in (tmp_path, tmp_path / "deep"):
        (folder / "__init__.py").write_text("")
    for name, text in PACKAGE.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(code_digest, "_ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    """What a new process would not know."""
    for value in vars(code_digest).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def digest(package):
    forget()
    return code_digest.code_digest(package / "script.py")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stage.py", "f() + g()", "f() - g()"),
        ("ground.py", "return 1", "return 5"),
        ("deep/part.py", "floor(2)", "floor(3)"),
        ("table.py", "SIZE = 3", "SIZE = 5"),
        ("script.py", "run()", "run(2)"),
        ("deep/registered.py", "weight = 1", "weight = 2"),
        ("deep/part.py", "import math", "import cmath as math"),
        ("stage.py", "import f\n", "import unused as f\n"),
    ],
)
def test_changing_code_that_the_script_reaches_changes_the_digest(package, name, old, new):
    before = digest(package)
    edit(package / name, old, new)
    assert digest(package) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ground.py", "return 0", "return 5"),
        ("table.py", "OTHER = 4", "OTHER = 5"),
        ("deep/registered.py", "    pass", "    size = 1"),
        ("config.py", "size = 1", "size = 2"),
        ("stage.py", '"""Doc."""\n', '"""Other words."""\nimport os\n\n'),
        ("ground.py", "    return 1", '    """Say one."""\n    # why\n    return (1)'),
        ("script.py", "from job", "# why\nfrom job"),
    ],
)
def test_changing_other_code_comments_docstrings_or_layout_does_not(package, name, old, new):
    before = digest(package)
    edit(package / name, old, new)
    assert digest(package) == before


def test_a_moved_module_keeps_the_digest(package):
    before = digest(package)
    (package / "elsewhere").mkdir()
    (package / "elsewhere" / "__init__.py").write_text('"""New room."""\n')
    (package / "deep" / "part.py").rename(package / "elsewhere" / "piece.py")
    edit(package / "stage.py", "langtailor.deep.part", "langtailor.elsewhere.piece")
    assert digest(package) == before


def test_a_definition_moved_to_another_module_keeps_the_digest(package):
    before = digest(package)
    text = (package / "ground.py").read_text()
    (package / "ground.py").write_text(text[text.index("def unused") :])
    (package / "table.py").write_text((package / "table.py").read_text() + text[: text.index("def unused")])
    edit(package / "stage.py", "from langtailor.ground import f", "from langtailor.table import f")
    assert digest(package) == before


def test_a_name_that_a_module_passes_on_is_followed(package):
    before = digest(package)
    (package / "door.py").write_text("from langtailor.ground import f\n")
    edit(package / "stage.py", "from langtailor.ground import f", "from langtailor.door import f")
    assert digest(package) == before
    edit(package / "ground.py", "return 1", "return 5")
    assert digest(package) != before


def test_a_template_that_a_definition_names_is_part_of_it_with_those_that_it_includes(package):
    edit(package / "stage.py", "return f()", 'page = "page.jinja"\n    return f()')
    before = digest(package)
    (package / "page.jinja").write_text("{{ page }}")
    with_template = digest(package)
    (package / "page.jinja").write_text('{% include "part.jinja" %}')
    with_include = digest(package)
    (package / "part.jinja").write_text("{{ part }}")
    with_part = digest(package)
    (package / "part.jinja").write_text("{{ another }}")
    assert len({before, with_template, with_include, with_part, digest(package)}) == 5


def test_what_is_remembered_of_a_file_is_what_parsing_finds(package, monkeypatch):
    parsed = []
    parse = code_digest.SourceFile.parse
    monkeypatch.setattr(code_digest.SourceFile, "parse", lambda content: parsed.append(content) or parse(content))
    first = digest(package)
    count = len(parsed)
    assert count >= len(PACKAGE) - 1
    assert digest(package) == first
    assert len(parsed) == count, "nothing is parsed again"
    edit(package / "ground.py", "return 1", "return 3")
    changed = digest(package)
    assert parsed[count:] == [(package / "ground.py").read_bytes()]
    (package / "__pycache__" / "code_digest.json").write_text("[damaged")
    assert digest(package) == changed != first


def test_an_unknown_module_is_an_error(package):
    with pytest.raises(ModuleNotFoundError):
        code_digest.module_digest("nowhere")


# -- the real package ------------------------------------------------------------------------------------------------


def script_digests(workflow, monkeypatch):
    monkeypatch.setattr(code_digest, "_ROOT", workflow / "langtailor")
    forget()
    scripts = sorted((workflow / "scripts").glob("*.py"))
    return {script.stem: code_digest.code_digest(script) for script in scripts}


@pytest.fixture
def copied(tmp_path):
    for folder in ("langtailor", "scripts"):
        shutil.copytree(WORKFLOW / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    yield tmp_path
    forget()


def test_moving_any_module_of_the_real_package_keeps_all_digests(copied, monkeypatch):
    before = script_digests(copied, monkeypatch)
    package = copied / "langtailor"
    move = {
        "vectors/store.py": "storage/moved.py",
        "surgery/wordpiece.py": "clone/moved.py",
        "counts/words.py": "moved.py",
    }
    for old, new in move.items():
        (package / old).rename(package / new)
        names = (f"langtailor.{name.removesuffix('.py').replace('/', '.')}" for name in (old, new))
        was, now = names
        for path in copied.rglob("*.py"):
            path.write_text(re.sub(rf"{re.escape(was)}\b", now, path.read_text(encoding="utf-8")), encoding="utf-8")
    assert script_digests(copied, monkeypatch) == before


def test_every_stage_has_a_digest_of_its_own_and_none_follows_a_comment(copied, monkeypatch):
    before = script_digests(copied, monkeypatch)
    assert len(set(before.values())) == len(before)
    for path in copied.rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\n# A comment.\n", encoding="utf-8")
    assert script_digests(copied, monkeypatch) == before


#: Packages that import the modules of their folder; rules name the digests of those that they use.
REGISTRIES = [
    WORKFLOW / "langtailor" / name / "__init__.py" for name in ("objectives", "evaluation/tasks", "export/formats")
]


@pytest.mark.parametrize("path", sorted((WORKFLOW / "langtailor").rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_is_reached_in_ways_that_the_digest_cannot_see(path):
    """Names found at run time, relative and star imports, and imports by string would hide what a stage stands on."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert [alias.name for alias in node.names] != ["*"]
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            # An attribute of that name is a template engine's.
            assert isinstance(node, ast.Attribute) or name not in ("__import__", "globals"), name
            assert name != "import_module" or path in REGISTRIES


@pytest.mark.parametrize("rules", sorted((WORKFLOW / "rules").glob("*.smk")), ids=lambda path: path.stem)
def test_every_rule_follows_the_script_that_it_runs(rules):
    text = rules.read_text(encoding="utf-8")
    pairs = re.findall(r'code=script_digest\("(\w+)"(?:, \w+)?\),\n *script:\n *"\.\./scripts/(\w+)\.py"', text)
    assert len(pairs) == len(re.findall(r"^ *script:$", text, re.MULTILINE))
    assert all(named == run for named, run in pairs)
