"""A server that sends packets as long as it is told to: `send N` on a connection sends an SSH_MSG_IGNORE with N bytes of data
and then output, as sshd does for what is typed into a terminal that does not echo."""

import asyncio
import os
import threading
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import asyncssh

from sshd import Keys

MSG_IGNORE = 2


async def _run(process):
    await asyncio.sleep(0)  # the answer to the request first
    size = int(process.command.split()[1])
    data = os.urandom(size)
    process.channel.get_connection().send_packet(MSG_IGNORE, size.to_bytes(4, "big") + data)
    process.stdout.write(b"behind %d\n" % size)
    process.exit(0)


class Server:
    """One cipher, and one MAC where the cipher has none of its own. Runs in a thread until stop()."""

    host, user = "127.0.0.1", "anybody"

    def __init__(self, keys, cipher, mac, run=_run):
        self.keys = keys
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.acceptor = asyncio.run_coroutine_threadsafe(self._listen(cipher, mac, run), self.loop).result(30)
        self.port = self.acceptor.sockets[0].getsockname()[1]

    async def _listen(self, cipher, mac, run):
        authorized = asyncssh.import_authorized_keys("\n".join(self.keys.authorized()) + "\n")
        return await asyncssh.listen(
            self.host, 0, server_host_keys=[self.keys.host], authorized_client_keys=authorized, process_factory=run,
            encoding=None, encryption_algs=[cipher], compression_algs=["none"], **({"mac_algs": [mac]} if mac else {}))

    def known_hosts_line(self, name):
        return f"{name} {' '.join(Keys.public(self.keys.host).split()[:2])}\n"

    def stop(self):
        self.acceptor.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
