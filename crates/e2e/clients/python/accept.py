"""Acceptance test: discord.py as it is published, against a running Clarion server. Only the base URL is changed.

    python accept.py <demo.json>

demo.json is the file that a server writes into its data folder. Two bots of its demo workspace talk to each other
through the library; the admin API disturbs them. One line a check, `ok <name>` or `FAIL <name>: why`, and a last line
`N passed, M failed`; the exit code is 1 when something failed. Every wait has a bound, and none is for luck.
"""

import asyncio
import collections
import json
import logging
import platform
import sys
import time
import urllib.error
import urllib.request
from datetime import timedelta

import discord
import yarl

# Longest wait for one event, in seconds: a burst of twelve messages may be paced over fifteen.
EVENT_WITHIN = 20
# Longest run of one check, and of all of them.
CHECK_WITHIN = 30
ALL_WITHIN = 90

UNKNOWN_ID = 111111111111111111
THUMB = "👍"
RAINBOW = "🏳️‍🌈"
MINUTE = timedelta(minutes=1)

with open(sys.argv[1], encoding="utf-8") as file:
    DEMO = json.load(file)
BOT, OTHER = DEMO["bots"]
BOT_ID, OTHER_ID = int(BOT["id"]), int(OTHER["id"])
PERSON_ID = int(DEMO["users"][0]["id"])
GUILD_ID, ROLE_ID = int(DEMO["guild_id"]), int(DEMO["bot_role_id"])
GENERAL_ID, SECOND_ID, VOICE_ID = (int(DEMO[key]) for key in ("channel_id", "second_channel_id", "voice_channel_id"))

# Makes what is said in this run different from what was said in another one.
RUN = f"{time.time_ns() // 1_000_000:x}"

# All that is changed: where the server is.
discord.http.Route.BASE = DEMO["api"] + "/v10"
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(DEMO["gateway"])
discord.VoiceClient.warn_nacl = False
discord.VoiceClient.warn_dave = False


class Hearing:
    """A client that keeps every message it hears."""

    def __init__(self, **options):
        super().__init__(**options)
        self.heard = []
        self._news = asyncio.Event()

    async def on_message(self, message):
        self.heard.append(message)
        self._news.set()

    async def hears(self, content):
        """Waits until somebody has said this."""

        async def heard():
            while all(message.content != content for message in self.heard):
                self._news.clear()
                await self._news.wait()

        try:
            await asyncio.wait_for(heard(), EVENT_WITHIN)
        except asyncio.TimeoutError:
            raise AssertionError(f"not heard within {EVENT_WITHIN} s: {content}") from None


class Client(Hearing, discord.Client):
    """One connection."""


class ShardedClient(Hearing, discord.AutoShardedClient):
    """One connection a shard."""

    def __init__(self, **options):
        super().__init__(**options)
        self.ready_shards = []

    async def on_shard_ready(self, shard_id):
        self.ready_shards.append(shard_id)


class Ear:
    """What a client hears an account say in a channel, from now on."""

    def __init__(self, client, account_id, channel_id):
        self.client, self.account_id, self.channel_id = client, account_id, channel_id
        self.begin = len(client.heard)

    async def up_to(self, channel, content):
        """Sends a last message and waits for it: what came before it is all that came."""
        await channel.send(content)
        await self.client.hears(content)
        return [
            message.content
            for message in self.client.heard[self.begin :]
            if message.author.id == self.account_id and message.channel.id == self.channel_id
        ]


class Line(discord.VoiceProtocol):
    """What a voice library is to discord.py: it is told where to go. It does not go there."""

    def __init__(self, client, channel):
        super().__init__(client, channel)
        self.states, self.server = [], asyncio.get_running_loop().create_future()

    async def on_voice_state_update(self, data):
        self.states.append(data)

    async def on_voice_server_update(self, data):
        # While no server is named yet there is no endpoint.
        if data["endpoint"] and not self.server.done():
            self.server.set_result(data)

    async def connect(self, *, timeout, reconnect, self_deaf=False, self_mute=False):
        await self.channel.guild.change_voice_state(channel=self.channel, self_mute=self_mute, self_deaf=self_deaf)
        await asyncio.wait_for(asyncio.shield(self.server), timeout)

    async def disconnect(self, *, force=False):
        await self.channel.guild.change_voice_state(channel=None)
        self.cleanup()


class Lines(logging.Handler):
    """The library's last log lines, and how often it was rate limited."""

    LIMITED = ("We are being rate limited", "A rate limit bucket")

    def __init__(self):
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        self.recent = collections.deque(maxlen=60)
        self.limited = 0

    def emit(self, record):
        self.recent.append(self.format(record))
        if record.name == "discord.http" and str(record.msg).startswith(self.LIMITED):
            self.limited += 1


class Talk:
    """The two bots, the guild and the channels as each of them sees it."""

    def __init__(self, lines):
        self.lines = lines
        self.bot = Client(intents=discord.Intents.all())
        self.other = Client(intents=discord.Intents.all())

    async def begin(self):
        await asyncio.gather(start(self.bot, BOT["token"]), start(self.other, OTHER["token"]))
        self.guild = self.bot.get_guild(GUILD_ID)
        self.general, self.second = self.bot.get_channel(GENERAL_ID), self.bot.get_channel(SECOND_ID)
        self.other_general = self.other.get_channel(GENERAL_ID)
        self.other_second = self.other.get_channel(SECOND_ID)

    async def say(self, content):
        """Sends a message, and waits until the other bot has it too."""
        message = await self.general.send(content)
        await self.other.hears(content)
        return message

    async def end(self):
        await asyncio.gather(self.bot.close(), self.other.close())


CHECKS = []


def check(name):
    """Makes a function one of the checks."""

    def add(body):
        CHECKS.append((name, body))
        return body

    return add


@check("ready brings the guild, its channels, its roles, members and the bot itself")
async def ready(t):
    equal((t.bot.user.id, t.bot.user.name, t.bot.user.bot), (BOT_ID, BOT["name"], True))
    assert t.guild, "the guild is there"
    assert isinstance(t.general, discord.TextChannel), "the first text channel is there"
    assert isinstance(t.second, discord.TextChannel), "the second text channel is there"
    assert isinstance(t.guild.get_channel(VOICE_ID), discord.VoiceChannel), "the voice channel is there"
    equal(t.guild.default_role.id, GUILD_ID)
    assert t.guild.get_role(ROLE_ID), "the role of the bots is there"
    assert t.guild.me.get_role(ROLE_ID), "the bot has its role"
    assert t.guild.me.guild_permissions.administrator, "the bot may do everything"
    equal(t.guild.owner_id, PERSON_ID)
    equal(t.guild.member_count, len(t.guild.members))


@check("a message arrives with its content")
async def content_arrives(t):
    content = f"{RUN} good morning, Zoë 🌱"
    arrives = event(t.bot, "message", lambda m: m.content == content)
    sent = await t.other_general.send(content)
    got = await arrives
    equal((got.id, got.channel.id, got.guild.id, got.author.id), (sent.id, GENERAL_ID, GUILD_ID, OTHER_ID))
    equal(got.type, discord.MessageType.default)
    assert abs(discord.utils.utcnow() - got.created_at) < MINUTE, "it was made just now"


@check("without the intent for content it is empty, unless the bot is mentioned")
async def content_is_withheld(t):
    deaf = Client(intents=discord.Intents(guilds=True, guild_messages=True))
    async with deaf:
        await start(deaf, OTHER["token"])
        arrives = event(deaf, "message", lambda m: m.author.id == BOT_ID)
        secret = await t.general.send(f"{RUN} not for everybody")
        without = await arrives
        equal((without.id, without.content), (secret.id, ""))
        arrives = event(deaf, "message", lambda m: m.author.id == BOT_ID)
        open_ = await t.general.send(f"{RUN} for <@{OTHER_ID}>")
        addressed = await arrives
        equal((addressed.id, addressed.content), (open_.id, open_.content))


@check("a reply refers to its message and mentions")
async def reply(t):
    question = await t.other_general.send(f"{RUN} a question")
    content = f"{RUN} an answer for <@{PERSON_ID}> and <@&{ROLE_ID}>"
    arrives = event(t.other, "message", lambda m: m.content == content)
    original = await t.general.fetch_message(question.id)
    sent = await original.reply(content)
    got = await arrives
    equal((got.id, got.type), (sent.id, discord.MessageType.reply))
    equal((got.reference.message_id, got.reference.channel_id), (question.id, GENERAL_ID))
    equal(got.reference.resolved.content, question.content)
    equal({user.id for user in got.mentions}, {PERSON_ID, OTHER_ID})
    equal([role.id for role in got.role_mentions], [ROLE_ID])


@check("history is read before, after, around and up to a limit, newest first")
async def history(t):
    messages = [await t.other_second.send(f"{RUN} history {n}") for n in range(5)]
    ids = [message.id for message in messages]

    async def read(**options):
        return [message.id async for message in t.second.history(**options)]

    equal(await read(limit=3), [ids[4], ids[3], ids[2]])
    equal(await read(before=messages[2], limit=2), [ids[1], ids[0]])
    equal(await read(around=messages[2], limit=3), [ids[3], ids[2], ids[1]])
    # The library turns this one round; the server says the newest first here, too.
    equal(await read(after=messages[1], limit=2), [ids[2], ids[3]])
    raw = await t.bot.http.logs_from(SECOND_ID, 2, after=ids[1])
    equal([int(message["id"]) for message in raw], [ids[3], ids[2]])


async def reaction(t, emoji):
    message = await t.say(f"{RUN} to be liked with {emoji}")
    seen = await t.other_general.fetch_message(message.id)

    def ours(reaction, user):
        return reaction.message.id == message.id and user.id == BOT_ID

    async def users():
        fetched = await t.general.fetch_message(message.id)
        return {user.id async for user in fetched.reactions[0].users()}

    added = event(t.other, "reaction_add", ours)
    await message.add_reaction(emoji)
    equal((await added)[0].emoji, emoji)
    await seen.add_reaction(emoji)
    equal(await users(), {BOT_ID, OTHER_ID})
    fetched = (await t.general.fetch_message(message.id)).reactions
    equal([(r.emoji, r.count, r.me) for r in fetched], [(emoji, 2, True)])

    removed = event(t.other, "reaction_remove", ours)
    await message.remove_reaction(emoji, t.bot.user)
    equal((await removed)[0].emoji, emoji)
    equal(await users(), {OTHER_ID})


@check(f"a reaction with {THUMB} comes and goes")
async def reaction_of_one_code_point(t):
    await reaction(t, THUMB)


@check(f"a reaction with {RAINBOW} comes and goes")
async def reaction_of_several_code_points(t):
    await reaction(t, RAINBOW)


@check("an edit is seen at once and by who asks later")
async def edit(t):
    message = await t.say(f"{RUN} writen")
    changes = event(t.other, "message_edit", lambda _, m: m.id == message.id)
    await message.edit(content=f"{RUN} written")
    before, after = await changes
    equal((before.content, after.content), (f"{RUN} writen", f"{RUN} written"))
    assert after.edited_at >= after.created_at, "it says when it was edited"
    fetched = await t.other_general.fetch_message(message.id)
    equal(fetched.content, f"{RUN} written")
    assert fetched.edited_at, "it still says so when it is fetched"


@check("a deleted message is gone")
async def delete(t):
    message = await t.say(f"{RUN} a mistake")
    goes = event(t.other, "message_delete", lambda m: m.id == message.id)
    await message.delete()
    equal((await goes).channel.id, GENERAL_ID)
    await refused(10008, t.other_general.fetch_message(message.id))


@check("typing is seen")
async def typing(t):
    seen = event(t.other, "typing", lambda channel, user, when: user.id == BOT_ID)
    await t.general.typing()
    channel, user, when = await seen
    equal((channel.id, user.guild.id), (GENERAL_ID, GUILD_ID))
    assert abs(discord.utils.utcnow() - when) < MINUTE, "it began just now"


@check("a presence that a bot sets is seen by the other")
async def presence(t):
    def busy(_, member):
        return member.id == BOT_ID and member.status is discord.Status.dnd

    seen = event(t.other, "presence_update", busy)
    await t.bot.change_presence(status=discord.Status.dnd, activity=discord.Game("chess"))
    _, member = await seen
    equal(member.guild.id, GUILD_ID)
    equal([activity.name for activity in member.activities], ["chess"])


@check("a bot enters a voice channel by the protocol that voice libraries are, and leaves")
async def voice(t):
    def is_at(where):
        return lambda member, _, now: member.id == BOT_ID and (now.channel and now.channel.id) == where

    seen = event(t.other, "voice_state_update", is_at(VOICE_ID))
    line = await t.guild.get_channel(VOICE_ID).connect(cls=Line, timeout=EVENT_WITHIN, self_deaf=True)
    server = await line.server
    equal(server["guild_id"], str(GUILD_ID))
    host, port = server["endpoint"].split(":")
    assert host and port.isdigit() and server["token"], server
    equal([(state["channel_id"], state["self_deaf"]) for state in line.states], [(str(VOICE_ID), True)])
    _, _, now = await seen
    equal((now.self_deaf, now.self_mute), (True, False))
    equal(t.guild.me.voice.channel.id, VOICE_ID)
    # Each is told over a socket of its own: either may be the first.
    left = [event(client, "voice_state_update", is_at(None)) for client in (t.bot, t.other)]
    await line.disconnect()
    await asyncio.gather(*left)
    equal(t.guild.me.voice, None)


@check("members are fetched over the socket and over REST")
async def members(t):
    everybody = {int(account["id"]) for account in DEMO["bots"] + DEMO["users"]}
    equal(everybody - {member.id for member in await t.guild.chunk()}, set())
    equal(everybody - {member.id async for member in t.guild.fetch_members(limit=None)}, set())
    found = await t.guild.query_members(DEMO["users"][0]["name"], limit=5)
    assert PERSON_ID in {member.id for member in found}, "found by the name"
    some = await t.guild.query_members(user_ids=[PERSON_ID, OTHER_ID])
    equal({member.id for member in some}, {PERSON_ID, OTHER_ID})
    one = await t.guild.fetch_member(OTHER_ID)
    assert one.get_role(ROLE_ID), "a member comes with its roles"


@check("mistakes are refused with their codes")
async def mistakes(t):
    await refused(50006, t.general.send(""))
    await refused(50035, t.general.send("x" * 2001))
    await refused(10003, t.bot.fetch_channel(UNKNOWN_ID))
    await refused(10008, t.general.fetch_message(UNKNOWN_ID))


@check("a wrong token does not log in")
async def wrong_token(t):
    wrong = BOT["token"][:-4] + ("BBBB" if BOT["token"].endswith("AAAA") else "AAAA")
    async with Client(intents=discord.Intents.all()) as client:
        try:
            await client.login(wrong)
        except discord.LoginFailure:
            return
    raise AssertionError("it logged in")


@check("the same nonce makes one message")
async def nonce(t):
    ear = Ear(t.other, BOT_ID, GENERAL_ID)
    body = {"content": f"{RUN} once", "nonce": f"{RUN}-once", "enforce_nonce": True}
    route = discord.http.Route("POST", "/channels/{channel_id}/messages", channel_id=GENERAL_ID)
    first = await t.bot.http.request(route, json=body)
    again = await t.bot.http.request(route, json=body)
    equal(again["id"], first["id"])
    equal(first["nonce"], body["nonce"])
    equal(await ear.up_to(t.general, f"{RUN} after once"), [body["content"], f"{RUN} after once"])


@check("a dropped connection is resumed with exactly what was missed")
async def drop(t):
    session = t.bot.ws.session_id
    contents = [f"{RUN} missed {n}" for n in (1, 2, 3)]
    ear = Ear(t.bot, OTHER_ID, GENERAL_ID)
    resumed = event(t.bot, "resumed")
    # This does not await: the library's event loop stands still, it cannot even notice.
    send_while_away(session, contents)
    await resumed
    equal(await ear.up_to(t.other_general, f"{RUN} back"), [*contents, f"{RUN} back"])
    equal(t.bot.ws.session_id, session)


@check("asked to reconnect (op 7) it resumes")
async def reconnect(t):
    session = t.bot.ws.session_id
    ear = Ear(t.bot, OTHER_ID, GENERAL_ID)
    resumed = event(t.bot, "resumed")
    await asyncio.to_thread(control, session, "reconnect")
    await resumed
    equal(await ear.up_to(t.other_general, f"{RUN} after op 7"), [f"{RUN} after op 7"])
    equal(t.bot.ws.session_id, session)


@check("told that its session is invalid (op 9) it begins a new one")
async def invalidate(t):
    session = t.bot.ws.session_id
    begun = event(t.bot, "ready")
    await asyncio.to_thread(control, session, "invalidate", {"resumable": False})
    await begun
    assert t.bot.ws.session_id != session, "the session is another one"
    ear = Ear(t.bot, OTHER_ID, GENERAL_ID)
    equal(await ear.up_to(t.other_general, f"{RUN} after op 9"), [f"{RUN} after op 9"])


@check("a burst is slowed down, and arrives whole and in order")
async def burst(t):
    contents = [f"{RUN} burst {n}" for n in range(12)]
    ear = Ear(t.other, BOT_ID, SECOND_ID)
    before = t.lines.limited
    # One after the other: the library has several connections, so what is sent at once has no order.
    for content in contents[:-1]:
        await t.second.send(content)
    equal(await ear.up_to(t.second, contents[-1]), contents)
    assert t.lines.limited > before, "the library was rate limited"


@check("two shards: the guild is on the right one, messages arrive once")
async def shards(t):
    client = ShardedClient(intents=discord.Intents.all(), shard_count=2)
    async with client:
        await start(client, BOT["token"])
        equal(sorted(client.ready_shards), [0, 1])
        equal(sorted(client.shards), [0, 1])
        equal([(guild.id, guild.shard_id) for guild in client.guilds], [(GUILD_ID, (GUILD_ID >> 22) % 2)])
        ear = Ear(client, OTHER_ID, GENERAL_ID)
        contents = [f"{RUN} to a shard", f"{RUN} to it again"]
        await t.other_general.send(contents[0])
        equal(await ear.up_to(t.other_general, contents[1]), contents)


@check("a session whose token is revoked is closed for good (4004)")
async def revoke(t):
    issued = await asyncio.to_thread(admin, "POST", "/tokens", {"user_id": OTHER["id"], "label": "acceptance"})
    token = issued["token"]
    async with Client(intents=discord.Intents.all()) as client:
        running = await start(client, token)
        await asyncio.to_thread(admin, "POST", "/tokens/revoke", {"token": token})
        try:
            await asyncio.wait_for(running, EVENT_WITHIN)
        except discord.ConnectionClosed as closed:
            equal(closed.code, 4004)
            return
        except asyncio.TimeoutError:
            raise AssertionError(f"not closed within {EVENT_WITHIN} s") from None
    raise AssertionError("the library ended without an error")


async def start(client, token):
    """Logs in and waits until the client is ready; answers the task that keeps it connected."""
    await client.login(token)
    running = asyncio.create_task(client.connect())
    is_ready = asyncio.create_task(client.wait_until_ready())
    done, _ = await asyncio.wait({running, is_ready}, timeout=EVENT_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    if running in done:
        running.result()
    assert is_ready in done, f"not ready within {EVENT_WITHIN} s"
    return running


def event(client, name, wanted=lambda *_: True):
    """The next event of a name that is as wanted. It is listened for from now on."""
    arrives = client.wait_for(name, check=wanted, timeout=EVENT_WITHIN)

    async def wait():
        try:
            return await arrives
        except asyncio.TimeoutError:
            raise AssertionError(f"no {name} within {EVENT_WITHIN} s") from None

    waiting = asyncio.create_task(wait())
    # Whoever waits is told; if what was to cause it fails, nobody waits.
    waiting.add_done_callback(lambda task: task.cancelled() or task.exception())
    return waiting


def equal(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


async def refused(code, request):
    try:
        await request
    except discord.HTTPException as error:
        assert error.code == code, f"expected code {code}, got {error.code}: {error}"
        return
    raise AssertionError(f"not refused with {code}")


def call(method, url, body, headers=()):
    """A plain request: its status and its JSON."""
    headers = {"content-type": "application/json", **dict(headers)}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=EVENT_WITHIN) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def admin(method, path, body=None):
    status, answer = call(method, f"{DEMO['admin']}/admin/v1{path}", body)
    assert status == 200, f"{method} {path}: {status} {answer}"
    return answer


def control(session, action, body=None):
    return admin("POST", f"/sessions/{session}/{action}", body or {})


def send_while_away(session, contents):
    """Drops a session's connection, and sends messages as the other bot while it has none."""

    def connected():
        found = [s for s in admin("GET", "/sessions")["sessions"] if s["id"] == session]
        assert found, "the session is there"
        return found[0]["connected"]

    control(session, "drop")
    deadline = time.monotonic() + EVENT_WITHIN / 4
    while connected():
        assert time.monotonic() < deadline, "the connection is not dropped"
        time.sleep(0.02)
    for content in contents:
        send_plainly(content)
    assert not connected(), "the session was away all the time"


def send_plainly(content):
    """Sends a message without the library, as patiently as the server asks for."""
    url = f"{DEMO['api']}/v10/channels/{GENERAL_ID}/messages"
    while True:
        status, body = call("POST", url, {"content": content}, {"authorization": f"Bot {OTHER['token']}"})
        if status == 200:
            return
        assert status == 429, f"{status} {body}"
        time.sleep(body["retry_after"])


class Tally:
    """How the checks went."""

    def __init__(self):
        self.passed = self.failed = 0

    async def run(self, name, body):
        try:
            await asyncio.wait_for(body, CHECK_WITHIN)
        except asyncio.TimeoutError:
            self.fail(name, f"not done after {CHECK_WITHIN} s")
        except Exception as error:
            self.fail(name, f"{type(error).__name__}: {error}")
        else:
            self.passed += 1
            print(f"ok {name}", flush=True)

    def fail(self, name, why):
        self.failed += 1
        print(f"FAIL {name}: {' | '.join(why.split(chr(10)))}", flush=True)


async def run_all(tally, lines):
    talk = Talk(lines)
    await tally.run("two bots log in and are ready", talk.begin())
    if tally.failed == 0:
        for name, body in CHECKS:
            await tally.run(name, body(talk))
    await talk.end()


async def main():
    lines = Lines()
    logging.getLogger("discord").addHandler(lines)
    logging.getLogger("discord").setLevel(logging.DEBUG)
    print(f"discord.py {discord.__version__}, Python {platform.python_version()}, {DEMO['api']}", flush=True)
    tally = Tally()
    try:
        await asyncio.wait_for(run_all(tally, lines), ALL_WITHIN)
    except asyncio.TimeoutError:
        tally.fail("everything is over in time", f"not over after {ALL_WITHIN} s")
    if tally.failed:
        print(*lines.recent, sep="\n", file=sys.stderr)
    print(f"{tally.passed} passed, {tally.failed} failed", flush=True)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
