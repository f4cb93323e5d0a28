"""corral-api: serves REST and asks the conductors over the message broker.

It wires the parts and holds no logic.
"""

import logging
import signal
import sys
import threading

from oslo_config import cfg

from common import errors, rpc
from common.conductor_api import ConductorAPI
from conductor.api.app import make_app
from conductor.api.serve import Service, refuse_exposure

OPTIONS = (
    cfg.HostAddressOpt("bind-host", default="127.0.0.1", help="Address on which the API listens"),
    cfg.PortOpt("bind-port", default=8774, help="Port on which the API listens; 0 takes a free one"),
    cfg.URIOpt("public-url", help="Address in the links of version documents; by default the one that the "
                                  "client used"),
    cfg.BoolOpt("force-noauth", default=False,
                help="Listen off loopback though there is no authentication: whoever reaches the API commands"),
)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    conf = cfg.CONF
    conf.register_cli_opts(OPTIONS, group="api")
    # oslo.messaging has transport_url for the configuration file; the command line goes before it
    conf.register_cli_opt(cfg.StrOpt("transport-url", dest="broker_url", secret=True, metavar="URL",
                                     help="URL of the message broker; by default the file's transport_url"))
    try:
        conf(argv, project="corral", prog="corral-api")
    except cfg.Error as exc:
        print(f"corral-api: {exc}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        refuse_exposure(conf.api.bind_host, conf.api.force_noauth)
        app = make_app(ConductorAPI(rpc.transport(conf.broker_url, conf)), public_url=conf.api.public_url)
        service = Service(app, conf.api.bind_host, conf.api.bind_port)
        service.start()
    except errors.Error as exc:
        print(f"corral-api: {exc.message}", file=sys.stderr)
        return 5 if isinstance(exc, errors.Unavailable) else 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print(f"ready: {service.url}", flush=True)
    ended.wait()
    service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
