#include "clinux_system.h"
