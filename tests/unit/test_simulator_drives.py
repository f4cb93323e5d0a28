"""An image in a VM's drive, and what it ties the VM to."""

import pytest

from agent.simulator import DirectClient, Failure, direct_world
from agent.simulator.failure import WorldError
from agent.simulator.spec import HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec, parse_spec


def spec(cd: str) -> WorldSpec:
    return WorldSpec((HostSpec("h1"), HostSpec("h2")), (PoolSpec(("h1", "h2")),),
                     (StorageSpec("shared", "h1"), StorageSpec("images", "h1", type="iso")),
                     vms=(VmSpec("v", "h1", state="running", disks=("shared",), cd=cd),))


def prevented(client: DirectClient) -> list[list[str]]:
    (host,) = client("host.get_by_name_label", "h1")
    return list(client("host.get_vms_which_prevent_evacuation", host).values())


def test_an_image_of_the_host_itself_keeps_its_vm_there_until_it_is_ejected() -> None:
    client = DirectClient(*direct_world(spec("local")), "127.1.0.1").login()
    (vm,) = client("VM.get_by_name_label", "v")
    disk, drive = client("VM.get_VBDs", vm)
    images = client("VDI.get_SR", client("VBD.get_VDI", drive))
    assert prevented(client) == [["VM_REQUIRES_SR", vm, images]]
    client("VBD.eject", drive)
    assert (client("VBD.get_empty", drive), client("VBD.get_VDI", drive)) == (True, "OpaqueRef:NULL")
    assert prevented(client) == []
    for device, code in ((drive, "VBD_IS_EMPTY"), (disk, "VBD_NOT_REMOVABLE_MEDIA")):
        with pytest.raises(Failure) as caught:
            client("VBD.eject", device)
        assert caught.value.description == [code, device]


def test_an_image_that_all_hosts_see_keeps_nobody() -> None:
    client = DirectClient(*direct_world(spec("images")), "127.1.0.1").login()
    assert prevented(client) == []


def test_an_image_of_a_repository_that_is_not_there_is_refused() -> None:
    world = {"hosts": [{"name": "h1"}], "vms": [{"name": "v", "host": "h1", "cd": "nowhere"}]}
    with pytest.raises(WorldError, match=r"cd: 'nowhere' is not known, or not in this pool"):
        parse_spec(world)
