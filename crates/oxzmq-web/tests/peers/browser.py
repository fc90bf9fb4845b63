#!/usr/bin/env python3
"""Has a headless Chromium visit the site and the status page, and complains about what a person would.

    browser.py CHROMIUM SITE STATUS WORKER_PID SHOTS

Every page has to load without a word on the console, and to look like something (the screenshots go to the
directory SHOTS). While the status page is open the worker with that process id is killed: the page has to tell that
it is gone, and that another one is here. Speaks the DevTools protocol, with nothing but Python's own library.
"""
import base64, json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, urllib.parse
import urllib.request, zlib

LONG = 30


class Tab:
    """A page, by way of its WebSocket."""

    def __init__(self, port):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new", method="PUT")
        address = urllib.parse.urlsplit(json.load(urllib.request.urlopen(request, timeout=LONG))["webSocketDebuggerUrl"])
        self.socket = socket.create_connection((address.hostname, address.port), timeout=2 * LONG)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self.stream = self.socket.makefile("rb")
        while self.stream.readline().strip():
            pass
        self.number, self.complaints, self.loaded = 0, [], False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        self.number += 1
        text = json.dumps({"id": self.number, "method": method, "params": params}).encode()
        # Masked with zeros, which is as good as any mask on this machine.
        length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
        self.socket.sendall(b"\x81" + length + bytes(4) + text)
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.event(answer)

    def receive(self):
        message = b""
        while True:
            first, length = self.stream.read(2)
            if length == 126:
                (length,) = struct.unpack(">H", self.stream.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.stream.read(8))
            message += self.stream.read(length)
            if first & 0x80:
                return json.loads(message)

    def event(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} ({params['entry'].get('url')})")
        elif method == "Network.loadingFailed" and not params.get("canceled"):
            self.complaints.append(params["errorText"])

    def visit(self, address):
        self.loaded = False
        self.call("Page.navigate", url=address)
        try:
            while not self.loaded:
                self.event(self.receive())
        except TimeoutError:
            raise SystemExit(f"{address} does not load")

    def ask(self, expression):
        return self.call("Runtime.evaluate", expression=expression, awaitPromise=True)["result"].get("value")

    def reads(self, text, otherwise):
        """Waits until the page has the text, which the page itself notices."""
        seen = self.ask("""new Promise(done => {
            const look = () => document.body.innerText.includes(%s) && (changes.disconnect(), done(true));
            const changes = new MutationObserver(look);
            changes.observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
            setTimeout(() => done(false), %d);
            look();
        })""" % (json.dumps(text), LONG * 1000))
        if not seen:
            raise SystemExit(f"{otherwise}; the page reads:\n{self.ask('document.body.innerText')}")

    def shot(self, path):
        picture = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        with open(path, "wb") as file:
            file.write(picture)
        pixels, at = b"", 8
        while at < len(picture):
            length, kind = struct.unpack(">I4s", picture[at:at + 8])
            pixels += picture[at + 8:at + 8 + length] if kind == b"IDAT" else b""
            at += 12 + length
        if len(set(zlib.decompress(pixels))) < 16:
            raise SystemExit(f"{path} is an empty picture")


def port_of(browser):
    """The port it says that it listens on. What it says afterwards is read as well, so that it can go on talking."""
    patience = threading.Timer(LONG, browser.kill)
    patience.start()
    for line in browser.stderr:
        if found := re.search(rb"listening on ws://[^/]*:(\d+)/", line):
            patience.cancel()
            threading.Thread(target=browser.stderr.read, daemon=True).start()
            return int(found[1])
    raise SystemExit("the browser does not start")


def main(chromium, site, status, worker, shots):
    profile = tempfile.mkdtemp(prefix="oxzmq-browser-")
    browser = subprocess.Popen(
        [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1100,900",
         "--no-first-run", f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.PIPE)
    try:
        tab = Tab(port_of(browser))
        tab.visit(site)
        tab.shot(os.path.join(shots, "site.png"))
        links = json.loads(tab.ask("JSON.stringify([...new Set([...document.links].map(l => l.href))])"))
        for link in [link for link in links if link.startswith(site)]:
            tab.visit(link)
        tab.visit(status)
        tab.reads("at work", "no worker is at work")
        tab.shot(os.path.join(shots, "status.png"))
        os.kill(int(worker), signal.SIGKILL)
        tab.reads(f"(process {worker}) is gone", "the page does not tell that a worker died")
        tab.reads("is here", "the page does not tell that another one came")
        tab.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        tab.shot(os.path.join(shots, "phone.png"))
        if tab.ask("document.documentElement.scrollWidth") > 390:
            raise SystemExit("the status page is too wide for a phone")
        if tab.complaints:
            raise SystemExit("the console says:\n" + "\n".join(tab.complaints))
        print(f"visited {site} with {len(links)} links, and {status}")
    finally:
        browser.kill()
        browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
