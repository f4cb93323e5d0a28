"""The options of the group [api]; ``common/config.py`` says who reads them, and knows all others."""

from typing import Any

from oslo_config import cfg

#: what a user of a file of passwords may be; none: he may do nothing
ROLES = ("admin", "manager", "reader", "service", "none")

API: tuple[Any, ...] = (
    cfg.HostAddressOpt("bind_host", default="127.0.0.1", help="Address on which the API listens."),
    cfg.PortOpt("bind_port", default=8774, help="Port on which the API listens; 0 takes a free one."),
    cfg.URIOpt("public_url", schemes=["http", "https"],
               help="Address in the links of version documents; by default the client's own."),
    cfg.FloatOpt("answer_timeout_s", default=60.0, min=1.0, max=3600.0,
                 help="Seconds to wait for a conductor's answer. Then a request that may be repeated is asked once "
                      "more, of any conductor; after that the client is told to try again."),
    cfg.StrOpt("auth_strategy", default="noauth", choices=[
        ("keystone", "tokens of the Keystone that [keystone_authtoken] describes"),
        ("http_basic", "names and passwords of htpasswd_file"),
        ("noauth", "none: whoever reaches the API is an administrator, so it listens on loopback only")],
        help="How the API learns who asks."),
    cfg.BoolOpt("force_noauth", default=False,
                help="Listen off loopback without authentication: whoever reaches the API commands."),
    cfg.StrOpt("authtoken_password_file",
               help="File with the password for [keystone_authtoken], which then needs none itself. A name without a "
                    "slash is a systemd credential (LoadCredential=)."),
    cfg.ListOpt("operator_projects", default=["admin"],
                help="Projects whose managers and readers may use the API, by id, or by name in the domain default. "
                     "Those of other projects may not, as every tenant has some; a token for the system always does."),
    cfg.StrOpt("htpasswd_file", help="File with a name and a bcrypt hash per line, as made by htpasswd -B. A change "
                                     "counts within a second."),
    cfg.DictOpt("htpasswd_roles", default={},
                help="The roles of users in htpasswd_file, as in alice:admin,bob:reader. A role is one of "
                     + ", ".join(ROLES) + "."),
    cfg.StrOpt("htpasswd_default_role", default="admin", choices=list(ROLES),
               help="The role of users in htpasswd_file that htpasswd_roles does not name; none: they may do nothing."),
)
