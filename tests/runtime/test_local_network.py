"""The network of local environments: what it reaches, and what ``auto`` decides."""

import asyncio
import contextlib
import ipaddress
import os
import shutil
import socket
from pathlib import Path

import pytest

from devpocket.errors import ConfigurationError
from devpocket.runtime.local import network
from devpocket.runtime.local.configuration import LocalRuntimeSettings
from devpocket.runtime.port import ContainerState
from devpocket.settings import LocalNetwork, LocalSandbox
from tests.runtime.local_tools import inside, make_spec, no_private_network_reason, outcome, sandbox_of, until

needs_passt = pytest.mark.skipif(bool(no_private_network_reason()), reason=no_private_network_reason() or "works")
CONNECT = "exec 3<>/dev/tcp/{address}/{port}"


@pytest.fixture
async def private(start_local):
    return await start_local(network=LocalNetwork.PRIVATE)


@contextlib.contextmanager
def listening(address, family=socket.AF_INET):
    """Something that listens, as this server, Redis and MongoDB do."""
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, 0))
        server.listen()
        server.settimeout(0)
        yield server.getsockname()[1]
        with pytest.raises(BlockingIOError):
            server.accept()


def own_addresses():
    """Return this machine's addresses and its gateway."""
    found = []
    for line in Path("/proc/net/fib_trie").read_text().splitlines():
        word = line.split()[-1]
        found += [word] if word.count(".") == 3 and not word.endswith((".0", ".255")) and "/" not in word else []
    for fields in (line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]):
        if fields[2] != "00000000":
            found.append(socket.inet_ntoa(bytes.fromhex(fields[2])[::-1]))
    return sorted(set(found))


def own_addresses_of_version_6():
    """Return this machine's addresses and its gateway, link-local ones with the interface that they are on."""
    found = []
    for fields in (line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()):
        address = str(ipaddress.ip_address(bytes.fromhex(fields[0])))
        found += [f"{address}%{fields[5]}" if address.startswith("fe80") else address]
    for fields in (line.split() for line in Path("/proc/net/ipv6_route").read_text().splitlines()):
        gateway = ipaddress.ip_address(bytes.fromhex(fields[4]))
        found += [f"{gateway}%{fields[9]}" if gateway.is_link_local else str(gateway)] if int(gateway) else []
    return sorted(set(found))


@needs_passt
async def test_nothing_on_the_hosts_loopback_can_be_reached(private):
    spec = make_spec()
    await private.ensure_running(spec)
    with listening("127.0.0.1") as port, listening("127.0.0.2") as other, listening("::1", socket.AF_INET6) as port6:
        attempts = [(address, port) for address in [*own_addresses(), "127.0.0.1", "0.0.0.0", "localhost"]]  # noqa: S104
        attempts += [(address, port6) for address in own_addresses_of_version_6()]
        attempts += [("127.0.0.2", other), ("::1", port6), ("::ffff:127.0.0.1", port), ("::", port6)]
        for address, number in attempts:
            code, text = await outcome(
                private, spec, f"timeout 1 bash -c '{CONNECT.format(address=address, port=number)}'"
            )
            assert code != 0, (address, text)


@needs_passt
async def test_no_port_of_an_environment_is_opened_on_the_host(private):
    spec = make_spec()
    await private.ensure_running(spec)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await inside(private, spec, f"(setsid perl -e '{LISTEN}' {port} >/dev/null 2>&1 &); {WAIT} {port}")
    for address in ("127.0.0.1", *own_addresses()):
        with socket.socket() as client:
            client.settimeout(0.3)
            assert client.connect_ex((address, port)) != 0


LISTEN = (
    'use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => $ARGV[0], LocalAddr => "0.0.0.0", Listen => 5, '
    "ReuseAddr => 1) or die; while (my $c = $s->accept) { print $c `hostname`; close $c }"
)
WAIT = (
    "up() { exec 3<>/dev/tcp/127.0.0.1/$1; }; until_up() { until (up $1) 2>/dev/null; do sleep 0.05; done; }; until_up"
)


@needs_passt
async def test_each_environment_has_all_its_own_ports(private):
    specs = [make_spec(), make_spec()]
    for spec in specs:
        await private.ensure_running(spec)
        await inside(private, spec, f"(setsid perl -e '{LISTEN}' 8000 >/dev/null 2>&1 &); {WAIT} 8000")
    for spec in specs:
        await inside(private, spec, f'exec 3<>/dev/tcp/127.0.0.1/8000; [ "$(cat <&3)" = {spec.hostname} ]')


@needs_passt
async def test_the_way_out_is_there_and_is_counted(private):
    spec = make_spec()
    await private.ensure_running(spec)
    assert "00000000" in await inside(private, spec, "cut -f2 /proc/net/route")
    assert "nameserver" in await inside(private, spec, "cat /etc/resolv.conf")
    usage = await private.usage(spec.environment_id)
    assert usage.network_sent_bytes is not None
    assert usage.network_received_bytes is not None


@needs_passt
async def test_a_network_that_was_lost_comes_back_and_ends_with_its_environment(private):
    spec = make_spec()
    await private.ensure_running(spec)
    first = sandbox_of(private, spec).passt
    assert first is not None
    assert first.kill()

    async def is_mended() -> bool:
        passt = sandbox_of(private, spec).passt
        return passt is not None and passt != first and passt.is_alive

    await until(is_mended)
    assert "00000000" in await inside(private, spec, "cut -f2 /proc/net/route")
    second = sandbox_of(private, spec).passt
    assert second is not None
    await private.ensure_stopped(spec.environment_id)
    assert not second.is_alive
    assert await private.observe(spec.environment_id) is ContainerState.STOPPED


async def test_none_has_no_way_out(start_local):
    runtime = await start_local(network=LocalNetwork.NONE)
    spec = make_spec()
    await runtime.ensure_running(spec)
    assert (await inside(runtime, spec, "grep -c : /proc/net/dev")) == "1"
    with listening("127.0.0.1") as port:
        assert (await outcome(runtime, spec, CONNECT.format(address="127.0.0.1", port=port)))[0] != 0
    assert (await runtime.usage(spec.environment_id)).network_sent_bytes is None


async def test_host_is_the_hosts_and_says_so(start_local):
    runtime = await start_local(network=LocalNetwork.HOST)
    assert (await runtime.check()).warnings != ()
    spec = make_spec()
    await runtime.ensure_running(spec)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        connecting = asyncio.create_task(inside(runtime, spec, f"exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3"))
        client, _ = await asyncio.to_thread(server.accept)
        client.sendall(b"hello")
        client.close()
        assert await connecting == "hello"


@needs_passt
async def test_auto_is_private_where_that_works(start_local):
    runtime = await start_local(network=LocalNetwork.AUTO, host="0.0.0.0")  # noqa: S104
    assert (await runtime.check()).network == "private"


@pytest.mark.parametrize("reason", ["passt is not installed: apt-get install passt", "/dev/net/tun does not exist"])
async def test_auto_falls_back_to_the_hosts_only_on_loopback(start_local, monkeypatch, reason):
    monkeypatch.setattr("devpocket.runtime.local.preflight.missing_for_private", lambda: reason)
    runtime = await start_local(network=LocalNetwork.AUTO, host="localhost")
    health = await runtime.check()
    assert health.network == "host"
    assert reason in health.warnings[0]
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):  # noqa: S104
        with pytest.raises(ConfigurationError, match=r"passt|tun"):
            await start_local(network=LocalNetwork.AUTO, host=host)
    with pytest.raises(ConfigurationError, match="LOCAL_NETWORK=private"):
        await start_local(network=LocalNetwork.PRIVATE)


async def test_without_a_sandbox_there_is_no_private_network(start_local):
    for mode in (LocalNetwork.PRIVATE, LocalNetwork.NONE):
        with pytest.raises(ConfigurationError, match="LOCAL_SANDBOX"):
            await start_local(network=mode, sandbox=LocalSandbox.NONE)
    with pytest.raises(ConfigurationError, match="there is no sandbox"):
        await start_local(network=LocalNetwork.AUTO, sandbox=LocalSandbox.NONE, host="0.0.0.0")  # noqa: S104


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "", "localhost.example")],  # noqa: S104
)
def test_loopback(host, expected):
    assert network.is_loopback(host) is expected


def test_a_resolver_on_the_host_itself_is_carried_over(monkeypatch, tmp_path):
    resolv = tmp_path / "resolv.conf"
    monkeypatch.setattr(network, "_RESOLV_CONF", resolv)
    monkeypatch.setattr(network, "_UPSTREAM_RESOLV_CONF", tmp_path / "upstream")
    resolv.write_text("nameserver 127.0.0.53\nsearch example.org\noptions edns0\n")
    text, carried = network.resolver_file(LocalNetwork.PRIVATE)
    assert carried
    assert text == f"nameserver {network.FORWARDED_RESOLVER}\nsearch example.org\noptions edns0\n"
    assert network.resolver_file(LocalNetwork.HOST) == (resolv.read_text(), False)

    (tmp_path / "upstream").write_text("nameserver 192.0.2.53\nnameserver ::1\n")
    assert network.resolver_file(LocalNetwork.PRIVATE) == ("nameserver 192.0.2.53\n", False)
    resolv.write_text("nameserver 198.51.100.1\n# a comment\n")
    assert network.resolver_file(LocalNetwork.PRIVATE) == ("nameserver 198.51.100.1\n", False)
    assert "nameserver" not in network.resolver_file(LocalNetwork.NONE)[0]


def test_what_is_missing_is_named_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert network.missing_for_private().endswith("apt-get install passt")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/pasta")
    monkeypatch.setattr(network, "_TUN", tmp_path / "tun")
    assert "does not exist" in network.missing_for_private()
    (tmp_path / "tun").touch(mode=0o000)
    if os.getuid() == 0:
        assert "chmod 666" in network.missing_for_private()


def test_settings_default_to_the_safe_choice(tmp_path):
    settings = LocalRuntimeSettings(data_dir=tmp_path)
    assert (settings.network, settings.sandbox, settings.host) == (
        LocalNetwork.AUTO,
        LocalSandbox.BUBBLEWRAP,
        "127.0.0.1",
    )
