"""Measures how long aiortc takes from its offer to the first packet of media.

    python joins.py <voice-alone> <joins> <per second> <seconds>

First alone; then while native clients come and go, so many a second for so many seconds. A line of JSON each.
"""

import asyncio
import json
import sys
import time

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from accept import Alone, Caller
from sound import until

ROOM = 50


async def join(alone, http, user):
    """One comes and goes: from the offer to the first packet, in ms."""
    peer, first = RTCPeerConnection(RTCConfiguration(iceServers=[])), []
    transceiver = peer.addTransceiver("audio", direction="recvonly")
    for _ in range(7):
        peer.addTransceiver("audio", direction="recvonly")
    # What a track gives comes out of a buffer that waits for several packets: the first one is seen before it.
    handle = transceiver.receiver._handle_rtp_packet

    async def note(packet, arrival_time_ms):
        first.append(time.monotonic())
        await handle(packet, arrival_time_ms)

    transceiver.receiver._handle_rtp_packet = note
    admitted = await alone.ask("admit", ROOM, user)
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Authorization": f"Bearer {admitted['token']}"}
    began = time.monotonic()
    offer = {"data": peer.localDescription.sdp, "headers": {**headers, "Content-Type": "application/sdp"}}
    async with http.post(admitted["url"], **offer) as answer:
        assert answer.status == 201, f"{answer.status}: {await answer.text()}"
        sdp = await answer.text()
    await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    await until(lambda: first, "a first packet")
    await peer.close()
    return 1000 * (first[0] - began)


async def joins(alone, http, first, count, until_then=None):
    took = []
    for n in range(count):
        took.append(await join(alone, http, first + n))
        if until_then and until_then.done():
            break
    took.sort()
    at = lambda share: round(took[min(int(len(took) * share), len(took) - 1)], 1)
    return {"joined": len(took), "p50": at(0.5), "p95": at(0.95), "worst": round(took[-1], 1)}


async def main():
    program, count, rate, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    alone = await Alone.start(program)
    async with aiohttp.ClientSession() as http:
        speaker = await Caller.join(alone, http, ROOM, 1, 440, slots=1)
        print(json.dumps({"client": "aiortc", "beside": "nobody", **await joins(alone, http, 1_000, count)}), flush=True)
        await alone.ask("joins", rate, seconds)
        loaded = await joins(alone, http, 2_000, count, asyncio.ensure_future(asyncio.sleep(seconds)))
        native = await alone.ask("joined")
        beside = f"native clients, {native['per_second']} joins/s: {native}"
        print(json.dumps({"client": "aiortc", "beside": beside, **loaded}), flush=True)
        await speaker.close()
    await alone.stop()


asyncio.run(main())
