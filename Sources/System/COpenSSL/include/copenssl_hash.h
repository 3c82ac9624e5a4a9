// Keyed hashes, random bytes, and memory that holds secrets.
#ifndef COPENSSL_HASH_H
#define COPENSSL_HASH_H

#include <stddef.h>
#include <stdint.h>

/// A key of HMAC-SHA256, already hashed in (RFC 2104): the states of the inner and of the outer hash behind their first block.
/// It does not change after `copenssl_hmac_key_new`, so any thread may use it.
typedef struct copenssl_hmac_key copenssl_hmac_key;

/// NULL where memory is short.
copenssl_hmac_key *copenssl_hmac_key_new(const uint8_t *key, size_t length);
/// Overwrites it first.
void copenssl_hmac_key_free(copenssl_hmac_key *key);
/// Allocates nothing. `tag` is 32 bytes.
void copenssl_hmac(const copenssl_hmac_key *key, const void *message, size_t length, uint8_t *tag);

/// 1, or 0 where OpenSSL has no randomness to give.
int copenssl_random(void *into, size_t length);
/// Whether the bytes are equal, in a time that depends on the length alone.
int copenssl_equal(const void *left, const void *right, size_t length);
/// Overwrites memory, and no optimiser leaves it out.
void copenssl_wipe(void *memory, size_t length);

#endif
