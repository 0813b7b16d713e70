// SPDX-License-Identifier: MIT
// Loads what the context trusts (CA file, directory, PEM in memory, the system's store) and the client's
// own certificate and key. Everything is read at open, so that a handshake reads no file. It never asks
// for a password on the terminal: a key that needs one and has none is an error. Worst case: the system's
// store is parsed whole (some hundred certificates) for each context.
#include "openssl_parts.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/pem.h>
#include <sys/stat.h>

namespace wx {
namespace {

constexpr unsigned directory_files_max = 10000; // a directory with more is not a CA directory
constexpr size_t path_bytes_max = 4096;         // PATH_MAX of Linux

struct Password {
    const char *text = nullptr;
    bool asked = false;
};

// OpenSSL's default callback would prompt on the terminal; this one is always given instead.
int give_password(char *buffer, int size, int, void *user) {
    Password *password = static_cast<Password *>(user);
    if (!password) return -1;
    password->asked = true;
    size_t length = password->text ? strlen(password->text) : 0;
    if (length == 0 || size < 0 || length > static_cast<size_t>(size)) return -1;
    memcpy(buffer, password->text, length);
    return static_cast<int>(length);
}

struct PemCount {
    int certificates = 0;
    int refused = 0; // present, but the store would not take it
};

PemCount add_pem(TlsContext *context, BIO *pem) {
    PemCount count;
    STACK_OF(X509_INFO) *items =
        PEM_X509_INFO_read_bio_ex(pem, nullptr, give_password, nullptr, openssl_library(), nullptr);
    X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
    for (int i = 0; items && i < sk_X509_INFO_num(items); i++) {
        const X509_INFO *item = sk_X509_INFO_value(items, i);
        if (!item->x509) continue;
        X509_STORE_add_cert(store, item->x509) == 1 ? count.certificates++ : count.refused++;
    }
    sk_X509_INFO_pop_free(items, X509_INFO_free);
    return count;
}

int refuse_file(const char *option, const char *path, int code, ErrorText *error) {
    int cause = errno;
    error->begin(code, cause).add(option).add(" \"").add(ByteView(path)).add("\" cannot be read: ");
    error->errno_name(cause).add(". Check the path and its permissions.");
    ERR_clear_error();
    return code;
}

int add_file(TlsContext *context, const char *path, ErrorText *error) {
    errno = 0;
    BIO *file = BIO_new_file(path, "re"); // e: not inherited by programs that the host starts
    if (!file) return refuse_file("tls.ca_file", path, WSXDP_E_TLS_CA, error);
    PemCount count = add_pem(context, file);
    BIO_free(file);
    if (count.certificates > 0) return WSXDP_OK;
    error->begin(WSXDP_E_TLS_CA).add("tls.ca_file \"").add(ByteView(path));
    openssl_add_reason(&error->add("\" holds no usable certificate"));
    error->add(". It must be PEM text with -----BEGIN CERTIFICATE-----.");
    return WSXDP_E_TLS_CA;
}

int add_memory(TlsContext *context, ByteView pem, ErrorText *error) {
    BIO *memory = pem.size > INT32_MAX ? nullptr : BIO_new_mem_buf(pem.data, static_cast<int>(pem.size));
    PemCount count;
    if (memory) count = add_pem(context, memory);
    BIO_free(memory);
    if (count.certificates > 0) return WSXDP_OK;
    error->begin(WSXDP_E_TLS_CA).add("tls.ca_pem (").number(static_cast<int64_t>(pem.size));
    openssl_add_reason(&error->add(" bytes) holds no usable certificate"));
    error->add(". It must be PEM text with -----BEGIN CERTIFICATE-----.");
    return WSXDP_E_TLS_CA;
}

// Files that hold something else (a README, a key, a list of revoked certificates) are passed over.
int add_directory_entry(TlsContext *context, const char *directory, const char *name) {
    char path[path_bytes_max];
    Writer writer(ByteSpan(path, sizeof path));
    writer.text(directory);
    writer.u8('/');
    writer.text(name);
    writer.u8(0);
    struct stat info;
    if (writer.failed || stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
    BIO *file = BIO_new_file(path, "re");
    PemCount count;
    if (file) count = add_pem(context, file);
    BIO_free(file);
    return count.certificates;
}

int add_directory(TlsContext *context, const char *path, ErrorText *error) {
    errno = 0;
    DIR *directory = opendir(path);
    if (!directory) return refuse_file("tls.ca_dir", path, WSXDP_E_TLS_CA, error);
    int certificates = 0;
    unsigned files = 0;
    while (const dirent *entry = readdir(directory)) {
        if (++files > directory_files_max) break;
        certificates += add_directory_entry(context, path, entry->d_name);
    }
    closedir(directory);
    ERR_clear_error();
    if (certificates > 0) return WSXDP_OK;
    error->begin(WSXDP_E_TLS_CA).add("tls.ca_dir \"").add(ByteView(path));
    error->add("\" holds no file with a PEM certificate. Put the CA's certificate there as a .pem file.");
    return WSXDP_E_TLS_CA;
}

// OpenSSL's own paths, and SSL_CERT_FILE and SSL_CERT_DIR in the environment. A missing file is found
// out here and said at the handshake, because the directory may still have what is needed.
int add_system(TlsContext *context, ErrorText *error) {
    context->system_store = true;
    int file = SSL_CTX_set_default_verify_file(context->ssl);
    int directory = SSL_CTX_set_default_verify_dir(context->ssl);
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context->ssl));
    context->trust_empty = sk_X509_OBJECT_num(objects) <= 0;
    ERR_clear_error();
    if (file == 1 || directory == 1) return WSXDP_OK;
    error->begin(WSXDP_E_TLS_CA)
        .add("the system's certificates cannot be loaded. Install the package "
             "ca-certificates or name a file in tls.ca_file.");
    return WSXDP_E_TLS_CA;
}

int refuse_key(const char *path, const Password &password, ErrorText *error) {
    const bool given = password.text && *password.text;
    error->begin(WSXDP_E_TLS_CLIENT_CERT).add("the private key in \"").add(ByteView(path));
    if (password.asked && !given) {
        error->add("\" is encrypted and no password was given. Set tls.key_password.");
        ERR_clear_error();
    } else if (password.asked) {
        openssl_add_reason(&error->add("\" cannot be decrypted"));
        error->add(". Check tls.key_password.");
    } else {
        openssl_add_reason(&error->add("\" cannot be used"));
        error->add(". tls.key_file must hold a PEM private key.");
    }
    return WSXDP_E_TLS_CLIENT_CERT;
}

int load_key(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    const bool separate = options.key_file && *options.key_file;
    const char *path = separate ? options.key_file : options.cert_file;
    errno = 0;
    BIO *file = BIO_new_file(path, "re");
    if (!file) return refuse_file("tls.key_file", path, WSXDP_E_TLS_CLIENT_CERT, error);
    Password password;
    password.text = options.key_password;
    EVP_PKEY *key =
        PEM_read_bio_PrivateKey_ex(file, nullptr, give_password, &password, openssl_library(), nullptr);
    BIO_free(file);
    if (!key) return refuse_key(path, password, error);
    ERR_clear_error();
    int used = SSL_CTX_use_PrivateKey(context->ssl, key);
    EVP_PKEY_free(key);
    if (used == 1 && SSL_CTX_check_private_key(context->ssl) == 1) return WSXDP_OK;
    error->begin(WSXDP_E_TLS_CLIENT_CERT).add("the private key in \"").add(ByteView(path));
    error->add("\" does not belong to the certificate in \"").add(ByteView(options.cert_file));
    openssl_add_reason(&error->add("\"")).add(". Give the pair that was issued together.");
    return WSXDP_E_TLS_CLIENT_CERT;
}

} // namespace

int openssl_load_trust(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    const bool file = options.ca_file && *options.ca_file;
    const bool directory = options.ca_dir && *options.ca_dir;
    int status = WSXDP_OK;
    if (file) status = add_file(context, options.ca_file, error);
    if (ok(status) && directory) status = add_directory(context, options.ca_dir, error);
    if (ok(status) && !options.ca_pem.empty()) status = add_memory(context, options.ca_pem, error);
    if (!ok(status) || file || directory || !options.ca_pem.empty() || !options.verify) return status;
    if (options.system_ca) return add_system(context, error);
    error->begin(WSXDP_E_TLS_CA)
        .add("nothing to trust: the system's certificates are switched off and "
             "none of tls.ca_file, tls.ca_dir and tls.ca_pem is given.");
    return WSXDP_E_TLS_CA;
}

int openssl_load_certificate(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    SSL_CTX_set_default_passwd_cb(context->ssl, give_password);
    const bool given = options.cert_file && *options.cert_file;
    if (!given && options.key_file && *options.key_file) {
        error->begin(WSXDP_E_TLS_CLIENT_CERT)
            .add("tls.key_file is given without tls.cert_file. Give the certificate that belongs to it.");
        return WSXDP_E_TLS_CLIENT_CERT;
    }
    if (!given) return WSXDP_OK;
    errno = 0;
    BIO *file = BIO_new_file(options.cert_file, "re");
    if (!file) return refuse_file("tls.cert_file", options.cert_file, WSXDP_E_TLS_CLIENT_CERT, error);
    BIO_free(file);
    if (SSL_CTX_use_certificate_chain_file(context->ssl, options.cert_file) != 1) {
        error->begin(WSXDP_E_TLS_CLIENT_CERT).add("tls.cert_file \"").add(ByteView(options.cert_file));
        openssl_add_reason(&error->add("\" holds no usable certificate"));
        error->add(". It must be PEM text, the own certificate first.");
        return WSXDP_E_TLS_CLIENT_CERT;
    }
    context->has_certificate = true;
    return load_key(context, options, error);
}

} // namespace wx
