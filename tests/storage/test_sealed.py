import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.sealed import sealed, unsealed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text().filter(lambda name: name != "sha256"), JSON, min_size=1, max_size=4)


def test_a_note_by_hand():
    digest = "a62d71e05280b3e777c0cab14dfe081560f124e17f88af0c49eeabeecf2f1785"  # printf '{\n "a": 1' | sha256sum
    assert sealed({"a": 1}).decode() == f'{{\n "a": 1,\n "sha256": "{digest}"\n}}'


@settings(deadline=None, max_examples=40)
@given(value=OBJECTS)
def test_what_is_unsealed_is_what_was_sealed(value):
    assert unsealed(sealed(value)) == value


@settings(deadline=None, max_examples=40)
@given(value=OBJECTS, data=st.data())
def test_no_flipped_bit_goes_unseen(value, data):
    whole = sealed(value)
    place = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :]
    try:
        found = unsealed(flipped)
    except ValueError:
        return
    assert {name: found[name] for name in value} == value


def test_a_changed_letter_is_told():
    note = sealed({"name": "toys", "number": 1})
    with pytest.raises(ValueError, match="it is not what the hash at its end says"):
        unsealed(note.replace(b"toys", b"tovs"))


def test_an_older_note_without_a_hash_is_taken_as_it_is():
    assert unsealed(b'{"name": "toys"}') == {"name": "toys"}


def test_what_is_no_object_is_refused():
    with pytest.raises(ValueError, match="it is no JSON object"):
        unsealed(b"[1]")
