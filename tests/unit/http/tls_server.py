"""An HTTPS server for the client's tests: prints its port, then serves until it is killed.

/            "hello", and the connection stays
/big?N       N bytes
/tiny?N      N bytes, each in a record of its own
/head        the request's head
/name        the server name that the client sent
/to-end      no length: the connection's end, announced by close_notify
/cut         no length: the connection's end, not announced
"""
import argparse
import socket
import ssl
import threading

VERSIONS = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def read_head(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            return None
        head += piece
    return head


def serve(connection, server_name):
    while (head := read_head(connection)) is not None:
        target = head.split(b" ")[1].decode()
        if target == "/to-end":
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")
            connection.unwrap()
            return
        if target == "/cut":
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")
            return
        if target.startswith("/tiny"):
            length = int(target.split("?")[1])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
            for _ in range(length):
                connection.sendall(b"x")
            continue
        body = b"x" * int(target.split("?")[1]) if target.startswith("/big") else b"hello"
        if target == "/head":
            body = head
        if target == "/name":
            body = (server_name.get("name") or "none").encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def handle(raw, context):
    try:
        name = {}
        context.sni_callback = lambda _socket, server_name, _context: name.update(name=server_name)
        connection = context.wrap_socket(raw, server_side=True)
        serve(connection, name)
        connection.close()
    except OSError:
        raw.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--least", default="1.2")
    parser.add_argument("--most", default="1.3")
    parser.add_argument("--ciphers")
    options = parser.parse_args()

    def context():
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = VERSIONS[options.least]
        made.maximum_version = VERSIONS[options.most]
        if options.ciphers:
            made.set_ciphers(options.ciphers)
        made.load_cert_chain(options.certificate, options.key)
        return made

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=handle, args=(raw, context()), daemon=True).start()


if __name__ == "__main__":
    main()
