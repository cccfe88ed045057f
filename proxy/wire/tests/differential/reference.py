"""The judge of `python.rs`: reads documents with what the scanner made of them, and says where CPython's json differs.

A record on stdin, numbers little-endian u32, 0xffffffff for none: length and bytes of the document; none if it was
refused, else the number of its values and for each in document order a letter for its kind, where it starts and ends
in bytes, how many children it has, its member name, its text.
"""

import json, re, struct, sys

NONE = 0xFFFFFFFF
sys.set_int_max_str_digits(0) if hasattr(sys, "set_int_max_str_digits") else None
REPLACEMENT = "\ufffd"
LONE = re.compile("[\ud800-\udfff]")


def refuse(word):
    raise ValueError(word)


class Pairs(list):
    """An object, duplicates kept."""


decoder = json.JSONDecoder(object_pairs_hook=Pairs, parse_constant=refuse)


def parse(document):
    """The value, or None in a tuple of its own if it is refused."""
    try:
        text = document.decode("utf-8")
        return decoder.decode(text), text
    except (ValueError, RecursionError):
        return None


def kind(value):
    if isinstance(value, Pairs):
        return "{"
    if isinstance(value, list):
        return "["
    if isinstance(value, str):
        return "s"
    if isinstance(value, bool):
        return "b"
    return "n" if value is None else "d"


def flat(value, name, out):
    """Values in document order, each with its name and the number of its children."""
    out.append((name, value, len(value) if isinstance(value, list) else 0))
    if isinstance(value, Pairs):
        for name, member in value:
            flat(member, name, out)
    elif isinstance(value, list):
        for element in value:
            flat(element, None, out)


def equal(one, other):
    return repr(one) == repr(other)


def difference(document, nodes):
    """None, or how the two readings differ."""
    parsed = parse(document)
    if parsed is None or nodes is None:
        return None if (parsed is None) == (nodes is None) else "accepted by one"
    root, text = parsed
    theirs = []
    flat(root, None, theirs)
    if len(theirs) != len(nodes):
        return "%d values, not %d" % (len(theirs), len(nodes))
    if text.isascii():
        at = None
    else:  # byte offsets to character offsets
        at, position = {}, 0
        for index, character in enumerate(text):
            at[position] = index
            position += len(character.encode("utf-8"))
        at[position] = len(text)
    for (name, value, children), (letter, start, end, count, our_name, our_text) in zip(theirs, nodes):
        if at is not None:
            if start not in at or end not in at:
                return "a span cuts a character"
            start, end = at[start], at[end]
        if kind(value) != letter or children != count:
            return "another kind"
        try:
            again, stop = decoder.raw_decode(text, start)
        except ValueError:
            return "no value starts at %d" % start
        if stop != end or not equal(again, value):
            return "another span at %d" % start
        if (LONE.sub(REPLACEMENT, name) if name is not None else None) != our_name:
            return "another name at %d" % start
        expected = value if letter == "s" and not LONE.search(value) else None
        if expected != our_text:
            return "another text at %d" % start
    return None


def main():
    read = sys.stdin.buffer.read
    number = struct.Struct("<I").unpack
    place = struct.Struct("<cIII").unpack

    def text():
        length = number(read(4))[0]
        return None if length == NONE else read(length).decode("utf-8")

    agreeing = 0
    differing = []
    while header := read(4):
        document = read(number(header)[0])
        count = number(read(4))[0]
        nodes = None
        if count != NONE:
            nodes = []
            for _ in range(count):
                letter, start, end, children = place(read(13))
                nodes.append((letter.decode(), start, end, children, text(), text()))
        found = difference(document, nodes)
        if found is None:
            agreeing += 1
        elif len(differing) < 20:
            differing.append("%s: %r" % (found, document))
    for line in differing:
        print(line)
    print("%d agree" % agreeing)


main()
