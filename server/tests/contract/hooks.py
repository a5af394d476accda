"""What schemathesis is to send: of four requests three are made to fit something that is there, and
one is sent as it was drawn. What became of each operation is counted.

KEYFALL_BASE, KEYFALL_TOKEN: the service and its admin. KEYFALL_SHARES: the file of the counts.
"""
import atexit
import collections
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request

import schemathesis

BASE = os.environ["KEYFALL_BASE"]
TOKEN = os.environ["KEYFALL_TOKEN"]
# A grantee's, made by `keyfall key`; nobody has its private half any more.
with open(os.path.join(os.path.dirname(__file__), "grantee.pub"), encoding="ascii") as file:
    GRANTEE = file.read().strip()

lock = threading.Lock()
drawn = random.Random(1)
counts = collections.defaultdict(collections.Counter)


def ask(method, path, body=None, headers=None, token=TOKEN):
    """Asks the service beside schemathesis; gives the headers and the body of the answer."""
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        request.add_header("Content-Type", kind)
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    kind = answer.headers.get("Content-Type") or ""
    return answer.headers, json.loads(text) if kind.endswith("json") and text else text


def user():
    """A user of its own, with a record."""
    name = f"user {time.monotonic_ns()} {threading.get_ident()}"
    handle = ask("POST", "/v1/users", {"name": name})[1]["handle"]
    return handle, record(handle)


def record(handle):
    put = ask("POST", f"/v1/users/{handle}/records", b"RIFF....", {"Keyfall-Class": "audio"})
    return put[1]["id"]


def opening(of):
    # A credential has few places for openings.
    reader = CREDENTIAL | {"scopes": ["read"]}
    token = ask("POST", "/v1/credentials", reader)[1]["token"]
    asked = {"purpose": "a test", "seconds": 60}
    opened = ask("POST", f"/v1/records/{of}/openings", asked, token=token)
    return opened[1]["opening"].rsplit("/", 1)[1]


def upload(handle):
    said = {"Tus-Resumable": "1.0.0", "Upload-Length": "4", "Keyfall-Class": "audio"}
    begun = ask("POST", f"/v1/users/{handle}/uploads", b"", said | {
        "Content-Type": "application/offset+octet-stream"})
    return begun[0]["Location"].rsplit("/", 1)[1]


def plan(handle):
    asked = {"scope": {"user": handle}, "in": "30d"}
    return ask("POST", "/v1/erasures", asked)[1]["id"]


CREDENTIAL = {"principal": "p", "scopes": ["status"], "users": "any", "purposes": ["a test"]}
HOLD = {"class": "audio", "reason": "a", "authority": "b"}
GRANT = {"to": GRANTEE, "name": "g", "purpose": "a test"}
POLICY = {"class": "note", "max_age": "90d"}


class Fits:
    """What makes a request fit. Each method is of an operation, by its id."""

    def __init__(self, case):
        self.case = case

    def handle(self, handle):
        self.case.path_parameters["handle"] = handle

    def header(self, **kept):
        said = {name.replace("_", "-"): value for name, value in kept.items()}
        self.case.headers = {"Authorization": f"Bearer {TOKEN}"} | said

    def put_record(self):
        self.header(Keyfall_Class="note", Keyfall_Purpose="a test")

    def list_records(self):
        self.case.query = {"limit": 10}

    def of_record(self):
        self.case.path_parameters["id"] = record(user()[0])
        self.header(Keyfall_Purpose="a test")

    get_record = head_record = get_lineage = get_openings = of_record

    def open_record(self):
        self.of_record()
        self.case.body = {"purpose": "a test", "seconds": 5}

    def of_opening(self):
        self.case.path_parameters["token"] = opening(user()[1])
        self.case.headers = {}

    get_opening = head_opening = close_opening = of_opening

    def create_upload(self):
        self.case.body = b"RIFF"
        self.header(Tus_Resumable="1.0.0", Upload_Length="8", Keyfall_Class="audio",
                    Content_Type="application/offset+octet-stream")

    def of_upload(self):
        self.case.path_parameters["id"] = upload(user()[0])
        self.header(Tus_Resumable="1.0.0")

    head_upload = end_upload = of_upload

    def append_upload(self):
        self.of_upload()
        self.case.body = b"RI"
        self.header(Tus_Resumable="1.0.0", Upload_Offset="0",
                    Content_Type="application/offset+octet-stream")

    def erase(self):
        handle, one = user()
        scope = drawn.choice([{"user": handle}, {"user": handle, "class": "audio"}, {"record": one}])
        self.case.body = drawn.choice([{"scope": scope}, [{"scope": scope}],
                                       {"scope": scope, "in": "30d"}])
        self.header()

    def get_erasure(self):
        self.case.path_parameters["id"] = plan(user()[0])
        self.header()

    def cancel_erasure(self):
        self.get_erasure()

    def create_page_link(self):
        self.case.body = {"role": drawn.choice(["self", "child"]), "language": "de"}

    def create_credential(self):
        self.case.body = CREDENTIAL

    def of_credential(self):
        self.case.path_parameters["id"] = ask("POST", "/v1/credentials", CREDENTIAL)[1]["id"]

    end_credential = of_credential

    def renew_credential(self):
        self.of_credential()
        self.case.body = {"until": "2099-01-01"}

    def add_hold(self):
        self.case.body = HOLD

    def lift_hold(self):
        handle = user()[0]
        self.handle(handle)
        held = ask("POST", f"/v1/users/{handle}/holds", HOLD)[1]
        self.case.path_parameters["number"] = held["number"]
        self.case.body = {"reason": "a", "authority": "b"}

    def add_grant(self):
        self.case.body = GRANT

    def revoke_grant(self):
        handle = user()[0]
        self.handle(handle)
        granted = ask("POST", f"/v1/users/{handle}/grants", GRANT)[1]
        self.case.path_parameters["number"] = granted["number"]

    def set_policy(self):
        self.case.body, self.case.query = POLICY, {"dry_run": drawn.choice(["true", "false"])}

    set_user_policy = set_policy

    def unset_policy(self):
        kind = f"c{time.monotonic_ns() % 10**12}"
        ask("PUT", "/v1/policies", POLICY | {"class": kind})
        self.case.query = {"class": kind}

    def unset_user_policy(self):
        ask("PUT", f"/v1/users/{self.case.path_parameters['handle']}/policies", POLICY)
        self.case.query = {"class": "note"}

    def seal_export(self):
        self.case.body = {"to": GRANTEE}
        self.header(Keyfall_Purpose="a test")

    def export(self):
        self.header(Keyfall_Purpose="a test")

    def tile(self):
        handle = user()[0]
        ask("POST", "/v1/erasures", {"scope": {"user": handle}})
        self.case.path_parameters.update(level=drawn.choice(["0", "entries"]), path="000.p/1")

    def verify(self):
        self.case.body = "no certificate"


@schemathesis.hook
def before_call(context, case, kwargs):
    with lock:
        as_drawn = drawn.random() < 0.25
    if as_drawn:
        return
    fits = Fits(case)
    if case.path_parameters and "handle" in case.path_parameters:
        fits.handle(user()[0])
    name = case.operation.definition.raw.get("operationId", "")
    if hasattr(fits, name):
        getattr(fits, name)()


@schemathesis.hook
def after_call(context, case, response):
    # Another method than the operation's is no request for it.
    if response.status_code != 405:
        with lock:
            counts[case.operation.label][response.status_code] += 1
    if response.status_code == 201 and response.headers.get("location"):
        at = response.headers["location"]
        at = at[0] if isinstance(at, list) else at
        if at.startswith("/v1/openings/"):
            ask("DELETE", at)


@atexit.register
def tell():
    if not counts:
        return
    with open(os.environ["KEYFALL_SHARES"], "w", encoding="ascii") as file:
        json.dump({name: dict(of) for name, of in counts.items()}, file, indent=1, sort_keys=True)


@schemathesis.serializer("application/offset+octet-stream")
def offset(_, value):
    return value if isinstance(value, bytes) else str(value).encode()
