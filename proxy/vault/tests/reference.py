"""The other side of `python.rs`: what CPython's json and the cryptography package make of random values.

documents SEED COUNT  a line each: a random JSON text, its sorted form and its unsorted form, as JSON strings
fernet                reads lines {"key", "value"}; answers what the seed's class would seal and the text inside a token
hs1                   reads lines {"key", "token", "domain", "field", "patient"}; answers the text inside, read by own code
"""

import base64, hashlib, json, random, struct, sys

CHARACTERS = ["a", "z", "Z", "0", " ", "/", "<", '"', "\\", "\n", "\t", "\b", "\x00", "\x1f", "\x7f", "\x80", "\u00e9",
              "\u2028", "\ud7ff", "\ue000", "\uffff", "\ufeff", "\U00010000", "\U0001f600", "\U0010ffff"]


def text(rng):
    return "".join(rng.choice(CHARACTERS) for _ in range(rng.choice([0, 1, 1, 2, 3, 9, 20])))


def literal(rng, value):
    """A JSON string in one of its many spellings."""
    out = []
    for character in value:
        units = character.encode("utf-16-be")
        escaped = "".join("\\u%04x" % unit if rng.random() < 0.5 else "\\u%04X" % unit
                          for unit in struct.unpack(">%dH" % (len(units) // 2), units))
        if character < " " or character in '"\\':
            out.append(rng.choice([escaped, json.dumps(character)[1:-1]]))
        else:
            out.append("\\/" if character == "/" and rng.random() < 0.5 else escaped if rng.random() < 0.2 else character)
    return '"' + "".join(out) + '"'


def number(rng):
    kind = rng.randrange(9)
    if kind == 0:
        return rng.choice(["0", "-0", "0.0", "-0.0", "1E5", "2e0", "0e5", "-0e1", "1e-400", "5e-324", "1e16", "1e22", "1e23",
                           "0.0001", "0.00001", "9007199254740993.0", "1.7976931348623157e308", "2.2250738585072011e-308"])
    if kind == 1:
        return str(rng.randrange(-10**40, 10**40))
    if kind == 2:
        return str(rng.randrange(-1000, 1000))
    if kind == 3:  # exact ties
        return repr(rng.randrange(10**12, 9 * 10**15) + rng.choice([0.125, 0.25, 0.5, 0.75]))
    if kind == 4:  # any double
        while True:
            value = struct.unpack(">d", rng.randbytes(8))[0]
            if value == value and abs(value) != float("inf"):
                return repr(value)
    if kind == 5:
        return "%d.%0*de%s%d" % (rng.randrange(1000), rng.randrange(1, 25), rng.randrange(10**9), rng.choice(["", "+", "-"]),
                                 rng.randrange(290))
    if kind == 6:
        return "%.*f" % (rng.randrange(1, 30), rng.uniform(-1e6, 1e6))
    if kind == 7:
        return "%.*e" % (rng.randrange(0, 20), rng.uniform(-1, 1) * 10.0 ** rng.randrange(-300, 300))
    return repr(rng.randrange(0, 10**6) / 100)


def document(rng, depth):
    blank = lambda: rng.choice(["", "", "", " ", "\n", "\t", "\r\n", "  "])
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        return rng.choice(["null", "true", "false"])
    if kind in (1, 2):
        return literal(rng, text(rng))
    if kind in (3, 4):
        return number(rng)
    count = rng.choice([0, 1, 2, 3, 6])
    if kind == 5:
        items = [blank() + document(rng, depth - 1) + blank() for _ in range(count)]
        return "[" + (",".join(items) or blank()) + "]"
    names = [text(rng) for _ in range(count)]
    if count > 1 and rng.random() < 0.3:
        names.append(rng.choice(names))
    items = [blank() + literal(rng, name) + blank() + ":" + blank() + document(rng, depth - 1) + blank() for name in names]
    return "{" + (",".join(items) or blank()) + "}"


def documents(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        source = rng.choice(["", " ", "\n"]) + document(rng, 5)
        value = json.loads(source)
        print(json.dumps([source, json.dumps(value, sort_keys=True), json.dumps(value)]))


def fernet():
    from cryptography.fernet import Fernet
    for line in sys.stdin:
        case = json.loads(line)
        cipher = Fernet(case["key"])
        sealed = cipher.encrypt(json.dumps(json.loads(case["value"])).encode()).decode()
        print(json.dumps({"inside": cipher.decrypt(case["token"].encode()).decode(), "sealed": sealed}))


def hs1():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    for line in sys.stdin:
        case = json.loads(line)
        body = case["token"].removeprefix("hs1.")
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        head, kid, salt, nonce, commit = raw[:33], raw[1:9], raw[9:33], raw[33:45], raw[45:61]
        assert raw[0] == 1 and kid == hashlib.sha256(case["key_id"].encode()).digest()[:8]
        okm = HKDF(hashes.SHA256(), 48, salt, b"hs1" + kid).derive(base64.urlsafe_b64decode(case["key"]))
        assert okm[32:] == commit
        bound = [case["domain"], case["field"]] + ([] if case["patient"] is None else [case["patient"]])
        aad = head + commit + b"".join(struct.pack(">I", len(part.encode())) + part.encode() for part in bound)
        print(json.dumps(AESGCM(okm[:32]).decrypt(nonce, raw[61:], aad).decode()))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"documents": documents, "fernet": fernet, "hs1": hs1}[command](*map(int, arguments))
