#include "clinux_lab.h"
