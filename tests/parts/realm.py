"""The realms of the tests: the shipped one as it is, under another name, and the same with what only tests want laid over it.

Usage: realm.py SHIPPED OVERLAY FOLDER
"""

import json
import pathlib
import sys
from typing import Any

# Lists whose items are told apart by a name are merged by it; any other is replaced.
NAMES = {"clients": "clientId", "users": "username", "authenticationFlows": "alias", "authenticatorConfig": "alias"}


def laid_over(under: Any, over: Any, name: str = "") -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {key: laid_over(under.get(key), value, key) for key, value in over.items()}
    if isinstance(under, list) and isinstance(over, list) and name in NAMES:
        key = NAMES[name]
        items = {item[key]: item for item in under}
        for item in over:
            items[item[key]] = laid_over(items.get(item[key]), item)
        return list(items.values())
    return over


shipped, overlay = (json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:3])
folder = pathlib.Path(sys.argv[3])
realms = {"healthcare": laid_over(shipped, overlay), "as-shipped": shipped | {"realm": "as-shipped"}}
for realm, document in realms.items():
    (folder / f"{realm}.json").write_text(json.dumps(document))
