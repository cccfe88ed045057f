"""The other side of `python.rs`: what CPython's json and the cryptography package make of random values.

documents SEED COUNT  a line each: a random JSON text, its sorted form and its unsorted form, as JSON strings
fernet                reads lines {"key", "value"}; answers what the seed's class would seal and the text inside a token
lenient SEED COUNT    a line each: {"key", "token", "inside"}: a damaged token and what Python makes of it (null: refused)
hs1                   reads lines {"key", "key_id", "token", "domain", "field", "patient"}; answers the text inside, read by own code
sgt1                  as hs1, with "session" (hexadecimal or null); answers [time of issue, text]
hsx1                  as hs1, without patient; answers the text inside, whose token it makes anew and compares
jwe                   as hs1, with "value"; answers {"inside": the text, "sealed": a token of the value}; with joserfc, where it is, too
iv2                   reads lines {"key", "key_id", and what is covered}; answers the mac
vectors KIND          known answers of sgt1, hsx1, jwe, iv2, fernet_lenient: what tests/fixtures/vectors holds
"""

import base64, hashlib, hmac, json, os, random, struct, sys

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


def url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def unpadded(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def bound(part, form=">I"):
    part = part.encode() if isinstance(part, str) else part
    return struct.pack(form, len(part)) + part


def kid_of(key_id):
    return hashlib.sha256(key_id.encode()).digest()[:8]


def hkdf(key, salt, info, length):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    return HKDF(hashes.SHA256(), length, salt, info).derive(key)


def gcm(key):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    return AESGCM(key)


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def flagged(patient, session):
    flags = (patient is not None) | (session is not None) << 1
    return bytes([flags]) + b"".join(bound(part) for part in (patient, session) if part is not None)


def open_frame(case, prefix, tail):
    """A value in the frame of hs1 under the label that its prefix is named after."""
    assert case["token"].startswith(prefix + ".")
    raw = url(case["token"][len(prefix) + 1:])
    head, kid, salt, nonce, commit = raw[:33], raw[1:9], raw[9:33], raw[33:45], raw[45:61]
    assert raw[0] == 1 and kid == kid_of(case["key_id"])
    okm = hkdf(base64.urlsafe_b64decode(case["key"]), salt, prefix.encode() + kid, 48)
    assert okm[32:] == commit
    return gcm(okm[:32]).decrypt(nonce, raw[61:], head + commit + bound(case["domain"]) + bound(case["field"]) + tail)


def seal_frame(case, prefix, tail, salt, nonce, plaintext):
    kid = kid_of(case["key_id"])
    okm = hkdf(base64.urlsafe_b64decode(case["key"]), salt, prefix.encode() + kid, 48)
    head = b"\x01" + kid + salt
    sealed = gcm(okm[:32]).encrypt(nonce, plaintext, head + okm[32:] + bound(case["domain"]) + bound(case["field"]) + tail)
    return prefix + "." + unpadded(head + nonce + okm[32:] + sealed)


def open_hs1(case):
    return open_frame(case, "hs1", b"" if case["patient"] is None else bound(case["patient"])).decode()


def session_of(case):
    return None if case["session"] is None else bytes.fromhex(case["session"])


def open_sgt1(case):
    raw = open_frame(case, "sgt1", flagged(case["patient"], session_of(case)))
    return [struct.unpack(">q", raw[:8])[0], raw[8:].decode()]


def search_keys(case):
    okm = hkdf(base64.urlsafe_b64decode(case["key"]), None, b"hsx1" + kid_of(case["key_id"]), 64)
    return okm[:32], okm[32:]


def seal_hsx1(case, value):
    """`value` is the JSON text of the normalized value."""
    index_key, cipher_key = search_keys(case)
    context = bound(case["domain"]) + bound(case["field"])
    index = mac(index_key, context, bound(value))[:16]
    head = b"\x01" + kid_of(case["key_id"]) + index + b"\0\0"
    return "hsx1." + unpadded(head + gcm(cipher_key).encrypt(index[:12], value.encode(), head + context))


def open_hsx1(case):
    raw = url(case["token"].removeprefix("hsx1."))
    assert raw[:9] == b"\x01" + kid_of(case["key_id"]) and raw[25:27] == b"\0\0"
    context = bound(case["domain"]) + bound(case["field"])
    value = gcm(search_keys(case)[1]).decrypt(raw[9:21], raw[27:], raw[:27] + context).decode()
    assert seal_hsx1(case, value) == case["token"]
    return value


def jwe_keys(case):
    okm = hkdf(base64.urlsafe_b64decode(case["key"]), None, b"jwe" + kid_of(case["key_id"]), 64)
    return okm[:32], okm[32:]


def seal_jwe(case, value, fresh):
    wrap_key, patient_key = jwe_keys(case)
    content_key, wrap_iv, iv = fresh[:32], fresh[32:44], fresh[44:56]
    wrapped = gcm(wrap_key).encrypt(wrap_iv, content_key, None)
    header = {"alg": "A256GCMKW", "enc": "A256GCM", "kid": kid_of(case["key_id"]).hex(), "iv": unpadded(wrap_iv),
              "tag": unpadded(wrapped[32:]), "domain": case["domain"], "field": case["field"]}
    if case["patient"] is not None:
        header["patient"] = unpadded(mac(patient_key, wrap_iv, bound(case["domain"]), bound(case["patient"]))[:16])
    head = unpadded(json.dumps(header, separators=(",", ":")).encode())
    sealed = gcm(content_key).encrypt(iv, value.encode(), head.encode())
    return ".".join([head, unpadded(wrapped[:32]), unpadded(iv), unpadded(sealed[:-16]), unpadded(sealed[-16:])])


def open_jwe(case):
    head, wrapped, iv, ciphertext, tag = case["token"].split(".")
    header = json.loads(url(head))
    wrap_key, patient_key = jwe_keys(case)
    assert [header["alg"], header["enc"]] == ["A256GCMKW", "A256GCM"] and header["kid"] == kid_of(case["key_id"]).hex()
    assert [header["domain"], header["field"]] == [case["domain"], case["field"]]
    expected = None if case["patient"] is None else unpadded(
        mac(patient_key, url(header["iv"]), bound(case["domain"]), bound(case["patient"]))[:16])
    assert header.get("patient") == expected
    content_key = gcm(wrap_key).decrypt(url(header["iv"]), url(wrapped) + url(header["tag"]), None)
    inside = gcm(content_key).decrypt(url(iv), url(ciphertext) + url(tag), head.encode()).decode()
    try:
        from joserfc import jwe as library
        from joserfc.jwk import OctKey
    except ImportError:
        return inside
    registry = library.JWERegistry(algorithms=["A256GCMKW", "A256GCM"], strict_check_header=False)
    foreign = library.decrypt_compact(case["token"], OctKey.import_key(wrap_key), registry=registry)
    assert foreign.plaintext.decode() == inside
    return inside


def compute_iv2(case):
    kid = kid_of(case["key_id"])
    key = hkdf(base64.urlsafe_b64decode(case["key"]), None, b"iv2", 32)
    patient = b"\0" if case["patient"] is None else b"\1" + bound(case["patient"], ">Q")
    parts = [b"\x02" + kid, bound(case["domain"], ">Q"), patient, struct.pack(">q", case["version"]),
             bound(case["created_by"], ">Q"), bound(case["created_at"], ">Q"), case["data"].encode()]
    return "iv2." + unpadded(b"\x02" + kid + mac(key, *parts))


def answer(read):
    for line in sys.stdin:
        print(json.dumps(read(json.loads(line))))


def both_jwe(case):
    return {"inside": open_jwe(case), "sealed": seal_jwe(case, case["value"], os.urandom(56))}


def damaged(rng, token):
    """A token as it may look after a hand, a mailer or a stranger had it."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(token) + 1)
        kind = rng.randrange(12)
        if kind == 0:
            token = token.translate(str.maketrans("-_", "+/"))
        elif kind == 1:
            token = token[:at] + rng.choice([" ", "\n", "\r\n", "!", ".", "=", "==", "\x00", "\u00e9", "\U0001f600"]) + token[at:]
        elif kind == 2:
            token = token + rng.choice(["=", "==", "====", "\n", "A", "AAAA", token])
        elif kind == 3:
            token = token.rstrip("=")
        elif kind == 4:
            token = rng.choice([" ", "=", "\t", "A"]) + token
        elif kind == 5 and token.endswith("="):
            bare = token.rstrip("=")
            alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            last = alphabet.find(bare[-1])
            token = bare[:-1] + alphabet[(last ^ rng.randrange(1, 4)) % 64] + token[len(bare):]
        elif kind == 6:
            token = token[:at]
        elif kind == 7:
            token = "\n".join(token[i:i + 20] for i in range(0, len(token), 20))
        elif kind == 8 and token:
            at = rng.randrange(len(token))
            token = token[:at] + rng.choice("AZaz09-_+/= ") + token[at + 1:]
        elif kind == 9 and token:
            at = rng.randrange(len(token))
            token = token[:at] + token[at + 1:]
    return token


def damaged_tokens(seed, count):
    from cryptography.fernet import Fernet, InvalidToken
    rng = random.Random(seed)
    for _ in range(count):
        key = base64.urlsafe_b64encode(rng.randbytes(32))
        text = json.dumps("x" * rng.randrange(0, 60))
        token = damaged(rng, Fernet(key).encrypt(text.encode()).decode())
        try:
            inside = Fernet(key).decrypt(token.encode()).decode()
        except InvalidToken:
            inside = None
        yield {"key": key.decode(), "token": token, "inside": inside}


def lenient(seed, count):
    for case in damaged_tokens(seed, count):
        print(json.dumps(case))


def vectors(kind):
    rng = random.Random("safeguard " + kind)
    patients = [None, "", "p-1", "Patient/\u00e9"]
    sessions = [None, "", "00ff", "73657373696f6e"]
    values = ['"943-71-5820"', "null", "0", '["E11.65"]', '{"a": 1}', '"\u00e9\\u00e9"', '""']
    if kind == "fernet_lenient":
        for case in damaged_tokens(4, 120):
            print(json.dumps(case))
        return
    for index in range(48):
        case = {"key": base64.urlsafe_b64encode(rng.randbytes(32)).decode(), "key_id": "phi-%d" % (index % 5),
                "domain": rng.choice(["clinic", "", "a/b\u00e9"]), "field": rng.choice(["ssn", "", "medical_record_number"])}
        patient, value = rng.choice(patients), rng.choice(values)
        if kind == "sgt1":
            case |= {"patient": patient, "session": rng.choice(sessions), "issued": rng.choice([0, -1, 1800000000, 2**62]),
                     "plaintext": value, "salt_hex": rng.randbytes(24).hex(), "nonce_hex": rng.randbytes(12).hex()}
            raw = struct.pack(">q", case["issued"]) + value.encode()
            case["token"] = seal_frame(case, "sgt1", flagged(patient, session_of(case)), bytes.fromhex(case["salt_hex"]),
                                       bytes.fromhex(case["nonce_hex"]), raw)
            assert open_sgt1(case) == [case["issued"], value]
        elif kind == "hsx1":
            normalize, given, normalized = rng.choice(NORMALIZED)
            case |= {"normalize": normalize, "value": given, "normalized": normalized, "token": seal_hsx1(case, normalized)}
            assert open_hsx1(case) == normalized
        elif kind == "jwe":
            fresh, case["patient"] = rng.randbytes(56), patient
            case |= {"plaintext": value, "content_key_hex": fresh[:32].hex(), "wrap_iv_hex": fresh[32:44].hex(),
                     "iv_hex": fresh[44:].hex(), "token": seal_jwe(case, value, fresh)}
            assert open_jwe(case) == value
        else:
            data = json.dumps(json.loads(value), sort_keys=True)
            case |= {"patient": patient, "version": rng.choice([1, 0, -1, 7, 2**63 - 1]), "created_by": rng.choice(["dr-1", "", "\u00e9"]),
                     "created_at": "2026-11-23T05:06:07.%06d" % index, "data": data}
            case["mac"] = compute_iv2(case)
        print(json.dumps(case))


NORMALIZED = [
    ("exact", '"MRN-0012"', '"MRN-0012"'), ("exact", '"\\u004dRN"', '"MRN"'), ("exact", '"\u00e9"', '"\\u00e9"'), ("exact", "-0", "0"),
    ("digits", '"943-71-5820"', '"943715820"'), ("digits", '"+1 (555) 010.1234"', '"15550101234"'), ("digits", "943715820", "943715820"),
    ("upper", '"mrn-00 12"', '"MRN0012"'), ("upper", '"MRN#0012"', '"MRN0012"'), ("upper", '"\u00e9a"', '"\\u00e9A"'),
    ("date", '"1957-03-28"', '"1957-03-28"'), ("date", '"19570328"', '"1957-03-28"'), ("date", '"2000-02-29T00:00:00Z"', '"2000-02-29"'),
]

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    readers = {"hs1": open_hs1, "sgt1": open_sgt1, "hsx1": open_hsx1, "jwe": both_jwe, "iv2": compute_iv2}
    if command in readers:
        answer(readers[command])
    elif command == "vectors":
        vectors(*arguments)
    else:
        {"documents": documents, "fernet": fernet, "lenient": lenient}[command](*map(int, arguments))
