"""A bot on python-socketio that a story steers: see tests/stories/clients.test.mjs.

Called with an address and the transports, with the access token in TOKEN. Each line it reads is a call
{"call": [event, payload]}, a number of pings at once {"pings": number}, or the end {"end": true}. Each line it writes is
what came: [event, payload].
"""

import json
import os
import sys

import socketio

client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.2, request_timeout=10)


def tell(event, payload):
    sys.stdout.write(json.dumps([event, payload]) + "\n")
    sys.stdout.flush()


client.on("*", tell)
client.on("disconnect", lambda reason: tell("*disconnect", reason))
client.connect(sys.argv[1], transports=sys.argv[2].split(","), auth={"token": os.environ["TOKEN"]})
tell("*transport", client.transport())
for line in sys.stdin:
    order = json.loads(line)
    if "call" in order:
        event, payload = order["call"]
        tell("*answer", client.call(event, payload, timeout=10))
    elif "pings" in order:
        for number in range(order["pings"]):
            client.emit("ping", {"client_time_ms": number}, callback=lambda _: None)
    else:
        break
client.disconnect()
