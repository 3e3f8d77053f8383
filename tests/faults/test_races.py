import pytest

from tests.faults.warm import Warm
from tests.storage.houses import toy_store


def race(warm: Warm, place, *, writers: int, times: int, readers: int) -> None:
    """Several processes publish on two names while others read them; every publish has its own number."""
    store = toy_store(place / "store")
    root, names = str(store.root), ["left", "right"]
    done = [str(place / f"done-{writer}") for writer in range(writers)]
    ends = warm.together(
        *(
            ("publish", {"root": root, "names": names, "writer": one, "times": times, "done": done[one]})
            for one in range(writers)
        ),
        *(("read_on", {"root": root, "done": done}) for _ in range(readers)),
    )
    assert all("result" in end for end in ends), [end.get("trace") for end in ends]
    assert all(end["result"]["rounds"] >= 2 for end in ends[writers:])
    published = [tuple(one) for end in ends[:writers] for one in end["result"]]
    assert len(published) == len(set(published)) == writers * times
    for name in names:
        versions = store.versions("subset", name)
        assert [one.number for one in versions] == list(range(1, writers * times // 2 + 1))
        assert {(name, one.number, one.artifact) for one in versions} == {one for one in published if one[0] == name}
    state = warm.result("state", root=root)
    assert state["findings"] == []


def test_a_few_processes_publish_on_the_same_names_while_readers_query(warm, tmp_path):
    race(warm, tmp_path, writers=4, times=4, readers=2)


@pytest.mark.slow
def test_eight_processes_publish_128_versions_while_four_readers_query(warm, tmp_path):
    race(warm, tmp_path, writers=8, times=16, readers=4)


def test_appends_and_corrections_at_the_same_time_all_hold(warm, tmp_path):
    root = str(tmp_path / "store")
    head, rows = "id,x,label\n", [f"{key},{key / 2},{'ab'[key % 2]}\n" for key in range(8)]
    (tmp_path / "first.csv").write_text(head + "".join(rows))
    options = ("--label", "label", "--key", "id", "--features", "x", "--store", root)
    code = warm.result("tamis", arguments=["ingest", str(tmp_path / "first.csv"), "--name", "x", *options])["code"]
    assert code == 0
    jobs, done = [], []
    for number in range(3):
        (tmp_path / f"more{number}.csv").write_text(f"{head}{100 + number},1.5,b\n")
        (tmp_path / f"fix{number}.csv").write_text(f"key,label\n{number},{'ba'[number % 2]}\n")
        more, fixes = str(tmp_path / f"more{number}.csv"), str(tmp_path / f"fix{number}.csv")
        for arguments in (
            ["ingest", more, "--name", "x", "--append"],
            ["relabel", "x", fixes, "--by", "ada", "--why", "looked"],
        ):
            done.append(str(tmp_path / f"done-{arguments[0]}-{number}"))
            jobs.append(("change", {"arguments": [*arguments, "--store", root], "done": done[-1]}))
    ends = warm.together(*jobs, ("read_on", {"root": root, "done": done}))
    assert all("result" in end for end in ends), [end.get("trace") for end in ends]
    assert [end["result"]["code"] for end in ends[:-1]] == [0] * len(jobs), ends
    state = warm.result("state", root=root)
    assert len(state["versions"]) == 7
    answer = warm.result(
        "tamis",
        arguments=["sql", "SELECT example_id, label, relabelled_by FROM dataset.x", "--format", "csv", "--store", root],
    )
    found = {line.split(",")[0]: line.split(",")[1:] for line in answer["out"].splitlines()[1:]}
    assert len(found) == 11
    assert [found[f"x:{number}"] for number in range(3)] == [["b", "ada"], ["a", "ada"], ["b", "ada"]]
    assert [found[f"x:{number}"] for number in range(100, 103)] == [["b", ""]] * 3
