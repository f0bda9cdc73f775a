#!/usr/bin/env python3
"""Records a program in a terminal, and draws the recording.

    recording.py record FILE.cast COLUMNS ROWS [--keys 'SECONDS KEYS']... [--for SECONDS] -- COMMAND...
    recording.py draw FILE.cast FILE.svg [--still WORDS]

The recording is an asciicast (version 2), which asciinema plays too. The drawing is an SVG that
needs no script and no font of its own: all screens one below the other, and a window that moves
over them; --still draws one screen alone, the last that has these words. Knows as much of a terminal as dbvitals uses.
Used by scripts/pictures; needs Python's standard library and nothing else.
"""

import codecs
import fcntl
import html
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

# How long a screen is shown at least, and at most, in seconds.
SHORTEST, LONGEST = 0.12, 2.5
# How long the last one is, before it begins again.
LAST = 6.0
COLOURS = ["#2e3436", "#ef5350", "#66bb6a", "#ffca28", "#64b5f6", "#ce93d8", "#4dd0e1", "#d3d7cf"]
BRIGHT = ["#5c6370", "#ff8a80", "#a5d6a7", "#ffe082", "#90caf9", "#e1bee7", "#80deea", "#ffffff"]
GROUND, INK = "#1b1e24", "#d3d7cf"
WIDE, HIGH = 8.4, 17


def record(path, columns, rows, keys, seconds, command):
    """Runs a command in a terminal until it ends, or for so long, and writes down what it shows."""
    child, seat = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.environ["TERM"] = "xterm-256color"
        os.environ.pop("NO_COLOR", None)
        os.execvp(command[0], command)
    fcntl.ioctl(seat, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    text = codecs.getincrementaldecoder("utf-8")("replace")
    begin = time.monotonic()
    left = sorted(keys)
    with open(path, "w", encoding="utf-8") as cast:
        cast.write(json.dumps({"version": 2, "width": columns, "height": rows}) + "\n")
        while True:
            now = time.monotonic() - begin
            while left and left[0][0] <= now:
                os.write(seat, left.pop(0)[1].encode())
            if seconds and now > seconds:
                os.kill(child, signal.SIGTERM)
                seconds = 0
            if not select.select([seat], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(seat, 65536)
            except OSError:
                break
            if not data:
                break
            at = round(time.monotonic() - begin, 3)
            cast.write(json.dumps([at, "o", text.decode(data)], ensure_ascii=False) + "\n")
    os.waitpid(child, 0)


class Screen:
    """A terminal, as far as it is needed: where the cursor is, and what stands where."""

    TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>]|([\r\n])|([^\x1b\r\n])")

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.style = (None, None, False, False)
        # The beginning of an order whose end has not come yet.
        self.begun = ""
        self.clear()

    def clear(self):
        self.cells = [self.blank() for _ in range(self.rows)]
        self.x = self.y = 0

    def blank(self):
        return [(" ", (None, None, False, False))] * self.columns

    def write(self, text):
        text = self.begun + text
        self.begun = re.search(r"(\x1b(\[[0-9;?]*)?)?$", text).group()
        text = text[:len(text) - len(self.begun)]
        for match in self.TOKEN.finditer(text):
            parameters, order, control, letter = match.groups()
            if order:
                self.obey(order, parameters)
            elif control == "\r":
                self.x = 0
            elif control == "\n":
                self.x, self.y = 0, self.y + 1
            elif letter:
                self.put(letter)
            self.scroll()

    def put(self, letter):
        if self.x >= self.columns:
            self.x, self.y = 0, self.y + 1
            self.scroll()
        self.cells[self.y][self.x] = (letter, self.style)
        self.x += 2 if unicodedata.east_asian_width(letter) in "WF" else 1

    def scroll(self):
        while self.y >= self.rows:
            self.cells = self.cells[1:] + [self.blank()]
            self.y -= 1

    def obey(self, order, parameters):
        if parameters.startswith("?"):
            if parameters == "?1049" and order == "h":
                self.clear()
            return
        numbers = [int(it or 0) for it in parameters.split(";")]
        first = max(numbers[0], 1)
        if order in "Hf":
            self.y = min(first, self.rows) - 1
            self.x = min(max((numbers + [1])[1], 1), self.columns) - 1
        elif order == "m":
            self.paint(numbers)
        elif order == "J":
            if numbers[0] == 2:
                self.cells = [self.blank() for _ in range(self.rows)]
            else:
                self.obey("K", "0")
                for y in range(self.y + 1, self.rows):
                    self.cells[y] = self.blank()
        elif order == "K":
            self.cells[self.y][self.x:] = self.blank()[self.x:]
        elif order in "ABCD":
            dx, dy = {"A": (0, -first), "B": (0, first), "C": (first, 0), "D": (-first, 0)}[order]
            self.x = min(max(self.x + dx, 0), self.columns - 1)
            self.y = min(max(self.y + dy, 0), self.rows - 1)

    def paint(self, numbers):
        ink, ground, bold, dim = self.style
        numbers = list(numbers)
        while numbers:
            number = numbers.pop(0)
            if number == 0:
                ink, ground, bold, dim = None, None, False, False
            elif number == 1:
                bold = True
            elif number == 2:
                dim = True
            elif number == 22:
                bold = dim = False
            elif number in (38, 48) and numbers[:1] == [5]:
                colour = (COLOURS + BRIGHT)[numbers[1] % 16]
                ink, ground = (colour, ground) if number == 38 else (ink, colour)
                numbers = numbers[2:]
            elif 30 <= number < 38:
                ink = COLOURS[number - 30]
            elif 90 <= number < 98:
                ink = BRIGHT[number - 90]
            elif number == 39:
                ink = None
            elif number == 49:
                ground = None
        self.style = (ink, ground, bold, dim)

    def frame(self):
        return tuple(tuple(row) for row in self.cells)


def screens(path):
    """All that was to be seen, and for how long."""
    with open(path, encoding="utf-8") as cast:
        head = json.loads(next(cast))
        events = [json.loads(line) for line in cast]
    screen = Screen(head["width"], head["height"])
    seen = []
    for at, _, text in events:
        # What is shown when the program gives the terminal back is the shell's.
        text, is_over, _ = text.partition("\x1b[?1049l")
        screen.write(text)
        if seen and at - seen[-1][0] < SHORTEST:
            seen[-1] = (seen[-1][0], screen.frame())
        elif not seen or screen.frame() != seen[-1][1]:
            seen.append((at, screen.frame()))
        if is_over:
            break
    ends = [at for at, _ in seen[1:]]
    lasting = [min(max(end - at, SHORTEST), LONGEST) for (at, _), end in zip(seen, ends)]
    return head, [frame for _, frame in seen], lasting + [LAST]


def line(row, y):
    """One line as SVG: a piece for each run of one style."""
    pieces, x = [], 0
    while x < len(row):
        style, end = row[x][1], x
        while end < len(row) and row[end][1] == style:
            end += 1
        text = "".join(letter for letter, _ in row[x:end])
        ink, ground, bold, dim = style
        if ground:
            pieces.append(f'<rect x="{x * WIDE:.1f}" y="{y}" width="{(end - x) * WIDE:.1f}" height="{HIGH}" fill="{ground}"/>')
        for word in re.finditer(r"\S+(?: \S+)*", text):
            at, length = x + word.start(), len(word.group())
            how = f' fill="{ink}"' if ink else ""
            how += ' font-weight="bold"' if bold else ""
            how += ' opacity=".6"' if dim else ""
            pieces.append(
                f'<text x="{at * WIDE:.1f}" y="{y + 13}" textLength="{length * WIDE:.1f}"{how}>'
                f"{html.escape(word.group())}</text>"
            )
        x = end
    return "".join(pieces)


def has(frame, words):
    return any(words in "".join(letter for letter, _ in row) for row in frame)


def draw(cast, path, words):
    head, frames, lasting = screens(cast)
    is_still = words is not None
    if is_still:
        frames = [frame for frame in frames if has(frame, words)][-1:] or frames[-1:]
        lasting = lasting[-1:]
    width, height = head["width"] * WIDE, head["height"] * HIGH
    known, rows, uses = {}, [], []
    for number, frame in enumerate(frames):
        for y, row in enumerate(frame):
            drawn = line(row, 0)
            if not drawn:
                continue
            if drawn not in known:
                known[drawn] = f"l{len(known)}"
                rows.append(f'<g id="{known[drawn]}">{drawn}</g>')
            uses.append(f'<use href="#{known[drawn]}" y="{number * height + y * HIGH:.0f}"/>')
    total, at, steps = sum(lasting), 0.0, []
    for number, seconds in enumerate(lasting):
        steps.append(f"{100 * at / total:.3f}%{{transform:translateY(-{number * height:.0f}px)}}")
        at += seconds
    last = f"transform:translateY(-{(len(frames) - 1) * height:.0f}px)"
    style = (
        f"@keyframes film{{{''.join(steps)}}}"
        f".film{{animation:film {total:.2f}s step-end infinite}}"
        f"@media(prefers-reduced-motion:reduce){{.film{{animation:none;{last}}}}}"
    )
    with open(path, "w", encoding="utf-8") as svg:
        svg.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -12 {width + 24:.0f} {height + 24}" '
            f'width="{width + 24:.0f}" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" '
            f'font-size="14" fill="{INK}" xml:space="preserve">'
            f'<style>{"" if is_still else style}</style>'
            f'<defs>{"".join(rows)}</defs>'
            f'<rect x="-12" y="-12" width="100%" height="100%" rx="8" fill="{GROUND}"/>'
            f'<svg width="{width:.0f}" height="{height}"><g class="film">{"".join(uses)}</g></svg></svg>\n'
        )


def main(words):
    if words[:1] == ["draw"] and (len(words) == 3 or words[3:4] == ["--still"] and len(words) == 5):
        draw(words[1], words[2], words[4] if words[4:] else None)
        return
    if words[:1] != ["record"] or "--" not in words:
        sys.exit(__doc__)
    place = words.index("--")
    options, command = words[4:place], words[place + 1:]
    keys, seconds = [], 0
    while options:
        option, value = options.pop(0), options.pop(0)
        if option == "--keys":
            at, pressed = value.split(" ", 1)
            keys.append((float(at), codecs.decode(pressed, "unicode_escape")))
        elif option == "--for":
            seconds = float(value)
    record(words[1], int(words[2]), int(words[3]), keys, seconds, command)


main(sys.argv[1:])
