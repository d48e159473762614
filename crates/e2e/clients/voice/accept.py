"""Acceptance test: aiortc as it is published, against a running voice server.

    python accept.py <voice-alone>

voice-alone is the program of that name (an example of the crate clarion-voice): a voice server that is told on its input
whom to admit. People with tones for voices talk to each other; what arrives is decoded and its frequencies are measured.
One line a check, `ok <name>` or `FAIL <name>: why`, and a last line `N passed, M failed`; the exit code is 1 when something
failed. Every wait has a bound, and none is for luck.
"""

import asyncio
import collections
import json
import random
import re
import sys
import time

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from sound import WITHIN, Ear, Tone, near, until

# Longest run of a check, in seconds.
CHECK_WITHIN = 110


class Alone:
    """The server."""

    def __init__(self, process):
        self.process = process

    @classmethod
    async def start(cls, program):
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(program, stdin=pipe, stdout=pipe, limit=1 << 24))

    async def ask(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        await self.process.stdin.drain()
        answer = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 40))
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{words}: {answer['error']}")
        return answer

    async def stop(self):
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), 15)


class Link:
    """A bad way between a client and the server: some is lost, all is late. It stands where the server seems to be."""

    def __init__(self, server, loss, delay, seed=1):
        self.server, self.loss, self.delay, self.random = server, loss, delay, random.Random(seed)
        self.client = None
        self.down = [0, 0]
        # How long it really kept what it carried, either way, and how often: a busy machine is later than it should be.
        self.kept = [0.0, 0]

    async def open(self):
        loop = asyncio.get_running_loop()
        link = self

        class Outside(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                link.client = address
                link.carry(data, lambda: link.inside.sendto(data), count=None)

        class Inside(asyncio.DatagramProtocol):
            def datagram_received(self, data, _):
                def forward():
                    if link.client:
                        link.outside.sendto(data, link.client)

                media = data[0] in range(128, 192) and data[1] not in range(192, 224)
                link.carry(data, forward, count=link.down if media else None)

        self.outside, _ = await loop.create_datagram_endpoint(Outside, local_addr=("127.0.0.1", 0))
        self.inside, _ = await loop.create_datagram_endpoint(Inside, remote_addr=self.server)
        return self.outside.get_extra_info("sockname")[1]

    def carry(self, data, forward, count):
        # Only media is lost: what is asked here is how its loss is measured, not how a handshake bears it.
        if count is not None:
            count[0] += 1
            if self.random.random() < self.loss:
                count[1] += 1
                return
        came = time.monotonic()

        def late():
            self.kept[0] += time.monotonic() - came
            self.kept[1] += 1
            forward()

        asyncio.get_running_loop().call_later(self.delay, late)

    def round_trip(self):
        """What it adds to a round trip, in ms, on average."""
        return 2_000 * self.kept[0] / self.kept[1]

    def close(self):
        self.outside.close()
        self.inside.close()


class Caller:
    """Somebody in a room, over aiortc."""

    def __init__(self):
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.ears = []
        self.link = None
        self.tone = None

    @classmethod
    async def join(cls, alone, http, channel, user, frequency=None, slots=8, link=None):
        self = cls()
        admitted = await alone.ask("admit", channel, user)
        self.peer.on("track", lambda track: self.ears.append(Ear(track)))
        if frequency is not None:
            self.tone = Tone(frequency)
            self.peer.addTransceiver(self.tone, direction="sendonly")
        for _ in range(slots):
            self.peer.addTransceiver("audio", direction="recvonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        self.headers = {"Authorization": f"Bearer {admitted['token']}"}
        headers = {**self.headers, "Content-Type": "application/sdp"}
        began = time.monotonic()
        async with http.post(admitted["url"], data=self.peer.localDescription.sdp, headers=headers) as answer:
            assert answer.status == 201, f"{answer.status}: {await answer.text()}"
            self.location, sdp = answer.headers["Location"], await answer.text()
        if link:
            host, port = re.search(r"a=candidate:1 1 udp \d+ (\S+) (\d+)", sdp).groups()
            self.link = Link((host, int(port)), *link)
            sdp = sdp.replace(f"{host} {port} typ", f"{host} {await self.link.open()} typ")
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        await until(lambda: self.peer.connectionState == "connected", f"user {user} is connected")
        self.connected_in = time.monotonic() - began
        return self

    def hears(self):
        """The frequencies that are heard now, each slot's loudest."""
        return sorted(frequency for frequency, _ in (ear.loudest() for ear in self.ears) if frequency)

    async def close(self):
        await self.peer.close()
        if self.link:
            self.link.close()


async def a_tone_is_heard_and_mute_is_silence(alone, http):
    speaker = await Caller.join(alone, http, 10, 1, 440)
    listener = await Caller.join(alone, http, 10, 2, 0)
    await until(lambda: near(listener.hears(), [440]), f"440 Hz; heard {listener.hears()}")
    assert speaker.hears() == [], f"nobody hears himself: {speaker.hears()}"
    await until_told(alone, 10, [{"slot": 0, "user": 1, "speaking": True}])
    await alone.ask("allow", 10, 1, "false", "true")
    # aiortc repeats nothing when packets do not come: so the samples of before are thrown away.
    for ear in listener.ears:
        ear.samples.clear()
    speaker.tone.frequency = 880
    await dropped(alone, "muted", 60)
    assert listener.hears() == [], f"muted: {listener.hears()}"
    await alone.ask("allow", 10, 1, "true", "true")
    await until(lambda: near(listener.hears(), [880]), "880 Hz after the mute")
    return [speaker, listener]


async def dropped(alone, reason, more):
    """Waits until so many more packets were dropped."""

    async def so_far():
        text = (await alone.ask("metrics"))["text"]
        lines = [line for line in text.splitlines() if line.startswith("voice_packets_dropped") and reason in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    before, deadline = await so_far(), time.monotonic() + WITHIN
    while await so_far() < before + more:
        assert time.monotonic() < deadline, f"no {more} packets were dropped: {reason}"
        await asyncio.sleep(0.05)


async def until_told(alone, channel, expected):
    deadline = time.monotonic() + WITHIN
    while True:
        told = [slot for slot in await alone.ask("heard", channel) if slot["speaking"]]
        if told == expected:
            return
        assert time.monotonic() < deadline, f"told {told}, expected {expected}"
        await asyncio.sleep(0.05)


async def three_who_speak_are_three(alone, http):
    listener = await Caller.join(alone, http, 11, 9, None)
    speakers = [await Caller.join(alone, http, 11, n, tone, slots=1) for n, tone in ((1, 300), (2, 500), (3, 700))]
    await until(lambda: near(listener.hears(), [300, 500, 700]), "three tones in three slots")
    return [listener, *speakers]


async def one_section_both_ways(alone, http):
    """A client with one section of audio in both directions, as simple ones have."""
    simple = Caller()
    admitted = await alone.ask("admit", 12, 2)
    simple.peer.on("track", lambda track: simple.ears.append(Ear(track)))
    simple.tone = Tone(1_000)
    simple.peer.addTrack(simple.tone)
    await simple.peer.setLocalDescription(await simple.peer.createOffer())
    headers = {"Authorization": f"Bearer {admitted['token']}", "Content-Type": "application/sdp"}
    async with http.post(admitted["url"], data=simple.peer.localDescription.sdp, headers=headers) as answer:
        assert answer.status == 201, f"{answer.status}: {await answer.text()}"
        await simple.peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    # It speaks first, so that the first slot is its own.
    await until_told(alone, 12, [{"slot": 0, "user": 2, "speaking": True}])
    speaker = await Caller.join(alone, http, 12, 1, 600)
    await until(lambda: near(simple.hears(), [600]) and near(speaker.hears(), [1_000]), "each hears the other")
    return [speaker, simple]


async def who_leaves_is_gone(alone, http):
    caller = await Caller.join(alone, http, 13, 71, 440)
    async with http.delete(caller.location, headers=caller.headers) as answer:
        assert answer.status == 200, answer.status
    assert await alone.ask("left", 71) == {"reason": "left"}
    return [caller]


def numbers(detail):
    """The numbers of a line of quality."""
    found = dict(part.split("=") for part in detail.split())
    return {name: None if value == "-" else float(value.rstrip("ms%")) for name, value in found.items()}


async def windows(alone, user, most=6):
    """What is measured of a user, window by window. A busy machine makes a way worse than it is: there is more than one."""
    await alone.ask("quality", user)
    for _ in range(most):
        yield numbers((await alone.ask("quality", user))["detail"])


async def a_good_way_scores_well(alone, http):
    speaker = await Caller.join(alone, http, 14, 1, 440)
    listener = await Caller.join(alone, http, 14, 2, 300)
    async for quality in windows(alone, 2):
        print(f"   a good way: {quality}")
        if quality["down.loss"] == 0 and quality["mos"] > 4.3:
            return [speaker, listener]
    raise AssertionError(quality)


async def a_bad_way_is_seen_as_it_is(alone, http):
    speaker = await Caller.join(alone, http, 15, 1, 440)
    listener = await Caller.join(alone, http, 15, 2, 300, link=(0.05, 0.04))
    await alone.ask("quality", 2)
    before, link = list(listener.link.down), listener.link.round_trip
    told = []
    async for quality in windows(alone, 2):
        told.append(quality)
        passed, lost = (after - then for after, then in zip(listener.link.down, before))
        truth = 100 * lost / passed
        loss = sum(window["down.loss"] for window in told) / len(told)
        best = min(told, key=lambda window: window["round_trip"])
        trip, mos = best["round_trip"], best["mos"]
        print(f"   a bad way: lost {truth:.2f} %, told {loss:.2f} %; round trip told {trip:.1f} ms of {link():.1f}; score {mos:.2f}")
        # Of several reports the shortest way counts, so it is not longer than the average.
        if len(told) > 1 and abs(loss - truth) <= 1 and 70 <= trip <= link() + 10 and 3.2 < mos < 4.1:
            return [speaker, listener]
    raise AssertionError(told)


async def joins_are_quick_and_one_trace(alone, http):
    speaker = await Caller.join(alone, http, 16, 1, 440, slots=1)
    took = []
    callers = [speaker]
    for user in range(2, 12):
        callers.append(await Caller.join(alone, http, 16, user, 300 + user * 10, slots=2))
        took.append(callers[-1].connected_in)
    took.sort()
    print(f"   from the offer to connected: median {1000 * took[5]:.0f} ms, worst {1000 * took[-1]:.0f} ms")
    await until(lambda: callers[-1].hears() != [], "the last one hears")
    traces = collections.defaultdict(set)
    stages_took = collections.defaultdict(list)
    for span in await alone.ask("spans"):
        traces[span["trace"]].add(span["name"])
        stages_took[span["name"]].append(span["ms"])
    medians = {name: sorted(ms)[len(ms) // 2] for name, ms in stages_took.items() if name.startswith("voice.")}
    print("   stages, medians in ms: " + ", ".join(f"{name} {ms:.0f}" for name, ms in medians.items()))
    stages = {"voice.join", "voice.answer", "voice.ice", "voice.dtls", "voice.first_rtp"}
    whole = [names for names in traces.values() if stages <= names]
    assert len(whole) >= 11, f"{len(whole)} whole traces; {list(traces.values())[:3]}"
    return callers


async def main():
    alone = await Alone.start(sys.argv[1])
    wanted = sys.argv[2:]
    checks = [
        a_tone_is_heard_and_mute_is_silence,
        three_who_speak_are_three,
        one_section_both_ways,
        who_leaves_is_gone,
        a_good_way_scores_well,
        a_bad_way_is_seen_as_it_is,
        joins_are_quick_and_one_trace,
    ]
    checks = [check for check in checks if not wanted or check.__name__ in wanted]
    failed = 0
    async with aiohttp.ClientSession() as http:
        for check in checks:
            callers = []
            try:
                callers = await asyncio.wait_for(check(alone, http), CHECK_WITHIN)
                print(f"ok {check.__name__}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAIL {check.__name__}: {error!r}", flush=True)
            for caller in callers:
                await caller.close()
    await alone.stop()
    print(f"{len(checks) - failed} passed, {failed} failed", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main()) else 0)
