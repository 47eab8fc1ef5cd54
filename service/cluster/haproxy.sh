#!/bin/sh
# HAProxy as Ray starts it (haproxy ... -f FOLDER/haproxy.cfg ...), with one file changed: Ray has it
# answer 500 when no replica can be reached or one died amid a request. Either passes, so the client
# hears 503 and when to come back, as from the service itself.
for argument; do
    case $argument in
        *.cfg) answer=$(dirname "$argument")/500.http ;;
    esac
done
body='{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"no replica answered; send the request again"}'
if [ -n "$answer" ]; then
    printf 'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nRetry-After: 2\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s' \
        "${#body}" "$body" > "$answer.$$" && mv "$answer.$$" "$answer"
fi
exec "${HAPROXY_BINARY:-haproxy}" "$@"
