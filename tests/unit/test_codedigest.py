"""A stage's digest changes when its code does, and only then."""

import ast
import re
from pathlib import Path

import pytest

from langtailor import codedigest

WORKFLOW = Path(__file__).parents[2] / "workflow"


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "deep" / "__init__.py").write_text("")
    (tmp_path / "ground.py").write_text("def f():\n    return 1\n")
    (tmp_path / "stage.py").write_text(
        '"""Doc."""\nfrom langtailor.deep.part import g\n\n'
        "def run():\n    from langtailor import ground\n    return ground\n"
    )
    (tmp_path / "deep" / "part.py").write_text("def g():\n    return 2\n")
    (tmp_path / "other.py").write_text("x = 1\n")
    (tmp_path / "config.py").write_text("size = 1\n")
    monkeypatch.setattr(codedigest, "_ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    """What a new process would not know."""
    for function in (codedigest.code_digest, codedigest._path, codedigest._source, codedigest._memory):
        function.cache_clear()


def digest():
    forget()
    return codedigest.code_digest("stage")


@pytest.mark.parametrize("changed", ["stage.py", "ground.py", "deep/part.py"])
def test_changing_a_module_that_the_stage_reaches_changes_the_digest(package, changed):
    before = digest()
    (package / changed).write_text((package / changed).read_text().replace("return", "return not"))
    assert digest() != before


@pytest.mark.parametrize("changed", ["other.py", "config.py"])
def test_changing_any_other_module_does_not(package, changed):
    before = digest()
    (package / changed).write_text("x = 2\n")
    assert digest() == before


def test_comments_docstrings_and_layout_do_not_count(package):
    before = digest()
    (package / "ground.py").write_text('"""New."""\n# why\n\n\ndef f():\n    """Say one."""\n    return (1)\n')
    assert digest() == before


def test_a_template_that_a_module_names_is_part_of_it(package):
    (package / "stage.py").write_text((package / "stage.py").read_text() + 'PAGE = "page.jinja"\n')
    before = digest()
    (package / "page.jinja").write_text("{{ page }}")
    with_template = digest()
    assert with_template != before
    (package / "page.jinja").write_text("{{ another }}")
    assert digest() not in (before, with_template)


@pytest.mark.parametrize("rules", sorted((WORKFLOW / "rules").glob("*.smk")), ids=lambda path: path.stem)
def test_every_rule_names_the_modules_that_its_script_imports(rules):
    text = rules.read_text(encoding="utf-8")
    pairs = re.findall(r'code=code_digest\((.+?)\),\n *script:\n *"\.\./scripts/(\w+)\.py"', text)
    assert len(pairs) == len(re.findall(r"^ *script:$", text, re.MULTILINE))
    for named, script in pairs:
        tree = ast.parse((WORKFLOW / "scripts" / f"{script}.py").read_text(encoding="utf-8"))
        modules = re.findall(r'"([\w.]+)"', named)
        reached = codedigest._reachable([f"langtailor.{module}" for module in modules]) | codedigest._NEUTRAL
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name for name in imported if name.startswith("langtailor")} <= reached, script


def test_what_is_remembered_of_a_module_is_what_parsing_finds(package, monkeypatch):
    parsed = []
    parse = codedigest._parse
    monkeypatch.setattr(codedigest, "_parse", lambda name, *source: parsed.append(name) or parse(name, *source))
    first = digest()
    assert len(parsed) == 4
    assert digest() == first
    assert len(parsed) == 4, "nothing is parsed again"
    (package / "ground.py").write_text("def f():\n    return 3\n")
    changed = digest()
    assert parsed[4:] == ["langtailor.ground"]
    (package / "__pycache__" / "codedigest.json").write_text("[damaged")
    assert digest() == changed != first


def test_an_unknown_module_is_an_error(package):
    with pytest.raises(ModuleNotFoundError):
        codedigest.code_digest("nowhere")


def test_every_stage_of_the_real_package_has_a_digest_of_its_own():
    stages = ["teacher", "corpus.sources", "corpus.build", "counting", "selection", "cloning", "vectors"]
    digests = [codedigest.code_digest(stage) for stage in stages]
    assert len(set(digests)) == len(stages)
