import re
import shlex
import shutil
from pathlib import Path

import pytest

from flows import cli
from storage.store import Store
from tests.flows.growing import write_files

PAGE = (Path(__file__).parents[2] / "docs" / "incremental.md").read_text(encoding="utf-8")
FILES = {"rows0": "reviews.csv", "rows1": "more.csv", "probs0": "probs.npz", "probs1": "more_probs.npz"}


def test_every_command_on_the_page_works(tmp_path, monkeypatch, capsys):
    write_files(tmp_path)
    for name, shown in FILES.items():
        shutil.copy(tmp_path / f"{name}{Path(shown).suffix}", tmp_path / shown)
    (tmp_path / "reviews.toml").write_text(re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAMIS_STORE", str(tmp_path / "store"))
    blocks = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
    commands = [line.removeprefix("$ tamis ") for block in blocks for line in block.strip().splitlines()]
    assert len(commands) == 9
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            cli.main(shlex.split(command))
        assert not stop.value.code, f"{command}\n{capsys.readouterr().err}"
    store = Store.open(tmp_path / "store")
    columns = store.record(store.version("scored", "reviews").artifact).meta["columns"]
    assert set(columns) == {"issues", "el2n", "twins", "rank", "hardness"}
    assert {store.record(one).meta["computed"].partition(" ")[0] for one in columns.values()} == {"incremental"}
    assert [one.number for one in store.versions("subset", "reviews-hard")] == [1, 2]
