"""The world outside of a server's network namespace: HTTP servers in a namespace of its own, and an ear on its wire.

Usage: world.py [INTERFACE], in the new namespace; waits for a line on standard input until that has its addresses.
`GET /seen` says what has arrived from elsewhere at the interface: one line a packet, with destination, protocol and
destination port.
"""
import http.server
import socket
import socketserver
import struct
import sys
import threading

PORTS = (8000, 8001, 9000)
SEEN = []
ETH_P_ALL = 3
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
PACKET_OUTGOING = 4


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "\n".join(SEEN) if self.path == "/seen" else "a page of the world\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


def describe(frame):
    kind = struct.unpack("!H", frame[12:14])[0]
    if kind == ETH_P_IPV6:
        to = f"ipv6 {socket.inet_ntop(socket.AF_INET6, frame[38:54])}"
        return f"{to} {struct.unpack('!H', frame[56:58])[0]}" if frame[20] in (6, 17) else to
    if kind != ETH_P_IP:
        return None
    ports = 14 + (frame[14] & 15) * 4
    return f"{socket.inet_ntoa(frame[30:34])} {frame[23]} {struct.unpack('!H', frame[ports + 2:ports + 4])[0]}"


def listen(interface):
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    ear.bind((interface, 0))
    while True:
        frame, (_, _, direction, *_) = ear.recvfrom(65536)
        if direction != PACKET_OUTGOING and (text := describe(frame)):
            SEEN.append(text)


def main():
    sys.stdin.readline()
    if len(sys.argv) > 1:
        threading.Thread(target=listen, args=(sys.argv[1],), daemon=True).start()
    for port in PORTS:
        threading.Thread(target=Server(("::", port), Handler).serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.readline()


main()
