"""The configuration is described once, and a wrong value is named."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from langtailor.config.command_line import with_typed_arguments
from langtailor.config.corpus import HubSource
from langtailor.config.evaluation import task_kinds
from langtailor.config.loading import refuse_unwritable
from langtailor.config.task_groups import TASK_GROUPS
from langtailor.config.vectors import Shard, packed
from langtailor.errors import ConfigError
from langtailor.planning.configuration import descriptions, load_settings, read_settings

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.name != "schema.yaml")


def minimal(**changes):
    config = {
        "target_languages": ["tr"],
        "teacher": {"model": "owner/model"},
        "corpus": {"sources": {"sample": {"kind": "sample"}}, "languages": {"tr": {}, "en": {}}},
    }
    config.update(changes)
    return config


def test_the_files_that_describe_the_settings_are_up_to_date():
    written = descriptions()
    assert written == {name: (ROOT / "config" / name).read_text(encoding="utf-8") for name in written}


def test_variants_are_not_published_in_one_repository():
    several = minimal(variants={"a": {}, "b": {}}, publish={"repo": "me/mine"})
    with pytest.raises(ConfigError, match=r"`publish\.repo`: there are 2 variants .* put \{variant\} into its name"):
        load_settings(several)
    assert load_settings({**several, "publish": {"repo": "me/mine-{variant}"}}).publish.model_repo("a") == "me/mine-a"
    assert load_settings(minimal(publish={"repo": "me/mine"})).publish.model_repo("tailored") == "me/mine"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_for_the_workflow_and_for_editors(recipe):
    assert read_settings(recipe).variants
    schema = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(recipe.read_text(encoding="utf-8")), schema)


def test_a_group_adds_its_tasks_to_those_described():
    described = {"fertility": {"kind": "fertility"}, "mteb-STS17": {"kind": "mteb", "task": "STS17"}}
    settings = load_settings(minimal(evaluation={"groups": ["turkish"], "tasks": described}))
    tasks = settings.evaluation.tasks
    assert len(tasks) == len(TASK_GROUPS["turkish"]) + 1
    assert tasks["mteb-STS17"].languages == ()  # as described, not as the group has it
    assert tasks["mteb-STS22-v2"].task == "STS22.v2"
    assert tasks["mteb-STS22-v2"].languages == ("tur",)
    retrieval = load_settings(minimal(evaluation={"groups": ["turkish-retrieval"], "tasks": {}})).evaluation.tasks
    assert len(retrieval) == 6
    assert {task.task for task in retrieval.values()} < {*TASK_GROUPS["turkish"]}
    by_default = load_settings(minimal(evaluation={"groups": ["turkish"]})).evaluation.tasks
    assert {"agreement", "fertility", "mteb-XNLI"} <= set(by_default)
    with pytest.raises(ConfigError, match=r"evaluation\.groups"):
        load_settings(minimal(evaluation={"groups": ["klingon"]}))


def test_the_paper_recipe_says_what_the_paper_says():
    settings = load_settings(yaml.safe_load((ROOT / "config" / "turkish-200m.yaml").read_text(encoding="utf-8")))
    assert len(settings.corpus.languages) == 40
    assert [settings.quotas(lang).train for lang in ("tr", "en", "cy")] == [100_000, 100_000, 10_000]
    training = settings.variant("tailored").distillation
    assert (training.epochs, training.batch_size, training.learning_rate) == (1, 256, 5e-5)
    assert settings.variant("tailored").vocabulary.size == 131_072


def test_a_variant_changes_only_what_it_names():
    config = minimal(
        vocabulary={"size": 2048, "graft": {"share": 0.5}},
        variants={"base": {}, "small": {"vocabulary": {"size": 1024, "graft": {"min_count": 7}}}},
    )
    settings = load_settings(config)
    assert settings.variant("base").vocabulary.size == 2048
    small = settings.variant("small").vocabulary
    assert (small.size, small.graft.share, small.graft.min_count) == (1024, 0.5, 7)
    assert settings.variant("small").distillation == settings.variant("base").distillation


def test_shards_follow_from_the_quotas_alone():
    settings = load_settings(
        minimal(
            corpus={
                "sources": {"sample": {"kind": "sample"}},
                "languages": {
                    "tr": {"quotas": {"train": 25, "validation": 10, "test": 0}},
                    "ja": {"quotas": {"train": 8, "validation": 1, "test": 1}, "shard_passages": 4},
                },
            },
            vectors={"shard_passages": 10},
        )
    )
    assert [shard.passages for shard in settings.shards("tr")] == [10, 10, 10, 5]
    assert [shard.passages for shard in settings.shards("ja")] == [4, 4, 2]
    assert [shard.start for shard in settings.shards("ja")] == [0, 4, 8]


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 60))
def test_a_job_has_as_many_consecutive_shards_as_it_may(passages, most):
    shards = [Shard("xx", number, 0, count, count) for number, count in enumerate(passages)]
    jobs = packed(shards, most)
    assert [shard for job in jobs for shard in job] == shards
    assert all(sum(shard.passages for shard in job) <= most for job in jobs if len(job) > 1)
    assert all(sum(s.passages for s in job) + after[0].passages > most for job, after in pairwise(jobs))


def test_results_go_where_something_can_be_written(tmp_path):
    refuse_unwritable(tmp_path / "new" / "run")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"config `results`: .*file/run cannot be made in .*file: it is a file"):
        refuse_unwritable(tmp_path / "file" / "run")


def test_paths_of_the_user_start_at_the_home_folder_and_others_stay_as_they_are(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    tasks = {
        "sts": {"kind": "sts", "path": "~/pairs.csv"},
        "bitext": {"kind": "bitext", "source": "./a", "target": "b"},
    }
    settings = load_settings(minimal(results="~/out", evaluation={"tasks": tasks}))
    assert settings.root == Path("/home/someone/out/langtailor")
    assert settings.task_needs("sts").files == ("/home/someone/pairs.csv",)
    assert settings.task_needs("bitext").files == ("./a", "b")
    distillation = {"validation_sts": {"path": "~/dev.csv"}}
    assert load_settings(minimal(distillation=distillation)).distillation.validation_sts.path == "/home/someone/dev.csv"


@pytest.mark.parametrize(
    ("argument", "typed"),
    [
        ({"vocabulary": {"size": "128"}}, {"vocabulary": {"size": 128}}),
        ({"distillation": {"learning_rate": "5e-5"}}, {"distillation": {"learning_rate": 5e-5}}),
        (
            {"distillation": {"max_length": "null", "dropout": "true"}},
            {"distillation": {"max_length": None, "dropout": True}},
        ),
        (
            {"distillation": {"objective": {"matryoshka": ["8", "16"]}}},
            {"distillation": {"objective": {"matryoshka": [8, 16]}}},
        ),
        (
            {"corpus": {"languages": {"tr": {"name_in_source": "007"}}}},
            {"corpus": {"languages": {"tr": {"name_in_source": "007"}}}},
        ),
        ({"run": "2024"}, {"run": "2024"}),
    ],
)
def test_nested_values_of_the_command_line_are_read_as_plain_ones_are(argument, typed):
    assert with_typed_arguments(argument, argument) == typed


def test_a_section_can_be_null_on_the_command_line():
    arguments = {"distillation": "null"}
    assert load_settings(minimal(**arguments), arguments=arguments).distillation is None
    assert with_typed_arguments({"run": "null"}, {}) == {"run": "null"}


def test_text_that_the_command_line_reads_as_a_number_is_sent_to_the_file():
    for key, arguments in (("report.title", {"report": {"title": "2024"}}), ("run", {"run": 2024})):
        with pytest.raises(ConfigError, match=f'`{key}`: must be text, .*write it into the configuration file: "2024"'):
            load_settings(minimal(**arguments), arguments=arguments)
    with pytest.raises(ConfigError, match='put it in quotes: "2024"'):
        load_settings(minimal(report={"title": 2024}), arguments={"seed": 1})


def test_values_that_are_not_of_the_command_line_stay_as_the_file_has_them():
    config = {"distillation": {"learning_rate": "5e-5", "epochs": "2"}, "evaluation": {"bootstrap": "1"}}
    assert with_typed_arguments(config, {"distillation": {"epochs": "2"}, "evaluation": "other"}) == {
        "distillation": {"learning_rate": "5e-5", "epochs": 2},
        "evaluation": {"bootstrap": "1"},
    }


def test_the_reference_has_every_key_with_its_type_default_and_description():
    text = descriptions()["README.md"]
    for row in (
        "| `seed` | whole number (0 or more, less than 4,294,967,296) | `42` | Seed of sampling, initialisation and ",
        "| `distillation.learning_rate` | number (more than 0) | `0.0002` | Peak learning rate of the backbone. ",
        "| `corpus.languages.<language>.weight` | number (more than 0) | `1.0` | ",
        "| `corpus.sources.<name>.dataset` | `owner/name` | *required* | ",
        "| `distillation.objective.temperature` | number (more than 0) | `0.05` | ",
        "| `distillation.validation_sts` | keys below or `null` | `null` | ",
        '| `evaluation.tasks.<name>.label` | text or whole number | `"label"` | ',
        "| `variants.<name>.vocabulary` | keys of `vocabulary` | `{}` | ",
    ):
        assert f"\n{row}" in text
    assert text.count(" of the kind `") == len(task_kinds()) + 4, "and four kinds of sources"


# -- the four lines of the README --------------------------------------------------------------------------------------


def readme_config() -> dict[str, Any]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text.split("Write `my.yaml`:")[1].split("```yaml\n")[1].split("```")[0])
    return config


def test_the_readmes_configuration_cuts_a_model_to_its_languages_and_does_nothing_else() -> None:
    settings = load_settings(readme_config())
    assert settings.targets == ("en", "tr")
    assert isinstance(source := settings.source("tr"), HubSource)
    assert (source.dataset, source.subset) == ("wikimedia/wikipedia", "20231101.{lang}")
    assert settings.compared("tailored") == {"teacher": "teacher", "cut": "tailored/clone"}
    assert settings.vector_splits == ("test",)


def test_a_variant_with_new_tokens_is_compared_with_one_that_is_only_cut() -> None:
    graft = {"vocabulary": {"graft": {"share": 0.1}}}
    config = readme_config() | {"distillation": {}, "variants": {"b": graft, "a": graft | {"distillation": None}}}
    settings = load_settings(config)
    assert settings.cut_variants == ("b.cut",)
    cut = {"teacher": "teacher", "cut": "b.cut/clone", "grafted": "b/clone"}
    assert settings.compared("a") == cut
    assert settings.compared("b") == cut | {"trained": "b/student"}
    assert settings.cloned_variants == ["b", "b.cut"]
    assert settings.variant("b.cut") == settings.variant("a").cut_alone()
    assert settings.variant("b.cut").vocabulary.graft.share == 0
    assert settings.vector_splits == ("train", "validation", "test")


@pytest.mark.parametrize(
    ("name", "run"), [("my run.v2.yaml", "my-run-v2"), ("e5_tr.yml", "e5_tr"), ("日本.yaml", "run-cf2abf0c")]
)
def test_a_run_without_a_name_has_that_of_its_file(tmp_path, name: str, run: str) -> None:
    file = tmp_path / name
    config = {key: value for key, value in readme_config().items() if key != "run"}
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert read_settings(file).run == run
    file.write_text(yaml.safe_dump(config | {"run": "named"}), encoding="utf-8")
    assert read_settings(file).run == "named"


@pytest.mark.parametrize("section", ["distillation", "retrieval"])
def test_an_empty_section_of_a_variant_is_one_with_the_defaults(section: str) -> None:
    base = {"teacher": {"model": "./teacher"}, section: None}
    variants = {"named": {section: {}}, "not-named": {}, "off": {section: None}}
    settings = load_settings(readme_config() | base | {"variants": variants})
    given = {name: getattr(settings.variant(name), section) for name in variants}
    assert given["named"] == type(given["named"])() and given["not-named"] is given["off"] is None
    over = load_settings(readme_config() | base | {section: {"epochs": 3.0}, "variants": variants})
    epochs = {name: getattr(over.variant(name), section) for name in variants}
    assert epochs["named"].epochs == epochs["not-named"].epochs == 3 and epochs["off"] is None


def test_variants_that_differ_in_training_alone_share_the_clone_of_the_first() -> None:
    variants = {
        "slow": {"distillation": {"epochs": 2}},
        "fast": {"distillation": {"epochs": 1}},
        "rows": {"initialisation": {"method": "random"}},
        "small": {"vocabulary": {"size": 300}, "distillation": {"epochs": 1}},
        "grafted": {"vocabulary": {"graft": {"share": 0.1}}},
        "random": {"vocabulary": {"graft": {"share": 0.1}}, "initialisation": {"method": "random"}},
    }
    settings = load_settings(readme_config() | {"variants": variants})
    owners = {name: settings.clone_of(name) for name in variants}
    alone = {name: name for name in ("small", "grafted", "random")}
    assert owners == alone | dict.fromkeys(("slow", "fast", "rows"), "slow"), "without new tokens no row is made"
    assert settings.compared("fast") == {"teacher": "teacher", "cut": "slow/clone", "trained": "fast/student"}


def test_shorter_vectors_are_not_compared_with_the_teachers() -> None:
    task = {"kind": "retrieval", "squad": {"tr": "data/tr.json"}, "asymmetric": True}
    config = readme_config() | {"evaluation": {"tasks": {"xquad": task}}}
    assert load_settings(config).task_needs("xquad").teacher
    with pytest.raises(ConfigError, match=r"`evaluation.tasks.xquad.asymmetric`: variant 'short' has 8 dimensions"):
        load_settings(config | {"variants": {"short": {"student": {"dimensions": 8}}}})


def test_a_variant_that_is_only_cut_already_stands_for_it() -> None:
    graft = {"vocabulary": {"graft": {"policy": "marginal"}}}
    settings = load_settings(
        readme_config() | {"variants": {"grafted": graft, "plain": {"distillation": {"epochs": 2}}}}
    )
    assert settings.cut_variants == ()
    assert settings.compared("grafted")["cut"] == "plain/clone"
    assert settings.variant("plain").training.epochs == 2
    assert settings.variant("grafted").distillation is None
