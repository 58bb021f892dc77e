"""Where the server listens, and who may reach it there."""

import ipaddress
import socket

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, *, accounts: bool) -> str:
    """The address to bind to; ValueError for one that others reach while there are no accounts,
    and for a name, which may mean several addresses.
    """
    if host == "localhost":
        return "127.0.0.1"
    if not is_loopback(host) and not accounts:
        raise ValueError(
            f"the ranking page does not open on {host!r} without accounts, as anyone who reaches "
            "it could rank: add --accounts, or use host 127.0.0.1 and from another machine a "
            "tunnel: ssh -L 7860:127.0.0.1:7860 THIS_MACHINE"
        )
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(
            f"{host!r} is not an address: bind to one, as 0.0.0.0, and give the name under which "
            "people find it as --public-url"
        ) from None


def answered_hosts(host: str) -> tuple[str, ...]:
    """The names in a Host header that are this server's: loopback, and a concrete address."""
    address = ipaddress.ip_address(host)
    return LOOPBACK_NAMES if address.is_unspecified else (*LOOPBACK_NAMES, str(address))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. ValueError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ValueError(
            f"port {port} on {host} cannot be used ({error}): stop what uses it, or take another "
            "one (0 takes any that is free)"
        ) from error
    return listening


def address_shown(host: str, port: int) -> str:
    """The address that this machine's browser opens."""
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if ":" not in host else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
