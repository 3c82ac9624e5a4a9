#include "copenssl_tls.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

// Certificates are good from 2000 on and for ever, and their times are not looked at: nodes whose clocks disagree, or that have none,
// must find each other. What ends a certificate is that the secret is changed.
static const char *const valid_from = "20000101000000Z", *const valid_until = "99991231235959Z";

enum { most_authorities = 8, failure_length = 256, longest_name = 255 };

struct copenssl_identity {
  SSL_CTX *context;
  EVP_PKEY *key;
  X509 *authorities[most_authorities];
  X509 *certificates[most_authorities];
  int count;
};

struct copenssl_session {
  copenssl_identity *identity;
  SSL *tls;
  BIO *in;   // owned by tls
  BIO *out;  // owned by tls
  int presented;  // which of our certificates; -1: none yet
  int is_foreign;  // the peer trusts none of our authorities
  char failure[failure_length];
};

// --- Certificates ---

static int add_extension(X509 *certificate, int kind, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
  if (!extension) return 0;
  int done = X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  return done;
}

// A certificate of that key with everything but its names and extensions.
static X509 *new_certificate(EVP_PKEY *key, const uint8_t *serial, int serial_length) {
  X509 *certificate = X509_new();
  BIGNUM *number = BN_bin2bn(serial, serial_length, NULL);
  int done = certificate && number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) &&
             X509_set_version(certificate, X509_VERSION_3) && X509_set_pubkey(certificate, key) &&
             ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), valid_from) &&
             ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), valid_until);
  BN_free(number);
  if (done) return certificate;
  X509_free(certificate);
  return NULL;
}

static int set_common_name(X509_NAME *name, const char *text) {
  return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0);
}

// Ed25519 signs without randomness, and nothing else in it differs: the same bytes on each node.
static X509 *new_authority(EVP_PKEY *key, char *fingerprint) {
  uint8_t public_key[32], hash[SHA256_DIGEST_LENGTH];
  size_t length = sizeof public_key;
  if (EVP_PKEY_get_raw_public_key(key, public_key, &length) != 1) return NULL;
  SHA256(public_key, length, hash);
  for (int i = 0; i < copenssl_fingerprint_length / 2; i++) snprintf(fingerprint + 2 * i, 3, "%02x", hash[i]);
  char subject[64];
  snprintf(subject, sizeof subject, "roost authority %s", fingerprint);

  X509 *certificate = new_certificate(key, (const uint8_t *)"\1", 1);
  if (certificate && set_common_name(X509_get_subject_name(certificate), subject) &&
      set_common_name(X509_get_issuer_name(certificate), subject) &&
      add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
      add_extension(certificate, NID_key_usage, "critical,keyCertSign") &&
      add_extension(certificate, NID_subject_key_identifier, "hash") && X509_sign(certificate, key, NULL) > 0)
    return certificate;
  X509_free(certificate);
  return NULL;
}

// The name goes in as it is: through the text form of extensions a comma in it could add another name.
static int add_alternative_name(X509 *certificate, const char *name, size_t length) {
  GENERAL_NAMES *names = GENERAL_NAMES_new();
  GENERAL_NAME *entry = GENERAL_NAME_new();
  ASN1_IA5STRING *text = ASN1_IA5STRING_new();
  int done = 0;
  if (names && entry && text && ASN1_STRING_set(text, name, (int)length)) {
    GENERAL_NAME_set0_value(entry, GEN_DNS, text);
    text = NULL;
    if (sk_GENERAL_NAME_push(names, entry)) {
      entry = NULL;
      done = X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    }
  }
  ASN1_IA5STRING_free(text);
  GENERAL_NAME_free(entry);
  GENERAL_NAMES_free(names);
  return done;
}

static X509 *certify(EVP_PKEY *key, const char *name, size_t length, X509 *authority, EVP_PKEY *authority_key) {
  uint8_t serial[16];
  if (RAND_bytes(serial, sizeof serial) != 1) return NULL;
  serial[0] &= 0x7f;  // not negative
  X509 *certificate = new_certificate(key, serial, sizeof serial);
  if (certificate && set_common_name(X509_get_subject_name(certificate), "roost node") &&
      X509_set_issuer_name(certificate, X509_get_subject_name(authority)) &&
      add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
      add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
      add_extension(certificate, NID_ext_key_usage, "serverAuth,clientAuth") &&
      add_alternative_name(certificate, name, length) && X509_sign(certificate, authority_key, NULL) > 0)
    return certificate;
  X509_free(certificate);
  return NULL;
}

// --- Identity ---

static int present(SSL *tls, copenssl_session *session, const copenssl_identity *identity, int which) {
  if (session) session->presented = which;
  return SSL_use_cert_and_key(tls, identity->certificates[which], identity->key, NULL, 1) == 1;
}

// Presents the certificate that the peer can verify: by the first of our authorities that is among those it names. Where there is none, the
// first of all: the peer then finds out by itself that it can't verify it, and its alert says so, where a failure in here would be an
// "internal error" to it.
static int choose_certificate(SSL *tls, void *argument) {
  copenssl_session *session = SSL_get_app_data(tls);
  const copenssl_identity *identity = argument;
  const STACK_OF(X509_NAME) *trusted = SSL_get0_peer_CA_list(tls);
  int named = trusted ? sk_X509_NAME_num(trusted) : 0;
  for (int i = 0; i < identity->count; i++) {
    const X509_NAME *ours = X509_get_subject_name(identity->authorities[i]);
    int trusts = named == 0;
    for (int j = 0; j < named; j++) trusts |= X509_NAME_cmp(ours, sk_X509_NAME_value(trusted, j)) == 0;
    if (trusts) return present(tls, session, identity, i);
  }
  if (session) session->is_foreign = 1;
  return identity->count > 0 && present(tls, session, identity, 0);
}

copenssl_identity *copenssl_identity_new(void) {
  copenssl_identity *made = OPENSSL_zalloc(sizeof *made);
  if (!made) return NULL;
  made->context = SSL_CTX_new(TLS_method());
  made->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  SSL_CTX *context = made->context;
  if (!context || !made->key || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
      !SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION)) {
    copenssl_identity_free(made);
    return NULL;
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_verify_depth(context, 1);
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_NO_CHECK_TIME);
  SSL_CTX_set_cert_cb(context, choose_certificate, made);
  // Connections last for days: nothing is gained by resuming one, and state would have to be kept.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  // A stranger's certificates are read before they are verified.
  SSL_CTX_set_max_cert_list(context, 8192);
  return made;
}

void copenssl_identity_free(copenssl_identity *identity) {
  if (!identity) return;
  for (int i = 0; i < identity->count; i++) {
    X509_free(identity->authorities[i]);
    X509_free(identity->certificates[i]);
  }
  EVP_PKEY_free(identity->key);
  SSL_CTX_free(identity->context);
  OPENSSL_free(identity);
}

int copenssl_identity_add(copenssl_identity *identity, const uint8_t *seed, const char *name, size_t name_length,
                          char *fingerprint) {
  if (identity->count >= most_authorities || name_length == 0 || name_length > longest_name) return 0;
  EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, copenssl_seed_length);
  X509 *authority = key ? new_authority(key, fingerprint) : NULL;
  X509 *certificate = authority ? certify(identity->key, name, name_length, authority, key) : NULL;
  EVP_PKEY_free(key);
  if (!certificate || !X509_STORE_add_cert(SSL_CTX_get_cert_store(identity->context), authority) ||
      !SSL_CTX_add1_to_CA_list(identity->context, authority)) {
    X509_free(certificate);
    X509_free(authority);
    return 0;
  }
  identity->authorities[identity->count] = authority;
  identity->certificates[identity->count] = certificate;
  identity->count += 1;
  return 1;
}

// --- Session ---

copenssl_session *copenssl_session_new(copenssl_identity *identity, int is_server) {
  copenssl_session *made = OPENSSL_zalloc(sizeof *made);
  if (!made) return NULL;
  made->identity = identity;
  made->presented = -1;
  made->tls = SSL_new(identity->context);
  made->in = BIO_new(BIO_s_mem());
  made->out = BIO_new(BIO_s_mem());
  if (!made->tls || !made->in || !made->out) {
    BIO_free(made->in);
    BIO_free(made->out);
    SSL_free(made->tls);
    OPENSSL_free(made);
    return NULL;
  }
  BIO_set_mem_eof_return(made->in, -1);
  BIO_set_mem_eof_return(made->out, -1);
  SSL_set_bio(made->tls, made->in, made->out);
  SSL_set_app_data(made->tls, made);
  if (is_server)
    SSL_set_accept_state(made->tls);
  else
    SSL_set_connect_state(made->tls);
  return made;
}

void copenssl_session_free(copenssl_session *session) {
  if (!session) return;
  SSL_free(session->tls);
  OPENSSL_free(session);
}

int copenssl_session_feed(copenssl_session *session, const void *bytes, size_t length) {
  return length == 0 || BIO_write(session->in, bytes, (int)length) == (int)length;
}

size_t copenssl_session_take(copenssl_session *session, void *into, size_t capacity) {
  int count = BIO_read(session->out, into, (int)capacity);
  return count > 0 ? (size_t)count : 0;
}

// Nobody that this node trusts has signed it.
static int is_of_unknown_authority(long verdict) {
  switch (verdict) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: return 1;
    default: return 0;
  }
}

// Keeps the words of the first failure: later ones are only its consequences.
static int judge(copenssl_session *session, int result) {
  switch (SSL_get_error(session->tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return 0;
    case SSL_ERROR_ZERO_RETURN: return -2;
    default: break;
  }
  if (session->failure[0] == 0) {
    unsigned long code = ERR_get_error();
    long verdict = SSL_get_verify_result(session->tls);
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (is_of_unknown_authority(verdict) || (session->is_foreign && verdict == X509_V_OK))
      snprintf(session->failure, failure_length, "its certificate is not of this cluster: another secret?");
    else if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_TLSV1_ALERT_UNKNOWN_CA)
      snprintf(session->failure, failure_length,
               "it says that this node's certificate is not of its cluster: another secret?");
    else if (verdict != X509_V_OK)
      snprintf(session->failure, failure_length, "the peer's certificate is not of this cluster (%s)",
               X509_verify_cert_error_string(verdict));
    else
      snprintf(session->failure, failure_length, "%s", reason ? reason : "the connection was cut");
  }
  ERR_clear_error();
  return -1;
}

int copenssl_session_handshake(copenssl_session *session) {
  ERR_clear_error();
  int result = SSL_do_handshake(session->tls);
  return result == 1 ? 1 : judge(session, result) == 0 ? 0 : -1;
}

int copenssl_session_read(copenssl_session *session, void *into, size_t capacity) {
  ERR_clear_error();
  int count = SSL_read(session->tls, into, (int)capacity);
  return count > 0 ? count : judge(session, count);
}

int copenssl_session_write(copenssl_session *session, const void *bytes, size_t length) {
  ERR_clear_error();
  int count = SSL_write(session->tls, bytes, (int)length);
  if (count == (int)length) return 1;
  judge(session, count);
  return 0;
}

void copenssl_session_finish(copenssl_session *session) {
  ERR_clear_error();
  if (SSL_is_init_finished(session->tls)) SSL_shutdown(session->tls);
  ERR_clear_error();
}

int copenssl_session_peer_name(copenssl_session *session, char *into, size_t capacity) {
  X509 *certificate = SSL_get0_peer_certificate(session->tls);
  if (!certificate || SSL_get_verify_result(session->tls) != X509_V_OK) return -1;
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  int length = -1;
  // Exactly one, as we issue them.
  if (names && sk_GENERAL_NAME_num(names) == 1) {
    int kind = 0;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &kind);
    if (kind == GEN_DNS && ASN1_STRING_length(value) > 0 && (size_t)ASN1_STRING_length(value) <= capacity) {
      length = ASN1_STRING_length(value);
      memcpy(into, ASN1_STRING_get0_data(value), (size_t)length);
    }
  }
  GENERAL_NAMES_free(names);
  return length;
}

int copenssl_session_authorities(copenssl_session *session, int *own, int *theirs) {
  X509 *certificate = SSL_get0_peer_certificate(session->tls);
  *own = session->presented;
  *theirs = -1;
  if (!certificate || SSL_get_verify_result(session->tls) != X509_V_OK) return 0;
  const X509_NAME *issuer = X509_get_issuer_name(certificate);
  for (int i = 0; i < session->identity->count && *theirs < 0; i++)
    if (X509_NAME_cmp(issuer, X509_get_subject_name(session->identity->authorities[i])) == 0) *theirs = i;
  return *own >= 0 && *theirs >= 0;
}

void copenssl_session_failure(copenssl_session *session, char *into, size_t capacity) {
  snprintf(into, capacity, "%s", session->failure);
}
