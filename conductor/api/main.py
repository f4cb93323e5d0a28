"""corral-api: serves REST and asks the conductors over the message broker; wires the parts, no logic."""

import sys

# isort: off
from common import concurrency  # noqa: F401  it has to come before all that asks which kind of threads there is
# isort: on
from common import config, messages, parts, rpc, service
from common.conductor_api import ConductorAPI
from common.standing import standing
from conductor.api import auth
from conductor.api.app import make_app
from conductor.api.policy import Policy
from conductor.api.serve import Service, refuse_exposure

PROG = "corral-api"
EXAMPLES = """  corral-api
  corral-api --config-file /etc/corral/corral-api.conf
    prints "ready: URL" once it listens; without a conductor it answers 503"""
#: seconds that an answer to the API's own question may take
_ANSWER_S = 10.0


class _Announced(Service):
    """Says where it listens."""

    def start(self) -> None:
        """Listen and serve.  Raises Unavailable when the address can't be had."""
        super().start()
        print(f"ready: {self.url}", flush=True)  # noqa: T201


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    args = service.parser(PROG, "Serves Corral's REST interface and asks the conductors.", EXAMPLES).parse_args(argv)
    return service.guarded(PROG, lambda: _run(service.Daemon(PROG, "api", args.config_file, args.debug)))


def _run(daemon: service.Daemon) -> int:
    conf = daemon.conf
    strategy = auth.strategy(conf, config.secret(conf, "api", "authtoken_password_file"))
    if isinstance(strategy, auth.NoAuth):
        refuse_exposure(conf.api.bind_host, conf.api.force_noauth)
    password = config.secret(conf, "broker", "password_file")
    transport = rpc.transport(None, conf, PROG, password)
    app = make_app(ConductorAPI(transport, conf.api.answer_timeout_s), public_url=conf.api.public_url,
                   auth=strategy, rules=Policy(conf))
    client = rpc.Client(transport, rpc.TOPIC_CONDUCTOR, messages.CONDUCTOR_VERSION, _ANSWER_S)
    # "There is no such operation" is an answer, and the cheapest one.
    trips = parts.round_trips(lambda: client.call({}, "operation_show", id="sign of life"), daemon.pulse)
    return daemon.run(_Announced(app, conf.api.bind_host, conf.api.bind_port), trips, standing(conf, (), password))


if __name__ == "__main__":
    sys.exit(main())
