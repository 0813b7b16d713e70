// SPDX-License-Identifier: MIT
// Certificates for tests, made on the spot in a temporary directory that goes away with the object: EC
// P-256, by OpenSSL's library calls. Every certificate NAME is the file NAME.pem with its key in NAME.key.
//
//   ca              the root that signs what is not said otherwise; ca_dir/ holds a copy and a stray file
//   other_ca        another root, which signs "untrusted"
//   good            localhost, good.test, 127.0.0.1, ::1
//   wrong_name      elsewhere.test only
//   ip              127.0.0.1 and ::1, no name
//   wildcard        *.wild.test
//   common_name     localhost as common name, no subjectAltName
//   self_signed     localhost, 127.0.0.1, signed by itself
//   untrusted       as good, signed by other_ca
//   expired         as good, until yesterday
//   not_yet_valid   as good, from tomorrow on
//   chained         as good, signed by an intermediate, which follows in the file
//   chained_alone   the same certificate without the intermediate
//   client          for a client; client_encrypted.key is its key under the password "secret"
#pragma once
#include <string>

struct CertDir {
    CertDir();
    ~CertDir();
    CertDir(const CertDir &) = delete;
    CertDir &operator=(const CertDir &) = delete;

    std::string path(const char *name) const { return directory + "/" + name; } // path("good.pem")
    std::string text(const char *name) const;                                   // the file's content
    std::string pin(const char *name) const; // pin("good"): base64 of SHA-256 of its public key (RFC 7469)

    std::string directory;
};
