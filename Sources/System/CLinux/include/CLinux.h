#pragma once
#include "clinux_system.h"
#include "clinux_proxy.h"
#include "clinux_lab.h"
#include "clinux_edges.h"
#include "clinux_tracking.h"
#include "clinux_plumbing.h"
#include "clinux_guardian.h"
