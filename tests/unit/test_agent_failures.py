"""What XenAPI's failure codes mean to us, and what is made of a pool's records."""

from agent.xenapi import failures
from agent.xenapi.report import FIELDS, Tables, pool_report
from common import errors


def test_codes_that_change_what_we_do_have_errors_of_their_own() -> None:
    assert isinstance(failures.refused(["SESSION_INVALID", "ref"]), errors.SessionLost)
    assert isinstance(failures.refused(["HOST_IS_SLAVE", "10.0.0.1"]), errors.HostIsSlave)
    auth = failures.refused(["SESSION_AUTHENTICATION_FAILED", "root", "no"])
    assert isinstance(auth, errors.Forbidden) and auth.code == "hypervisor_auth"


def test_any_other_code_keeps_its_name_and_parameters() -> None:
    error = failures.refused(["VM_REQUIRES_SR", "vm", "sr"])
    assert type(error) is errors.HypervisorError and error.code == "hypervisor_error"
    assert error.details == {"xapi_code": "VM_REQUIRES_SR", "params": ["vm", "sr"], "effect": "none"}


def test_failures_after_which_one_must_look_say_so() -> None:
    for code in ("INTERNAL_ERROR", "CANNOT_CONTACT_HOST", "VM_MIGRATE_FAILED", "TASK_CANCELLED"):
        assert failures.refused([code]).details["effect"] == "unknown"


def test_an_empty_failure_is_still_an_error() -> None:
    assert isinstance(failures.refused([]), errors.HypervisorError)


def empty() -> Tables:
    return {name: {} for name in FIELDS}


def host(uuid: str, metrics: str) -> dict[str, object]:
    return {
        "uuid": uuid, "hostname": uuid, "address": "10.0.0.1", "enabled": True, "metrics": metrics,
        "memory_overhead": "1000", "software_version": {}, "cpu_info": {}, "other_config": {},
        "current_operations": {},
    }  # fmt: skip


def vm(uuid: str, resident_on: str, **more: object) -> dict[str, object]:
    return {
        "uuid": uuid, "name_label": uuid, "power_state": "Running", "resident_on": resident_on,
        "scheduled_to_be_resident_on": "OpaqueRef:NULL", "is_control_domain": False, "is_a_template": False,
        "is_a_snapshot": False, "memory_dynamic_min": "100", "memory_static_max": "200", "memory_overhead": "10",
        "domain_type": "hvm", "VCPUs_at_startup": "1", "VBDs": [], "VIFs": [], "groups": [],
        "current_operations": {}, "allowed_operations": ["pool_migrate"], "blocked_operations": {},
        "attached_PCIs": [], "VGPUs": [], "VUSBs": [], "platform": {}, "other_config": {}, **more,
    }  # fmt: skip


def pool_of_two() -> Tables:
    tables = empty()
    tables["pool"] = {"P": {"uuid": "p", "name_label": "", "master": "H1", "ha_enabled": False}}
    tables["host"] = {"H1": host("h1", "M1"), "H2": host("h2", "M2")}
    tables["host_metrics"] = {"M1": {"live": True, "memory_total": "5000"}, "M2": {"live": False, "memory_total": "0"}}
    return tables


def test_a_pool_without_its_own_record_is_no_report() -> None:
    assert pool_report(empty()) is None


def test_free_memory_counts_what_is_there_and_what_is_on_its_way() -> None:
    tables = pool_of_two()
    tables["vm"] = {"A": vm("a", "H1"), "B": vm("b", "H2", scheduled_to_be_resident_on="H1")}
    report = pool_report(tables)
    assert report is not None
    assert [one["memory_free_bytes"] for one in report.hosts] == [5000 - 1000 - 2 * 110, 0]
    assert [one["scheduled_on"] for one in report.vms] == [None, "h1"]


def test_templates_and_snapshots_are_left_out_and_control_domains_are_not() -> None:
    tables = pool_of_two()
    tables["vm"] = {
        "A": vm("a", "H1", is_control_domain=True),
        "B": vm("b", "OpaqueRef:NULL", is_a_template=True),
        "C": vm("c", "OpaqueRef:NULL", is_a_snapshot=True),
    }
    report = pool_report(tables)
    assert report is not None and [one["uuid"] for one in report.vms] == ["a"]


def test_an_internal_network_is_everywhere_until_a_running_vm_pins_it() -> None:
    tables = pool_of_two()
    tables["network"] = {"N": {"uuid": "n"}}
    report = pool_report(tables)
    assert report is not None and [one["networks"] for one in report.hosts] == [["n"], ["n"]]
    tables["vif"] = {"F": {"network": "N", "currently_attached": True}}
    tables["vm"] = {"A": vm("a", "H2", VIFs=["F"])}
    report = pool_report(tables)
    assert report is not None and [one["networks"] for one in report.hosts] == [[], ["n"]]


def test_a_vm_in_the_middle_of_an_operation_is_not_called_unwilling() -> None:
    tables = pool_of_two()
    tables["vm"] = {
        "A": vm("a", "H1", allowed_operations=[], current_operations={"T": "pool_migrate"}),
        "B": vm("b", "H1", allowed_operations=[]),
        "C": vm("c", "H1", allowed_operations=[], platform={"nomigrate": "true"}),
        "D": vm("d", "H1", power_state="Paused", allowed_operations=[]),
        "E": vm("e", "H1", VUSBs=["U"], VGPUs=["G"], attached_PCIs=["D"]),
    }
    report = pool_report(tables)
    assert report is not None
    assert [[code for code, _ in one["hindrances"]] for one in report.vms] == [
        [], ["VM_LACKS_FEATURE"], ["VM_IS_IMMOBILE"], ["VM_BAD_POWER_STATE"],
        ["VM_HAS_PCI_ATTACHED", "VM_HAS_VGPU", "VM_HAS_VUSBS"],
    ]  # fmt: skip
