#!/usr/bin/env python3
"""Starts each deployment of docs/distributed.md from nothing: runs its `console` blocks, line by line.

    deployments.py PROGRAMS DOCUMENT      PROGRAMS: the directory that `keyfall` and `keyfalld` lie in

Needs KEYFALL_S3, a place in a bucket for `s3://bucket`, and KEYFALL_POSTGRES, a database for
`postgres:///keyfall`. What stands for a value (HOST, ENGINE_KEY, KEYHOLDER_KEY, `...`) is given one, what is
to go on runs until the block ends, and one machine stands for several. A line that this program does not
know fails.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 120


def blocks(document):
    """The console blocks: the heading that each is under, and its commands, each in one line."""
    heading, inside, lines = "", None, []
    for line in open(document, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("#") and inside is None:
            heading = line.lstrip("# ")
        elif line == "```console":
            inside, lines = [], []
        elif line == "```" and inside is not None:
            yield heading, commands(inside)
            inside = None
        elif inside is not None:
            inside.append(line)


def commands(lines):
    joined = "\n".join(lines).replace("\\\n", " ")
    said = [line[2:] for line in joined.split("\n") if line.startswith("$ ")]
    return [re.sub(r"\s+", " ", re.sub(r"\s+#\s.*", "", line)).strip() for line in said]


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ready(at):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{at}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def until(holds, what):
    end = time.monotonic() + PATIENCE
    while not (value := holds()):
        if time.monotonic() > end:
            raise SystemExit(f"not seen within {PATIENCE} s: {what}")
        time.sleep(0.1)
    return value


def seen(holds, what):
    if not holds:
        raise SystemExit(f"not seen: {what}")


class Deployment:
    """One section's commands in an empty directory, over places of their own."""

    def __init__(self, number, programs):
        self.dir = tempfile.mkdtemp(prefix="keyfall-deployment-")
        unique = f"{os.getpid()}-{number}"
        self.bucket = f"{os.environ['KEYFALL_S3']}/deployments/{unique}"
        self.database = f"{os.environ['KEYFALL_POSTGRES']}&store=deployments/{unique}"
        self.env = {**os.environ, "PATH": f"{programs}:{self.dir}:{os.environ['PATH']}"}
        self.running, self.services, self.keys, self.holders = [], [], [], []
        # The program that docs/distributed.md leaves to the reader: it opens the store, and puts.
        serve = os.path.join(self.dir, "serve-assistant")
        store = f"{self.bucket}/assistant"
        with open(serve, "w", encoding="utf-8") as program:
            program.write(
                f"#!/bin/sh\necho awake | keyfall put {store} --cell assistant.cell --user ada"
                " --class transcript - && touch served\n"
            )
        os.chmod(serve, 0o755)

    def run(self, command):
        """What it wrote; fails if the command does."""
        done = subprocess.run(
            command, shell=True, cwd=self.dir, env=self.env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{command}\n{done.stdout}exit code {done.returncode}")
        return done.stdout

    def other(self):
        """Another machine, which has copies of the cell's directory and of the admin's token."""
        place = os.path.join(self.dir, "other")
        os.makedirs(place)
        shutil.copytree(os.path.join(self.dir, "assistant.cell"), os.path.join(place, "assistant.cell"))
        if os.path.exists(os.path.join(self.dir, "admin.token")):
            shutil.copy(os.path.join(self.dir, "admin.token"), place)
        return place

    def start(self, command, log, place=None):
        with open(os.path.join(self.dir, log), "w", encoding="utf-8") as to:
            process = subprocess.Popen(
                "exec " + command, shell=True, cwd=place or self.dir, env=self.env, stdout=to,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.running.append(process)

        def text():
            with open(os.path.join(self.dir, log), encoding="utf-8") as written:
                said = written.read()
            if process.poll() not in (None, 0):
                raise SystemExit(f"{command}\n{said}exit code {process.returncode}")
            return said

        return process, text

    def keyholders(self, how_many):
        while len(self.holders) < how_many:
            n, at = len(self.holders), port()
            allowed = " ".join(f"--allow {key}" for key in self.keys)
            _, text = self.start(
                f"keyfall keyholder serve kh{n} --listen 127.0.0.1:{at} {allowed}", f"kh{n}.log")
            key = until(lambda: re.search(r"^(\S+@127\.0\.0\.1:\d+)$", text(), re.M), f"keyholder {n}")
            self.holders.append(key.group(1))

    def adapted(self, command):
        """The command with values in the place of names."""
        threshold = re.search(r"--threshold (\d)", command)
        if threshold:
            how_many = 5 if threshold.group(1) == "3" else 3
            self.keyholders(how_many)
            named = " ".join(f"--keyholder {holder}" for holder in self.holders[:how_many])
            command = re.sub(r"--keyholder .*?(?= --threshold)", named, command)
        command = command.replace("s3://other-bucket/", f"{self.bucket}/other-")
        command = command.replace("s3://bucket/", f"{self.bucket}/")
        command = command.replace("postgres:///keyfall", self.database)
        return re.sub(r"export (\w+)=(postgres\S+)", r"export \1='\2'", command)

    def speak(self, at):
        """A record is put, read and erased over HTTP."""
        with open(os.path.join(self.dir, "admin.token"), encoding="utf-8") as token:
            token = token.read().strip()

        def ask(method, path, body=None, **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            asked = urllib.request.Request(
                f"http://127.0.0.1:{at}{path}", method=method, data=body,
                headers={"Authorization": f"Bearer {token}", **headers})
            try:
                with urllib.request.urlopen(asked, timeout=60) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as answer:
                return answer.code, answer.read()

        def posted(path, body, **headers):
            status, said = ask("POST", path, body, **headers)
            seen(status in (200, 201), f"POST {path}: {status} {said}")
            return json.loads(said)

        user = posted("/v1/users", b'{"name": "ada"}', Content_Type="application/json")["handle"]
        put = {"Keyfall_Class": "transcript", "Content_Type": "text/plain"}
        record = posted(f"/v1/users/{user}/records", b"wake me at six", **put)["id"]
        seen(ask("GET", f"/v1/records/{record}") == (200, b"wake me at six"), "what was put is read")
        scope = json.dumps({"scope": {"user": user}}).encode()
        posted("/v1/erasures", scope, Content_Type="application/json")
        status, said = ask("GET", f"/v1/records/{record}")
        seen(status == 410, f"what was erased is gone: {status} {said}")

    def use(self, store, cell="", classed="transcript"):
        """A record is put, read and erased by the program."""
        named = f"{store} {cell}"
        record = self.run(
            f"echo wake me | keyfall put {named} --user ada --class {classed} -").split()[-1]
        seen(self.run(f"keyfall get {named} {record}") == "wake me\n", "what was put is read")
        self.run(f"keyfall erase {named} --user ada --yes")
        gone = subprocess.run(
            f"keyfall get {named} {record}", shell=True, cwd=self.dir, env=self.env, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE)
        seen(gone.returncode == 3, f"what was erased is gone: {gone.returncode}")

    def serve(self, command):
        at = port()
        process, text = self.start(
            f"{command} --listen 127.0.0.1:{at}", f"service{len(self.services)}.log",
            self.other() if "--standby" in command else None)
        self.services.append((process, at))
        if "--standby" not in command:
            until(lambda: text() is not None and ready(at), command)
            self.speak(at)
            return
        # It waits, and takes over from the one that is killed.
        until(lambda: "standby" in text(), "a standby that waits")
        time.sleep(3)
        if ready(at):
            raise SystemExit("the standby serves beside the service")
        before, _ = self.services[0]
        before.send_signal(signal.SIGKILL)
        before.wait()
        self.running.remove(before)
        until(lambda: text() is not None and ready(at), "a standby that took over")
        self.speak(at)

    def do(self, command):
        if command.startswith(("cargo install ", "scp ")):
            # The programs are here; a copy of the cell is made for what comes next.
            return
        if command.startswith("sudo -u postgres "):
            # As with KEYFALL_POSTGRES: the role and the database are there.
            return
        if command.startswith("export "):
            pairs = re.findall(r"(\w+)=('[^']*'|\S+)", self.adapted(command))
            self.env.update({name: value.strip("'") for name, value in pairs})
            return
        if command.startswith("keyfall keyholder engine "):
            self.keys += self.run("bash -c " + json.dumps(command)).split()
            return
        if command.startswith("keyfall keyholder serve "):
            self.keyholders(1)
            return
        if command.startswith("keyfall keyholder allow kh "):
            for n in range(5):
                self.run(f"keyfall keyholder allow kh{n} {' '.join(self.keys[-4:])}")
            return
        command = self.adapted(command)
        if command.startswith("keyfalld "):
            self.serve(command)
        elif command.startswith("keyfall watch "):
            self.watch, text = self.start(command, "watch.log")
            until(lambda: "watching" in text(), "a writer that watches")
            # Its signs of life are two seconds apart.
            time.sleep(5)
        elif command.startswith("keyfall standby "):
            place = self.other()
            _, text = self.start(command, "standby.log", place)
            time.sleep(3)
            self.watch.send_signal(signal.SIGKILL)
            self.watch.wait()
            self.running.remove(self.watch)
            until(lambda: "took over" in text(), "a standby that took over")
            until(lambda: os.path.exists(os.path.join(place, "served")), "the program of it")
        elif command.startswith("keyfall "):
            self.run(command)
            self.after(command)
        else:
            raise SystemExit(f"a line that no test knows: {command}")

    def after(self, command):
        """What was made, or restored, is used, where no service comes to do it."""
        words = command.split()
        if words[:3] == ["keyfall", "realm", "init"]:
            self.use(words[3])
        elif words[:2] == ["keyfall", "restore"]:
            self.use(words[words.index("--into") + 1], "--cell assistant.cell")
        elif words[:3] == ["keyfall", "copy", "add"] and "KEYFALL_STORE" in self.env:
            self.use("")
        elif words[:2] == ["keyfall", "init"] and "--lend" in words:
            self.use(words[2], "--cell assistant.cell")

    def lose(self, store):
        """A directory of a store is lost, and restored from its copy in step; the cell stays."""
        for process, _ in self.services:
            process.send_signal(signal.SIGTERM)
            process.wait()
            self.running.remove(process)
        put = f"echo keep me | keyfall put {store} --user ben --class transcript -"
        kept = self.run(put).split()[-1]
        shutil.rmtree(os.path.join(self.dir, store))
        self.run(
            f"keyfall restore --cell {store}.cell --into again.db --adopt {self.bucket}/copy")
        again = f"again.db --cell {store}.cell"
        seen(self.run(f"keyfall get {again} {kept}") == "keep me\n", "what was in step is restored")
        put = f"echo and on | keyfall put {again} --user ben --class transcript -"
        seen(self.run(f"keyfall get {again} {self.run(put).split()[-1]}") == "and on\n", "it goes on")

    def close(self):
        for process in self.running:
            process.kill()
            process.wait()
        shutil.rmtree(self.dir)


def before(heading, deployment):
    """What a section takes for granted, as its text says."""
    if heading in ("Standby", "Restoring a store at a URL"):
        if heading == "Standby":
            deployment.do("keyfall keyholder engine assistant.cell")
            deployment.do(
                "keyfall init s3://bucket/assistant --cell assistant.cell"
                " --keyholder KEYHOLDER_KEY@HOST:7410 --keyholder ... --threshold 3")
        else:
            deployment.do("keyfall init s3://bucket/assistant --cell assistant.cell --single-machine")
            deployment.do(
                "keyfall copy add s3://bucket/assistant s3://other-bucket/copy --cell assistant.cell")
    if heading == "Readers":
        deployment.do("keyfall keyholder engine assistant.cell")
    if heading == "Shards":
        deployment.do("keyfall keyholder engine assistant.cell")
        deployment.keyholders(5)


def main():
    programs, document = os.path.abspath(sys.argv[1]), sys.argv[2]
    ran = 0
    for number, (heading, lines) in enumerate(blocks(document)):
        if all(line.startswith("cargo install ") for line in lines):
            continue
        began = time.monotonic()
        deployment = Deployment(number, programs)
        try:
            before(heading, deployment)
            for line in lines:
                deployment.do(line)
                ran += 1
            if heading == "One machine with a copy":
                deployment.lose("assistant.db")
        finally:
            deployment.close()
        print(f"{heading}: {len(lines)} commands, {time.monotonic() - began:.0f} s", flush=True)
    if ran < 20:
        raise SystemExit(f"only {ran} commands were found")


if __name__ == "__main__":
    main()
