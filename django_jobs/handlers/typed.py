"""Typed payloads: a dataclass, an attrs class or a `msgspec.Struct` as the `payload_type` of a handler.

`msgspec` converts (the extra `typed`); what it does not refuse by itself, keys that the type does not know, is refused
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ..exceptions import InvalidHandler, PayloadValidationError


def load(payload_type: Any, payload: Any, *, allow_extra: bool) -> Any:
    """The payload as an instance of `payload_type`. Raises `PayloadValidationError` that names the place."""
    msgspec = _msgspec()
    if not allow_extra:
        for path in _unknown_keys(_type_info(payload_type), payload, "payload"):
            raise PayloadValidationError(f"{path}: {_name(payload_type)} has no such field.")
    try:
        return msgspec.convert(payload, payload_type)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise PayloadValidationError(f"payload: {error}") from None


def dump(payload_type: Any, payload: Any, *, allow_extra: bool) -> Any:
    """The JSON value of a payload: of an instance of the type, or of a value that it can be made from."""
    plain = payload
    if not isinstance(payload, Mapping | list | tuple | str | int | float | bool | None):
        try:
            plain = _msgspec().to_builtins(payload)
        except (TypeError, ValueError) as error:
            raise PayloadValidationError(f"payload: {error}") from None
    load(payload_type, plain, allow_extra=allow_extra)
    return plain


def check_type(payload_type: Any) -> None:
    """Raise `InvalidHandler` unless `payload_type` can be one, with the libraries that are installed."""
    _type_info(payload_type)


def _name(payload_type: Any) -> str:
    return str(getattr(payload_type, "__name__", payload_type))


def _msgspec() -> Any:
    try:
        import msgspec
        import msgspec.inspect
    except ImportError:
        raise InvalidHandler(
            "a payload_type needs msgspec. Install it: pip install 'django-jobs-queue[typed]'."
        ) from None
    return msgspec


@lru_cache(maxsize=1000)
def _type_info(payload_type: Any) -> Any:
    try:
        return _msgspec().inspect.type_info(payload_type)
    except TypeError as error:
        raise InvalidHandler(f"payload_type {_name(payload_type)}: {error}") from None


def _unknown_keys(info: Any, value: Any, path: str) -> Iterator[str]:
    """The paths of keys in `value` that its type has no field for."""
    fields = getattr(info, "fields", None)
    if fields is not None and isinstance(value, Mapping):
        known = {field.encode_name: field.type for field in fields}
        tag = getattr(info, "tag_field", None)
        for key, item in value.items():
            if key in known:
                yield from _unknown_keys(known[key], item, f"{path}.{key}")
            elif key != tag:
                yield f"{path}.{str(key)[:80]}"
    elif hasattr(info, "item_type") and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _unknown_keys(info.item_type, item, f"{path}[{index}]")
    elif hasattr(info, "value_type") and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unknown_keys(info.value_type, item, f"{path}.{str(key)[:80]}")
    elif hasattr(info, "types"):
        found = [list(_unknown_keys(member, value, path)) for member in info.types if _may_be(member, value)]
        if found and all(found):
            yield from min(found, key=len)


def _may_be(info: Any, value: Any) -> bool:
    tag = getattr(info, "tag_field", None)
    if tag is not None and isinstance(value, Mapping) and value.get(tag) != info.tag:
        return False  # to look into each member at each level would take twice as long with every level
    has_fields = getattr(info, "fields", None) is not None or hasattr(info, "value_type")
    return has_fields == isinstance(value, Mapping) and hasattr(info, "item_type") == isinstance(value, list | tuple)
