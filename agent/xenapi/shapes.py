"""What xapi's answers have to look like before anybody reads them; XML's and JSON's become the same values.

Whole numbers come as texts over XML and as numbers over JSON.  What is of another shape is
a BadAnswer that says where.  It knows fields, not what they mean.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agent.xenapi.answers import BadAnswer
from common import errors

Kind = Callable[[Any], Any]

#: names and flags are shorter; this is what the conductors are spared
LONGEST_TEXT = 100_000
_LARGEST_NUMBER = 2**63 - 1


def text(value: Any) -> str:
    """Return a text that can be stored: without NUL and half characters, which xapi never has."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError("a text")
    if "\0" in value or not value.isascii():
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return value


def number(value: Any) -> int:
    """Return a whole number, of whichever of the two forms."""
    if isinstance(value, str) and len(value) < 20:
        value = int(value)
    if type(value) is not int or abs(value) > _LARGEST_NUMBER:
        raise ValueError("a whole number")
    return int(value)


def real(value: Any) -> float:
    """Return a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    return float(value)


def flag(value: Any) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def texts(value: Any) -> list[str]:
    """Return a set: of references, of codes."""
    if not isinstance(value, list):
        raise ValueError("a set of texts")
    return [text(one) for one in value]


def mapping(value: Any) -> dict[str, str]:
    """Return a map of texts."""
    if not isinstance(value, dict):
        raise ValueError("a map of texts")
    return {text(key): text(one) for key, one in value.items()}


#: class -> the fields that the agent reads, apart from the checks before a join
FIELDS: dict[str, dict[str, Kind]] = {
    "pool": {"uuid": text, "name_label": text, "master": text, "ha_enabled": flag, "tls_verification_enabled": flag,
             "other_config": mapping},
    "host": {"uuid": text, "hostname": text, "address": text, "enabled": flag, "metrics": text,
             "memory_overhead": number, "software_version": mapping, "cpu_info": mapping, "other_config": mapping,
             "current_operations": mapping},
    "host_metrics": {"live": flag, "memory_total": number},
    "vm": {"uuid": text, "name_label": text, "power_state": text, "resident_on": text,
           "scheduled_to_be_resident_on": text, "is_control_domain": flag, "is_a_template": flag,
           "is_a_snapshot": flag, "memory_dynamic_min": number, "memory_static_max": number,
           "memory_overhead": number, "domain_type": text, "VCPUs_at_startup": number, "VBDs": texts, "VIFs": texts,
           "groups": texts, "current_operations": mapping, "allowed_operations": texts,
           "blocked_operations": mapping, "attached_PCIs": texts, "VGPUs": texts, "VUSBs": texts,
           "platform": mapping, "last_boot_CPU_flags": mapping, "other_config": mapping},
    "vbd": {"VDI": text, "empty": flag},
    "vdi": {"SR": text},
    "sr": {"uuid": text, "shared": flag, "content_type": text},
    "pbd": {"host": text, "SR": text, "currently_attached": flag},
    "network": {"uuid": text},
    "pif": {"host": text, "network": text, "currently_attached": flag, "primary_address_type": text, "IP": text,
            "IPv6": texts},
    "vif": {"network": text, "currently_attached": flag},
    "vm_group": {"uuid": text, "placement": text},
    "task": {"uuid": text, "status": text, "progress": real, "error_info": texts, "subtasks": texts,
             "allowed_operations": texts, "other_config": mapping},
    "session": {"uuid": text, "this_host": text},
}
#: fields that not every release has
OPTIONAL = frozenset({("pool", "ha_enabled"), ("pool", "tls_verification_enabled"), ("vm", "domain_type"),
                      ("vm", "groups"), ("vm", "attached_PCIs"), ("vm", "VGPUs"), ("vm", "VUSBs"),
                      ("vm", "last_boot_CPU_flags"), ("host_metrics", "live"), ("host_metrics", "memory_total")})
#: classes of which there is always an object
_NEVER_NONE = frozenset({"pool", "host"})


class Record(dict[str, Any]):
    """An object's fields; to ask for one that is missing is an error of whoever answered."""

    def __missing__(self, field: str) -> Any:
        raise errors.Unavailable(f"xapi answers with an object that has no field {field}", code="hypervisor_answer")


def checked(method: str, answer: Any) -> Any:
    """Return what ``method`` answered, with the fields of FIELDS in their forms.  Raises BadAnswer."""
    class_, _, call = method.partition(".")
    kinds = FIELDS.get(class_.lower(), {})
    try:
        if call in ("get_all_records", "get_all_records_where"):
            return _some(class_, {text(ref): _record(kinds, one) for ref, one in _struct(answer).items()})
        if call == "get_record":
            return _record(kinds, answer)
        if call == "get_all":
            return _some(class_, texts(answer))
        if call in ("get_by_uuid", "login_with_password"):
            return text(answer)
        if method == "event.from":
            return _batch(answer)
        kind = kinds.get(call.removeprefix("get_"))
        return answer if kind is None else kind(answer)
    except ValueError as exc:
        raise BadAnswer(f"{method} is answered in another form: {exc} is expected") from exc


def kept(class_: str, ref: str, record: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return these fields of an object, in their forms; OPTIONAL ones if they are there.  Raises BadAnswer."""
    kinds, found = FIELDS[class_], {}
    name = ""
    try:
        for name in names:
            if name in record:
                found[name] = kinds[name](record[name])
            elif (class_, name) not in OPTIONAL:
                raise ValueError("it")
    except ValueError as exc:
        raise BadAnswer(f"in the {class_} {ref[:100]} the field {name} has another form: {exc} is expected") from exc
    return found


def _struct(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a struct")
    return value


def _record(kinds: dict[str, Kind], value: Any) -> Record:
    record = Record(_struct(value))
    for name in kinds.keys() & record.keys():
        try:
            record[name] = kinds[name](record[name])
        except ValueError as exc:
            raise ValueError(f"in the field {name} {exc}") from exc
    return record


def _some(class_: str, found: Any) -> Any:
    if not found and class_ in _NEVER_NONE:
        raise ValueError(f"at least one {class_}")
    return found


def _batch(value: Any) -> dict[str, Any]:
    """Return an answer of event.from, whose events each have class, ref and operation, and a struct if any."""
    batch = Record(_struct(value))
    if not isinstance(batch.get("events"), list):
        raise ValueError("a list of events")
    for event in batch["events"]:
        for name in ("class", "ref", "operation"):
            text(_struct(event).get(name))
        _struct(event.get("snapshot", {}))
    return Record(events=batch["events"], token=text(batch.get("token")),
                  valid_ref_counts={text(name): number(count)
                                    for name, count in _struct(batch.get("valid_ref_counts", {})).items()})
