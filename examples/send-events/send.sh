#!/bin/sh
# Sends one event to a secevent transmitter: send.sh KEY < event.json
# KEY is the Idempotency-Key: take a name that the event keeps when this program runs again, such as a row id.
# Needs curl 7.83 or newer, and SECEVENT_ISSUER, SECEVENT_TOKEN_URL, SECEVENT_CLIENT and SECEVENT_SECRET.
set -eu

key=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/event"
until=$(($(date +%s) + 900))

# call NAME LINE OPTION…: one request, repeated while that can help. LINE is for curl's configuration, which keeps
# secrets out of the list of processes. Leaves the status in $status and the body in $work/NAME.
call() {
    name=$1 line=$2
    shift 2
    delay=1
    while :; do
        answer=$(printf '%s\n' "$line" | curl -K - -sS --max-time 30 -o "$work/$name" \
            -w '%{http_code} %header{retry-after}' "$@") || answer="000 "
        status=${answer%% *} wait=${answer#* }
        case $status in
            000 | 408 | 429 | 5??) ;;
            *) return 0 ;;
        esac
        case $wait in '' | *[!0-9]*) wait=0 ;; esac
        [ "$wait" -ge "$delay" ] || wait=$delay
        if [ $(($(date +%s) + wait)) -gt "$until" ]; then
            echo "gave up after status $status: run it again with the same key" >&2
            exit 2
        fi
        sleep "$wait"
        delay=$((delay * 2 > 60 ? 60 : delay * 2))
    done
}

quoted() {
    printf '%s' "$1" | sed 's/[\\"]/\\&/g'
}

get_token() {
    call token "user = \"$(quoted "$SECEVENT_CLIENT"):$(quoted "$SECEVENT_SECRET")\"" \
        -d grant_type=client_credentials -d scope=events.write "$SECEVENT_TOKEN_URL"
    token=$(sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p' "$work/token")
    if [ "$status" != 200 ]; then
        echo "no access token, status $status: $(cat "$work/token")" >&2
        exit 1
    fi
}

send_event() {
    call answer "header = \"Authorization: Bearer $token\"" -H "Content-Type: application/json" \
        -H "Idempotency-Key: $key" --data-binary "@$work/event" "$SECEVENT_ISSUER/events"
}

get_token
send_event
if [ "$status" = 401 ]; then # The token has ended.
    get_token
    send_event
fi
if [ "$status" != 202 ]; then
    echo "rejected, status $status: $(cat "$work/answer")" >&2
    exit 1
fi
cat "$work/answer"
