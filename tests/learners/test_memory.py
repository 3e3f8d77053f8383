import tempfile

import numpy as np
import pytest
import torch
from torch import nn

from learners.memory import ExampleMemory, zeros_on_disk
from tests.learners.states import state_of


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def on_disk(**settings):
    return state_of(nn.Linear(2, 3), buffers_on="disk", **settings)


def test_rows_on_disk_begin_as_zeros_and_keep_what_is_written():
    rows = zeros_on_disk(4, 3, torch.float32)
    assert rows.shape == (4, 3)
    assert rows.tolist() == [[0.0] * 3] * 4
    memory = ExampleMemory(rows)
    memory[torch.tensor([3, 0])] = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert memory[torch.tensor([0, 1, 3])].tolist() == [[4.0, 5.0, 6.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]


def test_the_file_of_rows_on_disk_has_no_name(scratch):
    rows = zeros_on_disk(1000, 10, torch.float32)
    rows += 1
    assert list(scratch.iterdir()) == []


def test_rows_on_disk_lie_in_the_directory_for_temporary_files(scratch):
    scratch.rmdir()
    with pytest.raises(FileNotFoundError):
        zeros_on_disk(4, 3, torch.float32)


def test_a_disk_without_room_is_found_out_at_once(scratch):
    with pytest.raises(OSError, match=rf"no room for 140,737,488,355,328,000 bytes .* in {scratch} .*set TMPDIR"):
        zeros_on_disk(2**45, 1000, torch.float32)


def test_a_state_holds_its_buffers_where_and_as_it_is_told():
    state = on_disk(buffer_type=torch.float16)
    wide, narrow = state.per_example("wide", width=3, fill=0.5), state.per_example("narrow", width=1)
    assert wide.rows.dtype == torch.float16
    assert wide.rows.unique().tolist() == [0.5]
    assert narrow.rows.dtype == torch.float32
    assert state.per_example("wide", width=3).rows is wide.rows


def test_a_saved_buffer_on_disk_stays_as_it_was_and_is_restored(scratch):
    state = on_disk()
    memory = state.per_example("seen", width=2)
    memory[torch.tensor([1])] = torch.tensor([[0.25, 0.75]])
    saved = state.saved_buffer("seen")
    memory[torch.tensor([1])] = torch.tensor([[9.0, 9.0]])
    assert saved[1].tolist() == [0.25, 0.75]
    again = on_disk()
    saved.setflags(write=False)
    again.restore_buffer("seen", saved)
    again.per_example("seen", width=2)[torch.tensor([0])] = torch.ones(1, 2)
    np.testing.assert_array_equal(again.buffers["seen"][:3], [[1.0, 1.0], [0.25, 0.75], [0.0, 0.0]])
    assert saved[0].tolist() == [0.0, 0.0]
    assert list(scratch.iterdir()) == []


def test_memories_on_disk_are_refused_on_a_gpu():
    with pytest.raises(ValueError, match=r"buffers_on 'disk' is for training on the CPU.* cuda; set buffers_on"):
        on_disk(device=torch.device("cuda"))
