#!/usr/bin/env python3
"""Sends one event to a secevent transmitter: send.py KEY < event.json

KEY is the Idempotency-Key: take a name that the event keeps when this program runs again, such as a row id.
Needs SECEVENT_ISSUER, SECEVENT_TOKEN_URL, SECEVENT_CLIENT and SECEVENT_SECRET.
"""
import base64
import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

UNTIL = time.monotonic() + 900


def call(request):
    """One request, repeated while that can help: its status and body."""
    delay = 1
    while True:
        retry_after = ""
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as answer:
            status, body = answer.code, answer.read()
            if status not in (408, 429) and status < 500:
                return status, body
            retry_after = answer.headers.get("Retry-After") or ""
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, str(error).encode()
        # The random part keeps producers apart that failed at the same moment.
        pause = max(delay * random.uniform(0.5, 1), int(retry_after) if retry_after.isdigit() else 0)
        if time.monotonic() + pause > UNTIL:
            sys.exit(f"gave up after status {status}, run it again with the same key: {body.decode(errors='replace')}")
        time.sleep(pause)
        delay = min(delay * 2, 60)


def get_token():
    client, secret = (urllib.parse.quote_plus(os.environ[name]) for name in ("SECEVENT_CLIENT", "SECEVENT_SECRET"))
    basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "events.write"}).encode()
    status, body = call(
        urllib.request.Request(os.environ["SECEVENT_TOKEN_URL"], form, {"Authorization": f"Basic {basic}"})
    )
    if status != 200:
        sys.exit(f"no access token, status {status}: {body.decode(errors='replace')}")
    return json.loads(body)["access_token"]


def send(event, key, token):
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    }
    return call(urllib.request.Request(os.environ["SECEVENT_ISSUER"] + "/events", event, headers))


def main():
    key, event = sys.argv[1], sys.stdin.buffer.read()
    status, body = send(event, key, get_token())
    if status == 401:  # The token has ended.
        status, body = send(event, key, get_token())
    if status != 202:
        sys.exit(f"rejected, status {status}: {body.decode(errors='replace')}")
    print(body.decode())


main()
