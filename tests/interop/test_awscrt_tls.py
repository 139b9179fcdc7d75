"""awscrt's client over TLS (s2n) against examples-c/echo_server, with and without a client's certificate.

A server that s2n cannot trust is not tried here: it tells of that 10 to 30 seconds later (its blinding of errors). OpenSSL
tries it, in tests/tls_connections/openssl.rs."""

import os
import subprocess
import tempfile
import unittest

from awscrt.eventstream.rpc import MessageType

import test_awscrt
from awscrt_peer import ECHO_CLIENT, TIMEOUT, Client, EchoServer, tls_settings
from certificates import Certificates

NAME = "server.example"


class Files:
    """The certificates of all tests, made once."""

    made = None

    @classmethod
    def get(cls):
        if cls.made is None:
            cls.folder = tempfile.TemporaryDirectory()
            unittest.addModuleCleanup(cls.folder.cleanup)
            cls.made = Certificates(cls.folder.name)
            cls.server = cls.made.issue(NAME, "serverAuth")
            cls.client = cls.made.issue("client.example", "clientAuth")
            cls.other_name = cls.made.issue("other.example", "serverAuth")
        return cls


def start_server(identity, *more):
    certificate, key = identity
    return EchoServer("--port", "0", "--tls-cert", certificate, "--tls-key", key, *more)


class OverTls:
    """Before a class of test_awscrt: the same tests over TLS."""

    @classmethod
    def setUpClass(cls):
        files = Files.get()
        cls.server = start_server(files.server)
        cls.addClassCleanup(cls.server.stop)
        cls.tls = tls_settings(files.made.ca, NAME)

    def assert_ended_by_server(self, client):
        """awscrt takes the orderly end of a TLS session for no error."""
        self.assertIsNone(client.end_reason())


class HandshakeOverTls(OverTls, test_awscrt.Handshake):
    pass


class ProtocolMessagesOverTls(OverTls, test_awscrt.ProtocolMessages):
    pass


class UnaryCallsOverTls(OverTls, test_awscrt.UnaryCalls):
    pass


class StreamingCallsOverTls(OverTls, test_awscrt.StreamingCalls):
    pass


class ClientCertificate(test_awscrt.EchoServerTest):
    """A server that requires one."""

    @classmethod
    def setUpClass(cls):
        files = Files.get()
        cls.server = start_server(files.server, "--client-ca", files.made.ca)
        cls.addClassCleanup(cls.server.stop)

    def test_conversation_of_a_client_that_shows_one(self):
        files = Files.get()
        self.tls = tls_settings(files.made.ca, NAME, files.client)
        client = self.connect_and_shake_hands()
        payload = os.urandom(1024 * 1024)
        client.send(MessageType.PING, test_awscrt.every_header_type(), payload)
        self.assertEqual(client.next_message().payload, payload)
        self.assert_still_usable(client)
        self.assertIsNone(client.close())

    def assert_refused(self, identity):
        """With TLS 1.3 the client may have finished before it is told: then the connection ends."""
        files = Files.get()
        try:
            client = Client(self.server.address, tls_settings(files.made.ca, NAME, identity))
        except Exception:
            return
        self.assertIsNotNone(client.end_reason())
        self.assertTrue(client.messages.empty())

    def test_client_that_shows_none_is_refused(self):
        self.assert_refused(None)

    def test_client_of_another_ca_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assert_refused(Certificates(folder, "another CA").issue("client.example", "clientAuth"))


class OurClient(unittest.TestCase):
    """examples-c/echo_client against examples-c/echo_server: their options of TLS."""

    def talk(self, address, *more):
        options = ["--ca", Files.get().made.ca, "--server-name", NAME, *more]
        where = ["--unix", address] if address.startswith("/") else ["--port", address.rsplit(":", 1)[1]]
        done = subprocess.run([ECHO_CLIENT, *where, *options], capture_output=True, text=True, timeout=TIMEOUT)
        return done.returncode, done.stdout + done.stderr

    def test_conversation_with_a_certificate_on_both_sides(self):
        files = Files.get()
        certificate, key = files.client
        identity = ("--tls-cert", certificate, "--tls-key", key)
        with tempfile.TemporaryDirectory() as folder:
            for where in (["--port", "0"], ["--unix", os.path.join(folder, "echo.sock")]):
                server = EchoServer(*where, "--tls-cert", files.server[0], "--tls-key", files.server[1],
                                    "--client-ca", files.made.ca)  # fmt: skip
                self.addCleanup(server.stop)
                status, output = self.talk(server.address, *identity)
                self.assertEqual(status, 0, output)
                self.assertIn("by TLSv1.3", output)
                self.assertEqual(server.stop(), 0)

    def test_wrong_name_is_said(self):
        server = start_server(Files.get().other_name)
        self.addCleanup(server.stop)
        status, output = self.talk(server.address)
        self.assertNotEqual(status, 0)
        self.assertIn("ESRPC_ERROR_TLS_WRONG_NAME", output)


if __name__ == "__main__":
    test_awscrt.run()
