"""CD drives: an image in one ties a VM to where the image is, until it is ejected."""

from typing import TYPE_CHECKING

from agent.simulator.database import Database
from agent.simulator.failure import Failure
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.call import Call


def own_images(db: Database, host: str) -> str:
    """Return the host's own repository of images, made if there is none."""
    for pbd in db.get("host", host, "PBDs"):
        repository = str(db.get("PBD", pbd, "SR"))
        if db.get("SR", repository, "type") == "iso" and not db.get("SR", repository, "shared"):
            return repository
    repository = db.add("SR", {"name_label": "Local images", "type": "iso", "content_type": "iso"})
    db.add("PBD", {"host": host, "SR": repository, "device_config": {"location": "/opt/images", "legacy_mode": "true"},
                   "currently_attached": True})
    return repository


def insert_image(db: Database, vm: str, repository: str, attached: bool) -> None:
    """Give a VM a drive with an image of this repository in it."""
    image = db.add("VDI", {"name_label": "installer.iso", "SR": repository, "virtual_size": 1 << 30, "read_only": True,
                           "type": "user"})
    position = str(len(db.get("VM", vm, "VBDs")))
    db.add("VBD", {"VM": vm, "VDI": image, "userdevice": position, "mode": "RO", "type": "CD", "empty": False,
                   "currently_attached": attached})


def eject(call: "Call", vbd: str) -> None:
    """Take the image out of a drive."""
    if call.db.get("VBD", vbd, "type") != "CD":
        raise Failure("VBD_NOT_REMOVABLE_MEDIA", vbd)
    if call.db.get("VBD", vbd, "empty"):
        raise Failure("VBD_IS_EMPTY", vbd)
    call.db.set("VBD", vbd, VDI=NULL, empty=True)


CALLS = {"VBD.eject": eject}
