import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.redaction import CUT, DEEPEST, REDACTED, redact, redact_text

CANARY = "canary-hunter2"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**9) | st.text('ab 1\n"\\\ud800☕'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_-☕", max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "key",
    [
        *("password", "PASSWORD", "db_password", "userPassword", "passwd", "pwd", "passphrase", "client-secret"),
        *("access_token", "csrfmiddlewaretoken", "api_key", "API-KEY", "apiKey", "x.api.key", "private_key"),
        *("Authorization", "Set-Cookie", "credentials", "signing_key", "sessionid", "cvv", "card_number"),
    ],
)
def test_what_stands_under_a_telling_name_is_hidden(key):
    for secret in (CANARY, 4711, [CANARY], {"inner": CANARY}, True):
        assert redact({"outer": [{key: secret, "plain": "kept"}]}) == {"outer": [{key: REDACTED, "plain": "kept"}]}
    assert redact({key: None}) == {key: None}


@pytest.mark.parametrize("key", ["user_id", "name", "keyboard", "key", "author", "classname", "pass_count", "monkey"])
def test_other_names_hide_nothing(key):
    assert redact({key: CANARY}) == {key: CANARY}


@pytest.mark.parametrize(
    "text",
    [
        f"password={CANARY}",
        f"PASSWORD : {CANARY}, user: joe",
        f"{{'api_key': '{CANARY}', 'user': 'joe'}}",
        f'{{"password": "{CANARY}"}}',
        f'"{{\\"password\\": \\"{CANARY}\\"}}"',
        f"db_password = b'{CANARY}'",
        f"os.environ['SECRET_KEY'] = '{CANARY}'",
        f"secret => {CANARY}",
        f"https://example.org/?user=1&access_token={CANARY}&page=2",
        f"Authorization: Bearer {CANARY}",
        f"Authorization: Basic {CANARY}",
        f"bearer {CANARY}",
        f"postgres://joe:{CANARY}@db.example.org:5432/shop",
        f"redis://:{CANARY}@cache/0",
        f"postgres://joe:p@ss-{CANARY}@db/shop",
        f"password='two words {CANARY}' host=db",
        f'password="broken {CANARY}',
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY.replace('-', '')}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_in_texts_are_hidden_and_the_rest_stays(text):
    shown = redact_text(f"before {text} after")
    assert "hunter2" not in shown
    assert shown.startswith("before ")
    assert REDACTED in shown
    assert all(kept in shown for kept in ("joe", "page=2", "host=db", "db.example.org:5432/shop") if kept in text)


@pytest.mark.parametrize(
    "secret",
    [
        *("4111 1111 1111 1111", "4111-1111-1111-1111", "5555555555554444", "378282246310005"),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        *("AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghijABCDEFGHIJ", "xoxb-123456789012-abcdef"),
        "sk_" + "live_" + "0123456789abcdefghij",
    ],
)
def test_what_has_the_shape_of_a_secret_is_hidden_wherever_it_stands(secret):
    assert redact_text(f"paid with {secret}.") == f"paid with {REDACTED}."
    assert redact({"note": secret}) == {"note": REDACTED}


def test_a_card_number_is_hidden_as_a_number_too():
    assert redact([4111111111111111, 4111111111111112]) == [REDACTED, 4111111111111112]


@pytest.mark.parametrize(
    "text",
    [
        "job 01900000-0000-7000-8000-000000000000 failed",
        "at 1732467600000 ms, order 4111111111111112",
        "KeyError: 'password'",
        "the password is wrong",
        'File "/srv/app/tokens.py", line 12, in refresh',
        "if password == other:",
        "see https://example.org:8080/a@b",
        "1.4111111111111111",
    ],
)
def test_ordinary_texts_stay_as_they_are(text):
    assert redact_text(text) == text


@given(JSON)
def test_a_value_without_secrets_stays_as_it_is(value):
    assert redact(value) == value


def test_deep_values_are_cut_and_wide_ones_are_not():
    deep: object = "bottom"
    for _ in range(100_000):
        deep = [deep]
    shown = json.dumps(redact(deep), indent=1)
    assert shown.count("[") == DEEPEST
    assert shown.strip("[] \n") == json.dumps(CUT)
    wide = {f"password {n}" if n % 2 else f"name {n}": CANARY for n in range(10_000)}
    assert sum(value == REDACTED for value in redact(wide).values()) == 5000


@pytest.mark.parametrize(
    "hostile",
    [
        *("password=" * 20_000, "password='" * 20_000, "token " * 40_000, "bearer " * 40_000, "eyJ" * 80_000),
        *("a" * 300_000, "a:" * 100_000, "://" * 60_000, '"' * 200_000, "4" * 300_000, "4 " * 100_000),
        "-----BEGIN PRIVATE KEY-----" * 8000,
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_text_takes_no_longer_than_a_plain_one(hostile):
    assert redact_text(hostile) is not None  # what is quadratic takes minutes here, and faulthandler ends the run


def test_the_site_says_which_names_are_sensitive(settings):
    settings.JOBS_SENSITIVE_KEYS = ["e-mail"]
    assert redact({"email": CANARY, "Work_EMail": CANARY, "password": CANARY}) == {
        "email": REDACTED,
        "Work_EMail": REDACTED,
        "password": CANARY,
    }
    assert redact_text("email: a@b.example") == f"email: {REDACTED}"
    settings.JOBS_SENSITIVE_KEYS = []
    assert redact({"password": CANARY}) == {"password": CANARY}
    assert redact_text("password=x bearer abcdefgh") == f"password=x bearer {REDACTED}"
