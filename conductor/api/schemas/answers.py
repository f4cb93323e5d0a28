"""What answers look like: the parts that both APIs use, as JSON Schema.

It knows no request.  ``answers_nova.py`` and ``answers_v1.py`` hold the shapes by name;
routes refer to them, and the OpenAPI document has them as its components.
"""

from conductor.api.schemas.fields import Schema

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
NUMBER: Schema = {"type": "number"}
YES_NO: Schema = {"type": "boolean"}
YES_NO_OR_NULL: Schema = {"type": ["boolean", "null"]}
ANY_OBJECT: Schema = {"type": "object"}
NULL: Schema = {"type": "null"}
#: UTC without zone
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?$"}
TIME_OR_NULL: Schema = {**TIME, "type": ["string", "null"]}
LINKS: Schema = {"type": "array", "items": {
    "type": "object", "properties": {"rel": TEXT, "href": TEXT, "type": TEXT}, "required": ["rel", "href"],
    "additionalProperties": False}}


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    """Return a schema that also takes null."""
    return {"anyOf": [schema, NULL]}


def many(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def one_of(*words: str) -> Schema:
    """Return the schema of one of these words."""
    return {"enum": list(words)}


def grows(**members: Schema) -> Schema:
    """Return the schema of an object that has all these members; later versions may add some."""
    return {"type": "object", "properties": members, "required": sorted(members)}


def closed(optional: dict[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """Return the schema of an object with just these members, those of ``optional`` by microversion."""
    return {"type": "object", "properties": {**members, **(optional or {})}, "required": sorted(members),
            "additionalProperties": False}
