import socket

from lsst.ts.ocps.sandbox.ports import LOOPBACK, choose_ports


def test_ports_are_free_and_different() -> None:
    ports = choose_ports(["a", "b", "c"])
    assert set(ports) == {"a", "b", "c"}
    assert len(set(ports.values())) == 3
    for port in ports.values():
        with socket.socket() as server:
            server.bind((LOOPBACK, port))


def test_a_preferred_port_is_chosen_where_it_is_free() -> None:
    free = choose_ports(["a"])["a"]
    assert choose_ports(["a"], preferred={"a": free}) == {"a": free}


def test_a_preferred_port_that_is_taken_is_replaced() -> None:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        taken = server.getsockname()[1]
        assert choose_ports(["a"], preferred={"a": taken})["a"] != taken
