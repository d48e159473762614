"""What people say here, and what of it is heard: tones, and their frequencies."""

import asyncio
import collections
import time
from fractions import Fraction

import numpy
from aiortc import AudioStreamTrack
from av import AudioFrame

RATE = 48_000
# Samples of a frame of 20 ms.
FRAME = 960
# What is looked at together to tell a frequency.
WINDOW = RATE // 2
# The mean of squares above which a frame is more than silence.
LOUD = 500.0**2
# Longest wait for something, in seconds.
WITHIN = 15


class Tone(AudioStreamTrack):
    """A voice of one frequency; 0 is silence."""

    def __init__(self, frequency):
        super().__init__()
        self.frequency = frequency
        self.at = 0
        self.began = None

    async def recv(self):
        self.began = self.began or time.monotonic()
        wait = self.began + self.at / RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        samples = numpy.arange(self.at, self.at + FRAME) / RATE
        wave = 12_000 * numpy.sin(2 * numpy.pi * self.frequency * samples) if self.frequency else numpy.zeros(FRAME)
        frame = AudioFrame.from_ndarray(wave.astype(numpy.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.at, Fraction(1, RATE)
        self.at += FRAME
        return frame


class Ear:
    """What arrives in one slot, lately."""

    def __init__(self, track):
        self.samples = collections.deque(maxlen=WINDOW)
        # When frames came that are more than silence.
        self.loud = []
        self.task = asyncio.ensure_future(self.listen(track))

    async def listen(self, track):
        while True:
            try:
                frame = await track.recv()
            except Exception:
                return
            data = frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)]
            self.samples.extend(data.tolist())
            if numpy.mean(data.astype(float) ** 2) > LOUD:
                self.loud.append(time.monotonic())

    def loudest(self):
        """The frequency of what is heard now, and how loud that is; 0 for silence."""
        if len(self.samples) < WINDOW:
            return 0, 0.0
        wave = numpy.array(self.samples, dtype=float)
        spectrum = numpy.abs(numpy.fft.rfft(wave * numpy.hanning(len(wave)))) / len(wave)
        at = int(numpy.argmax(spectrum))
        return (round(at * RATE / len(wave)), float(spectrum[at])) if spectrum[at] > 100 else (0, float(spectrum[at]))


async def until(is_so, what, within=WITHIN):
    deadline = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < deadline, f"not in {within} s: {what}"
        await asyncio.sleep(0.02)


def near(found, expected):
    return len(found) == len(expected) and all(abs(a - b) <= 6 for a, b in zip(found, expected))
