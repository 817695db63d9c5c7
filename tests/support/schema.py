"""A validator for the part of JSON Schema that docs/openapi.yaml and docs/audit.schema.json use.

It refuses keywords that it does not know, so that a schema cannot promise what nobody checks.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
SAYS_NOTHING = {"description", "example", "format", "discriminator", "title", "$schema", "$defs"}


def resolve(document: Mapping[str, Any], value: Any) -> Any:
    """`value`, or what its $ref stands for."""
    while isinstance(value, Mapping) and "$ref" in value:
        path = value["$ref"]
        assert path.startswith("#/"), path
        value = document
        for step in path[2:].split("/"):
            value = value[step]
    return value


def complaints(document: Mapping[str, Any], schema: Any, value: Any, at: str = "$") -> list[str]:
    """What of `value` breaks the schema, with the place where; nothing when it is as described."""
    schema = resolve(document, schema)
    found: list[str] = []
    for keyword, promise in schema.items():
        if keyword not in SAYS_NOTHING:
            check = CHECKS.get(keyword)
            assert check, f"{at}: the schema keyword {keyword} is not checked here"
            found += check(document, promise, value, at, schema)
    return found


def _type(_d: Any, promise: str, value: Any, at: str, _s: Any) -> list[str]:
    fits = isinstance(value, TYPES[promise]) and (
        promise == "boolean" or not isinstance(value, bool)
    )
    return [] if fits else [f"{at}: {value!r} is no {promise}"]


def _enum(_d: Any, promise: list[Any], value: Any, at: str, _s: Any) -> list[str]:
    return [] if value in promise else [f"{at}: {value!r} is none of {promise}"]


def _pattern(_d: Any, promise: str, value: Any, at: str, _s: Any) -> list[str]:
    fits = not isinstance(value, str) or re.search(promise, value)
    return [] if fits else [f"{at}: {value!r} does not match {promise}"]


def _required(_d: Any, promise: list[str], value: Any, at: str, _s: Any) -> list[str]:
    return [f"{at}: {name} is missing" for name in promise if name not in value]


def _properties(d: Any, promise: Mapping[str, Any], value: Any, at: str, _s: Any) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [
        text
        for name, schema in promise.items()
        if name in value
        for text in complaints(d, schema, value[name], f"{at}.{name}")
    ]


def _additional(d: Any, promise: Any, value: Any, at: str, schema: Any) -> list[str]:
    more = [name for name in value if name not in schema.get("properties", {})]
    if promise is False:
        return [f"{at}: {name} is not described" for name in more]
    return [text for name in more for text in complaints(d, promise, value[name], f"{at}.{name}")]


def _items(d: Any, promise: Any, value: Any, at: str, _s: Any) -> list[str]:
    return [
        text
        for number, item in enumerate(value)
        for text in complaints(d, promise, item, f"{at}[{number}]")
    ]


def _least(_d: Any, promise: int, value: Any, at: str, _s: Any) -> list[str]:
    size = value if isinstance(value, (int, float)) else len(value)
    return [] if size >= promise else [f"{at}: {value!r} is less than {promise}"]


def _most(_d: Any, promise: int, value: Any, at: str, _s: Any) -> list[str]:
    size = value if isinstance(value, (int, float)) else len(value)
    return [] if size <= promise else [f"{at}: {value!r} is more than {promise}"]


def _one_of(d: Any, promise: list[Any], value: Any, at: str, _s: Any) -> list[str]:
    each = [complaints(d, schema, value, at) for schema in promise]
    fitting = sum(not found for found in each)
    if fitting == 1:
        return []
    return [f"{at}: {fitting} of {len(each)} alternatives fit"] + [t for e in each for t in e]


def _all_of(d: Any, promise: list[Any], value: Any, at: str, _s: Any) -> list[str]:
    return [text for schema in promise for text in complaints(d, schema, value, at)]


CHECKS = {
    "type": _type,
    "enum": _enum,
    "pattern": _pattern,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "minItems": _least,
    "maxItems": _most,
    "maxLength": _most,
    "minLength": _least,
    "minimum": _least,
    "maximum": _most,
    "oneOf": _one_of,
    "allOf": _all_of,
}
