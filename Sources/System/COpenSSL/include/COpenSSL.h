// What Roost needs of OpenSSL 3. Thin: it makes macros, callbacks and ownership callable from Swift, and decides nothing.
#ifndef COPENSSL_H
#define COPENSSL_H

#include "copenssl_hash.h"
#include "copenssl_tls.h"

#endif
