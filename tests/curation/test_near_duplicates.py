import numpy as np
import pytest
from datasketch import MinHash as Sketch
from datasketch import MinHashLSH

from curation import signature_index
from curation.examiners.minhash import MinHash
from curation.scorers.near_duplicates import NearDuplicates
from curation.signature_index import Bands, agreeing, band_keys, bands_for, candidate_pairs, least_equal
from storage.index import ExampleIndex
from storage.values import Signals


def index(num_examples: int) -> ExampleIndex:
    return ExampleIndex(f"world:{number}" for number in range(num_examples))


def signals_of(signatures: np.ndarray) -> Signals:
    return Signals(index=index(len(signatures)), arrays={"minhash": signatures.astype(np.uint32)})


def families(num_families: int, size: int, *, num_hashes: int = 64, seed: int = 0) -> np.ndarray:
    """Signatures in families that stray more or less far from a common ancestor."""
    rng = np.random.default_rng(seed)
    ancestors = rng.integers(2**32, size=(num_families, num_hashes), dtype=np.uint32)
    found = np.repeat(ancestors, size, axis=0)
    strayed = rng.random(found.shape) < rng.uniform(0, 0.4, size=(len(found), 1))
    found[strayed] = rng.integers(2**32, size=strayed.sum(), dtype=np.uint32)
    return found[rng.permutation(len(found))]


def linked_by_hand(signatures: np.ndarray, bands: Bands, threshold: float) -> list[tuple[int, int]]:
    cut = bands.number * bands.size
    parts = signatures[:, :cut].reshape(len(signatures), bands.number, bands.size)
    return [
        (first, second)
        for second in range(len(signatures))
        for first in range(second)
        if (parts[first] == parts[second]).all(axis=1).any()
        and (signatures[first] == signatures[second]).mean() >= threshold
    ]


def clusters_by_hand(size: int, pairs: list[tuple[int, int]]) -> list[int]:
    keepers = list(range(size))
    for _ in range(size):
        for first, second in pairs:
            keepers[first] = keepers[second] = min(keepers[first], keepers[second])
    return keepers


def test_bands_by_hand():
    # 3 bands of 2 at similarity 0.5: 1 - (1 - 0.25)^3 = 0.578125.
    assert Bands(number=3, size=2).candidate_probability(0.5) == 0.578125
    assert bands_for(6, 0.5, 0.57) == Bands(number=3, size=2)
    assert bands_for(6, 0.5, 0.58) == Bands(number=6, size=1)
    assert bands_for(128, 0.8, 0.95) == Bands(number=18, size=7)
    with pytest.raises(
        ValueError, match=r"signatures of 2 hashes cannot find pairs of similarity 0.5 with probability"
    ):
        bands_for(2, 0.5, 0.9)


def test_a_chain_is_one_cluster_whose_first_row_stays():
    # Rows 0, 1 and 2 of 10 entries: 0 and 1 share 8, 1 and 2 share 8, 0 and 2 share 6.
    signatures = np.tile(np.arange(10), (4, 1))
    signatures[1, :2] += 100
    signatures[2, :4] += 100
    signatures[2, 2:4] += 100
    signatures[3] += 1000
    scores = NearDuplicates(threshold=0.8, recall=0.9)(signals_of(signatures))
    assert scores.values.tolist() == [0, 1, 1, 0]
    assert scores.columns["keeper"].tolist() == ["world:0", "world:0", "world:0", "world:3"]
    assert scores.columns["similarity"].tolist() == [1, 0.8, 0.6, 1]
    stricter = NearDuplicates(threshold=0.81, recall=0.9)(signals_of(signatures))
    assert stricter.values.tolist() == [0, 0, 0, 0]


def test_a_new_row_that_links_two_clusters_changes_the_later_keeper():
    signatures = np.tile(np.arange(10), (3, 1))
    signatures[1, :4] += 100
    signatures[2, :2] += 100
    scorer, rows = NearDuplicates(threshold=0.8, alarm_share=1.0), signals_of(signatures)
    before = scorer.start(rows.take(np.array([0, 1])))
    assert before.new.values.tolist() == [0, 0]
    merge = scorer.extend(before.state, before.new, rows.take(np.array([2])))
    assert merge.changed is not None
    assert list(merge.changed.index) == ["world:1"]
    assert merge.changed.columns["keeper"].tolist() == ["world:0"]
    assert merge.over(before.new).values.tolist() == [0, 1, 1]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_clusters_are_those_of_comparing_every_pair(threshold):
    signatures = families(15, 5)
    scores = NearDuplicates(threshold=threshold, alarm_share=1.0)(signals_of(signatures))
    pairs = linked_by_hand(signatures, bands_for(64, threshold, 0.95), threshold)
    keepers = clusters_by_hand(75, pairs)
    assert scores.columns["keeper"].tolist() == [f"world:{row}" for row in keepers]
    assert 0 < scores.values.sum() == sum(row != keeper for row, keeper in enumerate(keepers))


def test_candidates_are_those_of_datasketch_on_the_same_signatures():
    signatures, bands = families(20, 4, seed=2), Bands(number=16, size=4)
    peer = MinHashLSH(num_perm=64, params=(16, 4))
    sketches = [Sketch(num_perm=64, hashvalues=row, scheme="affine32") for row in signatures]
    for row, one in enumerate(sketches):
        peer.insert(row, one)
    expected = {(min(row, other), max(row, other)) for row, one in enumerate(sketches) for other in peer.query(one)}
    expected -= {(row, row) for row in range(len(signatures))}
    found = set()
    for keys in band_keys(signatures, bands)[:-1]:
        order = np.argsort(keys, kind="stable")
        nothing = (np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64))
        for first, second in candidate_pairs(nothing, (keys[order], order)):
            found |= set(zip(first.tolist(), second.tolist(), strict=True))
    assert found == expected
    for first, second in sorted(found)[:20]:
        both = agreeing(signatures, np.array([first]), np.array([second]))[0] / 64
        assert both == sketches[first].jaccard(sketches[second])


def test_small_blocks_of_pairs_change_nothing(monkeypatch):
    signatures = families(10, 8, seed=4)
    whole = NearDuplicates(alarm_share=1.0)(signals_of(signatures))
    monkeypatch.setattr(signature_index, "PAIRS_AT_ONCE", 3)
    found = NearDuplicates(alarm_share=1.0)(signals_of(signatures))
    assert found.columns["keeper"].tolist() == whole.columns["keeper"].tolist()


def test_planted_copies_with_a_changed_word_are_found_and_nothing_else():
    rng = np.random.default_rng(3)
    texts = [" ".join(f"w{word}" for word in rng.integers(5000, size=60)) for _ in range(300)]
    for copy in range(200, 300):
        words = texts[copy - 200].split()
        words[int(rng.integers(60))] = "other"
        texts[copy] = " ".join(words)
    signed = MinHash(column="text")(index(300), {"text": np.array(texts, dtype=object)})
    scores = NearDuplicates(threshold=0.7)(Signals(index=index(300), arrays=signed))
    assert np.flatnonzero(scores.values).tolist() == list(range(200, 300))
    assert scores.columns["keeper"][200:].tolist() == [f"world:{row}" for row in range(100)]


def test_an_implausible_share_and_other_signatures_are_refused():
    same = np.ones((5, 8))
    with pytest.raises(ValueError, match=r"4 of 5 examples \(80.0%\) .*look at the texts, ask for longer shingles"):
        NearDuplicates()(signals_of(same))
    with pytest.raises(ValueError, match=r"'minhash' must be \(N, P\) of uint32, got \(5, 8\) of float64"):
        NearDuplicates()(Signals(index=index(5), arrays={"minhash": same}))
    scorer = NearDuplicates(alarm_share=1.0)
    before = scorer.start(signals_of(same))
    with pytest.raises(ValueError, match="'minhash' has 9 hashes, but earlier rows have 8"):
        scorer.extend(before.state, before.new, signals_of(np.ones((2, 9))))
    for settings, message in (
        ({"threshold": 0}, r"threshold must be in \(0, 1\], got 0"),
        ({"recall": 1}, r"recall must be in \(0, 1\), got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            NearDuplicates(**settings)


def test_the_threshold_is_met_by_whole_numbers_of_entries():
    assert least_equal(0.8, 10) == 8
    assert least_equal(0.81, 10) == 9
    assert least_equal(0.7, 10) == 7
