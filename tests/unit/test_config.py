"""The configuration is described once, and a wrong value is named."""

from pathlib import Path

import pytest
import yaml

from langtailor.config.loading import refuse_repeated_keys, refuse_unwritable
from langtailor.config.task_groups import TASK_GROUPS
from langtailor.errors import ConfigError
from langtailor.planning.configuration import descriptions, load_settings

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


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(recipe):
    settings = load_settings(yaml.safe_load(recipe.read_text(encoding="utf-8")))
    assert settings.variants


def test_a_group_adds_its_tasks_to_those_described():
    described = {"fertility": {"kind": "fertility"}, "mteb-STS17": {"kind": "mteb", "task": "STS17"}}
    settings = load_settings(minimal(evaluation={"groups": ["turkish"], "tasks": described}))
    tasks = settings.evaluation.tasks
    assert len(tasks) == len(TASK_GROUPS["turkish"]) + 1
    assert tasks["mteb-STS17"].languages == ()  # as described, not as the group has it
    assert tasks["mteb-STS22-v2"].task == "STS22.v2"
    assert tasks["mteb-STS22-v2"].languages == ("tur",)
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


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        ({"vocabulary": {"size": -3}}, "vocabulary.size", "greater than or equal to 1; found -3"),
        ({"vocabulary": {"sise": 5}}, "vocabulary.sise", "not permitted"),
        ({"run": "../up"}, "run", "found '../up'"),
        ({"variants": {"../x": {}}}, "variants", "../x"),
        ({"target_languages": ["xx"]}, "(whole)", "'xx' is not one of corpus.languages"),
        ({"distillation": {"objective": {"cosine": 0}}}, "distillation.objective", "every weight is 0"),
        ({"vocabulary": {"drop_pattern": "("}}, "vocabulary", "not a regular expression"),
        ({"variants": {"small": {"vocabulary": {"sizes": 1}}}}, "variants.small.vocabulary.sizes", "not permitted"),
        (
            {"evaluation": {"tasks": {"x": {"kind": "sts"}}}},
            "evaluation.tasks.x",
            "exactly one of path and dataset",
        ),
        ({"evaluation": {"tasks": {"x": {"kind": "nope"}}}}, "evaluation.tasks.x", "nope"),
    ],
)
def test_a_wrong_value_names_the_key_and_the_value(change, key, says):
    with pytest.raises(ConfigError) as caught:
        load_settings(minimal(**change))
    assert caught.value.key.startswith(key)
    assert says in str(caught.value)


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
    assert settings.shards("tr") == (10, 10, 10, 5)
    assert settings.shards("ja") == (4, 4, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("run: a\nseed: 1\nrun: b\n", "config `run`: stands twice in .*, in lines 1 and 3"),
        ("a:\n  b:\n    - {c: 1}\n    - {c: 2, c: 3}\n", "config `a.b.c`: stands twice in .*, in lines 4 and 4"),
        ('variants: {x: {}, "x": {}}', "config `variants.x`"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(tmp_path, text, says):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        refuse_repeated_keys(file)


@pytest.mark.parametrize("text", ["", "a: {b: 1}\nc: {b: 1}\n", "- {a: 1}\n- {a: 1}\n", '{\n\t"a": 1}'])
def test_keys_of_different_places_may_be_equal(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    refuse_repeated_keys(file)


def test_results_go_where_something_can_be_written(tmp_path):
    refuse_unwritable(tmp_path / "new" / "run")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"config `results`: .*file/run cannot be made in .*file: it is a file"):
        refuse_unwritable(tmp_path / "file" / "run")
