import pytest

from django_jobs import Jobs, job, registry
from django_jobs.exceptions import InvalidDefinition, InvalidHandler
from tests.support.jobs import make_claim, run


@job("unit.add", queue="mail", max_attempts=3)
def add(a, b=1):
    """Adds."""
    return [a, b]


@job("unit.optional")
def optional(value=None):
    return ["got", value]


@job("unit.positional")
def positional(a, /, b):
    return [a, b]


@job("unit.many")
def many(*words, **facts):
    return [list(words), facts]


@job("unit.with-context", takes_context=True)
def with_context(ctx, word="none"):
    return [word, ctx.attempt]


@job("unit.keyword-only")
def keyword_only(*, size):
    return size


def outcome(function, payload):
    return run(make_claim(function.key, payload))


def test_a_function_job_is_called_here_as_ever():
    assert add(1, b=2) == [1, 2]
    assert add.__doc__ == "Adds."
    assert add.__name__ == "add"
    assert with_context.func.__name__ == "with_context"


def test_a_function_job_has_its_options_and_is_registered():
    assert registry.defaults_of(registry.get("unit.add")) == {"queue": "mail", "max_attempts": 3}
    assert registry.get("unit.add").function is add


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "payload", "result"),
    [
        (add, (1,), {}, [1], "[1,1]"),
        (add, (1, 2), {}, [1, 2], "[1,2]"),
        (add, (), {"a": 1, "b": 2}, {"a": 1, "b": 2}, "[1,2]"),
        (add, (1,), {"b": 2}, {"a": 1, "b": 2}, "[1,2]"),
        (add, (None,), {}, [None], "[null,1]"),
        (add, ([1, 2],), {}, [[1, 2]], "[[1,2],1]"),
        (add, ({"k": 1},), {}, [{"k": 1}], '[{"k":1},1]'),
        (optional, (), {}, {}, '["got",null]'),
        (optional, (None,), {}, [None], '["got",null]'),
        (optional, ([],), {}, [[]], '["got",[]]'),
        (positional, (1, 2), {}, [1, 2], "[1,2]"),
        (many, ("a", "b"), {}, ["a", "b"], '[["a","b"],{}]'),
        (many, (), {"k": 1}, {"k": 1}, '[[],{"k":1}]'),
        (with_context, ("word",), {}, ["word"], '["word",1]'),
        (with_context, (), {}, {}, '["none",1]'),
        (keyword_only, (), {"size": 3}, {"size": 3}, "3"),
    ],
)
def test_a_call_becomes_a_payload_and_the_payload_that_call(function, args, kwargs, payload, result):
    definition = function.define(*args, **kwargs).to_definition()
    assert definition.handler == function.key
    assert definition.payload == payload
    assert outcome(function, definition.payload).result == result


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (add, (), {}),
        (add, (1, 2, 3), {}),
        (add, (1,), {"c": 1}),
        (add, (1,), {"a": 1}),
        (keyword_only, (3,), {}),
        (positional, (1,), {"b": 2}),
        (many, ("a",), {"k": 1}),
        (with_context, (1, 2), {}),
    ],
)
def test_a_call_that_does_not_fit_is_refused_when_it_is_dispatched(function, args, kwargs):
    with pytest.raises(InvalidDefinition, match=f"^payload: '{function.key}'"):
        function.dispatch(*args, **kwargs)


@pytest.mark.parametrize(
    ("payload", "result"),
    [([1, 2], "[1,2]"), ({"a": 1}, "[1,1]"), (5, "[5,1]"), ("ab", '["ab",1]'), ([None], "[null,1]")],
)
def test_a_payload_binds_by_its_shape(payload, result):
    assert outcome(add, payload).result == result


def test_no_payload_is_a_call_without_arguments():
    assert outcome(optional, None).result == '["got",null]'


@pytest.mark.parametrize("payload", [None, [], {}, [1, 2, 3], {"a": 1, "z": 2}, {"b": 2}])
def test_a_payload_that_does_not_fit_is_refused_at_the_enqueue_and_fails_for_good_in_the_worker(payload):
    with pytest.raises(InvalidDefinition, match=r"^payload: 'unit.add' can't be called so"):
        Jobs.push("unit.add", payload)
    result = outcome(add, payload)
    assert result.kind == "failed"
    assert "does not fit 'unit.add'" in result.error.message


def test_a_type_error_inside_the_function_is_its_own_and_is_retried():
    assert run(make_claim("unit.raises")).kind == "retry"


@job("unit.raises")
def raises():
    return len(5)


def test_only_a_function_of_a_module_can_be_a_job():
    def local():
        return None

    for bad in (local, lambda: None, len, str):
        with pytest.raises(InvalidHandler, match="no worker could find it"):
            job("unit.local")(bad)


def test_a_job_needs_a_key_and_known_options():
    with pytest.raises(InvalidHandler, match="needs a key"):
        job(add.func)
    with pytest.raises(InvalidHandler, match="no option 'colour'"):
        job("unit.coloured", colour="red")(add.func)
    with pytest.raises(InvalidHandler, match="max_attempts"):
        job("unit.tried", max_attempts=0)(add.func)
