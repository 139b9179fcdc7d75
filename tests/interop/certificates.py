"""Certificates for one run of the tests, made with the openssl command."""

import os
import subprocess


class Certificates:
    """A certificate authority whose files are in a folder. Every method gives paths."""

    def __init__(self, folder, name="test CA"):
        self.folder = folder
        self.ca = self.path("ca.pem")
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                     "-keyout", self.path("ca.key"), "-out", self.ca)  # fmt: skip

    def path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr}")

    def issue(self, name, usage):
        """A certificate for this name, and its key; `usage` is serverAuth or clientAuth."""
        certificate, key = self.path(name + ".pem"), self.path(name + ".key")
        request, extensions = self.path(name + ".csr"), self.path(name + ".ext")
        with open(extensions, "w", encoding="utf-8") as file:
            file.write(f"subjectAltName=DNS:{name}\nextendedKeyUsage={usage}\n")
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.path("ca.key"), "-CAcreateserial",
                     "-days", "2", "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key
