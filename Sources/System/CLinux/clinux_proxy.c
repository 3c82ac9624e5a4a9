#include "clinux_proxy.h"
