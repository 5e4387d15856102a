"""The JSON Schema (draft 2020-12) of a YAML of experiments, from the rules of its settings.

Merge keys (`<<`) are resolved before validation, as YAML loaders and editors do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_ocr.config import prices
from raytune_ocr.config.changes import PARAMETER
from raytune_ocr.config.resources import DOCS
from raytune_ocr.config.rules import NAME
from raytune_ocr.config.settings import ABOUT, OWN, PATHS, SECTIONS, About, Settings
from raytune_ocr.tasks.registry import target_keys
from raytune_ocr.tune.option_rules import goal_rule
from raytune_ocr.tune.options import OPTIONS, TUNING
from raytune_ocr.tune.space.search_space import SHARED

Schema = dict[str, Any]

WHEN = {
    "description": "settings that the leaf depends on, each with a value or a list of values",
    "type": "object",
    "minProperties": 1,
    "propertyNames": {
        "anyOf": [{"enum": [*PATHS, *ABOUT]}, {"type": "string", "pattern": f"^{PARAMETER}"}]
    },
}


def yaml_schema() -> Schema:
    """Return the schema of a file with `experiments`, `targets` and `tuning`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Experiments of raytune_ocr",
        "type": "object",
        "anyOf": [{"required": [key]} for key in ("experiments", "trainable", "task")],
        "properties": {
            **{key: value for key, value in _experiment()["properties"].items() if key in SHARED},
            "experiments": {
                "description": "the experiments by name",
                "type": "object",
                "minProperties": 1,
                "propertyNames": dict(NAME.schema),
                "additionalProperties": {"$ref": "#/$defs/experiment"},
            },
            "targets": {
                "description": "goals; the report shows which ones are met",
                **_nullable(
                    {
                        **_mapping({n: dict(goal_rule(n).schema) for n in target_keys()}),
                        "additionalProperties": {"type": "number"},
                    }
                ),
            },
            "tuning": {
                "description": "options of the run; the command line wins",
                **_nullable(_mapping({name: _option(name) for name in TUNING})),
            },
            "prices": {
                "description": "of machines; results then tell costs in money",
                **_nullable(_documented(prices.DOCS)),
            },
        },
        "additionalProperties": {
            "description": "a mapping with anchors that experiments merge from",
            "type": "object",
        },
        "$defs": {"when": WHEN, "experiment": _experiment()},
    }


def _experiment() -> Schema:
    properties: Schema = {
        "experiment_name": {"description": "equals the experiment's key", "type": "string"},
        "num_samples": {
            "description": "trials, for each combination of grid values",
            "type": ["integer", "null"],
            "minimum": 1,
        },
        "resources": {
            "description": "what each trial reserves",
            **_nullable(_documented(DOCS)),
        },
    }
    for section, keys in SECTIONS.items():
        leaves = {key: _setting(name, ABOUT[name]) for key, name in keys.items()}
        properties |= leaves if section == OWN else {section: _nullable(_mapping(leaves))}
    return _mapping(properties)


def _documented(docs: Mapping[str, tuple[str, str, Schema]]) -> Schema:
    """Fields with their rules, each of which may be left empty."""
    return _mapping(
        {
            name: {"description": doc, "anyOf": [schema, {"type": "null"}]}
            for name, (_, doc, schema) in docs.items()
        }
    )


def _setting(name: str, about: About) -> Schema:
    """Return the schema of a setting: its value, or a domain of values."""
    value, unit = dict(about.rule.schema), f" ({about.unit})" if about.unit else ""
    default = getattr(Settings(), name)
    if "items" in value and about.rule.kind is list:
        value["items"] = {"anyOf": [value["items"], *_domains(value["items"])]}
    schema: Schema = {
        "description": f"{about.doc}{unit}",
        "anyOf": [value, *_domains(dict(about.rule.schema))],
    }
    return schema if about.derived else {**schema, "default": default}


def _domains(value: Mapping[str, Any]) -> list[Schema]:
    """Return the schemas of domains with values of this schema."""
    lists = {"type": "array", "items": dict(value), "minItems": 1, "uniqueItems": True}
    found = [_domain(kind, lists) for kind in ("choice", "grid")]
    if value.get("type") in ("number", "integer"):
        kinds = ("uniform", "loguniform") if value["type"] == "number" else ()
        bounds = {"type": "array", "items": dict(value), "minItems": 2, "maxItems": 2}
        steps = {
            "type": "array",
            "prefixItems": [dict(value), dict(value), {"type": "number", "exclusiveMinimum": 0}],
            "minItems": 3,
            "maxItems": 3,
        }
        whole = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
        found += [_domain(kind, bounds) for kind in kinds]
        found += [_domain("quniform", steps), _domain("randint", whole)]
    return found


def _domain(kind: str, values: Schema) -> Schema:
    schema = _mapping({kind: values, "when": {"$ref": "#/$defs/when"}})
    return {**schema, "required": [kind]}


def _option(name: str) -> Schema:
    return {"description": OPTIONS[name].doc, **TUNING[name].schema}


def _mapping(properties: Mapping[str, Any]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _nullable(schema: Schema) -> Schema:
    """Return the schema of a section, which may be empty."""
    return {**schema, "type": ["object", "null"]}
