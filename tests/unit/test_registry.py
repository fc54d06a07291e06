from enum import IntEnum

import pytest

from django_jobs import JobHandler, Jobs, register, registry
from django_jobs.defaults import with_defaults
from django_jobs.definition import JobDefinition
from django_jobs.exceptions import InvalidDefinition, InvalidHandler, UnknownHandler


class Plain(JobHandler):
    def handle(self, ctx):
        return None


class Other(JobHandler):
    def handle(self, ctx):
        return None


class Handleless:
    pass


def not_a_class(ctx):
    return None


def test_a_key_of_the_settings_names_a_class_or_its_path(handlers):
    handlers({"unit.class": Plain, "unit.path": f"{__name__}.Plain"})
    assert registry.get("unit.class") is Plain
    assert registry.get("unit.path") is Plain
    assert {"unit.class", "unit.path", "trial.noop", "trial.write"} <= set(registry.handler_keys())
    assert registry.handler_keys() == sorted(registry.handler_keys())


def test_a_changed_setting_is_seen_at_once(handlers):
    handlers({"unit.key": Plain})
    assert registry.get("unit.key") is Plain
    handlers({"unit.key": Other})
    assert registry.get("unit.key") is Other


def test_an_unknown_key_says_where_handlers_are_named():
    with pytest.raises(UnknownHandler, match=r"'unit.nobody'.*settings.JOBS"):
        registry.get("unit.nobody")
    with pytest.raises(LookupError):
        registry.get("")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("no.such.module.Handler", "cannot import"),
        ("django_jobs.handlers.NoSuchName", "cannot import"),
        ("nodots", "cannot import"),
        (not_a_class, "is not a class"),
        (Plain(), "is not a class"),
        (5, "is not a class"),
        (Handleless, "has no method `handle"),
        (type("Versions", (Plain,), {"schema_version": "2"}), "schema_version is '2'"),
        (type("Versions", (Plain,), {"schema_version": None}), "schema_version is 'None'"),
        (type("Versions", (Plain,), {"schema_version": True}), "schema_version is 'True'"),
        (type("Versions", (Plain,), {"schema_version": 10**5000}), "schema_version is this int"),
        (type("Versions", (Plain,), {"max_snoozes": "5"}), "max_snoozes is '5'"),
        (type("Versions", (Plain,), {"max_snoozes": -1}), "max_snoozes is '-1'"),
        ("os.system", "is not a class"),
        ("builtins.eval", "is not a class"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_with_its_reason(handlers, target, says):
    handlers({"unit.bad": target})
    with pytest.raises(InvalidHandler, match=f"^handler 'unit.bad': .*{says}"):
        registry.get("unit.bad")


def test_a_version_may_be_a_member_of_an_enum(handlers):
    version = IntEnum("Version", ["FIRST", "SECOND"])
    handlers({"unit.key": type("Versions", (Plain,), {"schema_version": version.SECOND})})
    given = with_defaults(JobDefinition("unit.key")).schema_version
    assert (given, type(given)) == (2, int)


def test_a_path_that_no_key_names_is_never_imported():
    for stored in ("os.system", "builtins.eval", f"{__name__}.Plain"):
        with pytest.raises(UnknownHandler):
            registry.get(stored)


def test_a_builtin_is_let_in_only_by_its_setting(settings):
    settings.JOBS_BUILTINS = ["command"]
    assert registry.get("command").__name__ == "CommandHandler"
    assert "command" in set(registry.handler_keys())
    settings.JOBS_BUILTINS = []
    with pytest.raises(UnknownHandler, match="JOBS_BUILTINS"):
        registry.get("command")
    assert "command" not in set(registry.handler_keys())


def test_the_decorator_registers_and_gives_the_class_back():
    assert register("unit.decorated")(Plain) is Plain
    assert registry.get("unit.decorated") is Plain


def test_a_key_is_taken_once_but_a_reloaded_module_may_take_its_own_again():
    register("unit.taken")(Plain)
    with pytest.raises(InvalidHandler, match=r"'unit.taken' is .*Plain already; .*Other needs a key of its own"):
        register("unit.taken")(Other)
    again = type("Plain", (JobHandler,), {"__module__": __name__, "handle": lambda self, ctx: None})
    register("unit.taken")(again)
    assert registry.get("unit.taken") is again


def test_a_decorator_refuses_what_cannot_be_a_handler():
    with pytest.raises(InvalidHandler):
        register("unit.bad")(Handleless)
    with pytest.raises(InvalidHandler):
        register("unit.bad")(not_a_class)
    with pytest.raises(InvalidDefinition, match=r"^handler: "):
        register("bad key")(Plain)


def test_the_key_of_a_class_is_found_where_it_has_exactly_one(handlers):
    handlers({"unit.one": Other})
    assert registry.key_of(Other) == "unit.one"
    assert Jobs.define(Other).to_definition().handler == "unit.one"
    handlers({"unit.two": Other})
    with pytest.raises(UnknownHandler, match=r"several keys \(unit.one, unit.two\)"):
        registry.key_of(Other)
    with pytest.raises(UnknownHandler, match="has no key"):
        registry.key_of(Handleless)


def test_a_broken_entry_of_the_settings_hides_no_other_handler(handlers):
    handlers({"unit.broken": "no.such.thing", "unit.fine": Other})
    assert registry.key_of(Other) == "unit.fine"


@pytest.mark.parametrize("handler", [not_a_class, object(), 5, None, [Plain, "run"], (Plain,)])
def test_what_is_neither_key_nor_class_cannot_be_dispatched(handler):
    with pytest.raises(InvalidDefinition, match=r"^handler: "):
        Jobs.define(handler)


def test_a_class_with_its_method_is_the_class(handlers):
    handlers({"unit.pair": Other})
    assert Jobs.define([Other, "handle"]).to_definition().handler == "unit.pair"


def test_class_attributes_are_defaults():
    class Tuned(JobHandler):
        queue = "mail"
        backend = "other"
        priority = 7
        delay = "1m"
        max_attempts = 4
        timeout = None
        backoff = (1, 2)
        ttl = "1 day"

    assert registry.defaults_of(Tuned) == {
        "queue": "mail",
        "backend": "other",
        "priority": 7,
        "delay": 60,
        "max_attempts": 4,
        "timeout": None,
        "backoff": {"strategy": "table", "delays": [1, 2]},
        "ttl": 86_400,
    }


def test_a_handler_that_sets_nothing_has_no_defaults():
    assert registry.defaults_of(Plain) == {}


def test_shorthands_are_defaults_too():
    class Short(JobHandler):
        max_retries = 2
        retry_delay = 3

    defaults = registry.defaults_of(Short)
    assert defaults["max_attempts"] == 3
    assert defaults["backoff"]["base"] == 3


def test_a_get_method_computes_a_default_each_time():
    answers = iter([1, 2])

    class Computed(JobHandler):
        priority = 50

        @classmethod
        def get_priority(cls):
            return next(answers)

    assert [registry.defaults_of(Computed)["priority"] for _ in range(2)] == [1, 2]


def test_a_subclass_has_defaults_of_its_own():
    class Base(JobHandler):
        priority = 1

    class Child(Base):
        priority = 2

    assert registry.defaults_of(Base) == {"priority": 1}
    assert registry.defaults_of(Child) == {"priority": 2}


def test_a_function_as_backoff_is_left_to_the_run():
    class Custom(JobHandler):
        backoff = staticmethod(lambda attempt: attempt * 2)

    assert "backoff" not in registry.defaults_of(Custom)


def test_a_bad_default_names_the_handler_and_the_field():
    class Bad(JobHandler):
        max_attempts = 0

    with pytest.raises(InvalidHandler, match=r"Bad: max_attempts: "):
        registry.defaults_of(Bad)
