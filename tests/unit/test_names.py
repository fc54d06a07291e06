import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidDefinition
from django_jobs.names import check_handler, check_label, check_queue


@pytest.mark.parametrize("name", ["default", "a", "0", "mail-low_1.x", "q" * 64])
def test_a_queue_may_have_a_plain_name(name):
    assert check_queue(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", ".a", "-a", "_a", "a b", "a\n", "ä", "a/b", "a'b", "a%b", "q" * 65, None, 5, b"a"]
)
def test_a_queue_may_not_have_a_name_that_needs_quoting(name):
    with pytest.raises(InvalidDefinition, match=r"^queue: "):
        check_queue(name)


@pytest.mark.parametrize("key", ["welcome", "Mail.send", "a:b-c_d", "_x", "9", "k" * 128])
def test_a_handler_key_may_be_any_plain_word(key):
    assert check_handler(key) == key


@pytest.mark.parametrize("key", ["", ".a", "a b", "a\n", 'a"b', "k" * 129, None, 5, "é"])
def test_a_handler_key_may_not_need_quoting(key):
    with pytest.raises(InvalidDefinition, match=r"^handler: "):
        check_handler(key)


@given(st.text())
def test_an_accepted_label_is_safe_to_print_on_one_line(text):
    try:
        label = check_label("name", text)
    except InvalidDefinition:
        return
    assert len(label.splitlines()) <= 1
    label.encode()
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in label)
