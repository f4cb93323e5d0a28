"""What is kept of a pool between its events: the report is as if all were read anew, and nothing is done in vain."""

import random
from typing import Any

import pytest

from agent.xenapi import shapes
from agent.xenapi.answers import BadAnswer
from agent.xenapi.picture import Picture
from agent.xenapi.report import FIELDS, pool_report

NULL = "OpaqueRef:NULL"
PLAIN: dict[Any, Any] = {shapes.text: "", shapes.number: "0", shapes.flag: False, shapes.texts: [], shapes.mapping: {}}


def snapshot(class_: str, **more: Any) -> dict[str, Any]:
    """Return an object as XML-RPC tells it: whole numbers are texts."""
    return {name: PLAIN[kind] for name, kind in shapes.FIELDS[class_].items()} | more


def told(class_: str, ref: str, **more: Any) -> dict[str, Any]:
    return {"class": class_, "ref": ref, "operation": "mod", "snapshot": snapshot(class_, **more)}


def small_pool() -> Picture:
    """Return a pool of two hosts, shared storage, a network and a VM that has both."""
    picture = Picture()
    for event in (
            told("pool", "P", uuid="p", master="H1"), told("host", "H1", uuid="h1", metrics="M1"),
            told("host", "H2", uuid="h2", metrics="M2"), told("host_metrics", "M1", live=True, memory_total="5000"),
            told("sr", "S1", uuid="s1", shared=True), told("sr", "S2", uuid="s2"), told("network", "N1", uuid="n1"),
            told("network", "N2", uuid="n2"), told("vdi", "D1", SR="S1"), told("vbd", "B1", VDI="D1"),
            told("vif", "I1", network="N1"), told("vm_group", "G1", uuid="g1", placement="anti_affinity"),
            told("vm", "V1", uuid="v1", VBDs=["B1"], VIFs=["I1"], resident_on="H1", groups=["G1"],
                 memory_dynamic_min="100"),
            told("vm", "V2", uuid="v2", resident_on="H2")):
        picture.take(event)
    return picture


def entry(picture: Picture, uuid: str) -> dict[str, Any]:
    report = picture.report()
    assert report is not None
    return next(vm for vm in report.vms if vm["uuid"] == uuid)


@pytest.mark.parametrize(("class_", "ref", "change", "shown"), [
    ("vbd", "B1", {"VDI": NULL, "empty": True}, {"srs": []}),
    ("vdi", "D1", {"SR": "S2"}, {"srs": ["s2"]}),
    ("sr", "S1", {"uuid": "s9", "shared": True}, {"srs": ["s9"]}),
    ("vif", "I1", {"network": "N2"}, {"networks": ["n2"]}),
    ("network", "N1", {"uuid": "n9"}, {"networks": ["n9"]}),
    ("vm_group", "G1", {"uuid": "g1", "placement": "normal"}, {"groups": []}),
    ("host", "H1", {"uuid": "h9", "metrics": "M1"}, {"resident_on": "h9"}),
    ("vm", "V1", {"uuid": "v1", "name_label": "new"}, {"name_label": "new", "srs": [], "networks": []}),
], ids=["drive", "disk", "storage", "interface", "network", "group", "host", "vm"])
def test_a_change_of_what_a_vm_has_changes_its_entry_and_no_others(
        class_: str, ref: str, change: dict[str, Any], shown: dict[str, Any]) -> None:
    picture = small_pool()
    before, other = entry(picture, "v1"), entry(picture, "v2")
    assert picture.take(told(class_, ref, **change))
    after = entry(picture, "v1")
    assert {name: after[name] for name in shown} == shown != {name: before[name] for name in shown}
    assert entry(picture, "v2") == other


def test_a_pool_in_which_nothing_changed_has_the_same_report() -> None:
    picture = small_pool()
    report = picture.report()
    assert not picture.take(told("vm", "V2", uuid="v2", resident_on="H2"))
    assert not picture.take({"class": "message", "ref": "X", "operation": "add", "snapshot": {}})
    assert not picture.take({"class": "vm", "ref": "never seen", "operation": "del"})
    assert picture.report() is report


def test_a_change_of_one_vm_leaves_the_entries_of_the_others_as_they_are() -> None:
    picture = small_pool()
    other = entry(picture, "v2")
    picture.take(told("vm", "V1", uuid="v1", name_label="new"))
    assert entry(picture, "v2") is other


def test_whole_numbers_are_the_same_whichever_way_they_come() -> None:
    picture = small_pool()
    assert not picture.take(told("host_metrics", "M1", live=True, memory_total=5000))


def test_what_is_missing_or_of_another_kind_is_named() -> None:
    picture = small_pool()
    with pytest.raises(BadAnswer, match="in the vm V3 the field power_state"):
        picture.take({"class": "VM", "ref": "V3", "operation": "add",
                      "snapshot": {**snapshot("vm"), "power_state": 7}})
    lacking = snapshot("vm")
    del lacking["uuid"]
    with pytest.raises(BadAnswer, match="in the vm V3 the field uuid"):
        picture.take({"class": "VM", "ref": "V3", "operation": "add", "snapshot": lacking})


def test_fields_that_older_releases_lack_may_be_missing() -> None:
    older = {name: value for name, value in snapshot("vm", uuid="v3").items() if ("vm", name) not in shapes.OPTIONAL}
    picture = small_pool()
    assert picture.take({"class": "vm", "ref": "V3", "operation": "add", "snapshot": older})
    assert entry(picture, "v3")["groups"] == []


def test_texts_that_no_database_takes_are_made_takeable() -> None:
    picture = small_pool()
    picture.take(told("vm", "V1", uuid="v1", name_label="a\0b\ud800c"))
    name = entry(picture, "v1")["name_label"]
    assert name == "a\N{REPLACEMENT CHARACTER}b?c"
    picture.take(told("vm", "V1", uuid="v1", name_label="größer 😀"))
    assert entry(picture, "v1")["name_label"] == "größer 😀"


@pytest.mark.parametrize("seed", range(20))
def test_any_history_gives_the_report_of_its_last_state(seed: int) -> None:
    dice, picture = random.Random(seed), small_pool()
    refs = {name: [f"{name}{number}" for number in range(3)] for name in FIELDS}
    links = {"VBDs": "vbd", "VIFs": "vif", "VDI": "vdi", "SR": "sr", "network": "network", "groups": "vm_group",
             "resident_on": "host", "scheduled_to_be_resident_on": "host", "host": "host", "metrics": "host_metrics"}
    for _ in range(300):
        class_ = dice.choice([name for name in FIELDS if name != "pool"])
        ref = dice.choice(refs[class_])
        more: dict[str, Any] = {"uuid": dice.choice("abc")} if "uuid" in FIELDS[class_] else {}
        for field, kind in shapes.FIELDS[class_].items():
            if field in links:
                to = [*refs[links[field]], NULL]
                more[field] = dice.sample(to, 2) if kind is shapes.texts else dice.choice(to)
            elif kind is shapes.flag:
                more[field] = dice.random() < 0.3
        event = told(class_, ref, **more)
        picture.take(event if dice.random() < 0.8 else {**event, "operation": "del"})
        if dice.random() < 0.3:
            assert picture.report() == pool_report(picture.tables)
    assert picture.report() == pool_report(picture.tables)
