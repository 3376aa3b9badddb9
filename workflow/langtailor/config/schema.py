"""The JSON schema of the configuration, and ``config/schema.yaml``, which holds it for editors (``make schema``)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, get_args

import yaml

from langtailor.config.evaluation import task_kinds
from langtailor.config.export import enter_formats
from langtailor.config.run import Settings
from langtailor.config.variants import Variant

_HEADER = "# Generated from workflow/langtailor/config/ by `make schema`. Edit the settings there, not this file.\n"


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the configuration, as ``config/schema.yaml`` holds it."""
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    _enter_task_kinds(definitions)
    enter_formats(definitions)
    for name, field in Settings.model_fields.items():
        if field.default_factory is not None:
            default = field.get_default(call_default_factory=True)
            schema["properties"][name]["default"] = default.model_dump(mode="json")
    for section in Variant.model_fields:
        name = _section_name(section)
        definitions[f"{name}Override"] = _without_defaults(definitions[name])
        overrides, nullable = definitions["VariantOverrides"]["properties"], "anyOf" in schema["properties"][section]
        reference = {"$ref": f"#/$defs/{name}Override"}
        overrides[section] = {
            **({"anyOf": [reference, {"type": "null"}]} if nullable else reference),
            "description": overrides[section]["description"],
        }
    schema["$defs"] = dict(sorted(definitions.items()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(schema)}


def _section_name(section: str) -> str:
    """Name of the settings class of a section, which may be null."""
    annotation = Settings.model_fields[section].annotation
    (model,) = (one for one in get_args(annotation) or (annotation,) if one is not type(None))
    return str(model.__name__)


def _enter_task_kinds(definitions: dict[str, Any]) -> None:
    """A definition for each registered kind of evaluation task, as one of which a task is valid."""
    kinds = task_kinds().values()
    for kind in kinds:
        definition = kind.model_json_schema()
        definitions |= {**definition.pop("$defs", {}), kind.__name__: definition}
    tasks = definitions["EvaluationSettings"]["properties"]["tasks"]["patternProperties"]
    for pattern in tasks:
        tasks[pattern] = {"oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]}


def _tidy(node: Any) -> Any:
    """Drop what pydantic adds for itself, put descriptions on one line, and close mappings whose keys are patterned."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidy(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    tidy.pop("discriminator", None)
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].split())
    if "patternProperties" in tidy:
        tidy["additionalProperties"] = False
    return tidy


def _without_defaults(definition: Mapping[str, Any]) -> dict[str, Any]:
    override = copy.deepcopy(dict(definition))
    override.pop("required", None)
    for value in override["properties"].values():
        value.pop("default", None)
    return override


def schema_text() -> str:
    """The schema file's content."""
    return _HEADER + yaml.safe_dump(json_schema(), sort_keys=False, allow_unicode=True, width=110)
