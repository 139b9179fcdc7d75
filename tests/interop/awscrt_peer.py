"""The two ends of an interop test: an echo_server process, and an awscrt client that records what it is told."""

import os
import queue
import select
import signal
import subprocess

from awscrt.eventstream import Header
from awscrt.eventstream.rpc import (
    ClientConnection,
    ClientConnectionHandler,
    ClientContinuationHandler,
    MessageFlag,
    MessageType,
)
from awscrt.io import (
    ClientBootstrap,
    ClientTlsContext,
    DefaultHostResolver,
    EventLoopGroup,
    SocketDomain,
    SocketOptions,
    TlsContextOptions,
)

TIMEOUT = 10
PROGRAMS = os.path.join(os.path.dirname(__file__), "..", "..", "examples-c", "build")
ECHO_SERVER = os.path.join(PROGRAMS, "echo_server")
ECHO_CLIENT = os.path.join(PROGRAMS, "echo_client")


class EchoServer:
    """A running echo_server; `address` is what it printed, `stop` gives its exit status."""

    def __init__(self, *options):
        self.process = subprocess.Popen([ECHO_SERVER, *options], stdout=subprocess.PIPE, text=True)
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
        line = self.process.stdout.readline() if ready else ""
        if not line.startswith("listening on "):
            self.process.kill()
            self.process.communicate()
            raise RuntimeError(f"echo_server did not listen: {line!r}, exit status {self.process.returncode}")
        self.address = line.removeprefix("listening on ").rstrip("\n")

    def stop(self, with_signal=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode


class Message:
    """A message as one of awscrt's handlers got it."""

    def __init__(self, headers, payload, message_type, flags):
        self.all_headers = [(header.name, header.type, header.value) for header in headers]
        self.headers = [header for header in self.all_headers if header[0] not in PROTOCOL_HEADERS]
        self.payload = payload
        self.type = message_type
        self.terminates = bool(flags & MessageFlag.TERMINATE_STREAM)
        self.accepts = bool(flags & MessageFlag.CONNECTION_ACCEPTED)

    def header(self, name):
        return next((value for found, _, value in self.headers if found == name), None)


PROTOCOL_HEADERS = (":message-type", ":message-flags", ":stream-id")


class Client(ClientConnectionHandler):
    """An awscrt connection, with TLS if there are settings for it. Its protocol messages are in a queue."""

    def __init__(self, address, tls=None):
        self.connection = None
        self.messages = queue.Queue()
        options = SocketOptions()
        if address.startswith("/"):
            host, port, options.domain = address, 0, SocketDomain.Local
        else:
            host, port = address.rsplit(":", 1)
        group = EventLoopGroup(1)
        ClientConnection.connect(
            handler=self,
            host_name=host,
            port=int(port),
            bootstrap=ClientBootstrap(group, DefaultHostResolver(group)),
            socket_options=options,
            tls_connection_options=tls,
        ).result(TIMEOUT)

    def on_connection_setup(self, connection, error, **kwargs):
        self.connection = connection

    def on_connection_shutdown(self, reason, **kwargs):
        pass

    def on_protocol_message(self, headers, payload, message_type, flags, **kwargs):
        self.messages.put(Message(headers, payload, message_type, flags))

    def send(self, message_type, headers=(), payload=b""):
        self.connection.send_protocol_message(
            message_type=message_type, headers=list(headers), payload=payload
        ).result(TIMEOUT)

    def next_message(self):
        return self.messages.get(timeout=TIMEOUT)

    def handshake(self, version="0.1.0", name="accepted.awscrt"):
        self.send(
            MessageType.CONNECT,
            [Header.from_string(":version", version), Header.from_string("client-name", name)],
        )
        return self.next_message()

    def call(self, operation, payload=b"{}", **arguments):
        return Call(self.connection, operation, payload, **arguments)

    def end_reason(self):
        """Waits until the connection is over; None if this side closed it."""
        return self.connection.shutdown_future.exception(TIMEOUT)

    def close(self):
        self.connection.close()
        return self.end_reason()


def tls_settings(ca, server_name, identity=None):
    """TLS of a client: the file of the CA that it trusts, the server's name, the files of its certificate and key."""
    options = TlsContextOptions.create_client_with_mtls_from_path(*identity) if identity else TlsContextOptions()
    options.override_default_trust_store_from_path(ca_filepath=ca)
    connection_options = ClientTlsContext(options).new_connection_options()
    connection_options.set_server_name(server_name)
    return connection_options


class Call(ClientContinuationHandler):
    """An awscrt stream. Its messages are in a queue."""

    def __init__(self, connection, operation, payload, flags=MessageFlag.NONE):
        self.messages = queue.Queue()
        self.stream = connection.new_stream(self)
        self.flushed = self.stream.activate(
            operation=operation,
            payload=payload,
            headers=[
                Header.from_string(":content-type", "application/json"),
                Header.from_string("service-model-type", "awstest#Request"),
            ],
            message_type=MessageType.APPLICATION_MESSAGE,
            flags=flags,
        )

    def on_continuation_message(self, headers, payload, message_type, flags, **kwargs):
        self.messages.put(Message(headers, payload, message_type, flags))

    def on_continuation_closed(self, **kwargs):
        pass

    def next_message(self):
        return self.messages.get(timeout=TIMEOUT)

    def send(self, payload=b"", flags=MessageFlag.NONE):
        self.stream.send_message(
            payload=payload, message_type=MessageType.APPLICATION_MESSAGE, flags=flags
        ).result(TIMEOUT)

    def wait_closed(self):
        self.stream.closed_future.result(TIMEOUT)
