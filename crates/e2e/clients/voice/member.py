"""Somebody who is in voice as clients are: op 4 over the gateway's socket, then an offer to wherever the gateway says, and
another one when that changes. A connection that works stays until the next one has worked for a while.
"""

import asyncio
import json
import time

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from sound import Ear, Tone, until

# GUILDS and GUILD_VOICE_STATES.
INTENTS = 1 | 1 << 7
# How long a connection stays beside the next one, in seconds.
OVERLAP = 1.0


class Call:
    """One connection to a voice server."""

    def __init__(self, frequency, slots):
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.ears = []
        self.tone = None if frequency is None else Tone(frequency)
        self.peer.on("track", lambda track: self.ears.append(Ear(track)))
        if self.tone:
            self.peer.addTransceiver(self.tone, direction="sendonly")
        for _ in range(slots):
            self.peer.addTransceiver("audio", direction="recvonly")

    async def connect(self, post):
        """`post` answers an offer."""
        await self.peer.setLocalDescription(await self.peer.createOffer())
        answer = await post(self.peer.localDescription.sdp)
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await until(lambda: self.is_connected(), "a connection to the voice server")

    def is_connected(self):
        return self.peer.connectionState == "connected"


class Member:
    """A session of the gateway. `frequency` is its voice, 0 for silence, `None` for no microphone."""

    def __init__(self, demo, http, account, frequency, slots, by_gateway):
        self.demo, self.http, self.account = demo, http, account
        self.frequency, self.slots, self.by_gateway = frequency, slots, by_gateway
        self.id, self.session = account["id"], None
        # Where everybody is, by user, and which servers were named, the last one last.
        self.states, self.servers = {}, []
        self.calls, self.ended, self.tasks = [], [], []
        self.flags = {"self_mute": False, "self_deaf": False}

    @classmethod
    async def connect(cls, demo, http, account, frequency=None, slots=8, by_gateway=False):
        self = cls(demo, http, account, frequency, slots, by_gateway)
        self.socket = await http.ws_connect(f"{demo['gateway']}/?v=10&encoding=json")
        hello = json.loads((await self.socket.receive(20)).data)
        self.tasks.append(asyncio.ensure_future(self.beat(hello["d"]["heartbeat_interval"] / 1000)))
        self.tasks.append(asyncio.ensure_future(self.read()))
        await self.send(2, {"token": account["token"], "intents": INTENTS, "properties": {}})
        await until(lambda: self.session, "READY")
        return self

    async def send(self, op, d):
        await self.socket.send_str(json.dumps({"op": op, "d": d}))

    async def beat(self, every):
        while True:
            await asyncio.sleep(every)
            await self.send(1, None)

    async def read(self):
        async for frame in self.socket:
            if frame.type != aiohttp.WSMsgType.TEXT:
                break
            told = json.loads(frame.data)
            name, d = told["t"], told["d"]
            if name == "READY":
                self.session = d["session_id"]
            elif name == "VOICE_STATE_UPDATE":
                self.states[d["user_id"]] = d
            elif name == "VOICE_SERVER_UPDATE":
                self.servers.append(d)
                if d["endpoint"]:
                    self.tasks.append(asyncio.ensure_future(self.go(d)))

    async def place(self, channel, **flags):
        """Op 4."""
        self.flags.update(flags)
        await self.send(4, {"guild_id": self.demo["guild_id"], "channel_id": channel, **self.flags})

    async def enter(self, channel):
        await self.place(channel)
        await until(lambda: self.calls, f"{self.account['name']} is connected")
        return self

    async def go(self, server):
        """Makes a connection to a server that was named."""
        call = Call(self.frequency, self.slots)
        try:
            await call.connect(lambda sdp: self.post(server, sdp))
        except Exception as error:
            print(f"   {self.account['name']} came not to {server['endpoint']}: {error!r}", flush=True)
            await call.peer.close()
            return
        former = self.calls[-1:]
        self.calls.append(call)
        await asyncio.sleep(OVERLAP)
        for one in former:
            self.ended.append(one)
            await one.peer.close()

    async def post(self, server, sdp):
        if self.by_gateway:
            body = {"url": server["url"], "token": server["token"], "sdp": sdp}
            headers = {"Authorization": self.account["token"]}
            async with self.http.post(f"{self.demo['api']}/x/voice", json=body, headers=headers) as answer:
                assert answer.status == 201, f"{answer.status}: {await answer.text()}"
                return (await answer.json())["sdp"]
        headers = {"Authorization": f"Bearer {server['token']}", "Content-Type": "application/sdp"}
        async with self.http.post(server["url"], data=sdp, headers=headers) as answer:
            assert answer.status == 201, f"{answer.status}: {await answer.text()}"
            return await answer.text()

    async def edit(self, user, **fields):
        """Changes a member over the API."""
        url = f"{self.demo['api']}/v10/guilds/{self.demo['guild_id']}/members/{user}"
        async with self.http.patch(url, json=fields, headers={"Authorization": self.account["token"]}) as answer:
            assert answer.status == 200, f"{answer.status}: {await answer.text()}"

    def say(self, frequency):
        self.frequency = frequency
        for call in self.calls:
            call.tone.frequency = frequency

    def hears(self):
        """The frequencies that are heard now by the newest connection, each slot's loudest."""
        ears = self.calls[-1].ears if self.calls else []
        return sorted(frequency for frequency, _ in (ear.loudest() for ear in ears) if frequency)

    def forget(self):
        """What was heard so far is forgotten."""
        for call in self.calls:
            for ear in call.ears:
                ear.samples.clear()

    def loud(self):
        """When more than silence was heard, over all connections."""
        return sorted(at for call in self.calls for ear in call.ears for at in ear.loud)

    def gap(self, since, until_then):
        """The longest time without anything to hear, in seconds."""
        times = [since, *(at for at in self.loud() if since <= at <= until_then), until_then]
        return max(after - before for before, after in zip(times, times[1:]))

    async def leave(self):
        await self.place(None)
        await until(lambda: self.states.get(self.id, {"channel_id": 0})["channel_id"] is None, "out of the channel")

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await self.socket.close()
        for call in self.calls:
            await call.peer.close()


async def run(checks, wanted, within, *given):
    """Runs checks one after the other, each with what is given; answers how many failed."""
    checks = [check for check in checks if not wanted or check.__name__ in wanted]
    failed = 0
    for check in checks:
        try:
            await asyncio.wait_for(check(*given), within)
            print(f"ok {check.__name__}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL {check.__name__}: {error!r}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed", flush=True)
    return failed


def now():
    return time.monotonic()
