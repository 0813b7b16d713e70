// SPDX-License-Identifier: MIT
// See certs.h. Ends the program with a sentence when something cannot be made: without certificates no
// test of TLS says anything.
#include "certs.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr long day = 24 * 60 * 60;
constexpr const char *usual_names = "DNS:localhost,DNS:good.test,IP:127.0.0.1,IP:::1";

[[noreturn]] void give_up(const std::string &what) {
    fprintf(stderr, "test certificates: cannot make %s\n", what.c_str());
    exit(2);
}

void need(bool done, const std::string &what) {
    if (!done) give_up(what);
}

struct Pair {
    X509 *certificate = nullptr;
    EVP_PKEY *key = nullptr;
    void release() {
        X509_free(certificate);
        EVP_PKEY_free(key);
        certificate = nullptr;
        key = nullptr;
    }
};

struct Wish {
    const char *common_name = "";
    const char *alternative_names = nullptr;
    const char *usage = "serverAuth";
    bool authority = false;
    long from = -day;
    long until = 365 * day;
};

void extend(X509 *certificate, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    need(extension && X509_add_ext(certificate, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

Pair make(const Wish &wish, const Pair *signer) {
    static long serial = 1000;
    Pair made;
    made.key = EVP_EC_gen("P-256");
    made.certificate = X509_new();
    need(made.key && made.certificate, wish.common_name);
    X509 *x = made.certificate;
    const Pair &issuer = signer ? *signer : made;
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), wish.from);
    X509_gmtime_adj(X509_getm_notAfter(x), wish.until);
    X509_set_pubkey(x, made.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char *>(wish.common_name), -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer.certificate));
    extend(x, issuer.certificate, NID_basic_constraints, wish.authority ? "critical,CA:TRUE" : "CA:FALSE");
    extend(x, issuer.certificate, NID_key_usage,
           wish.authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
    extend(x, issuer.certificate, NID_subject_key_identifier, "hash");
    extend(x, issuer.certificate, NID_authority_key_identifier, "keyid");
    if (!wish.authority) extend(x, issuer.certificate, NID_ext_key_usage, wish.usage);
    if (wish.alternative_names) extend(x, issuer.certificate, NID_subject_alt_name, wish.alternative_names);
    need(X509_sign(x, issuer.key, EVP_sha256()) > 0, wish.common_name);
    return made;
}

FILE *create(const std::string &path) {
    FILE *file = fopen(path.c_str(), "w");
    need(file != nullptr, path);
    return file;
}

void save(const CertDir &dir, const std::string &name, const Pair &pair, X509 *intermediate = nullptr) {
    FILE *file = create(dir.path((name + ".pem").c_str()));
    need(PEM_write_X509(file, pair.certificate) == 1, name);
    if (intermediate) need(PEM_write_X509(file, intermediate) == 1, name);
    fclose(file);
    file = create(dir.path((name + ".key").c_str()));
    need(PEM_write_PrivateKey(file, pair.key, nullptr, nullptr, 0, nullptr, nullptr) == 1, name);
    fclose(file);
}

void save_encrypted(const CertDir &dir, const Pair &pair) {
    FILE *file = create(dir.path("client_encrypted.key"));
    char password[] = "secret";
    need(PEM_write_PKCS8PrivateKey(file, pair.key, EVP_aes_256_cbc(), password, 6, nullptr, nullptr) == 1,
         "client_encrypted.key");
    fclose(file);
}

void make_and_save(const CertDir &dir, const char *name, const Wish &wish, const Pair *signer) {
    Pair pair = make(wish, signer);
    save(dir, name, pair);
    pair.release();
}

Wish server(const char *names) {
    Wish wish;
    wish.common_name = "wsxdp test server";
    wish.alternative_names = names;
    return wish;
}

Wish authority(const char *name) {
    Wish wish;
    wish.common_name = name;
    wish.authority = true;
    wish.from = -3650 * day;
    wish.until = 3650 * day;
    return wish;
}

void make_servers(const CertDir &dir, const Pair &ca, const Pair &other_ca) {
    make_and_save(dir, "good", server(usual_names), &ca);
    make_and_save(dir, "wrong_name", server("DNS:elsewhere.test"), &ca);
    make_and_save(dir, "ip", server("IP:127.0.0.1,IP:::1"), &ca);
    make_and_save(dir, "wildcard", server("DNS:*.wild.test"), &ca);
    make_and_save(dir, "self_signed", server("DNS:localhost,IP:127.0.0.1"), nullptr);
    make_and_save(dir, "untrusted", server(usual_names), &other_ca);
    Wish wish = server(nullptr);
    wish.common_name = "localhost";
    make_and_save(dir, "common_name", wish, &ca);
    wish = server(usual_names);
    wish.from = -30 * day;
    wish.until = -day;
    make_and_save(dir, "expired", wish, &ca);
    wish = server(usual_names);
    wish.from = day;
    make_and_save(dir, "not_yet_valid", wish, &ca);
}

void make_chain(const CertDir &dir, const Pair &ca) {
    Pair intermediate = make(authority("wsxdp test intermediate"), &ca);
    Pair leaf = make(server(usual_names), &intermediate);
    save(dir, "chained", leaf, intermediate.certificate);
    save(dir, "chained_alone", leaf);
    leaf.release();
    intermediate.release();
}

void make_client(const CertDir &dir, const Pair &ca) {
    Wish wish;
    wish.common_name = "wsxdp test client";
    wish.usage = "clientAuth";
    Pair client = make(wish, &ca);
    save(dir, "client", client);
    save_encrypted(dir, client);
    client.release();
}

void make_ca_directory(const CertDir &dir, const Pair &ca) {
    need(mkdir(dir.path("ca_dir").c_str(), 0700) == 0, "ca_dir");
    save(dir, "ca_dir/root", ca);
    FILE *stray = create(dir.path("ca_dir/README"));
    fputs("not a certificate\n", stray);
    fclose(stray);
}

void remove_files(const std::string &directory) {
    DIR *handle = opendir(directory.c_str());
    while (const dirent *entry = handle ? readdir(handle) : nullptr) {
        std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        std::string path = directory + "/" + name;
        struct stat info;
        if (lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
            remove_files(path);
        else
            unlink(path.c_str());
    }
    if (handle) closedir(handle);
    rmdir(directory.c_str());
}

} // namespace

CertDir::CertDir() {
    const char *base = getenv("TMPDIR");
    directory = std::string(base && *base ? base : "/tmp") + "/wsxdp-certs-XXXXXX";
    need(mkdtemp(&directory[0]) != nullptr, directory);
    Pair ca = make(authority("wsxdp test root"), nullptr);
    Pair other_ca = make(authority("wsxdp other root"), nullptr);
    save(*this, "ca", ca);
    save(*this, "other_ca", other_ca);
    make_servers(*this, ca, other_ca);
    make_chain(*this, ca);
    make_client(*this, ca);
    make_ca_directory(*this, ca);
    ca.release();
    other_ca.release();
}

CertDir::~CertDir() { remove_files(directory); }

std::string CertDir::text(const char *name) const {
    std::string content;
    FILE *file = fopen(path(name).c_str(), "r");
    need(file != nullptr, name);
    char part[4096];
    while (size_t count = fread(part, 1, sizeof part, file)) content.append(part, count);
    fclose(file);
    return content;
}

std::string CertDir::pin(const char *name) const {
    FILE *file = fopen(path((std::string(name) + ".pem").c_str()).c_str(), "r");
    need(file != nullptr, name);
    X509 *certificate = PEM_read_X509(file, nullptr, nullptr, nullptr);
    fclose(file);
    need(certificate != nullptr, name);
    unsigned char *der = nullptr;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    unsigned char digest[32];
    need(size > 0 && EVP_Digest(der, static_cast<size_t>(size), digest, nullptr, EVP_sha256(), nullptr) == 1,
         name);
    OPENSSL_free(der);
    X509_free(certificate);
    unsigned char base64[48];
    EVP_EncodeBlock(base64, digest, sizeof digest);
    return reinterpret_cast<char *>(base64);
}
