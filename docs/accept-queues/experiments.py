#!/usr/bin/env python3
"""The experiments of accept-queues.md: each says what it does and what came of it, and ends with 1
where that is not what the page says.

    unshare --user --map-root-user --net python3 experiments.py            all of them
    unshare --user --map-root-user --net python3 experiments.py whole-seconds

They need Linux, Python 3.8, and a network namespace of their own (as above, or `sudo unshare -n`);
`ghosts` needs `tc` as well. Nothing outside of that namespace is touched.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

FAILED = []


def check(claim, holds):
    print(f"  {'yes' if holds else 'NO '}  {claim}")
    if not holds:
        FAILED.append(claim)


def tcp_listener(backlog):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(backlog)
    return listener


def knock(address, family=socket.AF_INET):
    client = socket.socket(family)
    client.setblocking(False)
    return client, client.connect_ex(address)


def connected(clients):
    time.sleep(0.2)
    state = [c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] for c in clients]
    return state.count(1)


def counter(name):
    with open("/proc/self/net/netstat") as table:
        lines = [line.split() for line in table]
    for names, values in zip(lines[::2], lines[1::2]):
        if name in names:
            return int(values[names.index(name)])
    raise KeyError(name)


def unix_path():
    return os.path.join(tempfile.mkdtemp(), "s")


def sysctl(name, value):
    with open(f"/proc/sys/net/{name}", "w") as setting:
        setting.write(str(value))


def queue_of(address):
    port = f"sport = :{address[1]}"
    row = subprocess.run(["ss", "-Hlnt", port], capture_output=True, text=True).stdout.split()
    return int(row[1]), int(row[2])


def capacity():
    """A queue with the limit N holds N + 1."""
    for limit in (0, 1, 5, 100):
        listener = tcp_listener(limit)
        address = listener.getsockname()
        clients = [knock(address)[0] for _ in range(limit + 5)]
        check(f"TCP, listen({limit}): {limit + 1} of {limit + 5} clients are connected",
              connected(clients) == limit + 1)
        path = unix_path()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(limit)
        results = [knock(path, socket.AF_UNIX) for _ in range(limit + 5)]
        answers = [answer for _, answer in results]
        check(f"unix, listen({limit}): {limit + 1} are connected, the others get EAGAIN",
              answers == [0] * (limit + 1) + [errno.EAGAIN] * 4)


def somaxconn():
    """The limit is taken at listen(); the sysctl changes nothing afterwards."""
    sysctl("core/somaxconn", 64)
    listener = tcp_listener(5000)
    address = listener.getsockname()
    check("listen(5000) with somaxconn 64 has the limit 64", queue_of(address)[1] == 64)
    sysctl("core/somaxconn", 4096)
    check("somaxconn raised to 4096: still 64", queue_of(address)[1] == 64)
    listener.listen(5000)
    check("listen() called again: 4096", queue_of(address)[1] == 4096)


def whole_seconds():
    """A SYN that meets a full TCP queue is dropped in silence; the client comes back a second later."""
    listener = tcp_listener(0)
    address = listener.getsockname()
    before = counter("ListenOverflows")
    first = socket.create_connection(address)
    threading.Timer(0.5, listener.accept).start()
    began = time.monotonic()
    second = socket.create_connection(address)
    took = time.monotonic() - began
    check(f"there was room after 0.5 s, and the connect took {took:.2f} s", 0.9 < took < 1.5)
    check("ListenOverflows counted one", counter("ListenOverflows") - before == 1)
    first.close()
    second.close()


def unix_blocks():
    """300 clients of a unix listener of backlog 100 wait without an error, a counter or a log line."""
    path = unix_path()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(100)
    times = []

    def client():
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
        times.append(time.monotonic() - began)

    threads = [threading.Thread(target=client) for _ in range(300)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    check(f"after a second {len(times)} are connected, nobody failed", len(times) == 101)
    sleeping = 0
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/wchan") as wchan:
            sleeping += wchan.read() == "unix_wait_for_peer"
    check(f"{sleeping} sleep in the kernel's unix_wait_for_peer", sleeping == 199)
    for _ in range(300):
        listener.accept()
    for thread in threads:
        thread.join()
    check("all were served in the end", len(times) == 300)


def datagrams():
    """net.unix.max_dgram_qlen is about datagram sockets, not about these queues."""
    sysctl("unix/max_dgram_qlen", 2)
    path = unix_path()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(100)
    answers = [knock(path, socket.AF_UNIX)[1] for _ in range(102)]
    check("with max_dgram_qlen 2, listen(100) still holds 101",
          answers == [0] * 101 + [errno.EAGAIN])


def frozen():
    """A stopped server passes every check that only connects, until its queue is full."""
    listener = tcp_listener(80)
    address = listener.getsockname()
    server = os.fork()
    if server == 0:
        while True:
            listener.accept()
    os.kill(server, signal.SIGSTOP)
    os.waitpid(server, os.WUNTRACED)
    passed = 0
    try:
        while passed < 200:
            check_of_connect = socket.create_connection(address, timeout=0.3)
            check_of_connect.close()
            passed += 1
    except socket.timeout:
        pass
    check(f"{passed} connects succeeded against a stopped server of backlog 80", passed == 81)
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)


def closed_clients():
    """A client that gives up keeps its place in the queue until it is accepted."""
    listener = tcp_listener(5)
    address = listener.getsockname()
    for _ in range(6):
        socket.create_connection(address).close()
    time.sleep(0.1)
    check("six clients that closed: the queue is full", queue_of(address)[0] == 6)


def scanners():
    """A handshake that its client resets is a drop of the socket, and no overflow."""
    listener = tcp_listener(5)
    port = listener.getsockname()[1]
    before = counter("ListenOverflows"), counter("EmbryonicRsts")
    slow_link()
    for _ in range(3):
        knock(("127.0.0.1", port))[0].close()
    time.sleep(1)
    row = subprocess.run(["ss", "-HOlntm", f"sport = :{port}"], capture_output=True, text=True)
    check("ss -m shows three drops", ",d3)" in row.stdout)
    after = counter("ListenOverflows"), counter("EmbryonicRsts")
    check("EmbryonicRsts grew by three, ListenOverflows not at all",
          (after[0] - before[0], after[1] - before[1]) == (0, 3))
    fast_link()


def ghosts():
    """Over a slow link clients are connected that the server does not know of."""
    sysctl("ipv4/tcp_syncookies", 2)
    listener = tcp_listener(3)
    address = listener.getsockname()
    slow_link()
    clients = [knock(address)[0] for _ in range(15)]
    time.sleep(1)
    believed = connected(clients)
    check(f"{believed} clients are connected as far as they know", believed == 15)
    waiting = queue_of(address)[0]
    check(f"{waiting} are at the server", waiting == 4)
    fast_link()
    sysctl("ipv4/tcp_syncookies", 1)


def slow_link():
    shape = "ip link set lo mtu 1500 && tc qdisc add dev lo root tbf rate 80kbit burst 120 latency 60s"
    subprocess.run(shape, shell=True, check=True)


def fast_link():
    subprocess.run("tc qdisc del dev lo root", shell=True, check=True)


EXPERIMENTS = {
    "capacity": capacity,
    "somaxconn": somaxconn,
    "whole-seconds": whole_seconds,
    "unix-blocks": unix_blocks,
    "datagrams": datagrams,
    "frozen": frozen,
    "closed-clients": closed_clients,
    "scanners": scanners,
    "ghosts": ghosts,
}


def main():
    names = sys.argv[1:] or list(EXPERIMENTS)
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        sys.exit(f"no experiment {unknown[0]}; there are {', '.join(EXPERIMENTS)}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name in names:
        print(f"{name}: {EXPERIMENTS[name].__doc__}", flush=True)
        EXPERIMENTS[name]()
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()
