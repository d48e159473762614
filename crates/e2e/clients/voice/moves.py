"""Acceptance test: a voice server is killed, or drained, while people talk on it over aiortc.

    python moves.py <demo.json> <clarion> <router> [<check>…]

demo.json is the file of a running server that has no voice server of its own; `router` is where its router answers. Two
voice servers, each a process, join it. One line a check, `ok <name>` or `FAIL <name>: why`, and a last line `N passed,
M failed`; the exit code is 1 when something failed.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile

import aiohttp

from member import Member, now, run
from sound import near, until

CHECK_WITHIN = 150
# What is promised, in seconds: heard again after a death; the longest gap of a drain.
HEARD_AGAIN = 3
GAP = 0.2
# Drains that are tried: a machine that stands still for a moment is silent, too, whoever drains.
DRAINS = 4

DEMO_FILE, CLARION, ROUTER = sys.argv[1:4]
with open(DEMO_FILE, encoding="utf-8") as file:
    DEMO = json.load(file)
ADA, GRACE = DEMO["users"]
LOUNGE = DEMO["voice_channel_id"]


class Server:
    """A voice server: a process."""

    def __init__(self, name, folder):
        self.name, self.log = name, os.path.join(folder, f"{name}.log")

    @classmethod
    async def start(cls, name, folder):
        self = cls(name, folder)
        local = "127.0.0.1:0"
        settings = {"LISTEN": local, "HTTP": local, "UDP": local}
        environment = {**os.environ, **{f"CLARION_VOICE__{key}": value for key, value in settings.items()}}
        environment |= {"CLARION_INSTANCE": name, "CLARION_ADMIN__LISTEN": local, "CLARION_PEERS__ROUTERS": json.dumps([ROUTER])}
        with open(self.log, "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                CLARION, "serve", "voice", stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        await until(lambda: self.url(), f"{name} listens")
        return self

    def url(self):
        """Where clients reach it, as it says itself."""
        with open(self.log, encoding="utf-8") as log:
            lines = [line for line in log if '"service.listening"' in line]
        return lines and json.loads(lines[0])["detail"].split(" ")[1]

    def has(self, member):
        """Whether it is the server that a member was told of last."""
        return bool(member.servers) and (member.servers[-1]["url"] or "").startswith(f"{self.url()}/")

    async def end(self, how):
        self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 20)


async def servers(folder):
    return [await Server.start(name, folder) for name in ("voice-a", "voice-b")]


async def talk(http):
    """Two people who hear each other."""
    members = []
    for account, frequency in ((ADA, 440), (GRACE, 600)):
        member = await Member.connect(DEMO, http, account, frequency, slots=2)
        members.append(await member.enter(LOUNGE))
    ada, grace = members
    await until(lambda: near(ada.hears(), [600]) and near(grace.hears(), [440]), "each hears the other")
    return members


def split(both, member):
    """The server that a member is on, and the other one."""
    return sorted(both, key=lambda server: not server.has(member))


async def end(members, both):
    for member in members:
        await member.leave()
        await member.close()
    for server in both:
        if server.process.returncode is None:
            await server.end(signal.SIGTERM)


async def a_server_is_killed_and_people_are_back_on_the_other_one(http, folder):
    both = await servers(folder)
    members = await talk(http)
    here, there = split(both, members[0])
    assert here.has(members[1]), "one room, one server"
    began = now()
    await here.end(signal.SIGKILL)
    for member, other in zip(members, (600, 440)):
        await until(lambda: len(member.calls) == 2 and any(ear.loud for ear in member.calls[1].ears), "heard again")
        heard = min(at for ear in member.calls[1].ears for at in ear.loud)
        print(f"   {member.account['name']} hears the other again after {heard - began:.2f} s")
        assert heard - began <= HEARD_AGAIN, heard - began
        assert there.has(member) and member.states[member.id]["channel_id"] == LOUNGE, "the same room, the other server"
        await until(lambda: near(member.hears(), [other]), f"{other} Hz")
    await end(members, both)


async def a_server_drains_and_nobody_misses_anything(http, folder):
    both = await servers(folder)
    members = await talk(http)
    found = []
    for n in range(DRAINS):
        here, there = split(both, members[0])
        # As long before as after, so that a machine that is too busy shows before, too.
        await asyncio.sleep(1)
        began = now()
        code = await here.end(signal.SIGTERM)
        over = now()
        await asyncio.sleep(1)
        assert code == 0, f"the drained server ended with {code}"
        assert all(there.has(member) and member.calls[-1].is_connected() for member in members), "all are on the other one"
        before = max(member.gap(began - 1, began) for member in members)
        gaps = [member.gap(began, over + 1) for member in members]
        print(f"   drained in {over - began:.2f} s; longest gaps {[f'{1000 * gap:.0f} ms' for gap in gaps]}; before: {1000 * before:.0f} ms")
        found.append(max(gaps))
        if found[-1] <= GAP:
            break
        both = [there, await Server.start(f"voice-{n}", folder)]
    assert min(found) <= GAP, found
    await end(members, both)


async def main():
    checks = [a_server_is_killed_and_people_are_back_on_the_other_one, a_server_drains_and_nobody_misses_anything]
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession() as http:
            return await run(checks, sys.argv[4:], CHECK_WITHIN, http, folder)


sys.exit(1 if asyncio.run(main()) else 0)
