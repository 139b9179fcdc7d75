"""awsiotsdk's RPC client (awsiot.eventstreamrpc) against examples-c/echo_server: the operations of its service model, whose
shapes and operations are defined here through the public base classes."""

import os
import queue
import tempfile
import threading
import unittest

from awscrt.eventstream import Header
from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup, SocketDomain, SocketOptions
from awsiot.eventstreamrpc import (
    AccessDeniedError,
    Client,
    ClientOperation,
    Connection,
    ConnectionClosedError,
    ErrorShape,
    LifecycleHandler,
    MessageAmendment,
    Shape,
    ShapeIndex,
    StreamClosedError,
    StreamResponseHandler,
)

from awscrt_peer import TIMEOUT, EchoServer, tls_settings
from certificates import Certificates
from test_awscrt import run

NAME = "server.example"


class Document(Shape):
    """A shape whose members are whatever JSON has."""

    model_name = None

    def __init__(self, content):
        self.content = content

    @classmethod
    def _model_name(cls):
        return cls.model_name

    @classmethod
    def _from_payload(cls, payload):
        return cls(payload)

    def _to_payload(self):
        return self.content


def shape(name):
    return type(name, (Document,), {"model_name": "awstest#" + name})


class ServiceError(ErrorShape):
    def __init__(self, payload):
        super().__init__(payload["message"])
        self.message = payload["message"]
        self.value = payload

    @classmethod
    def _model_name(cls):
        return "awstest#ServiceError"

    @classmethod
    def _from_payload(cls, payload):
        return cls(payload)

    def _to_payload(self):
        return self.value


REQUESTS = {}


def operation(name, response, event=None):
    """A class for an operation of the service."""
    request, response = shape(name + "Request"), shape(response)
    event = event and shape(event)
    REQUESTS[name] = request
    return type(
        name,
        (ClientOperation,),
        {
            "_model_name": classmethod(lambda cls: "awstest#" + name),
            "_request_type": classmethod(lambda cls: request),
            "_response_type": classmethod(lambda cls: response),
            "_request_stream_type": classmethod(lambda cls: event),
            "_response_stream_type": classmethod(lambda cls: event),
        },
    )


EchoMessage = operation("EchoMessage", "EchoMessageResponse")
EchoStreamMessages = operation("EchoStreamMessages", "EchoStreamingResponse", "EchoStreamingMessage")
CauseServiceError = operation("CauseServiceError", "CauseServiceErrorResponse")
CauseStreamServiceToError = operation("CauseStreamServiceToError", "EchoStreamingResponse", "EchoStreamingMessage")
GetAllProducts = operation("GetAllProducts", "GetAllProductsResponse")
GetAllCustomers = operation("GetAllCustomers", "GetAllCustomersResponse")
NoSuchOperation = operation("NoSuchOperation", "NoSuchOperationResponse")

EVERY_JSON = {
    "text": "a string",
    "unicode": "\u00e4 \u4e2d \U0001f600",
    "empty": "",
    "yes": True,
    "no": False,
    "nothing": None,
    "integer": -(2**53),
    "float": 1.5e-7,
    "timestamp": 1631041800.123,
    "blob": "aGVsbG8gd29ybGQ=",
    "enum": "first",
    "list": [1, "two", [3.0], {"four": 4}],
    "map": {"key": {"name": "product", "price": 10.5}},
}


class Lifecycle(LifecycleHandler):
    def __init__(self):
        self.events = queue.Queue()

    def on_connect(self):
        self.events.put(("connect", None))

    def on_disconnect(self, reason):
        self.events.put(("disconnect", reason))

    def on_error(self, error):
        self.events.put(("error", error))
        return True

    def next(self):
        return self.events.get(timeout=TIMEOUT)


class Events(StreamResponseHandler):
    def __init__(self):
        self.events, self.closed = queue.Queue(), threading.Event()

    def on_stream_event(self, event):
        self.events.put(event)

    def on_stream_error(self, error):
        self.events.put(error)
        return False

    def on_stream_closed(self):
        self.closed.set()

    def next(self):
        return self.events.get(timeout=TIMEOUT)


def make_connection(address, name="accepted.awsiotsdk", tls=None):
    options = SocketOptions()
    if address.startswith("/"):
        host, port, options.domain = address, 0, SocketDomain.Local
    else:
        host, port = address.rsplit(":", 1)
    group = EventLoopGroup(1)
    return Connection(
        host_name=host,
        port=int(port),
        bootstrap=ClientBootstrap(group, DefaultHostResolver(group)),
        socket_options=options,
        tls_connection_options=tls,
        connect_message_amender=lambda: MessageAmendment(headers=[Header.from_string("client-name", name)]),
    )


class EchoClient:
    """A connected client of the service."""

    def __init__(self, address, tls=None):
        self.connection, self.lifecycle = make_connection(address, tls=tls), Lifecycle()
        self.connection.connect(self.lifecycle).result(TIMEOUT)
        shapes = [ServiceError] + [shape(name) for name in ("EchoMessageResponse", "EchoStreamingMessage")]
        self.client = Client(self.connection, ShapeIndex(shapes))

    def begin(self, kind, content=None, handler=None):
        """An operation that is activated."""
        made = self.client._new_operation(kind, handler)
        made._activate(REQUESTS[kind.__name__]({} if content is None else content)).result(TIMEOUT)
        return made

    def call(self, kind, content=None):
        return self.begin(kind, content)._get_response().result(TIMEOUT).content

    def close(self):
        self.connection.close().result(TIMEOUT)


class ServerTest(unittest.TestCase):
    tls = None

    @classmethod
    def setUpClass(cls):
        cls.server = EchoServer("--port", "0")
        cls.addClassCleanup(cls.server.stop)

    def connect(self):
        client = EchoClient(self.server.address, self.tls)
        self.addCleanup(client.close)
        return client

    def assert_still_usable(self, client):
        self.assertEqual(client.call(EchoMessage, {"message": "still here"}), {"message": "still here"})


class Connections(ServerTest):
    def test_connects_and_closes(self):
        client = self.connect()
        self.assertEqual(client.lifecycle.next(), ("connect", None))
        client.close()
        self.assertEqual(client.lifecycle.next(), ("disconnect", None))

    def test_connects_again_after_a_close(self):
        connection = make_connection(self.server.address)
        for _ in range(3):
            lifecycle = Lifecycle()
            connection.connect(lifecycle).result(TIMEOUT)
            self.assertEqual(lifecycle.next(), ("connect", None))
            connection.close().result(TIMEOUT)
            self.assertEqual(lifecycle.next(), ("disconnect", None))

    def test_closes_while_it_connects(self):
        connection, lifecycle = make_connection(self.server.address), Lifecycle()
        connected = connection.connect(lifecycle)
        closed = connection.close()
        with self.assertRaises(Exception):
            connected.result(TIMEOUT)
        try:
            closed.result(TIMEOUT)
        except Exception:
            pass  # it says why the connect failed, or nothing

    def test_client_that_the_server_refuses(self):
        connection = make_connection(self.server.address, name="rejected")
        with self.assertRaises(AccessDeniedError):
            connection.connect(Lifecycle()).result(TIMEOUT)

    def test_nobody_listens(self):
        server = EchoServer("--port", "0")
        self.assertEqual(server.stop(), 0)
        connection = make_connection(server.address)
        with self.assertRaises(Exception) as caught:
            connection.connect(Lifecycle()).result(TIMEOUT)
        self.assertIn("CONNECTION_REFUSED", getattr(caught.exception, "name", str(caught.exception)))

    def test_server_goes_away(self):
        server = EchoServer("--port", "0")
        client, events = EchoClient(server.address), Events()
        self.assertEqual(client.lifecycle.next(), ("connect", None))
        stream = client.begin(EchoStreamMessages, handler=events)
        stream._get_response().result(TIMEOUT)
        self.assertEqual(server.stop(), 0)
        kind, reason = client.lifecycle.next()
        self.assertEqual(kind, "disconnect")
        self.assertIsNotNone(reason)
        self.assertTrue(events.closed.wait(TIMEOUT))
        with self.assertRaises(ConnectionClosedError):
            client.begin(EchoMessage)

    def test_pings(self):
        client = self.connect()
        for payload in (None, b"", b"ping"):
            amendment = MessageAmendment(headers=[Header.from_string("name", "value")], payload=payload)
            client.connection.send_ping(amendment).result(TIMEOUT)
            client.connection.send_ping_response(amendment).result(TIMEOUT)
        self.assert_still_usable(client)


class Calls(ServerTest):
    def test_echo_of_every_kind_of_value(self):
        client = self.connect()
        for name, value in EVERY_JSON.items():
            with self.subTest(name):
                self.assertEqual(client.call(EchoMessage, {"message": {name: value}}), {"message": {name: value}})
        self.assertEqual(client.call(EchoMessage, {"message": EVERY_JSON}), {"message": EVERY_JSON})

    def test_echo_of_sizes(self):
        client = self.connect()
        for size in (0, 1, 1000, 65536, 1024 * 1024):
            self.assertEqual(len(client.call(EchoMessage, {"message": "x" * size})["message"]), size)

    def test_empty_responses(self):
        client = self.connect()
        self.assertEqual(client.call(GetAllProducts), {})
        self.assertEqual(client.call(GetAllCustomers), {})

    def test_service_error(self):
        client = self.connect()
        failing = client.begin(CauseServiceError)
        with self.assertRaises(ServiceError) as caught:
            failing._get_response().result(TIMEOUT)
        self.assertEqual(caught.exception.message, "Intentionally thrown ServiceError")
        failing.close().result(TIMEOUT)
        self.assert_still_usable(client)

    def test_operation_that_the_server_does_not_know(self):
        client = self.connect()
        unknown = client.begin(NoSuchOperation)
        with self.assertRaises(Exception):
            unknown._get_response().result(TIMEOUT)
        unknown.close().result(TIMEOUT)
        self.assert_still_usable(client)

    def test_many_calls_at_once(self):
        client = self.connect()
        begun = [client.begin(EchoMessage, {"message": number}) for number in range(200)]
        for number, call in enumerate(begun):
            self.assertEqual(call._get_response().result(TIMEOUT).content, {"message": number})
            call.close().result(TIMEOUT)

    def test_close_with_a_call_under_way(self):
        client = self.connect()
        call = client.begin(EchoStreamMessages, handler=Events())
        client.close()
        call.close().result(TIMEOUT)

    def test_several_clients(self):
        failures = []

        def talk(number):
            try:
                client = EchoClient(self.server.address, self.tls)
                for count in range(20):
                    content = {"message": f"{number} {count}"}
                    if client.call(EchoMessage, content) != content:
                        failures.append(content)
                client.close()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class Streams(ServerTest):
    def begin(self, client, kind):
        events = Events()
        stream = client.begin(kind, handler=events)
        self.assertEqual(stream._get_response().result(TIMEOUT).content, {})
        return stream, events

    def send(self, stream, content):
        stream._send_stream_event(stream._request_stream_type()(content)).result(TIMEOUT)

    def test_events_come_back_in_order(self):
        client = self.connect()
        stream, events = self.begin(client, EchoStreamMessages)
        contents = [{"streamMessage": {"stringMessage": str(number)}} for number in range(50)]
        contents.append({"keyValuePair": {"key": "k", "value": "v"}})
        for content in contents:
            self.send(stream, content)
        self.assertEqual([events.next().content for _ in contents], contents)
        stream.close().result(TIMEOUT)
        self.assertTrue(events.closed.wait(TIMEOUT))
        self.assert_still_usable(client)

    def test_server_ends_the_stream(self):
        client = self.connect()
        stream, events = self.begin(client, EchoStreamMessages)
        self.send(stream, {"streamMessage": {"stringMessage": "close"}})
        self.assertEqual(events.next().content, {"streamMessage": {"stringMessage": "close"}})
        self.assertTrue(events.closed.wait(TIMEOUT))
        self.assert_still_usable(client)

    def test_error_on_the_stream(self):
        client = self.connect()
        stream, events = self.begin(client, CauseStreamServiceToError)
        self.send(stream, {"streamMessage": {"stringMessage": "anything"}})
        error = events.next()
        self.assertIsInstance(error, ServiceError)
        self.assertEqual(error.message, "Intentionally caused ServiceError on stream")
        self.assertTrue(events.closed.wait(TIMEOUT))
        stream.close().result(TIMEOUT)
        self.assert_still_usable(client)

    def test_several_streams_at_once(self):
        client = self.connect()
        streams = [self.begin(client, EchoStreamMessages) for _ in range(20)]
        for number, (stream, _) in enumerate(streams):
            self.send(stream, {"streamMessage": {"stringMessage": str(number)}})
        for number, (stream, events) in enumerate(streams):
            self.assertEqual(events.next().content, {"streamMessage": {"stringMessage": str(number)}})
            stream.close().result(TIMEOUT)

    def test_stream_without_an_answer_is_closed_with_its_connection(self):
        client = self.connect()
        stream, events = self.begin(client, EchoStreamMessages)
        client.close()
        self.assertTrue(events.closed.wait(TIMEOUT))
        with self.assertRaises((ConnectionClosedError, StreamClosedError, RuntimeError)):
            client.begin(EchoMessage)
        stream.close().result(TIMEOUT)


class OverUnixSocket:
    """Before a class of tests: the same over a Unix socket."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.server = EchoServer("--unix", os.path.join(folder.name, "echo.sock"))
        cls.addClassCleanup(cls.server.stop)


class CallsOverUnixSocket(OverUnixSocket, Calls):
    pass


class StreamsOverUnixSocket(OverUnixSocket, Streams):
    pass


class OverTls:
    """Before a class of tests: the same over TLS."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        made = Certificates(folder.name)
        certificate, key = made.issue(NAME, "serverAuth")
        cls.server = EchoServer("--port", "0", "--tls-cert", certificate, "--tls-key", key)
        cls.addClassCleanup(cls.server.stop)
        cls.tls = tls_settings(made.ca, NAME)


class CallsOverTls(OverTls, Calls):
    pass


class StreamsOverTls(OverTls, Streams):
    pass


if __name__ == "__main__":
    run()
