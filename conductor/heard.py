"""Whether what an agent says has the form of its message, down to each host and VM of a report.

What passes is stored, and read by every plan and every list; so nothing of another form may.
It knows no rule about what is said.
"""

from typing import Any

from common.arguments import Members, is_short, is_storable, judge
from common.messages import HostReport, PoolReport, Report, Sync, VmReport

_SHORT = judge(str, is_short)
_SHORT_OR_NONE = judge(str | None, is_short)
_PAIRS = judge(list[list[str]], is_storable)
_NUMBER = judge(float, is_short)


def _is_hindrances(value: object) -> bool:
    return _PAIRS(value) and all(len(one) == 2 for one in value)  # type: ignore[attr-defined]


def _is_running(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and _SHORT(one.get("task")) and _NUMBER(
        one.get("attempt")) and _NUMBER(one.get("progress", 0)) for one in value)


# Names that people give to VMs and pools are of any form; agents pass them on.
_LABEL = judge(str, lambda text: True)
_HOST = Members(HostReport, uuid=_SHORT, hostname=_LABEL)
_VM = Members(VmReport, uuid=_SHORT, name_label=_LABEL, hindrances=_is_hindrances)
_POOL = Members(PoolReport, pool=_SHORT, master=_SHORT, name_label=_LABEL, hosts=_HOST.list_fits, vms=_VM.list_fits)


def _is_pool_report(value: object) -> bool:
    if value is not None:
        _POOL.check(value)
    return True


_SYNC = Members(Sync, running=_is_running, report=_is_pool_report, **dict.fromkeys(("url", "role", "version"), _SHORT),
                **dict.fromkeys(("host_uuid", "address", "pool", "master_address", "report_digest"), _SHORT_OR_NONE))
_REPORT = Members(Report, task=_SHORT)


def check_sync(wire: dict[str, Any]) -> None:
    """Raise Invalid unless ``wire`` is a Sync."""
    _SYNC.check(wire)


def check_report(wire: dict[str, Any]) -> None:
    """Raise Invalid unless ``wire`` is a Report."""
    _REPORT.check(wire)
