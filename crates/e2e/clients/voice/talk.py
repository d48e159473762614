"""Acceptance test: aiortc, through the gateway's op 4, against a running Clarion server with its own voice server.

    python talk.py <demo.json> [<check>…]

demo.json is the file that a server writes into its data folder. The accounts of its demo workspace join its voice channel
and talk; what arrives is decoded and its frequencies are measured. One line a check, `ok <name>` or `FAIL <name>: why`, and a
last line `N passed, M failed`; the exit code is 1 when something failed.
"""

import asyncio
import json
import sys

import aiohttp

from member import Member, run
from sound import near, until

CHECK_WITHIN = 90

with open(sys.argv[1], encoding="utf-8") as file:
    DEMO = json.load(file)
ADA, GRACE = DEMO["users"]
ECHO, RELAY = DEMO["bots"]
LOUNGE = DEMO["voice_channel_id"]


async def dropped(http, reason):
    """How many packets were dropped so far."""
    async with http.get(f"{DEMO['admin']}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    lines = [line for line in lines if line.startswith("voice_packets_dropped_total") and f'"{reason}"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def people(http, *who):
    """Members in the lounge: `(account, frequency, by_gateway)` each."""
    members = []
    for account, frequency, by_gateway in who:
        member = await Member.connect(DEMO, http, account, frequency, by_gateway=by_gateway)
        members.append(await member.enter(LOUNGE))
    return members


async def close(members):
    for member in members:
        await member.leave()
        await member.close()


async def a_tone_is_heard_and_who_is_muted_is_silent(http):
    ada, grace = members = await people(http, (ADA, 0, False), (GRACE, 440, True))
    await until(lambda: near(ada.hears(), [440]), "440 Hz")
    assert grace.hears() == [], f"nobody hears himself: {grace.hears()}"
    print(f"   heard: {ada.hears()} Hz, said: 440 Hz")
    await ada.edit(GRACE["id"], mute=True)
    await until(lambda: ada.states[GRACE["id"]]["mute"], "everybody is told")
    before = await dropped(http, "muted")
    ada.forget()
    # She goes on: what she says now was never heard.
    grace.say(880)
    while await dropped(http, "muted") < before + 60:
        await asyncio.sleep(0.05)
    assert ada.hears() == [] and not any(ear.samples for call in ada.calls for ear in call.ears), ada.hears()
    await ada.edit(GRACE["id"], mute=False)
    await until(lambda: near(ada.hears(), [880]), "880 Hz after the mute")
    await close(members)


async def who_mutes_herself_is_shown_so_and_deafness_is_silence(http):
    ada, grace = members = await people(http, (ADA, 600, False), (GRACE, 440, False))
    await until(lambda: near(ada.hears(), [440]) and near(grace.hears(), [600]), "each hears the other")
    await grace.place(LOUNGE, self_mute=True)
    grace.say(0)
    await until(lambda: ada.states[GRACE["id"]]["self_mute"], "the mute is told")
    await until(lambda: ada.hears() == [], "silence")
    await ada.edit(GRACE["id"], deaf=True)
    await until(lambda: grace.states[GRACE["id"]]["deaf"], "the deafness is told")
    grace.forget()
    ada.say(700)
    await asyncio.sleep(1)
    assert grace.hears() == [], grace.hears()
    await ada.edit(GRACE["id"], deaf=False)
    await until(lambda: near(grace.hears(), [700]), "she hears again")
    assert len(ada.calls) == len(grace.calls) == 1, "all of it over one connection"
    await close(members)


async def three_who_speak_are_three(http):
    who = [(ECHO, None, False), (ADA, 300, False), (GRACE, 500, True), (RELAY, 700, False)]
    members = await people(http, *who)
    await until(lambda: near(members[0].hears(), [300, 500, 700]), "three tones in three slots")
    print(f"   heard: {members[0].hears()} Hz")
    await close(members)


async def who_leaves_is_out_of_the_room(http):
    ada, grace = members = await people(http, (ADA, 440, False), (GRACE, 0, False))
    await until(lambda: near(grace.hears(), [440]), "440 Hz")
    await ada.leave()
    await until(lambda: not ada.calls[0].is_connected(), "the server ends her connection")
    await until(lambda: grace.states[ADA["id"]]["channel_id"] is None, "it is told")
    await grace.leave()
    for member in members:
        await member.close()


async def main():
    checks = [
        a_tone_is_heard_and_who_is_muted_is_silent,
        who_mutes_herself_is_shown_so_and_deafness_is_silence,
        three_who_speak_are_three,
        who_leaves_is_out_of_the_room,
    ]
    async with aiohttp.ClientSession() as http:
        return await run(checks, sys.argv[2:], CHECK_WITHIN, http)


sys.exit(1 if asyncio.run(main()) else 0)
