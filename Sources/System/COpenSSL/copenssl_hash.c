// SHA256_Init and its kin are "deprecated" in favour of EVP, but EVP_MAC allocates for each message (OpenSSL 3.0 duplicates the
// digest's state on the heap), and the loop that signs adverts must not. They run the same assembly.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "copenssl_hash.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

struct copenssl_hmac_key {
  SHA256_CTX inner;
  SHA256_CTX outer;
};

copenssl_hmac_key *copenssl_hmac_key_new(const uint8_t *key, size_t length) {
  copenssl_hmac_key *made = OPENSSL_malloc(sizeof *made);
  if (!made) return NULL;
  uint8_t block[SHA256_CBLOCK] = {0};
  // A key longer than a block is replaced by its hash (RFC 2104 §2).
  if (length > sizeof block)
    SHA256(key, length, block);
  else if (length > 0)
    memcpy(block, key, length);
  for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36;
  SHA256_Init(&made->inner);
  SHA256_Update(&made->inner, block, sizeof block);
  for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36 ^ 0x5c;
  SHA256_Init(&made->outer);
  SHA256_Update(&made->outer, block, sizeof block);
  OPENSSL_cleanse(block, sizeof block);
  return made;
}

void copenssl_hmac_key_free(copenssl_hmac_key *key) { OPENSSL_clear_free(key, sizeof *key); }

void copenssl_hmac(const copenssl_hmac_key *key, const void *message, size_t length, uint8_t *tag) {
  SHA256_CTX state = key->inner;
  SHA256_Update(&state, message, length);
  SHA256_Final(tag, &state);
  state = key->outer;
  SHA256_Update(&state, tag, SHA256_DIGEST_LENGTH);
  SHA256_Final(tag, &state);
  OPENSSL_cleanse(&state, sizeof state);
}

int copenssl_random(void *into, size_t length) { return RAND_priv_bytes(into, (int)length) == 1; }

int copenssl_equal(const void *left, const void *right, size_t length) {
  return CRYPTO_memcmp(left, right, length) == 0;
}

void copenssl_wipe(void *memory, size_t length) { OPENSSL_cleanse(memory, length); }
