// Mutual TLS 1.3 among the nodes of a cluster, over memory: the caller moves the bytes.
#ifndef COPENSSL_TLS_H
#define COPENSSL_TLS_H

#include <stddef.h>
#include <stdint.h>

enum {
  /// Hexadecimal digits that name an authority: 8 bytes of the SHA-256 of its public key. No secret.
  copenssl_fingerprint_length = 16,
  copenssl_seed_length = 32,
};

/// What one node is in one life: the authorities it trusts, and a certificate by each of them.
typedef struct copenssl_identity copenssl_identity;
/// One connection, from the first byte of its handshake to the last.
typedef struct copenssl_session copenssl_session;

/// An identity without authorities, with a fresh key. NULL where OpenSSL fails.
copenssl_identity *copenssl_identity_new(void);
void copenssl_identity_free(copenssl_identity *identity);
/// Trusts the authority whose Ed25519 key is `seed`, and has it certify the name. The authority's certificate is the same wherever and
/// whenever it is made. 1, or 0 where OpenSSL fails. `fingerprint` gets the digits and a zero.
int copenssl_identity_add(copenssl_identity *identity, const uint8_t *seed, const char *name, size_t name_length,
                          char *fingerprint);

/// The identity must outlive it.
copenssl_session *copenssl_session_new(copenssl_identity *identity, int is_server);
void copenssl_session_free(copenssl_session *session);

/// Gives what came from the network. 1, or 0 where memory is short.
int copenssl_session_feed(copenssl_session *session, const void *bytes, size_t length);
/// Takes what goes to the network: how many bytes, 0 for none.
size_t copenssl_session_take(copenssl_session *session, void *into, size_t capacity);
/// 1: done; 0: goes on when more has come; -1: failed.
int copenssl_session_handshake(copenssl_session *session);
/// Bytes read; 0: no more for now; -1: failed; -2: the peer has said that it is finished.
int copenssl_session_read(copenssl_session *session, void *into, size_t capacity);
/// 1, or 0 where it failed. Takes all of it.
int copenssl_session_write(copenssl_session *session, const void *bytes, size_t length);
/// Says to the peer that nothing more will come.
void copenssl_session_finish(copenssl_session *session);
/// The name in the peer's certificate, which is verified when the handshake is done: its length, or -1 where there is none that fits.
int copenssl_session_peer_name(copenssl_session *session, char *into, size_t capacity);
/// By which of the identity's authorities, in the order in which they were added, this side's and the peer's certificates are. 1, or 0 where
/// the handshake is not done.
int copenssl_session_authorities(copenssl_session *session, int *own, int *theirs);
/// Why it failed, in words.
void copenssl_session_failure(copenssl_session *session, char *into, size_t capacity);

#endif
