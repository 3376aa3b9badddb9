"""The command `langtailor`: what `init` writes and refuses, and the calls that the others make."""

import io
import re
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from langtailor.command import __main__ as command
from langtailor.command.call import repository, snakemake_call
from langtailor.command.init import yaml_scalar
from langtailor.config.base import NAME_PATTERN
from langtailor.planning.configuration import read_settings, run_name

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    """A standard input with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working directory, and nobody at a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return tmp_path


def langtailor(*arguments: str) -> int:
    return command.main(arguments)


def test_init_writes_a_configuration_that_cuts_alone(capsys):
    assert langtailor("init", "--languages", "en,tr") == 0
    settings = read_settings(Path("langtailor.yaml"))
    assert (settings.teacher.model, settings.teacher.prompt) == ("intfloat/multilingual-e5-small", "query: ")
    assert sorted(settings.corpus.languages) == ["en", "tr"]
    assert (settings.vocabulary.size, settings.distillation, settings.run) == (32_768, None, "langtailor")
    assert settings.source("tr").dataset == "wikimedia/wikipedia"
    assert "langtailor run langtailor.yaml" in capsys.readouterr().out


def test_init_takes_text_prompt_and_a_language_that_yaml_would_misread():
    options = ("--teacher", "owner/model", "--size", "16,384", "--prompt", "text: ", "--text", "my text/{lang}.txt")
    assert langtailor("init", "--languages", "no, en", "--target", "two languages.yaml", *options) == 0
    settings = read_settings(Path("two languages.yaml"))
    assert list(settings.corpus.languages) == ["no", "en"]
    assert (settings.teacher.model, settings.teacher.prompt) == ("owner/model", "text: ")
    assert (settings.vocabulary.size, settings.run) == (16_384, "two-languages")
    assert settings.source("no").path == "my text/{lang}.txt"


def test_init_takes_a_language_that_is_named_twice_once():
    assert langtailor("init", "--languages", "en,tr,en") == 0
    assert list(read_settings(Path("langtailor.yaml")).corpus.languages) == ["en", "tr"]


def test_commands_name_a_file_with_spaces_as_a_shell_takes_it(folder, capsys):
    (folder / "my files").mkdir()
    assert langtailor("plan", "my files/my config.yaml") == 1
    assert "`langtailor init --target 'my files/my config.yaml'`" in capsys.readouterr().err
    assert langtailor("init", "--languages", "en", "--target", "my files/my config.yaml") == 0
    assert "langtailor run 'my files/my config.yaml'" in capsys.readouterr().out
    assert "# langtailor run 'my config.yaml': runs it" in (folder / "my files" / "my config.yaml").read_text("utf-8")
    assert langtailor("open", "my files/my config.yaml") == 1
    assert "`langtailor run 'my files/my config.yaml'`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("teacher", "prompt"),
    [
        ("intfloat/e5-base-v2", "query: "),
        ("intfloat/multilingual-e5-large", "query: "),
        ("intfloat/multilingual-e5-large-instruct", None),
        ("BAAI/bge-m3", None),
    ],
)
def test_init_knows_the_prompt_of_e5_models_alone(teacher, prompt):
    assert langtailor("init", "--languages", "en", "--teacher", teacher) == 0
    assert read_settings(Path("langtailor.yaml")).teacher.prompt == prompt


def test_init_takes_a_folder_for_a_folder(folder):
    (folder / "models" / "mine").mkdir(parents=True)
    assert langtailor("init", "--languages", "en", "--teacher", "models/mine") == 0
    assert read_settings(Path("langtailor.yaml")).teacher.model == "./models/mine"


def test_every_line_of_the_configuration_fits_an_editor():
    assert langtailor("init", "--languages", "en,tr") == 0
    lines = Path("langtailor.yaml").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 120
    assert sum(line.lstrip().startswith("#") for line in lines) >= 8


def test_init_overwrites_nothing(capsys):
    Path("mine.yaml").write_text("run: mine\n", encoding="utf-8")
    assert langtailor("init", "--languages", "en", "--target", "mine.yaml") == 1
    assert Path("mine.yaml").read_text(encoding="utf-8") == "run: mine\n"
    assert "error: mine.yaml: already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "error: --languages is missing"),
        (("--languages", "en", "--size", "many"), "error: --size: must be a whole number; found 'many'"),
        (("--languages", "en", "--size", "0"), "error: config `vocabulary.size`: must be greater than or equal to 1"),
        (("--languages", "en,e n"), "error: config `corpus.languages"),
        (("--languages", ","), "error: --languages: found ',', which names no language; write en,tr"),
        (("--languages", "en", "--target", "nowhere/my.yaml"), "error: nowhere/my.yaml: cannot be written"),
    ],
)
def test_init_refuses_by_name_and_writes_nothing(folder, capsys, options, says):
    assert langtailor("init", *options) == 1
    assert says in capsys.readouterr().err
    assert list(folder.rglob("*.yaml")) == []


def test_init_asks_at_a_terminal_for_what_no_option_says(monkeypatch):
    answers = {"Model": "", "Languages": " tr ", "File": "asked.yaml"}
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda prompt: answers.pop(prompt.split()[0]))
    assert langtailor("init", "--size", "900") == 0
    assert answers == {}, "all of them were asked for, and the size was not"
    settings = read_settings(Path("asked.yaml"))
    assert settings.teacher.model == "intfloat/multilingual-e5-small"
    assert (list(settings.corpus.languages), settings.vocabulary.size) == (["tr"], 900)


def test_init_that_is_broken_off_writes_nothing(folder, monkeypatch):
    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", interrupt)
    assert langtailor("init") == 130
    assert list(folder.iterdir()) == []


def test_plan_and_run_call_snakemake_on_the_workflow(folder):
    (folder / "my.yaml").touch()
    start = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "my.yaml"]
    my = Path("my.yaml")
    assert snakemake_call(my) == [*start, "--cores", "all"]
    assert snakemake_call(my, ["tokenizer"], dry_run=True) == [*start, "--cores", "all", "--dry-run", "tokenizer"]
    assert snakemake_call(my, profile="gpu") == [*start, "--profile", str(ROOT / "profiles" / "gpu")]
    assert snakemake_call(my, profile="of-mine") == [*start, "--profile", "of-mine"]


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("run", "my.yaml", "--", "tokenizer", "--cores", "2"), {"arguments": ["tokenizer", "--cores", "2"]}),
        (("plan", "my.yaml", "--profile", "gpu"), {"profile": "gpu", "dry_run": True}),
    ],
)
def test_arguments_reach_the_call(folder, monkeypatch, arguments, call):
    (folder / "my.yaml").touch()
    executed = []
    monkeypatch.setattr(command, "execute", executed.append)
    assert langtailor(*arguments) == 0
    assert executed == [snakemake_call(Path("my.yaml"), **call)]


@pytest.mark.parametrize("name", ["plan", "run", "open"])
def test_a_missing_configuration_is_named(name, capsys):
    assert langtailor(name, "none.yaml") == 1
    assert "error: none.yaml: there is no such file; `langtailor init --target none.yaml`" in capsys.readouterr().err


def test_open_shows_the_report_and_says_where_there_is_none(folder, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    langtailor("init", "--languages", "en", "--target", "my.yaml")
    capsys.readouterr()
    assert langtailor("open", "my.yaml") == 1
    report = folder / "results" / "my" / "report.html"
    assert f"error: {report}: there is no report yet; make it with `langtailor run my.yaml`" in capsys.readouterr().err
    report.parent.mkdir(parents=True)
    report.touch()
    assert langtailor("open", "my.yaml") == 0
    assert capsys.readouterr().out == f"{report}\n"
    assert shown == [report.as_uri()]


def test_what_goes_to_snakemake_is_refused_where_nothing_does(capsys):
    with pytest.raises(SystemExit):
        langtailor("open", "my.yaml", "--", "--cores", "2")
    assert "no arguments are passed to Snakemake here; found --cores 2 after --" in capsys.readouterr().err


def test_a_checkout_is_its_own_repository():
    assert repository() == ROOT


@given(st.text())
def test_a_value_is_read_back_as_it_was_given(value):
    assert yaml.safe_load(yaml_scalar(value)) == value


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1))
def test_any_file_gives_a_name_to_the_run(name):
    assert re.fullmatch(NAME_PATTERN, run_name(Path(name)))


@pytest.mark.parametrize("names", [("日本.yaml", "東京.yaml"), ("a" * 80 + ".yaml", "a" * 79 + "b.yaml")])
def test_files_whose_names_cannot_name_a_run_have_runs_of_their_own(folder, names):
    for name in names:
        assert langtailor("init", "--languages", "en", "--target", name) == 0
        (folder / name).write_text((folder / name).read_text("utf-8").replace("\nrun: ", "\n# run: "), "utf-8")
    first, second = (read_settings(Path(name)).run for name in names)
    assert first != second
