"""A document's split hangs on its id and on the ratio of the quotas."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from langtailor.config.corpus import Quotas
from langtailor.corpus.document import document_hash
from langtailor.corpus.splitting import splitter

IDS = [f"doc:{i}" for i in range(4000)]
quotas = st.builds(Quotas, train=st.integers(1, 10**6), validation=st.integers(0, 10**6), test=st.integers(0, 10**6))


@given(quotas, st.integers(2, 1000), st.integers(0, 2**32 - 1), st.text(max_size=20))
def test_raised_quotas_of_the_same_ratio_move_no_document(quota: Quotas, factor: int, seed: int, name: str) -> None:
    raised = Quotas(train=quota.train * factor, validation=quota.validation * factor, test=quota.test * factor)
    assert splitter(quota, seed)(name) == splitter(raised, seed)(name)


def test_splits_have_the_shares_of_the_quotas() -> None:
    counts = Counter(map(splitter(Quotas(train=70, validation=20, test=10), 1), IDS))
    assert {name: round(count / len(IDS), 1) for name, count in counts.items()} == {
        "train": 0.7,
        "validation": 0.2,
        "test": 0.1,
    }


def test_a_quota_of_zero_gets_nothing() -> None:
    assert set(map(splitter(Quotas(train=5, validation=0, test=0), 1), IDS)) == {"train"}


def test_the_split_says_nothing_about_the_order() -> None:
    split_of = splitter(Quotas(train=1, validation=0, test=1), 3)
    first = sorted(IDS, key=lambda name: document_hash("order", 3, name))[:1000]
    assert 400 < sum(split_of(name) == "test" for name in first) < 600


def test_another_seed_draws_other_splits() -> None:
    one, other = (splitter(Quotas(train=1, validation=0, test=1), seed) for seed in (1, 2))
    assert 0.4 < sum(one(name) == other(name) for name in IDS) / len(IDS) < 0.6
