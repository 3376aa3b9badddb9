"""A wrong configuration is refused in one message: the key, what was found, what is allowed, what to write."""

import pytest
import yaml

from langtailor.config.yaml_file import ConfigFile
from langtailor.errors import ConfigError
from langtailor.planning.configuration import load_settings, read_settings
from tests.workflow.conftest import changed

BASE = {
    "target_languages": ["tr"],
    "teacher": {"model": "owner/model"},
    "corpus": {"sources": {"sample": {"kind": "sample"}}, "languages": {"tr": {}, "en": {}}},
}


def message(tmp_path, config, text=None):
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump(config) if text is None else text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(config, [file])
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        # Numbers and text.
        (
            "distillation.learning_rate",
            "5e-5",
            "must be a number; found '5e-5', which YAML reads as text; write 5.0e-5",
        ),
        ("distillation.learning_rate", "1e3", "must be a number; found '1e3', which YAML reads as text; write 1000.0"),
        ("distillation.language_weights", "{tr: 1E22}", "found '1E22', which YAML reads as text; write 1.0e+22"),
        ("distillation.learning_rate", "'0.1'", "must be a number; found '0.1', which YAML reads as text; write 0.1"),
        ("distillation.learning_rate", "fast", "must be a number; found 'fast'"),
        ("vocabulary.size", "1e3", "must be a whole number; found '1e3', which YAML reads as text; write 1000"),
        ("vocabulary.size", "1.0e+3", "must be a whole number; found 1000.0; write 1000"),
        ("vocabulary.size", "1.5", "must be a whole number; found 1.5"),
        ("vocabulary.size", "true", "must be a whole number; found true"),
        ("vocabulary.size", "-3", "must be greater than or equal to 1; found -3"),
        ("run", "2024", 'must be text; found 2024; put it in quotes: "2024"'),
        ("run", "2024-01-01", 'must be text; found 2024-01-01; put it in quotes: "2024-01-01"'),
        ("distillation.dropout", "'on'", "must be true or false; found 'on'; write true without quotes"),
        ("distillation.dropout", "1", "must be true or false; found 1"),
        ("teacher.dtype", "float8", "must be 'float32' or 'bfloat16'; found 'float8'"),
        ("distillation.interpolation", "1.5", "must be less than or equal to 1; found 1.5"),
        ("distillation.interpolation", "[0.5, 1.5]", "must be less than or equal to 1; found 1.5"),
        ("distillation.interpolation", "half", "'half'"),
        ("distillation.interpolation", "[]", "the list is empty; give at least one share"),
        # What is not finite.
        ("distillation.learning_rate", ".inf", "must be a finite number; found .inf"),
        ("distillation.epochs", ".nan", "must be a finite number; found .nan"),
        ("distillation.language_weights", "{tr: -.inf}", "must be a finite number; found -.inf"),
        ("corpus.languages.tr", "{weight: .inf}", "must be a finite number; found .inf"),
        ("vocabulary.size", ".inf", "must be a whole number; found .inf"),
        ("distillation.objective", "{cosine: .inf}", "must be a finite number; found .inf"),
        # Twice the same.
        ("target_languages", "[tr, tr]", "'tr' appears twice; name each once"),
        ("vocabulary.keep_tokens", "[a, b, a]", "'a' appears twice"),
        ("distillation.objective", "{matryoshka: [8, 16, 8]}", "8 appears twice"),
        ("evaluation.groups", "[turkish, turkish]", "'turkish' appears twice"),
        ("evaluation.tasks", "{m: {kind: mteb, task: X, languages: [tur, tur]}}", "'tur' appears twice"),
        ("evaluation.tasks", "{m: {kind: sts, path: x, columns: [a, a, b]}}", "'a' appears twice"),
        # Shapes.
        ("target_languages", "tr", "must be a list; found 'tr'; write [tr]"),
        ("variants", "{}", "must not be empty; found {}"),
        ("vocabulary", "5", "must hold keys and values; found 5"),
        ("vocabulary", "null", "must hold keys and values; found null; write {} for the defaults"),
        ("corpus.languages.tr", "null", "must hold keys and values; found null; write {} for the defaults"),
        ("evaluation.groups", "turkish", "must be a list; found 'turkish'; write [turkish]"),
        ("evaluation.groups", "5", "must be a list; found 5"),
        ("evaluation.groups", "[[1]]", "must be 'turkish' or 'turkish-retrieval'; found [1]"),
        ("evaluation.tasks", "{m: {kind: sts, path: x, columns: [a, b, c, d]}}", "must have 3 entries"),
        ("teacher", "{}", "is missing and has no default"),
        ("teacher.model", "''", "must not be empty; found ''"),
        # Names and paths.
        ("run", "../up", "must be a name of letters, digits, `_` and `-`"),
        ("variants", "{../x: {}}", "the key '../x' must be a name of letters, digits"),
        (
            "results",
            "out{1}",
            "a path must not contain '{', which Snakemake reads as a pattern; rename it; found 'out{1}'",
        ),
        ("results", "<out>", "a path must not contain '<'"),
        ("results", "~nobody-of-this-name/x", "there is no such home folder; write the full path, or start it with ./"),
        ("teacher.model", "./my{model}", "a path must not contain '{'"),
        ("vocabulary.graft", "{donor: './a}b'}", "a path must not contain '}'"),
        ("distillation.validation_sts", "{path: '{x}.csv'}", "a path must not contain '{'"),
        ("corpus.sources.sample", "{kind: files, path: 'a/{lang}/{b}'}", "a path must not contain '{'"),
        ("evaluation.tasks", "{m: {kind: clustering, path: '{x}.csv'}}", "a path must not contain '{'"),
        ("corpus.sources.sample", "{kind: hub, dataset: x}", "must be the `owner/name` of a data set; found 'x'"),
        ("publish.vectors", "x", "must be the `owner/name` of a data set; found 'x'"),
        (
            "publish.repo",
            "a/{vari}",
            "has the form owner/name, which may contain {variant} for the variant; found 'a/{vari}'",
        ),
        # Unknown keys and kinds.
        ("vocabluary", "{size: 5}", "there is no such key; did you mean `vocabulary`?"),
        ("vocabulary.grafts", "{}", "there is no such key; did you mean `graft`?"),
        ("zzz", "1", "there is no such key; the keys here are run, results, seed,"),
        ("evaluation.tasks", "{m: {kind: sts, paht: x}}", "there is no such key; did you mean `path`?"),
        ("evaluation.tasks", "{m: {kind: retreival}}", "found 'retreival'; the kinds of tasks are agreement, bitext, "),
        ("evaluation.tasks", "{m: {path: x}}", "it is missing; the kinds of tasks are agreement, bitext, "),
        ("evaluation.tasks", "{m: {kind: [1]}}", "found [1]; the kinds of tasks are"),
        ("evaluation.tasks", "{m: 5}", "found 5; write keys and values, among them the `kind`: agreement, bitext, "),
        ("evaluation.tasks", "{m: }", "found None; write keys and values, among them the `kind`: agreement, bitext, "),
        ("student.layers", "[0, 0]", "0 appears twice; name each once; found [0, 0]"),
        ("student.layers", "[-1, 0]", "must be greater than or equal to 0; found -1"),
        ("student.layers", "six", "must be a whole number; found 'six'"),
        ("size", "100", "there is no such key; did you mean `vocabulary.size`?"),
        ("chunk", "100", "there is no such key; the keys here are run, results"),
        ("corpus.languages", "[de, en]", "must hold keys and values; found ['de', 'en']; write {de: ..., en: ...}"),
        ("distillation", "false", "must hold keys and values; found false; write null for none"),
        (
            "results",
            "out/{lang}",
            "`{lang}` stands for a language in `corpus.sources` only; write the path of each file",
        ),
        ("evaluation.tasks", "{m: {kind: sts, dataset: stsb}}", "must be the `owner/name` of a data set; found 'stsb'"),
        ("corpus.sources.sample", "{kind: hubb}", "found 'hubb'; the kinds of sources are sample, files, hub"),
        ("corpus.sources.sample", "{}", "it is missing; the kinds of sources are sample, files, hub"),
        # What does not fit together.
        ("target_languages", "[xx]", "found 'xx', which is none of corpus.languages ['en', 'tr']"),
        ("corpus.languages.tr", "{source: web}", "found 'web', which is none of corpus.sources ['sample']"),
        ("corpus", "{sources: {a: {kind: sample}, b: {kind: sample}}, languages: {tr: {}}}", "name one of ['a', 'b']"),
        ("distillation", "{keep: last, interpolation: [0.5, 1.0]}", "with `keep: last` it must be one number"),
        (
            "distillation.objective",
            "{cosine: 0}",
            "give at least one of cosine, hidden_states, mse, relational, contrastive a weight",
        ),
        ("distillation.keep", "sts", "`keep: sts` needs `validation_sts`"),
        ("vocabulary.graft", "{tokens: w.txt, donor: a/b}", "found 'a/b', but `tokens` names the words; give one"),
        ("vocabulary.graft", "{tokens: w.txt, policy: marginal}", "found 'marginal', but `tokens` names the words"),
        (
            "distillation",
            "{new_rows_only: 0.9, embeddings_only: 0.9}",
            "new_rows_only and embeddings_only add up to 1.8",
        ),
        ("vocabulary.drop_pattern", "(", "found '(', which is not a regular expression"),
        (
            "vocabulary",
            "{size: 100, pad_to_multiple_of: 64}",
            "found 100; it must be a multiple of pad_to_multiple_of, 64",
        ),
        ("corpus.short", "{share: 0.5, tokens: 512}", "found 512; it must be less than chunk_tokens, 512"),
        ("evaluation.tasks", "{m: {kind: sts}}", "give exactly one of path and dataset"),
        ("evaluation.tasks", "{m: {kind: bitext, source: xx}}", "found 'xx', which is none of corpus.languages"),
        ("evaluation.tasks", "{manifest: {kind: agreement}}", "a task cannot have this name: `manifest.json` lists"),
        ("corpus.languages", "{all: {}, en: {}}", "a language cannot have this name, under which scores have"),
        # A variant.
        ("variants", "{small: {vocabulary: {sizes: 1}}}", "there is no such key; did you mean `size`?"),
        ("variants", "{small: {distillation: {learning_rate: 5e-5}}}", "write 5.0e-5"),
        ("variants", "{small: {distillation: {epochs: .inf}}}", "must be a finite number"),
    ],
)
def test_the_message_says_what_was_found_and_what_to_write(tmp_path, key, text, says):
    said = message(tmp_path, changed(BASE, {key: yaml.safe_load(text)}))
    assert said.startswith(f"config `{key}")
    assert says in said
    assert "pydantic" not in said
    assert "[type=" not in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("target_languages: [no]", "target_languages[0]"),
        ("variants: {small: {vocabulary: {sizes: 1}}}", "variants.small.vocabulary.sizes"),
        ("evaluation: {tasks: {m: {kind: sts, paht: x}}}", "evaluation.tasks.m.paht"),
        ("evaluation: {tasks: {m: {kind: sts, path: x, columns: [a, b, 1.5]}}}", "evaluation.tasks.m.columns[2]"),
        ("teacher: {}", "teacher.model"),
        ("corpus: {sources: {w: {kind: hub, dataset: 5}}, languages: {tr: {}}}", "corpus.sources.w.dataset"),
    ],
)
def test_the_key_is_that_of_the_file(tmp_path, text, key):
    assert message(tmp_path, {**BASE, **yaml.safe_load(text)}, text).startswith(f"config `{key}`: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "corpus: {languages: {no: {}}}",
            'config `corpus.languages`: the key no is not text: YAML reads it as false; put it in quotes: "no"',
        ),
        ("on: 1", 'config `(top level)`: the key on is not text: YAML reads it as true; put it in quotes: "on"'),
        (
            "variants: {1: {}}",
            'config `variants`: the key 1 is not text: YAML reads it as a number; put it in quotes: "1"',
        ),
        ("variants: {010: {}}", 'the key 010 is not text: YAML reads it as a number; put it in quotes: "010"'),
        ("variants: {1.5: {}}", "the key 1.5 is not text: YAML reads it as a number"),
        ("variants: {2024-01-01: {}}", "the key 2024-01-01 is not text: YAML reads it as a date"),
        ("variants: {~: {}}", 'the key ~ is not text: YAML reads it as null; put it in quotes: "~"'),
        (
            "corpus: {sources: [{Off: 1}]}",
            "config `corpus.sources[0]`: the key Off is not text: YAML reads it as false",
        ),
    ],
)
def test_a_key_that_yaml_does_not_read_as_text_is_named_as_it_is_written(tmp_path, text, says):
    assert says in message(tmp_path, yaml.safe_load(text), text)


def test_a_key_of_unknown_spelling_is_named_by_what_yaml_made_of_it():
    with pytest.raises(ConfigError, match='the key no is not text: YAML reads it as false; put it in quotes: "no"'):
        load_settings({False: {}})


@pytest.mark.parametrize(
    ("written", "read", "key"),
    [("no", "false", "run"), ("Off", "false", "run"), ("12:30", "750", "run"), ("0x10", "16", "run")],
)
def test_a_value_that_yaml_does_not_read_as_text_is_shown_as_it_is_written(tmp_path, written, read, key):
    said = message(tmp_path, {**BASE, key: yaml.safe_load(written)}, f"{key}: {written}")
    assert f'must be text; found {read}, which is how YAML reads {written}; put it in quotes: "{written}"' in said


def test_of_several_problems_the_others_are_counted(tmp_path):
    said = message(tmp_path, {**BASE, "seed": -1, "run": "../x", "vocabulary": {"size": 0}})
    assert "(and 2 more after this one)" in said


@pytest.mark.parametrize(
    ("config", "says"), [(None, "is empty"), ({}, "is empty"), ([1], "must hold keys and values"), ("x", "found 'x'")]
)
def test_what_is_no_configuration_is_refused(config, says):
    with pytest.raises(ConfigError, match=f"config `.top level.`: .*{says}.*start from one of the files in config/"):
        load_settings(config)


@pytest.mark.parametrize("content", [b"\xff", b"a: [", b"a: b: c"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "my.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"my\.yaml`: cannot be read as a configuration"):
        read_settings(tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("values", "key", "shards"),
    [
        ({"corpus.quotas": {"train": 10**9}}, "corpus.quotas", "200,002"),
        ({"corpus.languages.en": {"quotas": {"train": 10**15}}}, "corpus.languages.en.quotas", "100,000,000,003"),
        ({"corpus.quotas": {"train": 10**6}, "vectors": {"shard_passages": 10}}, "corpus.quotas", "200,400"),
        ({"corpus.languages.tr": {"shard_passages": 1}, "corpus.quotas": {"train": 10**5}}, "corpus.quotas", "102,011"),
    ],
)
def test_quotas_that_plan_too_many_shards_are_refused_with_their_number(tmp_path, values, key, shards):
    said = message(tmp_path, changed(BASE, values))
    assert said.startswith(f"config `{key}`: ")
    assert f"would plan {shards} shards of teacher vectors, more than 100,000" in said


def test_a_hundred_thousand_shards_can_be_planned():
    config = changed(
        BASE, {"corpus.quotas": {"train": 49_998, "validation": 1, "test": 1}, "vectors.shard_passages": 1}
    )
    settings = load_settings(config)
    assert sum(len(settings.shards(lang)) for lang in ("en", "tr")) == 100_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("run: a\nseed: 1\nrun: b\n", "config `run`: is given twice in .*, in lines 1 and 3"),
        ("a:\n  b:\n    - {c: 1}\n    - {c: 2, c: 3}\n", "config `a.b.c`: is given twice in .*, in lines 4 and 4"),
        ('variants: {x: {}, "x": {}}', "config `variants.x`"),
        ('{\n\t"run": "a",\n\t"run": "b"}', "config `run`: is given twice in .*, in lines 2 and 3"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(tmp_path, text, says):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        ConfigFile.read(file).refuse_repeated_keys()


@pytest.mark.parametrize(
    "text",
    ["", "a: {b: 1}\nc: {b: 1}\n", "- {a: 1}\n- {a: 1}\n", '{\n\t"a": 1}', "a: &a {b: 1}\nc: *a\n", "a: &a [*a]\n"],
)
def test_keys_of_different_places_may_be_equal(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    ConfigFile.read(file).refuse_repeated_keys()
