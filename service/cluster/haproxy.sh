#!/bin/sh
# HAProxy as Ray starts it (haproxy ... -f FOLDER/haproxy.cfg ...), with three things changed.
for argument; do
    case $argument in
        *.cfg) configuration=$argument ;;
    esac
done
if [ -f "$configuration" ]; then
    # Ray has HAProxy answer 500 when no replica can be reached or one died amid a request. Either
    # passes, so the client hears 503 and when to come back, as from the service itself.
    body='{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"no replica answered; send the request again"}'
    answer=$(dirname "$configuration")/500.http
    printf 'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nRetry-After: 2\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s' \
        "${#body}" "$body" > "$answer.$$" && mv "$answer.$$" "$answer"
    # A request that fails on a connection used before gets no answer at all from HAProxy, which
    # leaves it to the client to know that it may try again.
    reuse='s/^\( *\)http-reuse always$/\1http-reuse never\n\1option http-server-close/'
    # An HAProxy that has just started knows no application yet, and would answer 404.
    unknown=
    if ! grep -q '^ *use_backend ' "$configuration"; then
        unknown="s|^\( *http-request return status\) 404 .*|\1 503 errorfile $answer|"
    fi
    sed -e "$reuse" -e "$unknown" "$configuration" > "$configuration.$$" \
        && mv "$configuration.$$" "$configuration"
fi
exec "${HAPROXY_BINARY:-haproxy}" "$@"
