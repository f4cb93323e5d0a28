"""corral-api: serves REST and asks the conductors over the message broker; wires the parts, no logic."""

import sys

from oslo_config import cfg

from common import config, rpc, service
from common.conductor_api import ConductorAPI
from conductor.api.app import make_app
from conductor.api.serve import Service, refuse_exposure

OPTIONS = (
    cfg.HostAddressOpt("bind-host", default="127.0.0.1", help="Address on which the API listens."),
    cfg.PortOpt("bind-port", default=8774, help="Port on which the API listens; 0 takes a free one."),
    cfg.URIOpt("public-url", help="Address in the links of version documents; by default the client's own."),
    cfg.BoolOpt("force-noauth", default=False,
                help="Listen off loopback without authentication: whoever reaches the API commands."),
)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    return service.guarded("corral-api", lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    conf = cfg.CONF
    conf.register_cli_opts(OPTIONS, group="api")
    # oslo.messaging has transport_url for the configuration file; the command line goes before it
    conf.register_cli_opt(cfg.StrOpt("transport-url", dest="broker_url", secret=True, metavar="URL",
                                     help="URL of the message broker; by default the file's transport_url."))
    config.load(conf, "corral-api", argv)
    service.log_to()
    stop = service.Stop()
    stop.catch()
    refuse_exposure(conf.api.bind_host, conf.api.force_noauth)
    app = make_app(ConductorAPI(rpc.transport(conf.broker_url, conf)), public_url=conf.api.public_url)
    running = Service(app, conf.api.bind_host, conf.api.bind_port)
    running.start()
    print(f"ready: {running.url}", flush=True)  # noqa: T201
    status = stop.wait()
    running.stop()
    return status


if __name__ == "__main__":
    sys.exit(main())
