"""The budget is filled in the stated order, protects small languages, and says why each token is there."""

import unicodedata
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from langtailor.clone.clone import clone_model
from langtailor.config.corpus import CleaningSettings, Quotas
from langtailor.config.corpus import SampleSource as Sample
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.corpus.build import build_corpus
from langtailor.corpus.documents import fetch_documents
from langtailor.corpus.reading import read_corpus
from langtailor.counts.count import count_corpora, encode, read_counts
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.storage import tables
from langtailor.storage.artifacts import read_json
from langtailor.surgery.registry import load_family
from langtailor.surgery.segmentation import segment
from langtailor.tokenizer.write import write_tokenizer
from langtailor.vocabulary.alphabet import scripts
from langtailor.vocabulary.select import select_vocabulary
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher

TEACHERS = {
    "WordPiece": make_tiny_bert_teacher,
    "BPE": make_tiny_gemma_teacher,
    "Unigram": make_tiny_xlmr_teacher,
}
LANGUAGES = ("de", "tr")


class Workshop:
    """A teacher, and corpora and counts of the embedded sample made with it."""

    def __init__(self, folder: Path, kind: str) -> None:
        from langtailor.config.teacher import TeacherSettings
        from langtailor.teacher.fetch import fetch_teacher

        self.folder = folder
        original = TEACHERS[kind](folder / "original")
        self.teacher = folder / "teacher"
        fetch_teacher(TeacherSettings(model=str(original)), self.teacher)
        self.family = load_family(self.teacher)
        quotas, cleaning = Quotas(train=90, validation=20, test=20), CleaningSettings(near_duplicate_similarity=None)
        self.corpora, self.counts = {}, {}
        for lang in LANGUAGES:
            documents = folder / f"documents-{lang}.parquet"
            fetch_documents(Sample(kind="sample"), lang, lang, 200, 0, documents, folder / "work")
            self.corpora[lang] = folder / f"corpus-{lang}.parquet"
            build_corpus(documents, self.teacher, lang, 512, cleaning, quotas, 0, self.corpora[lang])
            self.counts[lang] = folder / f"counts-{lang}.parquet"
        count_corpora(self.corpora, self.teacher, self.counts)

    def select(self, name="v", weights=None, *, may_fall_short=False, **settings):
        out = self.folder / f"{name}.parquet"
        select_vocabulary(
            self.teacher,
            counts=self.counts,
            corpora=self.corpora,
            donor=None,
            settings=VocabularySettings(**settings),
            weights=weights or dict.fromkeys(LANGUAGES, 1.0),
            targets=["tr"],
            prompts=[],
            out=out,
            may_fall_short=may_fall_short,
        )
        table, manifest = tables.read_table(out, "vocabulary", tables.VOCABULARY)
        return table.to_pandas(), manifest


@pytest.fixture(scope="module")
def workshops(tmp_path_factory):
    return cache(lambda kind: Workshop(tmp_path_factory.mktemp(kind), kind))


@pytest.fixture(params=list(TEACHERS))
def workshop(request, workshops):
    return workshops(request.param)


def mandatory(workshop):
    """The fewest rows that hold special tokens, alphabet and what they need."""
    with pytest.raises(ConfigError) as caught:
        workshop.select(size=1, graft=GraftSettings(share=0.0))
    return int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))


def test_counts_are_those_of_a_plain_loop(workshop):
    texts = read_corpus(workshop.corpora["tr"], "train")["text"].to_pylist()
    counts = read_counts(workshop.counts["tr"]).counts
    expected = {}
    for ids in encode(open_tokenizer(workshop.teacher), texts):
        for token_id in ids.tolist():
            expected[token_id] = expected.get(token_id, 0) + 1
    assert {i: int(n) for i, n in enumerate(counts) if n} == expected
    assert len(counts) == ModelInfo.read(workshop.teacher).vocabulary_size


def test_the_smallest_size_that_the_error_names_is_enough(workshop):
    least = mandatory(workshop)
    rows, _ = workshop.select(size=least, graft=GraftSettings(share=0.0))
    assert len(rows) == least
    with pytest.raises(ConfigError, match="smallest size"):
        workshop.select(size=least - 1, graft=GraftSettings(share=0.0))


def test_every_id_is_there_once_and_every_token_says_why(workshop):
    rows, manifest = workshop.select(size=mandatory(workshop) + 80, graft=GraftSettings(share=0.1))
    assert rows["new_id"].tolist() == list(range(len(rows)))
    assert rows["token"].is_unique
    assert rows["reason"].str.len().min() > 0
    assert manifest.facts["origins"] == {k: int(v) for k, v in sorted(rows["origin"].value_counts().items())}


def test_special_tokens_and_alphabet_come_before_all_else(workshop):
    rows, _ = workshop.select(size=mandatory(workshop), graft=GraftSettings(share=0.0))
    kept = set(rows["teacher_id"].dropna().astype(int))
    limit = ModelInfo.read(workshop.teacher).vocabulary_size
    wanted = {int(i) for i in (*workshop.family.special_ids(), *workshop.family.alphabet_ids()) if i < limit}
    assert wanted <= kept
    assert "corpus" not in set(rows["origin"])


def test_no_row_lies_beyond_the_teachers_table(workshop):
    """EmbeddingGemma's tokenizer names one token more than the table has rows."""
    rows, _ = workshop.select(size=mandatory(workshop) + 40, graft=GraftSettings(share=0.0))
    assert rows["teacher_id"].dropna().max() < ModelInfo.read(workshop.teacher).vocabulary_size


def test_kept_tokens_are_closed_over_what_they_need(workshop):
    rows, _ = workshop.select(size=mandatory(workshop) + 60, graft=GraftSettings(share=0.0))
    kept = set(rows["teacher_id"].dropna().astype(int))
    for token_id in kept:
        assert set(workshop.family.requirements(token_id)) <= kept


def test_minimums_keep_a_small_language_from_being_drowned(workshops):
    workshop = workshops("WordPiece")
    size = mandatory(workshop) + 30
    drowned = {"de": 1000.0, "tr": 0.001}
    _, without = workshop.select("a", weights=drowned, size=size, coverage=0.0, graft=GraftSettings(share=0.0))
    _, covered = workshop.select("b", weights=drowned, size=size, coverage=0.9, graft=GraftSettings(share=0.0))
    assert covered.facts["coverage"]["tr"] > without.facts["coverage"]["tr"]


def test_grafts_shorten_the_target_language(workshop):
    size = mandatory(workshop) + 120
    rows, _ = workshop.select(size=size, graft=GraftSettings(share=60 / size, min_count=2))
    assert (rows["origin"] == "target-language").sum() > 10
    write_tokenizer(
        workshop.teacher, workshop.folder / "v.parquet", workshop.corpora, ["tr"], workshop.folder / "tokenizer"
    )
    certificate = read_json(workshop.folder / "tokenizer" / "certificate.json", "certificate")
    tr = certificate["languages"]["tr"]["tokens_per_word"]
    assert tr["new"] < tr["pruned"]
    assert certificate["unreachable"] == 0


def test_what_was_chosen_becomes_a_clone_that_opens(workshop):
    size = mandatory(workshop) + 100
    workshop.select("c", size=size, graft=GraftSettings(share=20 / size))
    folder = workshop.folder
    write_tokenizer(workshop.teacher, folder / "c.parquet", workshop.corpora, ["tr"], folder / "c-tokenizer")
    clone_model(
        workshop.teacher,
        folder / "c-tokenizer",
        folder / "c.parquet",
        InitialisationSettings(method="learned"),
        0,
        folder / "c-clone",
    )
    model = load_sentence_transformer(folder / "c-clone", "cpu")
    assert model.encode(["Bugün hava çok güzel."]).shape == (1, ModelInfo.read(workshop.teacher).dimension)


def test_equal_settings_give_equal_bytes(workshops):
    workshop = workshops("Unigram")
    size = mandatory(workshop) + 50
    for name in ("x", "y"):
        workshop.select(name, size=size, graft=GraftSettings(share=0.05))
    assert (workshop.folder / "x.parquet").read_bytes() == (workshop.folder / "y.parquet").read_bytes()


def test_padding_fills_to_the_multiple(workshops):
    workshop = workshops("WordPiece")
    rows, manifest = workshop.select(size=576, min_count=1, pad_to_multiple_of=64, graft=GraftSettings(share=0.0))
    filled = int((rows["origin"] != "padding").sum())
    assert filled % 64 != 0
    assert len(rows) - filled == manifest.facts["origins"]["padding"] == -filled % 64


def test_named_tokens_stay_and_unknown_ones_are_an_error(workshops):
    workshop = workshops("WordPiece")
    rare = workshop.family.tokens[int(read_counts(workshop.counts["de"]).counts.argmin())]
    rows, _ = workshop.select(size=mandatory(workshop) + 5, keep_tokens=(rare,), graft=GraftSettings(share=0.0))
    assert rare in set(rows["token"])
    with pytest.raises(ConfigError, match="no token 'notthere'"):
        workshop.select(size=500, keep_tokens=("notthere",))


def test_a_pattern_drops_what_it_matches(workshops):
    workshop = workshops("WordPiece")
    size = mandatory(workshop) + 200
    rows, _ = workshop.select(size=size, drop_pattern="e", graft=GraftSettings(share=0.0))
    assert not rows[rows["origin"] == "corpus"]["token"].str.contains("e").any()


@pytest.mark.parametrize("alphabet", ["scripts", "corpus"])
def test_a_smaller_alphabet_leaves_out_other_scripts_and_loses_no_text_of_the_corpus(workshops, alphabet):
    workshop = workshops("WordPiece")
    settings = {"size": mandatory(workshop) + 20, "graft": GraftSettings(share=0.0)}
    whole, _ = workshop.select("whole", **settings)
    rows, _ = workshop.select("own", alphabet=alphabet, **settings)
    left_out = set(whole[whole["origin"] == "alphabet"]["token"]) - set(rows[rows["origin"] == "alphabet"]["token"])
    texts = (read_corpus(path, "train", ["text"])["text"].to_pylist() for path in workshop.corpora.values())
    text = "".join(chain.from_iterable(texts))
    assert left_out
    assert not {token.removeprefix("##") for token in left_out} & set(text.lower())
    out = workshop.folder / "own-tokenizer"
    write_tokenizer(workshop.teacher, workshop.folder / "own.parquet", workshop.corpora, ["tr"], out)
    whole_split = read_json(out / "certificate.json", "certificate")["all"]
    assert whole_split["unknown"] <= whole_split["teacher_unknown"]


def test_an_alphabet_of_scripts_keeps_characters_that_the_corpus_could_have(workshops):
    workshop = workshops("WordPiece")
    settings = {"size": mandatory(workshop) + 20, "graft": GraftSettings(share=0.0)}
    kept = {}
    for alphabet in ("full", "scripts", "corpus"):
        rows, _ = workshop.select(alphabet, alphabet=alphabet, **settings)
        kept[alphabet] = set(rows[rows["origin"] == "alphabet"]["token"])
    assert kept["corpus"] < kept["scripts"] < kept["full"]
    left_out = {token.removeprefix("##") for token in kept["full"] - kept["scripts"]}
    assert not any(unicodedata.name(character, "").startswith(("LATIN ", "DIGIT ")) for character in left_out)


@pytest.mark.parametrize("alphabet", ["scripts", "corpus"])
@pytest.mark.parametrize("kind", ["WordPiece", "Unigram"])
@pytest.mark.parametrize("script", ["HANGUL", "CJK"])
def test_unused_tokens_that_fill_the_budget_have_none_of_the_characters_given_up(
    workshops, script, kind, alphabet, caplog
):
    workshop = workshops(kind)
    size = len(workshop.family.tokens) - len(workshop.family.placeholder_ids())
    filled, _ = workshop.select("all", size=size, min_count=0, graft=GraftSettings(share=0.0))
    assert any(has(script, token) for token in filled["token"])
    caplog.clear()
    rows, _ = workshop.select("own", alphabet=alphabet, size=size, min_count=0, graft=GraftSettings(share=0.0))
    assert not any(has(script, token) for token in rows["token"])
    assert f"keep more characters by vocabulary.alphabet ({alphabet})" in caplog.text


def has(script, token):
    return any(unicodedata.name(character, "").startswith(script) for character in token)


def test_the_script_of_a_character_is_unicodes():
    shared = "5(★∞½\u0301 "
    expected = {"a": "Latn", "\u02b0": "Latn", "Ж": "Cyrl", "ሀ": "Ethi", "፡": "Ethi", "\ue000": "Zzzz"}
    expected |= {"漢": "Hani", "々": "Hani", "한": "Hang", "ㅎ": "Hang"}
    assert scripts([*shared, *expected]) == expected


@pytest.mark.parametrize("alphabet", ["scripts", "corpus"])
def test_bytes_stay_whatever_the_corpus_uses(workshops, alphabet):
    workshop = workshops("BPE")
    rows, _ = workshop.select(size=mandatory(workshop) + 5, alphabet=alphabet, graft=GraftSettings(share=0.0))
    kept = set(rows["teacher_id"].dropna().astype(int))
    assert set(workshop.family.alphabet_ids().tolist()) <= kept


def test_ranked_by_loss_what_the_minimums_replace_worst_comes_first(workshop):
    settings = {"size": mandatory(workshop) + 60, "coverage": 0.5, "graft": GraftSettings(share=0.0)}
    rows, _ = workshop.select("loss", ranking="loss", **settings)
    ranked = rows[rows["reason"].str.startswith("expected loss rank")]
    ranks = ranked["reason"].str.rsplit(" ", n=1).str[1].astype(int)
    first = ranked[ranks <= 64]["teacher_id"].astype(int).tolist()
    minimums = (
        rows[(rows["origin"] != "closure") & ~rows.index.isin(ranked.index)]["teacher_id"].dropna().astype(int).tolist()
    )
    shares = sum(uses / uses.sum() for uses in (read_counts(path).counts for path in workshop.counts.values()))
    expected = {i: shares[i] * found for i, found in distances(workshop, minimums).items() if shares[i]}
    left_out = expected.keys() - set(rows["teacher_id"].dropna().astype(int))
    alone = [i for i in left_out if not workshop.family.requirements(i)]
    assert len(first) > 10
    assert min(expected[i] for i in first) >= max((expected[i] for i in alone), default=0.0) - 1e-9
    by_frequency, _ = workshop.select("frequency", **settings)
    assert set(by_frequency["teacher_id"].dropna()) != set(rows["teacher_id"].dropna())


def test_tokens_are_ranked_on_top_of_those_before_them():
    from langtailor.vocabulary.candidates import _by_loss

    seen = []

    def loss(kept):
        seen.append(set(kept.tolist()))
        return np.ones(300)

    shares = np.linspace(2.0, 1.0, 300)
    shares[:100] = 0
    order = _by_loss(shares, np.arange(100), loss)
    assert order.tolist() == list(range(100, 300))
    assert [len(kept) for kept in seen] == [100, 164, 228, 292]
    assert all(before < after for before, after in pairwise(seen))


def distances(workshop, minimums):
    """By id, the squared distance of each token's row to the mean of the pieces that minimums and mandatory tokens give it."""
    family = workshop.family
    closed = {needed for i in minimums for needed in (i, *family.requirements(i))}
    layout = family.layout(np.array(sorted(closed), np.int32), (), 0)
    table = (
        load_sentence_transformer(workshop.teacher, "cpu")[0].auto_model.get_input_embeddings().weight.detach().double()
    )
    found = {}
    for i, token in enumerate(family.tokens[: len(table)]):
        if token is not None and i not in closed:
            pieces = layout.teacher_ids[list(segment(family.write(layout).tokenizer, [token])[0])]
            mean, row = table[torch.from_numpy(pieces).long()].mean(0), table[i]
            found[i] = float(1 - mean @ row / mean.norm() / row.norm()) ** 2
    return found


def test_unused_tokens_fill_the_budget_only_when_asked(workshops):
    workshop = workshops("WordPiece")
    size = sum(token is not None for token in workshop.family.tokens)
    used, _ = workshop.select("u", size=size, min_count=1, graft=GraftSettings(share=0.0))
    filled, _ = workshop.select("w", size=size, min_count=0, graft=GraftSettings(share=0.0))
    assert len(used) < len(filled) == size - len(workshop.family.placeholder_ids())


def test_a_size_beyond_everything_there_is_is_an_error(workshops):
    workshop = workshops("WordPiece")
    with pytest.raises(ConfigError, match=r"vocabulary\.size.*1,000,000 is too large: the teacher has"):
        workshop.select(size=1_000_000, graft=GraftSettings(share=0.0))


def test_a_vocabulary_that_is_only_cut_beside_a_larger_one_takes_all_that_there_are(workshops):
    workshop = workshops("WordPiece")
    tokens = sum(token is not None for token in workshop.family.tokens) - len(workshop.family.placeholder_ids())
    chosen, _ = workshop.select("x", size=1_000_000, min_count=0, graft=GraftSettings(share=0.0), may_fall_short=True)
    assert len(chosen) == tokens


def test_the_marginal_policy_takes_the_cheapest_share_that_it_measured(workshops):
    workshop = workshops("WordPiece")
    size = mandatory(workshop) + 150
    _, manifest = workshop.select(size=size, graft=GraftSettings(policy="marginal"))
    curve = manifest.facts["marginal_curve"]
    assert len(curve) > 1
    assert manifest.facts["graft_share"] == min(curve, key=lambda point: point["objective"])["share"]
