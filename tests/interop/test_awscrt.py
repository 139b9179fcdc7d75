"""awscrt's event-stream RPC client against examples-c/echo_server: it may not notice that the server is not its own kin."""

import json
import os
import signal
import sys
import tempfile
import unittest
from uuid import UUID

from awscrt.eventstream import Header, HeaderType
from awscrt.eventstream.rpc import MessageFlag, MessageType

from awscrt_peer import TIMEOUT, Client, EchoServer

JSON = "application/json"


def every_header_type():
    return [
        Header.from_bool("true", True),
        Header.from_bool("false", False),
        Header.from_byte("byte", -128),
        Header.from_int16("int16", -32768),
        Header.from_int32("int32", 2147483647),
        Header.from_int64("int64", -(2**63)),
        Header.from_byte_buf("byte-buf", b"\x00\xff\x0f\xf0"),
        Header.from_byte_buf("empty-byte-buf", b""),
        Header.from_string("string", "noodles"),
        Header.from_string("empty-string", ""),
        Header.from_timestamp("timestamp", 1700000000),
        Header.from_uuid("uuid", UUID("01234567-89ab-cdef-0123-456789abcdef")),
    ]


class EchoServerTest(unittest.TestCase):
    """One server for all tests of the class, a connection for each."""

    tls = None

    @classmethod
    def setUpClass(cls):
        cls.server = EchoServer("--port", "0")
        cls.addClassCleanup(cls.server.stop)

    def connect(self):
        client = Client(self.server.address, self.tls)
        self.addCleanup(client.connection.close)
        return client

    def connect_and_shake_hands(self):
        client = self.connect()
        self.assertTrue(client.handshake().accepts)
        return client

    def assert_ended_by_server(self, client):
        self.assertIsNotNone(client.end_reason())

    def assert_still_usable(self, client):
        call = client.call("awstest#EchoMessage")
        self.assertEqual(call.next_message().payload, b"{}")
        call.wait_closed()


class Handshake(EchoServerTest):
    def test_connect_is_accepted(self):
        client = self.connect()
        ack = client.handshake()
        self.assertEqual(ack.type, MessageType.CONNECT_ACK)
        self.assertTrue(ack.accepts)
        self.assertEqual((ack.headers, ack.payload), ([], b""))
        self.assertTrue(client.connection.is_open())

    def assert_refused(self, **arguments):
        client = self.connect()
        ack = client.handshake(**arguments)
        self.assertEqual(ack.type, MessageType.CONNECT_ACK)
        self.assertFalse(ack.accepts)
        self.assert_ended_by_server(client)
        self.assertFalse(client.connection.is_open())

    def test_wrong_client_name_is_refused_then_the_server_closes(self):
        self.assert_refused(name="rejected.awscrt")

    def test_wrong_version_is_refused_then_the_server_closes(self):
        self.assert_refused(version="9.9.9")

    def test_header_order_and_payload_of_connect_do_not_matter(self):
        client = self.connect()
        client.send(
            MessageType.CONNECT,
            [Header.from_string("client-name", "accepted.x"), Header.from_string(":version", "0.1.0")],
            b"any payload",
        )
        self.assertTrue(client.next_message().accepts)


class ProtocolMessages(EchoServerTest):
    def ping(self, client, headers, payload):
        client.send(MessageType.PING, headers, payload)
        answer = client.next_message()
        self.assertEqual(answer.type, MessageType.PING_RESPONSE)
        return answer

    def test_ping_brings_back_every_header_type_and_the_payload(self):
        client = self.connect_and_shake_hands()
        headers = every_header_type()
        answer = self.ping(client, headers, b"\x00\xde\xad\xbe\xef")
        self.assertEqual(answer.headers, [(h.name, h.type, h.value) for h in headers])
        self.assertEqual(answer.payload, b"\x00\xde\xad\xbe\xef")

    def test_ping_drops_headers_whose_names_begin_with_a_colon(self):
        client = self.connect_and_shake_hands()
        headers = [Header.from_string(":mine", "x"), Header.from_string("kept", "y")]
        answer = self.ping(client, headers, b"")
        self.assertEqual(answer.headers, [("kept", HeaderType.STRING, "y")])

    def test_ping_with_a_large_payload(self):
        payload = os.urandom(4 * 1024 * 1024)
        self.assertEqual(self.ping(self.connect_and_shake_hands(), [], payload).payload, payload)

    def test_unsolicited_ping_response_is_ignored(self):
        client = self.connect_and_shake_hands()
        client.send(MessageType.PING_RESPONSE)
        self.assertEqual(self.ping(client, [], b"still there").payload, b"still there")

    def test_other_protocol_message_is_answered_with_internal_error_then_the_server_closes(self):
        client = self.connect_and_shake_hands()
        client.send(MessageType.INTERNAL_ERROR)
        self.assertEqual(client.next_message().type, MessageType.INTERNAL_ERROR)
        self.assert_ended_by_server(client)

    def test_violation_is_answered_with_protocol_error_then_the_server_closes(self):
        client = self.connect_and_shake_hands()
        client.send(MessageType.PING, [Header.from_bool("h", True)] * 1025)
        error = client.next_message()
        self.assertEqual(error.type, MessageType.PROTOCOL_ERROR)
        self.assertEqual(error.header(":content-type"), JSON)
        self.assertTrue(json.loads(error.payload)["message"])
        self.assert_ended_by_server(client)


class UnaryCalls(EchoServerTest):
    def assert_answer(self, answer, message_type, model_type, terminates=True):
        self.assertEqual(answer.type, message_type)
        self.assertEqual(answer.terminates, terminates)
        self.assertEqual(answer.header(":content-type"), JSON)
        self.assertEqual(answer.header("service-model-type"), model_type)

    def test_echo_brings_back_the_same_bytes_and_ends_the_stream(self):
        client = self.connect_and_shake_hands()
        request = '{ "message": {"stringMessage": "h\u00e9llo \\u0041"} }'.encode()
        call = client.call("awstest#EchoMessage", request)
        answer = call.next_message()
        self.assert_answer(answer, MessageType.APPLICATION_MESSAGE, "awstest#EchoMessageResponse")
        self.assertEqual(answer.payload, request)
        call.wait_closed()
        self.assertTrue(client.connection.is_open())

    def test_operations_without_content_answer_an_empty_object(self):
        client = self.connect_and_shake_hands()
        for name in ("GetAllProducts", "GetAllCustomers"):
            call = client.call("awstest#" + name)
            answer = call.next_message()
            self.assert_answer(answer, MessageType.APPLICATION_MESSAGE, f"awstest#{name}Response")
            self.assertEqual(answer.payload, b"{}")
            call.wait_closed()

    def test_service_error(self):
        client = self.connect_and_shake_hands()
        call = client.call("awstest#CauseServiceError")
        answer = call.next_message()
        self.assert_answer(answer, MessageType.APPLICATION_ERROR, "awstest#ServiceError")
        message = "Intentionally thrown ServiceError"
        self.assertEqual(
            json.loads(answer.payload),
            {"message": message, "_service": "awstest#EchoTestRPC", "_message": message, "_errorCode": "ServiceError"},
        )
        call.wait_closed()
        self.assert_still_usable(client)

    def test_unknown_operation_is_an_application_error_and_the_connection_stays_open(self):
        client = self.connect_and_shake_hands()
        call = client.call("awstest#NoSuchOperation")
        answer = call.next_message()
        self.assert_answer(answer, MessageType.APPLICATION_ERROR, None)
        self.assertEqual(
            answer.payload,
            b'{ "error": "Unsupported Operation", '
            b'"message": "awstest#NoSuchOperation is an unsupported operation." }',
        )
        call.wait_closed()
        self.assert_still_usable(client)

    def test_payload_that_is_not_json_is_an_internal_server_error(self):
        client = self.connect_and_shake_hands()
        for payload in (b"", b"{", b'{"a":1}x', b"\xff"):
            call = client.call("awstest#EchoMessage", payload)
            answer = call.next_message()
            self.assertEqual((answer.type, answer.terminates), (MessageType.APPLICATION_ERROR, True))
            self.assertEqual((answer.header(":content-type"), answer.payload), ("text/plain", b"InternalServerError"))
            call.wait_closed()
        self.assert_still_usable(client)

    def test_call_that_ends_its_stream_at_once_gets_no_answer(self):
        client = self.connect_and_shake_hands()
        call = client.call("awstest#EchoMessage", flags=MessageFlag.TERMINATE_STREAM)
        call.flushed.result(TIMEOUT)
        call.wait_closed()
        self.assert_still_usable(client)
        self.assertTrue(call.messages.empty())

    def test_a_thousand_calls_in_a_row(self):
        client = self.connect_and_shake_hands()
        for number in range(1000):
            request = b'{"number":%d}' % number
            call = client.call("awstest#EchoMessage", request)
            self.assertEqual(call.next_message().payload, request)
            call.wait_closed()

    def test_a_hundred_calls_at_once(self):
        client = self.connect_and_shake_hands()
        calls = [client.call("awstest#EchoMessage", b"%d" % number) for number in range(100)]
        for number, call in enumerate(calls):
            self.assertEqual(call.next_message().payload, b"%d" % number)
            call.wait_closed()


class StreamingCalls(EchoServerTest):
    def open_stream(self, client, operation="awstest#EchoStreamMessages"):
        call = client.call(operation)
        opening = call.next_message()
        self.assertEqual((opening.type, opening.terminates), (MessageType.APPLICATION_MESSAGE, False))
        self.assertEqual(opening.header("service-model-type"), "awstest#EchoStreamingResponse")
        self.assertEqual(opening.payload, b"{}")
        return call

    def assert_echoed(self, call, payload):
        call.send(payload)
        echo = call.next_message()
        self.assertEqual((echo.type, echo.terminates), (MessageType.APPLICATION_MESSAGE, False))
        self.assertEqual(echo.header("service-model-type"), "awstest#EchoStreamingMessage")
        self.assertEqual(echo.payload, payload)

    def test_messages_are_echoed_until_one_says_close(self):
        client = self.connect_and_shake_hands()
        call = self.open_stream(client)
        self.assert_echoed(call, b'{"streamMessage":{"stringMessage":"one"}}')
        self.assert_echoed(call, b'{"keyValuePair":{"key":"two","value":"close"}}')
        self.assert_echoed(call, b'{"streamMessage":{"stringMessage":"cLoSe"}}')
        end = call.next_message()
        self.assertTrue(end.terminates)
        self.assertEqual((end.type, end.headers, end.payload), (MessageType.APPLICATION_MESSAGE, [], b""))
        call.wait_closed()
        self.assert_still_usable(client)

    def test_client_ends_the_stream_with_an_empty_message(self):
        client = self.connect_and_shake_hands()
        call = self.open_stream(client)
        call.send(flags=MessageFlag.TERMINATE_STREAM)
        call.wait_closed()
        self.assert_still_usable(client)
        self.assertTrue(call.messages.empty())

    def test_two_streams_do_not_mix(self):
        client = self.connect_and_shake_hands()
        first, second = self.open_stream(client), self.open_stream(client)
        for call, payload in ((second, b'{"to":2}'), (first, b'{"to":1}'), (second, b'{"to":2.5}')):
            self.assert_echoed(call, payload)

    def test_service_error_on_a_stream(self):
        client = self.connect_and_shake_hands()
        call = self.open_stream(client, "awstest#CauseStreamServiceToError")
        call.send(b'{"streamMessage":{}}')
        error = call.next_message()
        self.assertEqual((error.type, error.terminates), (MessageType.APPLICATION_ERROR, True))
        self.assertEqual(error.header("service-model-type"), "awstest#ServiceError")
        self.assertEqual(json.loads(error.payload)["message"], "Intentionally caused ServiceError on stream")
        call.wait_closed()
        self.assert_still_usable(client)

    def test_stream_message_that_is_not_json_is_an_internal_server_error(self):
        client = self.connect_and_shake_hands()
        call = self.open_stream(client)
        call.send(b"not json")
        error = call.next_message()
        self.assertEqual((error.type, error.terminates), (MessageType.APPLICATION_ERROR, True))
        self.assertEqual(error.payload, b"InternalServerError")
        call.wait_closed()
        self.assert_still_usable(client)


class Closing(unittest.TestCase):
    def test_client_closes_with_a_stream_open(self):
        server = EchoServer("--port", "0")
        self.addCleanup(server.stop)
        client = Client(server.address)
        self.assertTrue(client.handshake().accepts)
        call = client.call("awstest#EchoStreamMessages")
        call.next_message()
        self.assertIsNone(client.close())
        call.wait_closed()
        self.assertTrue(Client(server.address).handshake().accepts, "the server goes on")

    def test_server_ends_with_a_stream_open(self):
        for stop in (signal.SIGTERM, signal.SIGINT):
            server = EchoServer("--port", "0")
            client = Client(server.address)
            self.assertTrue(client.handshake().accepts)
            call = client.call("awstest#EchoStreamMessages")
            call.next_message()
            self.assertEqual(server.stop(stop), 0)
            self.assertIsNotNone(client.end_reason())
            call.wait_closed()

    def test_nobody_listens_any_more(self):
        server = EchoServer("--port", "0")
        self.assertEqual(server.stop(), 0)
        with self.assertRaises(Exception) as caught:
            Client(server.address)
        self.assertIn("CONNECTION_REFUSED", getattr(caught.exception, "name", str(caught.exception)))


class UnixSocket(EchoServerTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.server = EchoServer("--unix", os.path.join(folder.name, "echo.sock"))
        cls.addClassCleanup(cls.server.stop)

    def test_conversation(self):
        client = self.connect_and_shake_hands()
        client.send(MessageType.PING, every_header_type(), b"ping")
        self.assertEqual(client.next_message().payload, b"ping")
        self.assert_still_usable(client)
        self.assertIsNone(client.close())

    def test_refusal_is_seen(self):
        client = self.connect()
        self.assertFalse(client.handshake(name="rejected").accepts)
        self.assertIsNotNone(client.end_reason())


def run():
    result = unittest.main(exit=False, verbosity=2).result
    failed = len(result.failures) + len(result.errors)
    sys.stderr.flush()
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or result.testsRun == 0 else 0)


if __name__ == "__main__":
    run()
